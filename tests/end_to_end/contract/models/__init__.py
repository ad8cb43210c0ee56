"""Models that between them hold every field of Django and of django.contrib.postgres."""

from tests.end_to_end.contract.models import (
    arrays,
    customs,
    defaults,
    inheritance,
    keys,
    moments,
    names,
    numbers,
    ranges,
    relations,
    structures,
    texts,
)

__all__ = [
    "arrays",
    "customs",
    "defaults",
    "inheritance",
    "keys",
    "moments",
    "names",
    "numbers",
    "ranges",
    "relations",
    "structures",
    "texts",
]

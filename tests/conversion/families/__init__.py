"""The fields that the differential test compares, in families that share their borders."""

from tests.conversion.families import (
    customs,
    moments,
    numbers,
    postgres,
    relations,
    structures,
    texts,
)
from tests.conversion.families.base import FAMILIES, Family

__all__ = [
    "FAMILIES",
    "Family",
    "customs",
    "moments",
    "numbers",
    "postgres",
    "relations",
    "structures",
    "texts",
]

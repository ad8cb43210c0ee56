"""The cases of the contract test, in the same files as the models."""

from tests.end_to_end.contract.cases import (
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
from tests.end_to_end.contract.cases.case import Case

__all__ = ["CASES", "Case"]

CASES = [
    case
    for module in (
        *(numbers, texts, moments, structures, arrays, ranges),
        *(relations, keys, defaults, customs, names, inheritance),
    )
    for case in module.CASES
]

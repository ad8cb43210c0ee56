"""Evaluates a ``Q`` for a row in Python, as far as possible without the database."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from django.db.models import F, Q

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "exact": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, others: value in others,
    "range": lambda value, ends: bool(ends[0] <= value <= ends[1]),
}


def evaluate(condition: Any, row: Mapping[str, Any]) -> bool | None:
    """Return whether the condition holds for the row; None if that is not known.

    ``row`` has values by field name and by attname. Comparisons with plain values and with other
    fields of the row are supported, as are AND, OR, XOR and NOT; the result of any other lookup is
    not known. As in SQL, a comparison with NULL is neither true nor false.
    """
    if isinstance(condition, Q):
        return _evaluate_q(condition, row)
    if isinstance(condition, tuple):
        [name, value] = condition
        return _evaluate_lookup(name, value, row)
    return None


def fields_of(expression: Any) -> Iterator[str]:
    """Yield the names of the fields that an expression or a ``Q`` mentions."""
    if isinstance(expression, F):
        yield _name(expression).partition("__")[0]
    elif isinstance(expression, Q):
        for child in expression.children:
            yield from fields_of(child)
    elif isinstance(expression, tuple):
        yield expression[0].partition("__")[0]
        yield from fields_of(expression[1])
    elif hasattr(expression, "get_source_expressions"):
        for source in expression.get_source_expressions():
            yield from fields_of(source)


def _evaluate_q(condition: Q, row: Mapping[str, Any]) -> bool | None:
    results = [evaluate(child, row) for child in condition.children]
    got: bool | None
    if condition.connector == Q.XOR:
        got = None if None in results else sum(map(bool, results)) % 2 == 1
    else:
        decisive = condition.connector == Q.OR
        undecided = None if None in results else not decisive
        got = decisive if decisive in results else undecided
    return got if got is None or not condition.negated else not got


def _evaluate_lookup(name: str, value: Any, row: Mapping[str, Any]) -> bool | None:
    field, _, lookup = name.partition("__")
    lookup = lookup or "exact"
    if field not in row:
        return None
    if lookup == "isnull":
        return (row[field] is None) == bool(value)
    if isinstance(value, F):
        if _name(value) not in row:
            return None
        value = row[_name(value)]
    compare = _COMPARISONS.get(lookup)
    if compare is None or value is None or row[field] is None:
        return None
    try:
        return bool(compare(row[field], value))
    except TypeError:
        return None


def _name(reference: Any) -> str:
    return str(reference.name)

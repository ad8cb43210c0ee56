"""Values of one field: made, validated by the field's own ``clean``, made again if refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import connections, models

from ingest.benchmark.data.makers import find_maker
from ingest.exceptions import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from ingest.benchmark.data.uniqueness import UniqueSet

    Field = models.Field[Any, Any]

POOL_VALUES = 2_000
"""Values made for a field that need not be unique; rows choose among them. This gives a realistic
distribution, in a fraction of the time."""
EMPTY_SHARE = 0.25
"""The share of empty values in a field that may be empty."""
TRIES = 500
"""How many values in a row the field may refuse before the benchmark gives up."""
_REFUSALS = (ValidationError, ValueError, TypeError, ArithmeticError, AttributeError)
"""The errors that a field may raise for a value; those of custom fields vary."""


def make_values(
    field: Field, random: Random, carried: list[UniqueSet] | None, alias: str
) -> Iterator[Any]:
    """Yield an endless series of values that the field accepts, all different if it carries a set.

    Raise ``BenchmarkError`` if there is no further value.
    """
    empties = [
        value
        for value, is_allowed in ((None, field.null), ("", _may_be_blank(field)))
        if is_allowed
        and _is_accepted(field, value)
        and all(unique.is_free({field.attname: value}) for unique in carried or ())
    ]
    if carried is not None:
        yield from _unique_values(field, random, empties, alias)
        return
    pool = _pool(field, random, empties, alias)
    while True:
        yield from random.choices(pool, k=POOL_VALUES)


def _pool(field: Field, random: Random, empties: list[Any], alias: str) -> list[Any]:
    accept = _acceptor(field, find_maker(field), alias)
    return [
        random.choice(empties) if empties and random.random() < EMPTY_SHARE else accept(random)
        for _ in range(POOL_VALUES)
    ]


def _unique_values(field: Field, random: Random, empties: list[Any], alias: str) -> Iterator[Any]:
    accept = _acceptor(field, find_maker(field, is_unique=True), alias)
    seen: set[Any] = set()
    while True:
        if empties and random.random() < EMPTY_SHARE:
            yield random.choice(empties)
            continue
        for _ in range(TRIES):
            value = accept(random)
            key = value if isinstance(value, str) else repr(value)
            if key not in seen:
                seen.add(key)
                yield value
                break
        else:
            raise BenchmarkError(
                f"{field.model._meta.label}.{field.name} has room for about {len(seen):,} "
                "different values only: ask for fewer --rows."
            )


def _acceptor(field: Field, make: Callable[[Random], Any], alias: str) -> Callable[[Random], Any]:
    connection = connections[alias]

    def accept(random: Random) -> Any:
        reason: Exception | None = None
        for _ in range(TRIES):
            try:
                value = field.clean(make(random), None)
                field.get_db_prep_save(value, connection)
            except _REFUSALS as error:
                reason = error
            else:
                return value
        why = "; ".join(getattr(reason, "messages", [str(reason)]))
        raise BenchmarkError(
            f"No value could be made that {field.model._meta.label}.{field.name} accepts: "
            f"{why} Give a file of rows with --source FILE."
        ) from reason

    return accept


def _is_accepted(field: Field, value: Any) -> bool:
    try:
        field.clean(value, None)
    except _REFUSALS:
        return False
    return True


def _may_be_blank(field: Field) -> bool:
    return (
        field.blank
        and field.empty_strings_allowed
        and isinstance(field, (models.CharField, models.TextField, models.FileField))
    )

"""Make primary keys for rows, some of which are those of rows in the table."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models

from ingest.exceptions import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.benchmark.methods.base import Row

    Fields = tuple[models.Field[Any, Any], ...]


def give_keys(
    model: type[models.Model],
    fields: Fields,
    rows: Sequence[Row],
    given: int,
    share: float,
    seed: int,
) -> tuple[Fields, list[Row]]:
    """Return the rows with a primary key each, and their fields.

    ``rows`` are the ``given`` rows that are measured, followed by those that the table holds.
    ``share`` of the given rows, from 0 to 1, get keys of rows in the table: evenly spread, each key
    once. Raise ``BenchmarkError`` if no keys can be made.
    """
    random = Random(seed)  # noqa: S311 - the same seed makes the same rows
    key = model._meta.pk
    held = len(rows) - given
    overlapping = [at for at in range(given) if int((at + 1) * share) > int(at * share)]
    if len(overlapping) > held:
        raise BenchmarkError(
            f"{len(overlapping):,} of the rows are to have keys of rows that the table holds, but "
            f"it holds {held:,}: use a larger --existing or a smaller --overlap."
        )
    if key in fields:
        place = fields.index(key)
        keys = [row[place] for row in rows]
        rows = [(*row[:place], *row[place + 1 :]) for row in rows]
        fields = (*fields[:place], *fields[place + 1 :])
    else:
        keys = [*range(held + 1, held + given + 1), *range(1, held + 1)]
        if isinstance(key, models.UUIDField):
            keys = [UUID(int=random.getrandbits(128)) for _ in rows]
        elif not isinstance(key, models.IntegerField):
            raise BenchmarkError(
                f"--overlap gives the rows keys, and cannot make one for {model._meta.label}, "
                f"whose primary key is a {type(key).__name__}: give a file of rows with --source."
            )
    for at, of in zip(overlapping, random.sample(range(held), len(overlapping)), strict=True):
        keys[at] = keys[given + of]
    return (key, *fields), [(key, *row) for key, row in zip(keys, rows, strict=True)]

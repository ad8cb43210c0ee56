"""Describe the columns of a table that was found in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.sources.detection.detected import DetectedColumn, commonest
from ingest.sources.detection.values import (
    choose_date_formats,
    choose_marks,
    currencies,
    has_unclear_mark,
    is_negative,
    is_plain_number,
    is_running,
    rival_format,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.detection.tables import DetectedTable

WORDS_LISTED = 6
"""The most distinct texts that may be codes for a sign or a truth value."""


def describe_columns(table: DetectedTable) -> tuple[DetectedColumn, ...]:
    """Return the name of each column, and the kind of its cells."""
    body = [record for record in table.body if len(record) == table.width]
    names = table.header or [str(place) for place in range(1, table.width + 1)]
    # The loader ignores columns that the header does not name, too.
    cells = [
        [record[place].strip() for record in body if place < len(record) and record[place].strip()]
        for place in range(len(names))
    ]
    padded_cells = [
        sum(
            record[place] != record[place].strip()
            for record in body
            if place < len(record) and record[place].strip()
        )
        for place in range(len(names))
    ]
    dates = [choose_date_formats(column) for column in cells]
    marks = [
        None if formats else choose_marks(column, None)
        for column, formats in zip(cells, dates, strict=True)
    ]
    usual = commonest([mark[0] for mark in marks if mark])
    found = []
    for name, column, formats, mark, padded in zip(
        names, cells, dates, marks, padded_cells, strict=True
    ):
        decimal, thousands = (choose_marks(column, usual) if mark else None) or (None, None)
        found.append(
            DetectedColumn(
                name=name.strip(),
                date_formats=formats,
                other_date_format=rival_format(column, formats),
                is_number=mark is not None,
                decimal_mark=decimal,
                thousands_mark=thousands,
                unclear_mark=has_unclear_mark(column) if mark else None,
                has_negative=mark is not None and any(map(is_negative, column)),
                words=_few_words(column) if not formats and mark is None else (),
                is_plain=mark is None or all(map(is_plain_number, column)),
                currency=currencies(column) if mark else (),
                is_running=is_running(column),
                is_padded=2 * padded > len(column),
                is_known=bool(column),
            )
        )
    return tuple(found)


def _few_words(cells: Sequence[str]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(cells))
    return words if len(words) <= WORDS_LISTED else ()


def typed_place(columns: Sequence[DetectedColumn]) -> int | None:
    """Return the place of the first column of dates or numbers."""
    typed = (bool(column.date_formats) or column.is_number for column in columns)
    return next((place for place, is_typed in enumerate(typed) if is_typed), None)

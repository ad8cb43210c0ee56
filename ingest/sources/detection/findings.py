"""The findings of a detection, a sentence each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ingest.plurals import counted
from ingest.results.rejects import shorten
from ingest.sources.detection.columns import describe_columns, typed_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources.detection.detected import DetectedColumn
    from ingest.sources.detection.encodings import TextEncoding
    from ingest.sources.detection.tables import DetectedTable

NAMES_SHOWN = 20
"""Names of a header that a finding shows."""
RECORDS_SHOWN = 3
"""Records of a preamble or a trailer that a finding shows."""


def describe_table(
    table: DetectedTable, end: DetectedTable, encoding: TextEncoding, *, is_whole: bool
) -> list[str]:
    """Return findings about how the file is read, and where the table begins and ends."""
    wide = sum(len(record) == table.width for record in table.records)
    delimiter = {"\t": "a tab"}.get(table.delimiter, repr(table.delimiter))
    found = []
    if not encoding.is_certain:
        found.append("The encoding is a guess: look at a few names with accents.")
    found.append(
        f"The delimiter is {delimiter}: {wide:,} of {_records(len(table.records))} then have "
        f"{counted(table.width, 'cell')}."
        if table.width > 1
        else "No delimiter was found: each line is read as one cell. If it has several, give the "
        "delimiter with --delimiter."
    )
    if table.quote != '"':
        found.append(
            f"Cells are quoted with {table.quote}." if table.quote else "No cell is quoted."
        )
    if table.escape:
        found.append(f"A quote inside a cell is written {table.escape}{table.quote}.")
    elif _has_doubled_backslashes(table):
        found.append(
            "Every backslash is doubled, and is read so. If the first one is an escape character, "
            "set escape = '\\\\'."
        )
    if table.comment:
        found.append(
            f"Lines that begin with {table.comment!r} are comments, which a load passes over "
            f"(comment = {table.comment!r})."
        )
    return [*found, *describe_extent(table, end, is_whole=is_whole)]


def describe_extent(table: DetectedTable, end: DetectedTable, *, is_whole: bool) -> list[str]:
    """Return findings about where the table begins and ends."""
    found = []
    if table.start:
        found.append(
            f"The table begins after {_records(table.start)}, which a load leaves out "
            f"(skip_records = {table.start}): {_shown(table.records[: table.start])}."
        )
    found.append(
        "There is no header: the first record holds dates or numbers, or is like any other."
        if table.header is None
        else f"The header is {_names(table.header)}."
    )
    if table.repeats:
        times = "once more" if table.repeats == 1 else f"{table.repeats:,} times more"
        found.append(
            f"The header is there {times}, within the table. "
            + (
                "A load leaves these records out ([[skip]])."
                if typed_place(describe_columns(table)) is not None
                else "It is read as records. If it is none, leave it out with [[skip]]."
            )
        )
    found += _widths(table)
    trailer = end.records[end.stop :]
    if trailer:
        found.append(
            f"The table ends before {_records(len(trailer))}, which a load leaves out "
            f"(trailer_records = {len(trailer)}): {_shown(trailer)}."
        )
    if end.suspects:
        suspects = end.records[end.stop - end.suspects : end.stop]
        kind = "date" if end.date_column is not None else "number"
        found.append(
            f"The last {_records(end.suspects)} of the table, {_shown(suspects)}, lacks the {kind} "
            "that the others have. It is read as a record. If it is none, leave it out with "
            f"trailer_records = {len(trailer) + end.suspects}."
        )
    if not trailer and not is_whole:
        found.append("The file's end was not looked at: see yourself whether it has totals there.")
    return found


def describe_formats(columns: Sequence[DetectedColumn]) -> Iterator[str]:
    """Yield findings about padded cells, and about the formats of dates and numbers."""
    padded = [column.name for column in columns if column.is_padded]
    if padded:
        yield (
            f"Cells begin or end with blanks, as in column {padded[0]!r}. A load takes them off "
            "(strip = true)."
        )
    for column in columns:
        if column.date_formats or column.decimal_mark or column.thousands_mark:
            yield _describe_format(column)


def _has_doubled_backslashes(table: DetectedTable) -> bool:
    runs = (run for record in table.body for cell in record for run in re.findall(r"\\+", cell))
    lengths = {len(run) % 2 for run in runs}
    return lengths == {0}


def _names(header: Sequence[str]) -> str:
    names = ", ".join(map(repr, header[:NAMES_SHOWN]))
    rest = len(header) - NAMES_SHOWN
    return names if rest <= 0 else f"{names} and {rest:,} more"


def _widths(table: DetectedTable) -> Iterator[str]:
    """Yield findings about how a load treats records with fewer or more cells than the header."""
    if table.header is None:
        return
    names = len(table.header)
    longer = [record for record in table.body if len(record) > names]
    shorter = [record for record in table.body if len(record) < names]
    have = "has" if len(longer) == 1 else "have"
    if table.has_empty_surplus:
        end = "ends" if len(longer) == 1 else "end"
        yield (
            f"{_records(len(longer))} of the table, such as {_shown(longer[:1])}, {end} in "
            "empty cells "
            f"beyond the {names} of the header. A load cuts them and counts these records "
            "(lenient = ['cut'])."
        )
    elif names != table.width:
        yield (
            f"The header has {counted(names, 'cell')}, but most records have {table.width}: a "
            "load refuses these. Complete the header, so that it names every column."
        )
    elif longer:
        yield (
            f"{_records(len(longer))} of the table, such as {_shown(longer[:1])}, {have} more than "
            f"{counted(names, 'cell')}: a load refuses them. Add lenient = ['cut'] to [source] "
            "to drop the surplus cells."
        )
    if shorter:
        have = "has" if len(shorter) == 1 else "have"
        yield (
            f"{_records(len(shorter))} of the table, such as {_shown(shorter[:1])}, {have} "
            "fewer than "
            f"{counted(names, 'cell')}: a load refuses them. Add lenient = ['pad'] to [source] "
            "to fill them with empty cells."
        )


def _shown(records: Sequence[Sequence[str]]) -> str:
    """Return the beginnings of the first records, for a message."""
    shown = [shorten(" ".join(" ".join(record).split())) for record in records[:RECORDS_SHOWN]]
    return ", ".join(shown) + (", …" if len(records) > RECORDS_SHOWN else "")


def _records(count: int) -> str:
    return counted(count, "record")


def _describe_format(column: DetectedColumn) -> str:
    if column.date_formats:
        finding = f"Column {column.name!r} has dates as {', '.join(column.date_formats)}"
        if column.other_date_format is None:
            return f"{finding}."
        return (
            f"{finding}: a guess, since {column.other_date_format} reads them too, as other days."
        )
    marks = [
        f"{word} mark {mark!r}"
        for word, mark in (("decimal", column.decimal_mark), ("thousands", column.thousands_mark))
        if mark
    ]
    finding = f"Column {column.name!r} has numbers with {' and '.join(marks)}"
    if column.unclear_mark is None:
        return f"{finding}."
    other = "thousands" if column.decimal_mark else "decimal"
    return f"{finding}: a guess, since it could be the {other} mark."

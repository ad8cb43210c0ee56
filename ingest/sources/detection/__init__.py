"""Detects how to read a file from its beginning and its end.

The result is a starting point for a layout: it gives reasons, marks guesses, and is not used for a
load unless the caller passes it on.
"""

from __future__ import annotations

import dataclasses
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError, SourceError
from ingest.plurals import counted
from ingest.results.rejects import shorten
from ingest.sources.base import Source, SourceOptions, open_source
from ingest.sources.detection.detected import Detected, DetectedColumn, commonest
from ingest.sources.detection.encodings import TextEncoding, detect_encoding
from ingest.sources.detection.fixed_width import check_is_delimited
from ingest.sources.detection.sheets import SHEET_BATCHES, find_sheet_table, rows_of, with_types
from ingest.sources.detection.tables import DELIMITERS, find_table
from ingest.sources.detection.values import (
    choose_date_formats,
    choose_marks,
    currencies,
    has_unclear_mark,
    is_negative,
    is_number,
    is_plain_number,
    is_running,
    rival_format,
)
from ingest.sources.django_files import plain_file
from ingest.sources.enclosed import EnclosedSource
from ingest.sources.files import InputFile
from ingest.sources.several import find_files
from ingest.sources.text import check_is_text, find_codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources.detection.tables import DetectedTable

__all__ = ["Detected", "DetectedColumn", "detect"]

SAMPLE_BYTES = 256 << 10
"""Bytes examined at the beginning of a file; a smaller file is examined as a whole."""
TAIL_BYTES = 16 << 10
"""Bytes examined at the end of a larger file, for its trailer."""
WORDS_LISTED = 6
"""The most distinct texts that may be codes for a sign or a truth value."""
NAMES_SHOWN = 20
"""Names of a header that a finding shows."""
RECORDS_SHOWN = 3
"""Records of a preamble or a trailer that a finding shows."""
CONTROL_SHARE = 0.05
"""A file with a larger share of control characters is not text; old exports have a few."""
_CONTROLS = [chr(code) for code in (*range(9), *range(14, 32), 127)]


def detect(
    given: Any,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | int | None = None,
) -> Detected:
    """Detect how to read a file; ``given`` is a path or a file opened for reading bytes.

    Pass what you know already as the other arguments. Of several files, the first is examined. A
    file object is consumed: open it again before you load it. Raises ``SourceError`` for a file
    that cannot be read or is not text.
    """
    given = plain_file(given)
    kind = next((kind for kind in Source.registry if kind.accepts(given)), None)
    if kind is not None and issubclass(kind, EnclosedSource):
        with kind.enter(given) as inner:
            return detect(inner, encoding=encoding, delimiter=delimiter, sheet=sheet)
    if kind is not None and kind.holds_others:
        return _of_the_first(find_files(given)[0], encoding, delimiter, sheet)
    if kind is not None and kind.format != "delimited":
        for name, said in (("encoding", encoding), ("delimiter", delimiter)):
            if said is not None:
                raise ConfigurationError(
                    f"{name} (--{name}) has no effect on {given}, whose format is {kind.format}: "
                    "leave it out."
                )
        if kind.format == "workbook":
            return _of_sheet(given, sheet)
        _check_sheet(given, kind.format, sheet)
        return _of_named_columns(given, kind.format)
    _check_sheet(given, "delimited", sheet)
    if encoding is not None:
        find_codec(encoding, str(given))
    file = InputFile(given)
    try:
        sample = _read(file, SAMPLE_BYTES + 1)
        tail = _read_tail(file) if len(sample) > SAMPLE_BYTES else b""
    finally:
        file.close()
    known = None if encoding is None else TextEncoding(encoding, "you said so")
    return _detect(file.name, sample, tail, known, delimiter or DELIMITERS)


def _detect(
    name: str, sample: bytes, tail: bytes, known: TextEncoding | None, delimiters: str
) -> Detected:
    is_whole = len(sample) <= SAMPLE_BYTES
    encoding = known or detect_encoding(sample, is_whole=is_whole)
    text = sample.decode(encoding.name, "replace").removeprefix("\ufeff")
    check_is_text(sample, name)
    if sum(map(text.count, _CONTROLS)) > CONTROL_SHARE * len(text):
        raise SourceError(f"{name} is no text: too many of its bytes are control characters.")
    table = find_table(text, is_whole=is_whole, delimiters=delimiters)
    if table is None and not is_whole:
        raise SourceError(
            f"{name} cannot be looked at: its first record is longer than {SAMPLE_BYTES:,} bytes. "
            "Cut it, or say the encoding if it is another."
        )
    if table is None:
        raise SourceError(f"{name} is empty: there is nothing to detect.")
    check_is_delimited(name, text)
    end = table
    if tail:
        end = _end_of(tail, encoding.name, table) or table
    trailer = end.records[end.stop :]
    options = SourceOptions(
        encoding=encoding.name,
        delimiter=table.delimiter,
        quote=table.quote,
        doubled_quotes=table.doubled_quotes,
        escape=table.escape,
        comment=table.comment,
        lenient=("cut",) if _has_empty_surplus(table) else (),
        skip_records=table.start,
        header=table.header is not None,
        trailer_records=len(trailer),
    )
    columns = _columns(table)
    findings = [
        f"{name} is read with encoding {encoding.name}: {encoding.reason}.",
        *_findings(table, end, encoding, is_whole=is_whole or bool(tail)),
        *_padding(columns),
        *map(_finding, filter(_is_special, columns)),
    ]
    return Detected(
        source=name,
        options=options,
        columns=columns,
        findings=tuple(findings),
        trailer_pattern=_trailer_pattern(table, trailer),
        repeated_header=_repeated_header(table, columns),
    )


def _of_the_first(
    files: Sequence[str | Path],
    encoding: str | None,
    delimiter: str | None,
    sheet: str | int | None,
) -> Detected:
    found = detect(files[0], encoding=encoding, delimiter=delimiter, sheet=sheet)
    if len(files) == 1:
        return found
    finding = f"Of {len(files):,} files only the first was looked at."
    return dataclasses.replace(found, findings=(finding, *found.findings))


def _check_sheet(given: Any, kind: str, sheet: str | int | None) -> None:
    if sheet is not None:
        raise ConfigurationError(
            f"sheet (--sheet) has no effect on {given}, whose format is {kind}: leave it out."
        )


def _of_sheet(given: Any, sheet: str | int | None) -> Detected:
    options = SourceOptions(format="workbook", header=False, sheet=sheet)
    with open_source(given, options) as source:
        batches = source.batches()
        rows = [row for batch in islice(batches, SHEET_BATCHES) for row in rows_of(batch)]
        is_whole = next(batches, None) is None
        name, notes = source.name, source.notes
    table = find_sheet_table(rows, is_whole=is_whole)
    trailer = table.records[table.stop :]
    columns = with_types(_columns(table), table, rows)
    findings = [f"{name} is a workbook.", *notes, *_extent(table, table, is_whole=is_whole)]
    return Detected(
        source=name,
        options=SourceOptions(
            format="workbook",
            sheet=sheet,
            skip_records=table.start,
            header=table.header is not None,
            trailer_records=len(trailer),
        ),
        columns=columns,
        findings=(
            *findings,
            *_padding(columns),
            *map(_finding, filter(_is_special, columns)),
        ),
        trailer_pattern=_trailer_pattern(table, trailer),
        repeated_header=_repeated_header(table, columns),
    )


def _of_named_columns(given: Any, kind: str) -> Detected:
    with open_source(given) as source:
        return Detected(
            source=source.name,
            options=SourceOptions(format=kind),
            columns=tuple(DetectedColumn(name=name, is_known=False) for name in source.columns),
            findings=(f"{source.name} says itself what it is ({kind}).",),
        )


def _columns(table: DetectedTable) -> tuple[DetectedColumn, ...]:
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


def _findings(
    table: DetectedTable, end: DetectedTable, encoding: TextEncoding, *, is_whole: bool
) -> list[str]:
    wide = sum(len(record) == table.width for record in table.records)
    delimiter = {"\t": "a tab"}.get(table.delimiter, repr(table.delimiter))
    found = []
    if not encoding.is_certain:
        found.append("The encoding is a guess: look at a few names with accents.")
    found.append(
        f"The delimiter is {delimiter}: {wide:,} of {_records(len(table.records))} then have "
        f"{counted(table.width, 'cell')}."
        if table.width > 1
        else "No delimiter was found: each line is read as one cell. If it has several, say the "
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
            "say escape = '\\\\'."
        )
    if table.comment:
        found.append(
            f"Lines that begin with {table.comment!r} are comments, which a load passes over "
            f"(comment = {table.comment!r})."
        )
    return [*found, *_extent(table, end, is_whole=is_whole)]


def _has_doubled_backslashes(table: DetectedTable) -> bool:
    runs = (run for record in table.body for cell in record for run in re.findall(r"\\+", cell))
    lengths = {len(run) % 2 for run in runs}
    return lengths == {0}


def _extent(table: DetectedTable, end: DetectedTable, *, is_whole: bool) -> list[str]:
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
                if _typed_place(_columns(table)) is not None
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


def _names(header: Sequence[str]) -> str:
    names = ", ".join(map(repr, header[:NAMES_SHOWN]))
    rest = len(header) - NAMES_SHOWN
    return names if rest <= 0 else f"{names} and {rest:,} more"


def _typed_place(columns: Sequence[DetectedColumn]) -> int | None:
    """Return the place of the first column of dates or numbers."""
    typed = (bool(column.date_formats) or column.is_number for column in columns)
    return next((place for place, is_typed in enumerate(typed) if is_typed), None)


def _repeated_header(
    table: DetectedTable, columns: Sequence[DetectedColumn]
) -> tuple[int, str] | None:
    place = _typed_place(columns)
    if not table.repeats or place is None or table.header is None:
        return None
    return place, table.header[place]


def _padding(columns: Sequence[DetectedColumn]) -> Iterator[str]:
    padded = [column.name for column in columns if column.is_padded]
    if padded:
        yield (
            f"Cells begin or end with blanks, as in column {padded[0]!r}. A load takes them off "
            "(strip = true)."
        )


def _widths(table: DetectedTable) -> Iterator[str]:
    """Yield findings about how a load treats records with fewer or more cells than the header."""
    if table.header is None:
        return
    names = len(table.header)
    longer = [record for record in table.body if len(record) > names]
    shorter = [record for record in table.body if len(record) < names]
    have = "has" if len(longer) == 1 else "have"
    if _has_empty_surplus(table):
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


def _has_empty_surplus(table: DetectedTable) -> bool:
    """Return whether records have more cells than the header, and all these are empty."""
    names = len(table.header or ())
    surplus = [record[names:] for record in table.body if len(record) > names > 0]
    return bool(surplus) and not any(cell.strip() for cells in surplus for cell in cells)


def _shown(records: Sequence[Sequence[str]]) -> str:
    """Return the beginnings of the first records, for a message."""
    shown = [shorten(" ".join(" ".join(record).split())) for record in records[:RECORDS_SHOWN]]
    return ", ".join(shown) + (", …" if len(records) > RECORDS_SHOWN else "")


def _trailer_pattern(table: DetectedTable, trailer: Sequence[Sequence[str]]) -> str | None:
    """Return a pattern that finds the trailer, whatever its number of records, or None.

    A pattern exists if the trailer begins with a word where every record has a date or a number, or
    with a word before an empty date: no record of the table begins like that.
    """
    if not trailer or not trailer[0]:
        return None
    word = re.match(r"[^\W\d_]{3,}", trailer[0][0])
    if word is None:
        return None
    is_wide = len(trailer[0]) == table.width
    # For a record of another width, the loader searches its raw text, with quotes.
    begin = f"^{'' if is_wide or not table.quote else f'{table.quote}?'}{word[0]}"
    if table.date_column == 0 or all(is_number(record[0].strip()) for record in table.body):
        return begin
    place = table.date_column
    if place is None or not is_wide or trailer[0][place].strip():
        return None
    mark = re.escape(table.delimiter)
    return f"{begin}[^{mark}]*{f'{mark}[^{mark}]*' * (place - 1)}{mark} *({mark}|$)"


def _records(count: int) -> str:
    return counted(count, "record")


def _is_special(column: DetectedColumn) -> bool:
    return bool(column.date_formats or column.decimal_mark or column.thousands_mark)


def _finding(column: DetectedColumn) -> str:
    if column.date_formats:
        finding = f"Column {column.name!r} has dates as {', '.join(column.date_formats)}"
        if column.other_date_format is None:
            return f"{finding}."
        return (
            f"{finding}: a guess, since {column.other_date_format} reads them too, as other days."
        )
    said = [
        f"{word} mark {mark!r}"
        for word, mark in (("decimal", column.decimal_mark), ("thousands", column.thousands_mark))
        if mark
    ]
    finding = f"Column {column.name!r} has numbers with {' and '.join(said)}"
    if column.unclear_mark is None:
        return f"{finding}."
    other = "thousands" if column.decimal_mark else "decimal"
    return f"{finding}: a guess, since it could be the {other} mark."


def _read(file: InputFile, size: int) -> bytes:
    parts, left = [], size
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _read_tail(file: InputFile) -> bytes:
    """Return the last ``TAIL_BYTES`` of a file; empty if it cannot be read from there."""
    if file.path is None or file.is_compressed:
        return b""
    with Path(file.path).open("rb") as again:
        again.seek(-min(TAIL_BYTES, file.bytes_total or 0), 2)
        return again.read()


def _end_of(tail: bytes, encoding: str, table: DetectedTable) -> DetectedTable | None:
    """Return the table at the end of the file; None if it differs from the one at the beginning."""
    text = tail.decode(encoding, "replace")
    first, mark, rest = text.partition("\n")
    # The first line is probably incomplete, and may begin inside a cell: that does not matter here.
    found = find_table(rest if mark else first, is_whole=True, delimiters=table.delimiter)
    if found is None or found.width != table.width or table.delimiter not in DELIMITERS:
        return None
    return found

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
from ingest.sources.base import Source, SourceOptions, open_source
from ingest.sources.detection.columns import describe_columns, typed_place
from ingest.sources.detection.detected import Detected, DetectedColumn
from ingest.sources.detection.encodings import TextEncoding, detect_encoding
from ingest.sources.detection.findings import describe_extent, describe_formats, describe_table
from ingest.sources.detection.fixed_width import check_is_delimited
from ingest.sources.detection.sheets import SHEET_BATCHES, find_sheet_table, rows_of, with_types
from ingest.sources.detection.tables import DELIMITERS, find_table
from ingest.sources.detection.values import is_number
from ingest.sources.django_files import plain_file
from ingest.sources.enclosed import EnclosedSource
from ingest.sources.files import InputFile
from ingest.sources.several import find_files
from ingest.sources.text import check_is_text, find_codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.detection.tables import DetectedTable

__all__ = ["Detected", "DetectedColumn", "detect"]

SAMPLE_BYTES = 256 << 10
"""Bytes examined at the beginning of a file; a smaller file is examined as a whole."""
TAIL_BYTES = 16 << 10
"""Bytes examined at the end of a larger file, for its trailer."""
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
    """Detect how to read a file; ``given`` is a path or a file opened in binary mode.

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
        raise SourceError(f"{name} is not text: too many of its bytes are control characters.")
    table = find_table(text, is_whole=is_whole, delimiters=delimiters)
    if table is None and not is_whole:
        raise SourceError(
            f"{name} cannot be looked at: its first record is longer than {SAMPLE_BYTES:,} bytes. "
            "Cut it, or give the encoding if it is different."
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
        lenient=("cut",) if table.has_empty_surplus else (),
        skip_records=table.start,
        header=table.header is not None,
        trailer_records=len(trailer),
    )
    columns = describe_columns(table)
    findings = [
        f"{name} is read with encoding {encoding.name}: {encoding.reason}.",
        *describe_table(table, end, encoding, is_whole=is_whole or bool(tail)),
        *describe_formats(columns),
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
    columns = with_types(describe_columns(table), table, rows)
    findings = [f"{name} is a workbook.", *notes, *describe_extent(table, table, is_whole=is_whole)]
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
            *describe_formats(columns),
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


def _repeated_header(
    table: DetectedTable, columns: Sequence[DetectedColumn]
) -> tuple[int, str] | None:
    place = typed_place(columns)
    if not table.repeats or place is None or table.header is None:
        return None
    return place, table.header[place]


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

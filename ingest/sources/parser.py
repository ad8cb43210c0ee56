"""Parses whole records of delimited text into columns of raw cells."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv

from ingest.sources.lending import lend
from ingest.sources.record_text import pattern_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.sources.base import SourceOptions

_NULL = b"\\N"
_ONE_BLOCK = (1 << 31) - 1
"""Arrow's largest block size: the text consists of whole records, which it need not split."""
FEW_BYTES = 4 << 10
"""The size up to which Python is faster than Arrow, which starts a thread: ten records of six cells
take 0.02 ms instead of 0.2."""


class CellParser:
    """pyarrow's CSV parser for one dialect and a number of columns."""

    def __init__(self, options: SourceOptions, width: int) -> None:
        # Not the file's own names, because two of its columns may have the same name.
        names = [str(place) for place in range(width)]
        self._refused = _Refused(self)
        self._read = pyarrow.csv.ReadOptions(
            block_size=_ONE_BLOCK, use_threads=False, column_names=names
        )
        self._parse = _parse_options(options, invalid_row_handler=self._refused)
        # Binary, so that an undecodable byte can be reported with its record.
        self._convert = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            strings_can_be_null=options.is_postgres_csv,
            quoted_strings_can_be_null=False,
            null_values=[""],
        )
        self._delimiter = options.delimiter.encode()
        self._null = None if options.escape != "\\" else _null_pattern(self._delimiter)
        self._escape = (options.escape or "").encode()
        self._specials: bytes | None = None
        """The special bytes besides the delimiter and the line feed; None if empty cells are
        special, too."""
        if not options.is_postgres_csv:
            self._specials = f"\r{options.quote}{options.escape or ''}".encode()

    def parse(self, text: bytes) -> tuple[list[pa.Array], dict[int, int]]:
        """Return the columns of whole records, and the widths of those that are left out.

        Records with too few or too many cells are left out. The dict has their numbers of cells by
        their places, from 0.
        """
        self._refused.rows.clear()
        if not text:  # Arrow refuses it
            return [pa.array([], pa.binary()) for _ in self._read.column_names], {}
        if len(text) <= FEW_BYTES and (cells := self._split_plain(text)) is not None:
            return cells, {}
        if self._escape and self._escape + b"\r\n" in text:
            text = _with_escaped_line_feeds(text, self._escape)
        if self._null is not None and _NULL in text:
            text = self._null.sub(rb"\\\\N", text)
        # read_csv, which is for whole files, takes three times as long to start, and a thread.
        table = pyarrow.csv.open_csv(
            pa.BufferReader(lend(_guarded(text))),
            read_options=self._read,
            parse_options=self._parse,
            convert_options=self._convert,
        ).read_all()
        refused = {row.number - 1: row.actual_columns for row in self._refused.rows}
        return [_one_chunk(column) for column in table.columns], refused

    def _split_plain(self, text: bytes) -> list[pa.Array] | None:
        """Return the columns if no record has quotes, escapes or another width; else None."""
        if self._specials is None or text.translate(None, self._specials) != text:
            return None
        lines = text.split(b"\n")
        if not lines[-1]:
            lines.pop()
        width = len(self._read.column_names)
        rows = [line.split(self._delimiter) for line in lines]
        if not all(lines) or any(len(row) != width for row in rows):
            return None
        return [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]


class _Refused:
    """The rows that Arrow refuses for a parser.

    It is not a method of the parser, because Arrow holds a reference to it: Python would never
    collect that cycle.
    """

    def __init__(self, parser: CellParser) -> None:
        self.rows: list[pyarrow.csv.InvalidRow] = []
        lend(self, owner=parser)

    def __call__(self, row: pyarrow.csv.InvalidRow) -> str:
        self.rows.append(row)
        return "skip"


def split_record(text: bytes, options: SourceOptions) -> list[str]:
    """Return the cells of one record, of which there may be any number."""
    global _last_split  # noqa: PLW0603 - many files have the same header, and each is asked for it
    if _last_split is not None and _last_split[:2] == (text, options):
        return list(_last_split[2])
    columns, widths = CellParser(options, 1).parse(text)
    if widths:
        columns, _ = CellParser(options, widths[0]).parse(text)
    cells = [(column[0].as_py() or b"").decode() for column in columns]
    _last_split = text, options, tuple(cells)
    return cells


_last_split: tuple[bytes, SourceOptions, tuple[str, ...]] | None = None


def split_records(text: bytes, options: SourceOptions) -> list[list[str]]:
    """Return the cells of each record of a text, of any width, as a load would read them."""
    spans = list(pattern_of(options).spans(text))
    records: list[list[str]] = [[] for _ in spans]

    def take(places: Sequence[int], width: int) -> dict[int, int]:
        """Read the records of one width, and return the widths of the others by their places."""
        # Only the last record may have no line end, and it is also the last of its width.
        columns, others = CellParser(options, width).parse(
            b"".join(text[slice(*spans[place])] for place in places)
        )
        taken = [place for at, place in enumerate(places) if at not in others]
        cells = zip(*(column.to_pylist() for column in columns), strict=True)
        for place, row in zip(taken, cells, strict=True):
            records[place] = [(cell or b"").decode(errors="replace") for cell in row]
        return {places[at]: found for at, found in others.items()}

    by_width: dict[int, list[int]] = {}
    for place, width in take(range(len(spans)), 1).items():
        by_width.setdefault(width, []).append(place)
    for width, places in by_width.items():
        take(places, width)
    return records


def _parse_options(options: SourceOptions, **more: Any) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(
        delimiter=options.delimiter,
        quote_char=options.quote or False,
        double_quote=options.doubled_quotes,
        escape_char=options.escape or False,
        newlines_in_values=True,
        **more,
    )


def _null_pattern(delimiter: bytes) -> re.Pattern[bytes]:
    r"""Return the pattern of a cell that is \N, as MySQL writes NULL.

    It is no escaped N, and so keeps its backslash.
    """
    end = b"[" + re.escape(delimiter) + rb"\r\n]"
    return re.compile(rb"(?:\A|(?<=" + end + rb"))\\N(?=" + end + rb"|\Z)")


def _with_escaped_line_feeds(text: bytes, escape: bytes) -> bytes:
    """Escape both halves of each escaped CRLF: Arrow would take the second for a line end."""
    pairs = re.compile(re.escape(escape) + rb"(?:\r\n|.)", re.DOTALL)
    whole, halves = escape + b"\r\n", escape + b"\r" + escape + b"\n"
    return pairs.sub(lambda pair: halves if pair[0] == whole else pair[0], text)


def _guarded(text: bytes) -> bytes:
    """Protect a block that begins like a byte-order mark, which Arrow would drop."""
    return b"\n" + text if text.startswith(BOM_UTF8) else text


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks() if column.num_chunks else pa.array([], pa.binary())

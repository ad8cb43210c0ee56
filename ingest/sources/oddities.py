"""Notices what is read as it is written, but was probably meant otherwise.

A load tells of it in a warning.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING

import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from ingest.sources.base import SourceOptions
    from ingest.sources.record_text import Block

JOINED = "a byte-order mark"
"""The fault of a record that begins like a file: several files were joined to one."""


def joined_places(block: Block) -> list[int]:
    """Return the places of the records that begin with a byte-order mark."""
    # Searching for the first byte alone is a hundred times as fast.
    if BOM_UTF8[:1] not in block.text or BOM_UTF8 not in block.text:
        return []
    starts, _ = block.spans
    return [place for place, start in enumerate(starts) if block.text.startswith(BOM_UTF8, start)]


class Oddities:
    """The oddities of one delimited text."""

    def __init__(self, name: str, options: SourceOptions, columns: Sequence[str]) -> None:
        self._name = name
        self._options = options
        self._has_names = options.has_header or bool(options.columns)
        self._names = [column.encode() for column in columns]
        self._blank_and_quote = f"{options.delimiter} {options.quote}".encode()
        self._headers = self._first_header = 0
        self._has_blank_before_quote = False
        self._lacks_trailer = False

    def look(self, block: Block, columns: Sequence[pa.Array], records: Sequence[int]) -> None:
        """Look at the records of a block; ``records`` has the number of each row."""
        if self._has_names and len(records):
            self._look_for_header(columns, records)
        if self._options.quote and not (block.is_well_quoted or self._has_blank_before_quote):
            self._has_blank_before_quote = self._blank_and_quote in block.text

    def end(self, trailer: int) -> None:
        """Note that the text is read to its end, with so many records of a trailer."""
        self._lacks_trailer = self._options.trailer_pattern is not None and not trailer

    def warnings(self, *, has_controls: bool) -> Iterator[str]:
        """Yield a sentence for each oddity; ``has_controls``: whether the text has C1 controls."""
        name = self._name
        if self._headers:
            yield self._header_again()
        if self._has_blank_before_quote:
            yield (
                f"Warning: {name} has blanks before quotes. A quote opens a cell only at its "
                "start: there, the blank and the quotes are part of the text. Take the blanks away."
            )
        if has_controls:
            yield (
                f"Warning: {name} has control characters (U+0080 to U+009F) when it is read as "
                f"{self._options.encoding}. Is it an encoding of Windows, which has the euro and "
                "typographic quotes there? Use --encoding cp1252, or the one that it is."
            )
        if self._lacks_trailer:
            yield (
                f"Warning: no record of {name} matches trailer_pattern, so that none was left out "
                "at its end."
            )

    def _header_again(self) -> str:
        many = self._headers > 1
        where = f"{'first in record' if many else 'as record'} {self._first_header:,}"
        cure = "with [[skip]] in a layout"
        if self._options.columns and not many and self._first_header == 1:
            cure = "with --skip-records 1"
        return (
            f"Warning: {self._name} has {f'{self._headers:,} records' if many else 'a record'} "
            f"whose cells are the names of its columns, {where}. If that is a header, leave it out "
            f"{cure}."
        )

    def _look_for_header(self, columns: Sequence[pa.Array], records: Sequence[int]) -> None:
        is_header = None
        for name, column in zip(self._names, columns, strict=False):
            is_name = pc.equal(column, name)
            is_header = is_name if is_header is None else pc.and_(is_header, is_name)
            if not pc.any(is_header).as_py():
                return
        places = pc.indices_nonzero(is_header)
        self._first_header = self._first_header or records[places[0].as_py()]
        self._headers += len(places)

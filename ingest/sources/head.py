"""What stands before the first record of a delimited text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from ingest.exceptions import SourceError
from ingest.sources.lines import RecordPattern
from ingest.sources.rewriting import REASONS
from ingest.sources.rewriting_delimited import PREFIX
from ingest.sources.text import show

if TYPE_CHECKING:
    from ingest.sources.base import SourceOptions
    from ingest.sources.text import TextReader

RECORD_BYTES = 2 << 20
"""A record of a head that is longer than this has a quote that is never closed."""


class Head:
    """What stands before the first record: the preamble and the names of the columns."""

    def __init__(self, reader: TextReader, name: str, options: SourceOptions) -> None:
        self.lines = 0
        """How many lines it takes."""
        self.text = b""
        """The text of it."""
        self.reasons_at: int | None = None
        """The place of the column in which an earlier load said why it refused the records."""
        self._reader = reader
        self._options = options
        self._pattern = RecordPattern(options)
        for number in range(options.skip_records):
            if not self._read_record().strip(b"\r\n"):
                raise SourceError(
                    f"{name} has only {number:,} records, fewer than the "
                    f"{options.skip_records:,} to be skipped before the first."
                )
        names = self._read_header(name) if options.has_header else None
        first = [] if options.has_header else self._look_at_first()
        if names and REASONS in names:
            self.reasons_at = names.index(REASONS)
            names = (*names[: self.reasons_at], *names[self.reasons_at + 1 :])
        elif first and first[-1].startswith(PREFIX):
            first = first[:-1]
            self.reasons_at = len(options.columns or first)
        if not (options.columns or names or first):
            raise SourceError(f"{name} is empty: nothing says how many columns it has.")
        positions = map(str, range(1, len(first) + 1))
        self.columns: tuple[str, ...] = options.columns or names or tuple(positions)

    def _read_header(self, name: str) -> tuple[str, ...]:
        text = self._read_record()
        if not text.strip():
            raise SourceError(f"{name} is empty: its first line should name the columns.")
        return tuple(cell.strip() for cell in self._split(text))

    def _look_at_first(self) -> list[str]:
        lines, before = self.lines, self.text
        text = self._read_record()
        self._reader.put_back(self.text[len(before) :])
        self.lines, self.text = lines, before
        return self._split(text) if text.strip(b"\r\n") else []

    def _split(self, text: bytes) -> list[str]:
        options = self._options
        [cells] = csv.reader(
            io.StringIO(show(text.decode().rstrip("\r\n")), newline=""),
            delimiter=options.delimiter,
            quotechar=options.quote or None,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            doublequote=options.doubled_quotes,
            escapechar=options.escape,
        )
        return cells

    def _read_record(self) -> bytes:
        """Read one record, line ends inside quotes included; blank lines before it are dropped."""
        record = b""
        while True:
            line = self._reader.read_line()
            self.lines += bool(line)
            self.text += line
            if not line:
                return record
            record += line
            if not record.strip(b"\r\n"):
                record = b""
            elif len(record) > RECORD_BYTES or self._pattern.is_whole(record):
                return record

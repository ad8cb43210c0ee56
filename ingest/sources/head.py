"""Reads the head of a delimited text: everything before the first record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ingest.exceptions import SourceError
from ingest.plurals import counted
from ingest.sources.delimited_writer import PREFIX, REASONS_FOLLOW, plain_text
from ingest.sources.parser import split_record
from ingest.sources.record_text import NOTHING_ESCAPED, OPEN_QUOTE, count_lines, pattern_of
from ingest.sources.text import show
from ingest.sources.writers import REASONS

if TYPE_CHECKING:
    from ingest.sources.base import SourceOptions
    from ingest.sources.text import TextReader

RECORD_BYTES = 2 << 20
"""The longest record of a head."""
BLANK_BYTES = 64 << 10
"""Bytes of blank lines, of which there may be any number, that are kept for the reject file."""


class Head:
    """The text before the first record: the preamble and the names of the columns."""

    def __init__(self, reader: TextReader, name: str, options: SourceOptions) -> None:
        self.lines = 0
        """The number of its lines."""
        self.bytes = 0
        """The number of its bytes in the file; see ``TextReader.bytes_in_file``."""
        self.text = b""
        """Its text."""
        self.preamble = b""
        """The text of the skipped records."""
        self.reasons_at: int | None = None
        """The place of the column with the reasons for which an earlier load refused the
        records."""
        self._name = name
        self._reader = reader
        self._options = options
        self._pattern = pattern_of(options)
        self._rest = b""
        self._blank_bytes = 0
        self._is_last = False
        try:
            self._read()
        finally:
            reader.put_back(self._rest)

    def _read(self) -> None:
        options = self._options
        for number in range(options.skip_records):
            if not self._take_record():
                raise SourceError(
                    f"{self._name} has only {counted(number, 'record')}, fewer than the "
                    f"{options.skip_records:,} to be skipped before the first."
                )
        self.preamble = self.text
        names: tuple[str, ...] = ()
        first: list[str] = []
        if options.has_header:
            names = self._take_header()
            reasons = plain_text(REASONS, options)
            if reasons in names:
                self.reasons_at = names.index(reasons)
                names = (*names[: self.reasons_at], *names[self.reasons_at + 1 :])
        else:
            first = self._look_at_first()
        if not (options.columns or names or first):
            raise SourceError(f"{self._name} is empty: nothing says how many columns it has.")
        positions = map(str, range(1, len(first) + 1))
        self.columns: tuple[str, ...] = options.columns or names or tuple(positions)

    def _take_header(self) -> tuple[str, ...]:
        text = self._take_record()
        if not text.strip():
            raise SourceError(f"{self._name} is empty: its first line should name the columns.")
        fault = self._pattern.fault_of(text)
        if fault in {OPEN_QUOTE, NOTHING_ESCAPED}:
            raise SourceError(
                f"{self._name} cannot be read: its header, up to line {self.lines:,}, has "
                f"{fault}: {_shown(text)}. Give the quote and the escape character "
                "if they are different."
            )
        return tuple(cell.strip() for cell in self._split(text))

    def _look_at_first(self) -> list[str]:
        """Return the cells of the first record without consuming it."""
        record = self._find_record()
        if record is None:
            return []
        text = self._content(*record)
        if self._pattern.fault_of(text) in {OPEN_QUOTE, NOTHING_ESCAPED}:
            return []
        cells = self._split(text)
        if cells[-1] == plain_text(REASONS_FOLLOW, self._options):
            self._take_record()
            self.reasons_at = len(self._options.columns or cells[:-1])
            return cells[:-1]
        if cells[-1].startswith(PREFIX):  # as in the reject files of versions up to 0.1
            self.reasons_at = len(self._options.columns or cells[:-1])
            return cells[:-1]
        return cells

    def _split(self, text: bytes) -> list[str]:
        return list(map(show, split_record(text, self._options)))

    def _take_record(self) -> bytes:
        """Consume and return the next record without its line end; empty at the end."""
        record = self._find_record()
        if record is None:
            return b""
        content = self._content(*record)
        self._pass(record[1])
        return content

    def _content(self, start: int, stop: int) -> bytes:
        return self._pattern.content(self._rest[start:stop])

    def _find_record(self) -> tuple[int, int] | None:
        """Return the span of the next record in ``_rest``; None at the end of the text."""
        while True:
            self._pass_blank_lines()
            found = self._pattern.first_record(self._rest, is_last=self._is_last)
            if found is not None:
                return found if found[1] > found[0] else None
            if len(self._rest) > RECORD_BYTES:
                self._refuse_long_record()
            more = self._reader.read_chunk()
            self._is_last = not more
            self._rest += more

    def _pass_blank_lines(self) -> None:
        stop = self._pattern.blank_end(self._rest, is_last=self._is_last)
        if stop == len(self._rest) and self._rest.endswith(b"\r") and not self._is_last:
            # The rest of this line end may follow.
            stop = self._pattern.blank_end(self._rest[:-1])
        if stop:
            self._pass(stop, keeps=self._blank_bytes + stop <= BLANK_BYTES)
            self._blank_bytes += stop

    def _pass(self, stop: int, *, keeps: bool = True) -> None:
        text, self._rest = self._rest[:stop], self._rest[stop:]
        self.lines += count_lines(text) or bool(text)
        self.bytes += self._reader.bytes_in_file(text)
        if keeps:
            self.text += text

    def _refuse_long_record(self) -> NoReturn:
        what = "record before the first that is to be loaded"
        if self._options.has_header:
            what = "header, or a record before it,"
        cure = "close the quote" if self._pattern.is_open(self._rest) else "cut it"
        why = (
            f"opens {OPEN_QUOTE} within"
            if self._pattern.is_open(self._rest)
            else "has no end within"
        )
        raise SourceError(
            f"{self._name} cannot be read: a {what} (line {self.lines + 1:,}) {why} "
            f"{RECORD_BYTES:,} bytes: {_shown(self._rest)}. Give the delimiter, the quote and the "
            f"encoding if they are different, or {cure}."
        )


def _shown(text: bytes) -> str:
    return repr(show(text[:40].decode(errors="replace")))

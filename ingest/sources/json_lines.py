"""JSON Lines: one JSON object on each line (https://jsonlines.org)."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import msgspec

from ingest.exceptions import ConfigurationError, SourceError, did_you_mean
from ingest.results.rejects import shorten
from ingest.sources.base import OF_DELIMITED_TEXT, OF_WORKBOOKS, Source, SourceOptions
from ingest.sources.batch import Batch, CellText, Position
from ingest.sources.files import InputFile, kind_suffix
from ingest.sources.scanning import LineScanner, find_ends, is_transparent
from ingest.sources.text import LONE_SURROGATE, MARK, TextReader, show
from ingest.sources.writers import COLUMNS, REASONS, JsonLinesWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.results.rejects import Reject

LINE_BYTES = 16 << 20
"""The longest line in bytes, so that a file without line ends does not fill the memory."""
CACHED_ROWS = 2_048
"""Rows decoded before they are turned into columns: few enough to stay in the processor's cache,
which saves a quarter of the time."""

# decimal.InvalidOperation: an exponent of more than eighteen digits.
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidOperation)
_decode: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=Decimal).decode


JSON_KINDS: list[type[JsonLinesSource]] = []
"""The classes that read JSON, registered when their modules are imported."""


class JsonLinesSource(Source):
    """A file of JSON objects with the same keys; those of the first object are the columns.

    A number with a fraction or an exponent is a ``Decimal`` with the digits of the file. Inside a
    list or an object, which goes to a ``JSONField``, it is a float, and so is a number that a
    ``JSONField`` gets itself.
    """

    format = "jsonl"
    place = 15
    is_of_files = True
    ignores = OF_DELIMITED_TEXT | OF_WORKBOOKS
    has_json_numbers = True
    is_one_array: ClassVar[bool] = False
    """Whether its objects are the elements of one array."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        JSON_KINDS.append(cls)

    def __init__(self, file: InputFile, reader: TextReader, options: SourceOptions) -> None:
        self.name = file.name
        self.file_name = file.file_name
        self.bytes_total = file.bytes_total
        self.paths = file.paths
        self._file = file
        self._encoding = options.encoding
        self._reader = reader
        self._rest = b""
        self._byte_span = 0, 0
        """The bytes of the file at which the block begins and ends."""
        self._block = self._next_block()
        self._note_span()
        self.columns = options.columns or self._find_columns()
        self._start = Position(line=0)
        self._scanner: LineScanner | None = None
        self._is_closed = False
        self._may_have_more = options.columns is not None
        self._lenient = options.lenient
        self._decode_record = _fast_decoder(self.columns, self._may_have_more)
        self._getters = [attrgetter(f"c{place}") for place in range(len(self.columns))]

    @classmethod
    def accepts(cls, given: Any) -> bool:
        is_file = isinstance(given, str | Path) or hasattr(given, "read")
        return is_file and kind_suffix(given) in {".jsonl", ".ndjson", ".json"}

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        if options.columns is not None and "cut" in options.lenient:
            raise ConfigurationError(
                "lenient='cut' (--lenient cut) has no effect beside columns, which takes these "
                "keys alone of each object: leave one of them out."
            )
        file = InputFile(given)
        try:
            reader = TextReader(file, options.encoding)
            return cast("Self", _kind_of(reader)(file, reader, options))
        except BaseException:
            file.close()
            raise

    def go_to(self, position: Position) -> bool:
        if position.byte is None or not self._can_seek:
            return False
        self._reader.go_to(position.byte)
        self._start, self._rest = position, b""
        self._byte_span = position.byte, position.byte
        self._block = self._next_block()
        self._note_span()
        return True

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:
        if not self._can_seek:
            return None
        [path] = self.paths
        return find_ends(LineScanner(path, start), start, records)

    def check_unchanged(self) -> None:
        self._file.check_unchanged()

    def batches(self) -> Iterator[Batch]:
        record, line = self._start.record + 1, (self._start.line or 0) + 1
        while self._block:
            lines = self._block.split(b"\n")
            if not lines[-1]:
                lines.pop()
            at = self._find_lines(lines, line)
            batch = self._at_once(lines, record, at) or self._one_by_one(lines, record, at)
            yield batch
            record += batch.records_read
            line += len(lines)
            self._block = self._next_block()
            self._note_span()

    def writer(self, suffix: str = "") -> JsonLinesWriter:  # noqa: ARG002
        return JsonLinesWriter(self.columns, self._encoding)

    def close(self) -> None:
        self._file.close()
        self._is_closed = True
        if self._scanner is not None:
            self._scanner.close()

    def _note_span(self) -> None:
        """Set ``_byte_span`` for the present block."""
        begin = self._byte_span[1]
        self._byte_span = begin, max(self._reader.byte_before(len(self._rest)), begin)

    @property
    def _can_seek(self) -> bool:
        return self._file.can_seek and is_transparent(self._encoding)

    def _find_lines(self, lines: list[bytes], line: int) -> Sequence[int]:
        """Return the numbers of these lines in the file; the first one has the number ``line``."""
        return range(line, line + len(lines))

    def _find_position(self, record: int) -> Position:
        """Return the position after a record, for which the file is scanned a second time."""
        if not self._can_seek:
            return Position(record=record)
        if self._is_closed:  # and the next of several small files is open
            with closing(LineScanner(self.paths[0], self._start)) as scanner:
                return scanner.after(record)
        if self._scanner is None:
            [path] = self.paths
            self._scanner = LineScanner(path, self._start)
        return self._scanner.after(record)

    def _next_block(self) -> bytes:
        """Return the next whole lines; empty at the end."""
        text = self._rest
        while chunk := self._reader.read_chunk():
            text += chunk
            stop = text.rfind(b"\n") + 1
            if stop:
                self._rest = text[stop:]
                return text[:stop]
            if len(text) > LINE_BYTES:
                raise SourceError(
                    f"{self.name} has a line longer than {LINE_BYTES:,} bytes: JSON Lines has one "
                    "object a line."
                )
        self._rest = b""
        return text

    def _find_columns(self) -> tuple[str, ...]:
        for line in self._block.split(b"\n"):
            try:
                first = _decode(line)
            except _NO_JSON:
                continue
            if isinstance(first, dict) and first.keys() - {REASONS, COLUMNS}:
                said = first.get(COLUMNS)
                if isinstance(said, list) and all(isinstance(name, str) for name in said):
                    return tuple(said)
                return tuple(name for name in first if name not in {REASONS, COLUMNS})
        if not self._block.strip():
            raise SourceError(f"{self.name} is empty: its first line should be a JSON object.")
        raise SourceError(
            f"{self.name} has no records: none of its first lines or elements is a JSON object "
            f"with keys. It begins with {shorten(show(self._block.strip().decode()))}. Write each "
            "record as an object on a line of its own."
        )

    def _at_once(self, lines: list[bytes], record: int, at: Sequence[int]) -> Batch | None:
        """Return a batch of lines that are all valid, or None if one is not."""
        decode = self._decode_record
        if decode is None or self._reader.has_undecodable:
            return None
        columns: list[list[Any]] = [[] for _ in self.columns]
        try:
            for start in range(0, len(lines), CACHED_ROWS):
                records = [decode(text) for text in lines[start : start + CACHED_ROWS]]
                for column, getter in zip(columns, self._getters, strict=True):
                    column.extend(map(getter, records))
        except _NO_JSON:
            return None
        if b"[" in self._block or self._block.count(b"{") > len(lines):
            columns = [list(map(_with_floats, column)) for column in columns]
        return Batch(
            source=self.name,
            records=range(record, record + len(lines)),
            columns=tuple(columns),
            find_line=lambda number: at[number - record] if number >= record else None,
            find_position=self._find_position,
            byte_span=self._byte_span,
        )

    def _one_by_one(self, lines: list[bytes], record: int, at: Sequence[int]) -> Batch:
        rows, numbers, rejects = [], [], []
        line_of: dict[int, int] = {}
        misfits: dict[int, str] = {}
        padded: set[int] = set()
        cut: set[int] = set()
        for place, text in zip(at, lines, strict=True):
            if not text.strip():
                continue
            line_of[record] = place
            try:
                cells, has_unknown = self._cells(text)
                rows.append(cells)
                numbers.append(record)
                if any(cell is _MISSING for cell in cells):
                    padded.add(record)
                if has_unknown:
                    cut.add(record)
            except _MisfitError as misfit:
                rejects.append(self._reject(record, place, text, str(misfit)))
                misfits[record] = text.decode(errors="replace").rstrip("\r")
            record += 1
        columns = zip(*rows, strict=True) if rows else ((),) * len(self.columns)
        return Batch(
            source=self.name,
            records=numbers,
            columns=tuple(map(list, columns)),
            rejects=tuple(rejects),
            misfits=misfits,
            padded=frozenset(padded),
            cut=frozenset(cut),
            split_misfit=self._split_misfit,
            find_line=line_of.get,
            find_position=self._find_position,
            byte_span=self._byte_span,
        )

    def _split_misfit(self, _record: int, line: Any) -> list[Any] | None:
        """Return the values of a record with missing or other keys; None if it is no object."""
        try:
            found = _decode(str(line).encode(errors="surrogatepass"))
        except _NO_JSON:
            return None
        return [found.get(name) for name in self.columns] if isinstance(found, dict) else None

    def _cells(self, line: bytes) -> tuple[tuple[Any, ...], bool]:
        """Return the values of a record, and whether it has keys that are not columns.

        Raises ``_MisfitError`` if the line is not a valid record.
        """
        shown = show(line[:60].decode(errors="replace"))
        if self._reader.has_undecodable and MARK.encode() in line:
            raise _MisfitError(f"it has a byte that is not valid in the file's encoding: {shown!r}")
        try:
            found = _decode(line)
        except InvalidOperation as error:
            raise _MisfitError(
                f"it has a number whose exponent is beyond all bounds: {shown!r}"
            ) from error
        except _NO_JSON as error:
            why = _why_no_json(line, error)
            raise _MisfitError(f"it is not a JSON object on one line ({why}): {shown!r}") from error
        if not isinstance(found, dict):
            raise _MisfitError(f"it is not a JSON object: {shown!r}")
        for name in self.columns:
            if name not in found and "pad" not in self._lenient:
                raise _MisfitError(
                    f'it has no key {name!r}: write "{name}": null where there is no value'
                )
        unknown = [name for name in found if name not in (*self.columns, REASONS, COLUMNS)]
        has_unknown = bool(unknown) and not self._may_have_more
        if has_unknown and "cut" not in self._lenient:
            raise _MisfitError(
                f"it has a key {unknown[0]!r}, which the first record does not have."
                f"{did_you_mean(unknown[0], self.columns)}"
            )
        cells = tuple(
            _with_floats(found[name]) if name in found else _MISSING for name in self.columns
        )
        return cells, has_unknown

    def _reject(self, record: int, line: int, text: bytes, reason: str) -> Reject:
        shown = show(text.decode(errors="replace").rstrip("\r"))
        return self.reject(record, shown, reason, line)


_MISSING = CellText("")
"""The value of a missing key under ``lenient='pad'``: like an empty cell of a text file."""


JSON_KINDS.append(JsonLinesSource)


def _kind_of(reader: TextReader) -> type[JsonLinesSource]:
    """Return the class that reads a text: a text that begins with a bracket is one array."""
    text = b""
    while not text.strip() and (more := reader.read_chunk()):
        text += more
    reader.put_back(text)
    is_array = text.lstrip()[:1] == b"["
    return next(kind for kind in JSON_KINDS if kind.is_one_array == is_array)


def _why_no_json(line: bytes, error: Exception) -> str:
    """Return why a line is no JSON, also if Python's ``json`` would have read it."""
    constants: list[str] = []
    try:
        json.loads(line, parse_constant=constants.append)
    except (ValueError, RecursionError):
        return str(error)
    if constants:
        return f"{constants[0]} is not a JSON number: write null, or leave the record out"
    return LONE_SURROGATE.removesuffix(".") if b"\\u" in line else str(error)


class _MisfitError(Exception):
    """A line is not a record with the keys of the first one."""


def _fast_decoder(names: tuple[str, ...], may_have_more: bool) -> Any:  # noqa: FBT001
    """Return a decoder of objects with exactly these keys, or None if it cannot be made.

    It takes three quarters of the time of a decoder into dicts, and a third of that of Python's
    ``json``.
    """
    places = {f"c{place}": name for place, name in enumerate(names)}
    try:
        record = msgspec.defstruct(
            "Record",
            [*((place, Any) for place in places), ("reasons", Any, None)],
            rename={**places, "reasons": REASONS},
            forbid_unknown_fields=not may_have_more,
            gc=False,
        )
    except ValueError:  # a name that would have to be escaped in JSON
        return None
    return msgspec.json.Decoder(record, float_hook=Decimal).decode


def _with_floats(value: Any) -> Any:
    """Convert the numbers inside a list or an object to floats, as Python's ``json`` does."""
    kind = type(value)
    if kind is dict:
        return {key: _inner(item) for key, item in value.items()}
    return [_inner(item) for item in value] if kind is list else value


def _inner(value: Any) -> Any:
    return float(value) if type(value) is Decimal else _with_floats(value)

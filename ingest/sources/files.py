"""Opens files for sources: a path, standard input or a file object, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import select
import stat
import sys
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa

from ingest.exceptions import SourceError, did_you_mean
from ingest.sources.fingerprints import stamp, stamp_of
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.sources.fingerprints import Stamp

STDIN = "-"

COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""The names of the compressions by the suffix of a file's name."""

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
MAGIC_BYTES = 16
"""How many bytes at the beginning of a file identify its format."""


class _ReadInPieces:
    """A file that is read in small pieces, because gzip reads 128 KB ahead from Python 3.12 on.

    A load's progress counts the bytes that were read.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        piece: bytes = self._file.read(min(size, io.DEFAULT_BUFFER_SIZE))
        return piece

    def seek(self, place: int) -> int:
        """Seek, which decompressors need to start again at the file's beginning."""
        found: int = self._file.seek(place)
        return found


class _Streams:
    """A file of one or more streams of bzip2 or xz, all of which must be read to their ends.

    BZ2File and LZMAFile end without an error where other bytes follow a stream.
    """

    def __init__(self, file: Any, kind: str) -> None:
        self._file = file
        self._kind = kind
        self._start = {"bzip2": bz2.BZ2Decompressor, "xz": lzma.LZMADecompressor}[kind]
        self._stream: Any = self._start()

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the content; none at its end."""
        given = b""
        while not given:
            if self._stream.eof:
                left = self._next_stream()
                if not left:
                    break
                self._stream = self._start()
            elif self._stream.needs_input:
                left = self._file.read(io.DEFAULT_BUFFER_SIZE)
                if not left:
                    raise EOFError("it ends before the end-of-stream marker")
            else:
                left = b""
            given = self._stream.decompress(left, max_length=size)
        return given

    def _next_stream(self) -> bytes:
        """Return the beginning of the next stream; empty if there is none."""
        left: bytes = self._stream.unused_data
        padding = 0
        while True:
            if self._kind == "xz":  # whose format allows zero bytes here
                stream = left.lstrip(b"\0")
                padding += len(left) - len(stream)
                left = stream
            if len(left) >= MAGIC_BYTES or not (more := self._file.read(io.DEFAULT_BUFFER_SIZE)):
                break
            left += more
        magic = next(magic for magic, kind in _MAGIC.items() if kind == self._kind)
        if padding % _PADDING or (left and not left.startswith(magic)):
            raise OSError(f"after the end of a stream it has bytes that are not {self._kind} data")
        return left


_PADDING = 4
"""The zero bytes that follow a stream of xz are a multiple of it."""
_OPENERS: dict[str, Callable[[Any], Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=_ReadInPieces(file), mode="rb"),
    "bzip2": lambda file: _Streams(file, "bzip2"),
    "xz": lambda file: _Streams(file, "xz"),
    # From pyarrow, which is required anyway; Python itself has zstd only from 3.14.
    "zstd": lambda file: pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"),
}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


class NamedPath(type(Path())):  # type: ignore[misc] # PosixPath or WindowsPath
    """A file on this machine that has another name in messages and layouts."""

    shown_name: str = ""

    @classmethod
    def of(cls, path: str | Path, shown_name: str) -> NamedPath:
        """Return the path of a file that had another name where it came from."""
        named = cls(path)
        named.shown_name = shown_name
        return named


def file_name_of(given: Any) -> str:
    """Return the name of a file without its folder, or an empty string if it has none."""
    if isinstance(given, NamedPath):
        return given.shown_name
    if isinstance(given, Path):
        return given.name
    name = getattr(given, "name", "") if hasattr(given, "read") else str(given)
    return "" if name == STDIN or not isinstance(name, str) else Path(name).name


class InputFile:
    """A file opened in binary mode, which are decompressed if necessary.

    The compression is detected by the first bytes, so it works for standard input too. A file that
    is not compressed though its name has such a suffix is an error.
    """

    def __init__(self, given: Any) -> None:
        self.path: Path | None = None
        self.file_name = file_name_of(given)
        self.bytes_total: int | None = None
        self.is_compressed = False
        self._is_ours = False
        self._opened: Stamp | None = None
        if hasattr(given, "read"):
            self._raw: IO[bytes] = given
            self.name = safe_line(str(getattr(given, "name", type(given).__name__)))
            size = getattr(given, "size", None)  # Django's files and others have it
            self.bytes_total = size if isinstance(size, int) else None
        elif str(given) == STDIN:
            self._raw, self.name = _standard_input(), "standard input"
            self._is_ours = isinstance(self._raw, _WaitingInput)
        else:
            shown = given.shown_name if isinstance(given, NamedPath) else str(given)
            self._is_ours, self.name = True, safe_line(shown)
            self.path = given if isinstance(given, Path) else Path(given)
            self._raw = open_path(self.path)
            found = os.fstat(self._raw.fileno())
            self._opened = stamp_of(found)
            if stat.S_ISREG(found.st_mode):
                self.bytes_total = found.st_size
            else:  # a pipe can be read only once, and has no size
                self.path = None
        self._counted = _CountedFile(self._raw, self.name)
        try:
            self._content = self._decompress()
        except BaseException:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file, as stored, have been read."""
        return self._counted.bytes_read

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the content; none at its end.

        Raises ``SourceError`` if a compressed file is truncated or damaged.
        """
        try:
            return bytes(self._content.read(size))
        except SourceError:
            raise
        except _DAMAGE as error:
            raise SourceError(
                f"{self.name} cannot be decompressed to its end ({error}): it is truncated or "
                "damaged. Fetch the file again."
            ) from error

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its path, if it can be read again."""
        return () if self.path is None else (self.path,)

    @property
    def can_seek(self) -> bool:
        """Whether the file can be read from any position."""
        return self.path is not None and not self.is_compressed

    def go_to(self, byte: int) -> None:
        """Let ``read`` continue at this byte of the file."""
        self._raw.seek(byte)
        self._counted.forget(byte)

    def check_unchanged(self) -> None:
        """Raise ``SourceError`` if the file was changed or replaced since it was opened."""
        if self.path is not None and _stamp(self.path) != self._opened:
            raise SourceError(
                f"{self.name} was changed while it was read: what was read of it may be neither "
                "the old file nor the new one. Load it when nobody writes to it."
            )

    def peek(self) -> bytes:
        """Return the first bytes of the file, as stored, without consuming them."""
        return self._counted.peek(MAGIC_BYTES)

    def close(self) -> None:
        """Close the file if it was opened here."""
        if self._is_ours:
            self._raw.close()

    def _decompress(self) -> Any:
        head = self.peek()
        found = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
        promised = COMPRESSIONS.get(Path(self.name).suffix.lower())
        if promised and head and found != promised:
            raise SourceError(
                f"{self.name} is not {promised} data, though its name says so: rename the file."
            )
        self.is_compressed = found is not None
        return _OPENERS[found](self._counted) if found else self._counted


class _WaitingInput(io.RawIOBase):
    """A file descriptor whose blocking read ends when another thread closes the file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_let_go = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes; none at the end of the input or after ``close``."""
        while not self._is_let_go:
            if select.select([self._descriptor], [], [], LOOK_SECONDS)[0]:
                return os.read(self._descriptor, size if size >= 0 else CHUNK_BYTES)
        return b""

    def close(self) -> None:
        """Stop reading; the descriptor stays open, because it belongs to the process."""
        self._is_let_go = True


def _standard_input() -> IO[bytes]:
    if cast("object", sys.stdin) is None:  # as after `<&-`, or in a process without a console
        raise SourceError("Standard input is closed: give a file, or a pipe to read from.")
    try:
        return cast("IO[bytes]", _WaitingInput(sys.stdin.fileno()))
    except (OSError, ValueError):  # sys.stdin was replaced
        return sys.stdin.buffer


LOOK_SECONDS = 0.1
"""How soon a reader that waits for standard input notices that it was closed."""
CHUNK_BYTES = 1 << 20
"""Bytes read at a time if no size is given."""


class _CountedFile(io.RawIOBase):
    """A file that counts the bytes read, and whose first bytes can be peeked at."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._head = b""
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        while len(self._head) < size:
            more = self._take(size - len(self._head))
            if not more:
                break
            self._head += more
        return self._head

    def read(self, size: int = -1, /) -> bytes:
        if self._head:
            given = self._head if size < 0 else self._head[:size]
            self._head = self._head[len(given) :]
            if 0 <= size <= len(given):
                self.bytes_read += len(given)
                return given
            given += self._take(size if size < 0 else size - len(given))
        else:
            given = self._take(size)
        self.bytes_read += len(given)
        return given

    def forget(self, bytes_read: int) -> None:
        """Drop the peeked bytes: the file has been moved to this byte."""
        self._head = b""
        self.bytes_read = bytes_read

    def readinto(self, buffer: Any) -> int:
        given = self.read(len(buffer))
        buffer[: len(given)] = given
        return len(given)

    def _take(self, size: int) -> bytes:
        given: Any = self._file.read(size)
        if isinstance(given, str):
            raise SourceError(
                f"{self._name} is opened in text mode: open it in binary mode ('rb')."
            )
        return bytes(given or b"")


def _stamp(path: Path) -> Stamp | None:
    try:
        return stamp(path)
    except OSError:
        return None


def open_path(path: Path) -> IO[bytes]:
    """Open a file for reading bytes; if it is missing, ``SourceError`` suggests similar names."""
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        known: list[str] = []
        with suppress(OSError):
            known = [item.name for item in path.parent.iterdir()]
        raise SourceError(
            f"There is no file {str(path)!r}.{did_you_mean(path.name, known)}"
        ) from error
    except OSError as error:
        raise SourceError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def kind_suffix(given: Any) -> str:
    """Return the suffix that names a file's format: ``.csv`` for ``a.csv.gz``."""
    return _kind_suffix(str(getattr(given, "name", "") if hasattr(given, "read") else given))


@lru_cache(maxsize=64)  # each kind of source asks for it in turn
def _kind_suffix(name: str) -> str:
    path = Path(name)
    if path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return path.suffix.lower()

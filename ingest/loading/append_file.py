"""A file that is only appended to and can be cut back to a marked position."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import IO, TYPE_CHECKING, Any

from ingest.exceptions import NOTHING_LOADED, IngestError, Outcome
from ingest.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

DIGEST_BYTES = 16
BLOCK_BYTES = 1 << 20


class AppendFile:
    """Appends to a file; raises ``IngestError`` if its disk is full or fails."""

    def __init__(
        self,
        file: IO[bytes],
        what: str,
        *,
        lasts: bool,
        publish: Callable[[], None] | None = None,
    ) -> None:
        """Take an open file; ``what`` names it in messages.

        ``lasts``: marked bytes are synced to disk. ``publish`` is called whenever the written bytes
        must become visible to others.
        """
        self._file = file
        self._what = what
        self._lasts = lasts
        self._publish = publish
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._is_dirty = False
        self._failure: IngestError | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be written any more; also true after an error."""
        return self._file.closed

    def write(self, text: bytes) -> None:
        """Append the bytes."""
        with self._explained():
            self._file.write(text)
        if self._lasts:
            self._digest.update(text)
        self._is_dirty = True

    def flush(self) -> None:
        """Let other readers see what was written."""
        with self._explained():
            self._file.flush()
            if self._publish is not None:
                self._publish()

    def mark(self) -> dict[str, Any]:
        """Sync what is written to disk, and return the end of the file and its digest."""
        with self._explained():
            self._file.flush()
            if self._lasts and self._is_dirty:
                os.fsync(self._file.fileno())
            if self._publish is not None and self._is_dirty:
                self._publish()
            self._is_dirty = False
            mark: dict[str, Any] = {"bytes": self._file.seek(0, os.SEEK_END)}
        return {**mark, "digest": self._digest.hexdigest()} if self._lasts else mark

    def rewind(self, mark: Mapping[str, Any]) -> None:
        """Remove what was written after a mark.

        Raise ``IngestError``, and change nothing, if the bytes before the mark are not what was
        written.
        """
        place = mark["bytes"]
        with self._explained():
            self._file.flush()
            size = self._file.seek(0, os.SEEK_END)
            if size < place:
                raise IngestError(
                    f"{self._what} is no longer what this load has written: it has "
                    f"{counted(size, 'byte')}, "
                    f"and should have {place:,}. Restore it, or undo the load and load again."
                )
            if self._lasts:
                self._digest = digest_up_to(self._file, place)
                if self._digest.hexdigest() != mark.get("digest", self._digest.hexdigest()):
                    raise IngestError(
                        f"{self._what} is no longer what this load has written: its first "
                        f"{place:,} bytes have changed. Restore it, or undo the load and load "
                        "again."
                    )
            self._file.truncate(place)
            self._file.seek(place)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines from the beginning; afterwards writing continues at the end."""
        self.flush()
        self._file.seek(0)
        try:
            for line in self._file:  # noqa: UP028 - `yield from` would close the file
                yield line
        finally:
            if not self._file.closed:
                self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        if self._failure is None:
            with self._explained():
                self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except OSError as error:
            with suppress(OSError):  # close() tries again to write what could not be written
                self._file.close()
            self._failure = IngestError(
                f"{self._what} cannot be written: {error.strerror}."
            ).with_outcome(Outcome.NOTHING, NOTHING_LOADED)
            raise self._failure from error


def digest_up_to(file: IO[bytes], place: int) -> blake2b:
    """Return the digest of the bytes before a position."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    file.seek(0)
    while place > 0 and (block := file.read(min(place, BLOCK_BYTES))):
        digest.update(block)
        place -= len(block)
    return digest

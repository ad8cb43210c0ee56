"""A file that grows at its end, and can be cut back to a place that was marked."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from ingest.exceptions import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterator


class MarkedFile:
    """Writes on at the end of a file; ``IngestError`` where its disk is full or fails."""

    def __init__(self, file: IO[bytes], what: str, *, lasts: bool) -> None:
        """``what`` it is, for messages; ``lasts``: what is marked must outlive the machine."""
        self._file = file
        self._what = what
        self._lasts = lasts
        self._is_dirty = False

    @property
    def is_closed(self) -> bool:
        """Can nothing be written any more? So it is after an error, too."""
        return self._file.closed

    def write(self, text: bytes) -> None:
        """Write at the end."""
        with self._explained():
            self._file.write(text)
        self._is_dirty = True

    def flush(self) -> None:
        """Let other readers see what was written."""
        with self._explained():
            self._file.flush()

    def mark(self) -> int:
        """Give the end of what is written now, which is on the disk then."""
        with self._explained():
            self._file.flush()
            if self._lasts and self._is_dirty:
                os.fsync(self._file.fileno())
            self._is_dirty = False
            return self._file.seek(0, os.SEEK_END)

    def rewind(self, mark: int) -> None:
        """Forget what was written after a mark; ``IngestError`` where the file is shorter."""
        with self._explained():
            self._file.flush()
            size = self._file.seek(0, os.SEEK_END)
            if size < mark:
                raise IngestError(
                    f"{self._what} is no longer what this load has written: it has {size:,} bytes, "
                    f"and should have {mark:,}. Bring it back, or take away what is in and load "
                    "again."
                )
            self._file.truncate(mark)
            self._file.seek(mark)

    def lines(self) -> Iterator[bytes]:
        """Give the lines from the beginning; then write on at the end."""
        self.flush()
        self._file.seek(0)
        yield from self._file
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        with self._explained():
            self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            with suppress(OSError):  # what it could not write it tries again when it is closed
                self._file.close()
            raise IngestError(
                f"{self._what} cannot be written: {error.strerror}. Nothing was loaded."
            ) from error

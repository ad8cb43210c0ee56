"""The base class of sources inside a container: an archive, a server or a storage."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingest.sources.base import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from ingest.sources.batch import Batch, Position
    from ingest.sources.writers import RecordWriter


class EnclosedSource(Source):
    """A source of any format in a container, which must be opened first; it delegates to it."""

    holds_others = True

    def __init__(self, inner: Source, stack: ExitStack) -> None:
        """``stack`` closes the containers, after the inner source has been closed."""
        self._inner, self._stack = inner, stack
        self.name = inner.name
        self.columns = inner.columns
        self.bytes_total = inner.bytes_total
        self.preamble = inner.preamble
        self.file_name = inner.file_name
        self.paths = inner.paths
        self.has_postgres_text = inner.has_postgres_text
        self.reads_by_text = inner.reads_by_text
        self.has_json_numbers = inner.has_json_numbers
        self.ignores = inner.ignores

    @classmethod
    @abstractmethod
    @contextmanager
    def enter(cls, given: Any) -> Iterator[Any]:
        """Open the container, and yield the file inside as a path or a file object."""

    @property
    def read_format(self) -> str:
        """The format of the inner source."""
        return self._inner.read_format

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The notes of the inner source."""
        return self._inner.notes

    def batches(self) -> Iterator[Batch]:
        yield from self._inner.batches()

    def go_to(self, position: Position) -> bool:
        return self._inner.go_to(position)

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:
        return self._inner.find_ends(start, records)

    def find_parts(self, start: Position, records: int) -> Iterator[Position] | None:
        return self._inner.find_parts(start, records)

    def check_unchanged(self) -> None:
        self._inner.check_unchanged()

    def writer(self, suffix: str = "") -> RecordWriter:
        return self._inner.writer(suffix)

    def close(self) -> None:
        self._inner.close()
        self._stack.close()

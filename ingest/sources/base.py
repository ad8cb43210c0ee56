"""What a source is: where rows come from, as batches of raw cells.

A new source is one new file in this folder. ``open_source`` asks each class in turn whether it
``accepts`` what it was given.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

    import pyarrow as pa

    from ingest.rejects import Reject

Cells = "pa.Array | list[Any]"
"""One source column of a batch. A binary Arrow array holds the cells of a text file as they stand
there; any other Arrow array and a list hold typed values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Records on their way, column by column."""

    records: Sequence[int]
    """The records' numbers in the source, from 1."""
    columns: tuple[pa.Array | list[Any], ...]
    """The cells of each source column, each as long as ``records``."""
    rejects: tuple[Reject, ...] = ()
    """Records between these that could not be taken apart."""

    @property
    def records_read(self) -> int:
        """How many records the source had for this batch, the refused ones included."""
        return len(self.records) + len({reject.record for reject in self.rejects})


class Source(ABC):
    """Where rows come from. Use it as a context manager; it is read once."""

    place: ClassVar[int]
    """Which class is asked first whether it accepts a source: the smallest."""
    name: str
    """How messages call this source: the file's name, or what kind of iterable it is."""
    columns: tuple[str, ...]
    """The names of the source columns, in order."""
    bytes_total: int | None = None
    """The size of the input in bytes, where it is known."""
    bytes_read: int = 0
    """How far the input has been read, in bytes."""
    registry: ClassVar[list[type[Source]]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        Source.registry.append(cls)
        Source.registry.sort(key=lambda source: source.place)

    @classmethod
    @abstractmethod
    def accepts(cls, given: Any) -> bool:
        """Can this class read what was given?"""

    @classmethod
    @abstractmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        """Open what was given; the column names are known afterwards."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Give the records, a batch at a time; nothing holds the whole input."""

    def close(self) -> None:
        """Let go of files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How a source is to be read."""

    columns: tuple[str, ...] | None = None
    """The names of the source columns, for a source that has none."""
    encoding: str = "utf-8"
    """The text's encoding: any codec Python knows."""
    delimiter: str = ","
    """What stands between the cells of a delimited file."""
    quote: str = '"'
    """What a cell is wrapped in where it holds a delimiter, a quote or a line end."""

"""Python iterables of dicts, dataclasses, model instances, and tuples with named columns."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self

from django.db.models import Model

from ingest.sources.asynchronous import walk
from ingest.sources.base import OF_FILES, Source, SourceOptions
from ingest.sources.batch import LEFT_TO_POSTGRESQL, Batch
from ingest.sources.record_cells import (
    MisfitError,
    cells_of,
    described_columns,
    instance_columns,
    whole_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH_ROWS = 32_768
"""Records taken from the iterable at a time: the fixed cost of sending a batch is then below 1 % of
the cost of its rows."""


class RecordsSource(Source):
    """An iterable of records, read once and never held whole."""

    format = "records"
    place = 50
    ignores = OF_FILES

    def __init__(
        self,
        records: Iterable[Any],
        name: str,
        columns: tuple[str, ...] | None,
        described: tuple[str, ...] | None = None,
    ) -> None:
        """Open records; ``described``: the names of the columns, for tuples from a cursor."""
        self.name = name
        iterator = iter(records)
        head = list(islice(iterator, 1))
        self._are_instances = bool(head) and isinstance(head[0], Model)
        if self._are_instances:  # each instance may leave other columns to PostgreSQL
            head += islice(iterator, BATCH_ROWS - 1)
        self._records = chain(head, iterator)
        self._cells, self.columns = cells_of(head, columns, described)
        self._columns_of = whole_columns(head, self.columns, takes_all=columns is None)
        if self._are_instances:
            self._columns_of = instance_columns(type(head[0]), self.columns, columns is not None)
        self._close = getattr(iterator, "close", None)

    @classmethod
    def accepts(cls, given: Any) -> bool:
        is_iterable = hasattr(given, "__iter__") or hasattr(given, "__aiter__")
        return is_iterable and not isinstance(given, str | bytes | bytearray | dict)

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        name = type(given).__name__
        # A queryset has both, and is faster as an ordinary iterable.
        records = given if hasattr(given, "__iter__") else walk(given, BATCH_ROWS)
        return cls(records, name, options.columns, described_columns(given))

    def batches(self) -> Iterator[Batch]:
        first = 1
        while chunk := list(islice(self._records, BATCH_ROWS)):
            yield self._batch(chunk, first)
            first += len(chunk)

    def close(self) -> None:
        if self._close is not None:
            self._close()

    def _batch(self, chunk: list[Any], first: int) -> Batch:
        columns = None if self._columns_of is None else self._columns_of(chunk)
        if columns is not None:
            numbers = list(range(first, first + len(chunk)))
            return Batch(source=self.name, records=numbers, columns=columns)
        return self._batch_by_record(chunk, first)

    def _batch_by_record(self, chunk: list[Any], first: int) -> Batch:
        """Read the records one by one, because one of them differs from the others."""
        rows, numbers, rejects = [], [], []
        misfits: dict[int, Any] = {}
        for number, record in enumerate(chunk, first):
            try:
                cells = self._cells(record)
            except MisfitError as misfit:
                rejects.append(self.reject(number, record, str(misfit)))
                misfits[number] = record
            else:
                rows.append(cells)
                numbers.append(number)
        columns = (
            tuple(map(list, zip(*rows, strict=True))) if rows else tuple([] for _ in self.columns)
        )
        return Batch(
            source=self.name,
            records=numbers,
            columns=columns,
            rejects=tuple(rejects),
            misfits=misfits,
            leaves_cells=self._are_instances
            and any(cell is LEFT_TO_POSTGRESQL for cells in rows for cell in cells),
        )

"""Python iterables of dicts, dataclasses, model instances, and tuples with named columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Self

from django.db.models import Model

from ingest.exceptions import SourceError, did_you_mean
from ingest.results.rejects import shorten
from ingest.sources.asynchronous import walk
from ingest.sources.base import OF_FILES, Source, SourceOptions
from ingest.sources.batch import LEFT_TO_POSTGRESQL, Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Cells = Callable[[Any], tuple[Any, ...]]
    WholeColumns = Callable[[list[Any]], tuple[list[Any], ...] | None]

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
        self._cells, self.columns = _cells(head, columns, described)
        self._columns_of = _whole_columns(head, self.columns, takes_all=columns is None)
        if self._are_instances:
            self._columns_of = _instance_columns(type(head[0]), self.columns, columns is not None)
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
        return cls(records, name, options.columns, _described_columns(given))

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
            except _MisfitError as misfit:
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


def _whole_columns(
    head: list[Any], names: tuple[str, ...], *, takes_all: bool
) -> WholeColumns | None:
    """Return a function that reads whole columns of records of one type, or None if none can.

    The function returns None if a record is of another type, or has other keys or cells.
    """
    kind = type(head[0]) if head else None
    cells: list[Any]
    if kind is dict:
        cells = list(map(itemgetter, names))
    elif kind in {tuple, list} or (kind is not None and hasattr(kind, "_fields")):
        cells = list(map(itemgetter, range(len(names))))
    elif dataclasses.is_dataclass(kind) and all(map(str.isidentifier, names)):
        cells = list(map(attrgetter, names))
    else:
        return None
    has_width = takes_all if kind is dict else not dataclasses.is_dataclass(kind)

    def columns(chunk: list[Any]) -> tuple[list[Any], ...] | None:
        if set(map(type, chunk)) != {kind}:
            return None
        if has_width and set(map(len, chunk)) != {len(names)}:
            return None
        try:
            return tuple([list(map(cell, chunk)) for cell in cells])
        except (KeyError, AttributeError):
            return None

    return columns


class _MisfitError(Exception):
    """A record differs from the first one in its type, keys or number of cells."""


def _described_columns(given: Any) -> tuple[str, ...] | None:
    """Return the column names of a database cursor, or None for any other object."""
    if not hasattr(given, "execute"):
        return None
    return tuple(column[0] for column in getattr(given, "description", None) or ()) or None


def _cells(
    head: list[Any], columns: tuple[str, ...] | None, described: tuple[str, ...] | None
) -> tuple[Cells, tuple[str, ...]]:
    """Return a function that reads the cells of such records, and the names of the columns."""
    if not head:
        return tuple, columns or ()
    first = head[0]
    if isinstance(first, Model):
        return _instance_cells(head, columns)
    if isinstance(first, Mapping):
        return _mapping_cells(columns or tuple(first), takes_all=columns is None)
    if dataclasses.is_dataclass(first):
        names = columns or tuple(field.name for field in dataclasses.fields(first))
        return _attribute_cells(type(first), names)
    if callable(getattr(first, "keys", None)) and hasattr(first, "__getitem__"):
        return _keyed_cells(type(first), columns or tuple(first.keys()))
    if isinstance(first, tuple | list):
        named = columns or getattr(first, "_fields", None) or described
        if named is None:
            raise SourceError(
                "Tuples have no column names: say them, as in "
                "load(Model, rows, columns=['user_id', 'amount'])."
            )
        return _sequence_cells(tuple(named))
    raise SourceError(
        f"A record is a {type(first).__name__}: give dicts or other mappings, rows with keys, "
        "tuples, dataclasses or model instances."
    )


def _mapping_cells(names: tuple[str, ...], *, takes_all: bool) -> tuple[Cells, tuple[str, ...]]:
    def cells(record: Any) -> tuple[Any, ...]:
        try:
            if len(record) == len(names) or not takes_all:
                return tuple([record[name] for name in names])
        except (KeyError, TypeError):
            pass
        if not isinstance(record, Mapping):
            raise _MisfitError(
                f"it is a {type(record).__name__}, but the first record is a mapping"
            )
        missing = [name for name in names if name not in record]
        if missing:
            raise _MisfitError(f"it has no key {missing[0]!r}, which the first record has")
        unknown = next(name for name in record if name not in names)
        raise _MisfitError(
            f"it has a key {unknown!r}, which the first record has not."
            f"{did_you_mean(str(unknown), names)}"
        )

    return cells, names


def _keyed_cells(kind: Any, names: tuple[str, ...]) -> tuple[Cells, tuple[str, ...]]:
    """Read rows with keys that are not mappings, such as ``sqlite3.Row`` and asyncpg's records."""

    def cells(record: Any) -> tuple[Any, ...]:
        if not isinstance(record, kind):
            raise _MisfitError(
                f"it is a {type(record).__name__}, but the first record is a {kind.__name__}"
            )
        try:
            return tuple([record[name] for name in names])
        except (KeyError, IndexError):
            keys = tuple(record.keys())
        missing = next(name for name in names if name not in keys)
        raise _MisfitError(f"it has no key {missing!r}, which the first record has")

    return cells, names


def _sequence_cells(names: tuple[str, ...]) -> tuple[Cells, tuple[str, ...]]:
    def cells(record: Any) -> tuple[Any, ...]:
        if not isinstance(record, tuple | list):
            raise _MisfitError(f"it is a {type(record).__name__}, but the first record is a tuple")
        if len(record) != len(names):
            raise _MisfitError(f"it has {len(record)} cells, but there are {len(names)} columns")
        return tuple(record)

    return cells, names


def _attribute_cells(kind: type, names: tuple[str, ...]) -> tuple[Cells, tuple[str, ...]]:
    def cells(record: Any) -> tuple[Any, ...]:
        if not isinstance(record, kind):
            raise _MisfitError(
                f"it is a {type(record).__name__}, but the first record is a {kind.__name__}"
            )
        return tuple([getattr(record, name) for name in names])

    return cells, names


def _instance_cells(
    head: list[Any], columns: tuple[str, ...] | None
) -> tuple[Cells, tuple[str, ...]]:
    """Read the values that saving a new instance would send.

    A column that every instance of the first batch leaves to PostgreSQL is left out. If only some
    instances do, the others' values are kept: each instance is read on its own.
    """
    first = head[0]
    kind = type(first)
    if columns is not None:
        return _attribute_cells(kind, columns)
    sent = [field for field in kind._meta.concrete_fields if not field.generated]
    names = []
    for field in sent:
        values = [getattr(item, field.attname) for item in head if isinstance(item, kind)]
        if not all(_is_left_to_postgresql(value, field) for value in values):
            names.append(field.attname)
    left_out = [field for field in sent if field.attname not in names]
    read, chosen = _attribute_cells(kind, tuple(names))
    fields = [field for field in sent if field.attname in names]
    mixable = [place for place, field in enumerate(fields) if _may_be_left(field)]

    def cells(record: Any) -> tuple[Any, ...]:
        found = read(record)
        for field in left_out:
            if not _is_left_to_postgresql(value := getattr(record, field.attname), field):
                raise _MisfitError(
                    f"it has the value {shorten(value)} for {field.attname}, which the first "
                    f"{len(head):,} instances leave to PostgreSQL. Load it apart from these"
                )
        if not any(_is_left_to_postgresql(found[place], fields[place]) for place in mixable):
            return found
        return tuple(
            LEFT_TO_POSTGRESQL if _is_left_to_postgresql(value, field) else value
            for value, field in zip(found, fields, strict=True)
        )

    return cells, chosen


def _instance_columns(kind: Any, names: tuple[str, ...], are_chosen: bool) -> WholeColumns:  # noqa: FBT001
    """Return a function that reads whole columns of instances.

    The function returns None if an instance is of another model, or leaves other columns to
    PostgreSQL.
    """
    cells = list(map(attrgetter, names))
    sent = [] if are_chosen else [it for it in kind._meta.concrete_fields if not it.generated]
    left_out = [field for field in sent if field.attname not in names]
    mixable = [
        (names.index(field.attname), field)
        for field in sent
        if field.attname in names and _may_be_left(field)
    ]

    def columns(chunk: list[Any]) -> tuple[list[Any], ...] | None:
        if set(map(type, chunk)) != {kind}:
            return None
        try:
            found = tuple([list(map(cell, chunk)) for cell in cells])
        except AttributeError:
            return None
        for field in left_out:
            values = list(map(attrgetter(field.attname), chunk))
            if not all(_is_left_to_postgresql(value, field) for value in _one_of_each(values)):
                return None
        for place, field in mixable:
            if any(_is_left_to_postgresql(value, field) for value in _one_of_each(found[place])):
                return None
        return found

    return columns


def _one_of_each(values: list[Any]) -> Iterable[Any]:
    """Return one value of each type: the type decides whether a value is left to PostgreSQL."""
    return dict(zip(map(type, values), values, strict=True)).values()


def _may_be_left(field: Any) -> bool:
    is_automatic = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return bool(field.has_db_default() or field.primary_key or is_automatic)


def _is_left_to_postgresql(value: Any, field: Any) -> bool:
    if hasattr(value, "resolve_expression"):
        return bool(field.has_db_default())
    is_automatic = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return value is None and (field.primary_key or is_automatic)

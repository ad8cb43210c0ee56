"""Finds the cells of Python records of each kind, such as mappings and named tuples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from django.db.models import Model

from ingest.exceptions import SourceError, did_you_mean
from ingest.plurals import counted
from ingest.results.rejects import shorten
from ingest.sources.batch import LEFT_TO_POSTGRESQL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Cells = Callable[[Any], tuple[Any, ...]]
    WholeColumns = Callable[[list[Any]], tuple[list[Any], ...] | None]


def whole_columns(
    head: list[Any], names: tuple[str, ...], *, takes_all: bool
) -> WholeColumns | None:
    """Return a function that reads whole columns of records of one type, or None if none can.

    The function returns None if a record is of another type, or has other keys or cells.
    """
    kind = type(head[0]) if head else None
    cells: list[Any]
    if kind is dict:
        cells = list(map(itemgetter, names))
    elif kind in {tuple, list}:
        cells = list(map(itemgetter, range(len(names))))
    elif kind is not None and _is_named_tuple(kind):
        if not set(names) <= set(kind._fields):
            return None
        cells = [itemgetter(kind._fields.index(name)) for name in names]
    elif dataclasses.is_dataclass(kind) and all(map(str.isidentifier, names)):
        cells = list(map(attrgetter, names))
    else:
        return None
    has_width = takes_all if kind is dict else kind in {tuple, list}

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


class MisfitError(Exception):
    """A record differs from the first one in its type, keys or number of cells."""


def described_columns(given: Any) -> tuple[str, ...] | None:
    """Return the column names of a database cursor, or None for any other object."""
    if not hasattr(given, "execute"):
        return None
    return tuple(column[0] for column in getattr(given, "description", None) or ()) or None


def cells_of(
    head: list[Any], columns: tuple[str, ...] | None, described: tuple[str, ...] | None
) -> tuple[Cells, tuple[str, ...]]:
    """Return a function that reads the cells of such records, and the names of the columns."""
    if not head:
        return tuple, columns or ()
    first = head[0]
    if isinstance(first, Model):
        return _instance_cells(head, columns)
    is_chosen = columns is not None
    if isinstance(first, Mapping):
        return _mapping_cells(columns or _check_names(first), is_chosen=is_chosen)
    if dataclasses.is_dataclass(first):
        names = columns or _check_names(_names_of_fields(type(first)))
        return _attribute_cells(type(first), names, None if is_chosen else _names_of_fields)
    if callable(getattr(first, "keys", None)) and hasattr(first, "__getitem__"):
        names = columns or _check_names(first.keys())
        return _keyed_cells(type(first), names, is_chosen=is_chosen)
    if _is_named_tuple(type(first)):
        return _named_tuple_cells(type(first), columns or first._fields, is_chosen=is_chosen)
    if isinstance(first, tuple | list):
        named = columns or described
        if named is None:
            raise SourceError(
                "Tuples have no column names: name them, as in "
                "load(Model, rows, columns=['user_id', 'amount'])."
            )
        return _sequence_cells(tuple(named))
    raise SourceError(
        f"A record is a {type(first).__name__}: give dicts or other mappings, rows with keys, "
        "tuples, dataclasses or model instances."
    )


def _check_names(given: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of columns, or raise ``SourceError`` if they are none."""
    names = tuple(given)
    if not names:
        raise SourceError("The first record is empty: it must have a key for each column.")
    for name in names:
        if not isinstance(name, str):
            raise SourceError(
                f"The first record has the key {shorten(name)}, which is not text: give each "
                "column a name."
            )
    return names


def _mapping_cells(names: tuple[str, ...], *, is_chosen: bool) -> tuple[Cells, tuple[str, ...]]:
    def cells(record: Any) -> tuple[Any, ...]:
        if hasattr(type(record), "__missing__"):  # a defaultdict would add what it lacks
            record = dict(record)
        try:
            if is_chosen or len(record) == len(names):
                return tuple([record[name] for name in names])
        except (KeyError, TypeError):
            pass
        if not isinstance(record, Mapping):
            raise MisfitError(f"it is a {type(record).__name__}, but the first record is a mapping")
        raise _misfit("key", tuple(record), names, is_chosen=is_chosen)

    return cells, names


def _keyed_cells(
    kind: Any, names: tuple[str, ...], *, is_chosen: bool
) -> tuple[Cells, tuple[str, ...]]:
    """Read rows with keys that are not mappings, such as ``sqlite3.Row`` and asyncpg's records."""
    width = len if hasattr(kind, "__len__") else lambda record: len(tuple(record.keys()))

    def cells(record: Any) -> tuple[Any, ...]:
        if not isinstance(record, kind):
            raise MisfitError(
                f"it is a {type(record).__name__}, but the first record is a {kind.__name__}"
            )
        try:
            if is_chosen or width(record) == len(names):
                return tuple([record[name] for name in names])
        except (KeyError, IndexError):
            pass
        raise _misfit("key", tuple(record.keys()), names, is_chosen=is_chosen)

    return cells, names


def _named_tuple_cells(
    kind: Any, names: tuple[str, ...], *, is_chosen: bool
) -> tuple[Cells, tuple[str, ...]]:
    """Read named tuples by the names of their fields, and other tuples by position."""
    by_place, _ = _sequence_cells(kind._fields)

    def cells(record: Any) -> tuple[Any, ...]:
        fields = getattr(record, "_fields", None)
        if fields is None:
            record, fields = by_place(record), kind._fields
        if not set(names) <= set(fields) or not (is_chosen or len(fields) == len(names)):
            raise _misfit("field", fields, names, is_chosen=is_chosen)
        return tuple([record[fields.index(name)] for name in names])

    return cells, names


def _misfit(
    noun: str, known: tuple[str, ...], names: tuple[str, ...], *, is_chosen: bool
) -> MisfitError:
    """Return the error for a record that has the names ``known`` instead of ``names``."""
    missing = next((name for name in names if name not in known), None)
    if missing is not None and is_chosen:
        hint = did_you_mean(missing, map(str, known))
        return MisfitError(f"it has no {noun} {missing!r}, which columns names{hint and '.'}{hint}")
    if missing is not None:
        return MisfitError(f"it has no {noun} {missing!r}, which the first record has")
    unknown = next((name for name in known if name not in names), None)
    return MisfitError(
        f"it has a {noun} {unknown!r}, which the first record does not have."
        f"{did_you_mean(str(unknown), names)}"
    )


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)


def _sequence_cells(names: tuple[str, ...]) -> tuple[Cells, tuple[str, ...]]:
    def cells(record: Any) -> tuple[Any, ...]:
        if not isinstance(record, tuple | list):
            raise MisfitError(f"it is a {type(record).__name__}, but the first record is a tuple")
        if len(record) != len(names):
            cells, columns = counted(len(record), "cell"), counted(len(names), "column")
            raise MisfitError(f"it has {cells}, but the first record has {columns}")
        return tuple(record)

    return cells, names


def _attribute_cells(
    kind: type,
    names: tuple[str, ...],
    names_of: Callable[[Any], tuple[str, ...]] | None,
) -> tuple[Cells, tuple[str, ...]]:
    """Read attributes.

    ``names_of`` returns the names that a subclass of ``kind`` has; None: it may have any.
    """

    def cells(record: Any) -> tuple[Any, ...]:
        if not isinstance(record, kind):
            raise MisfitError(
                f"it is a {type(record).__name__}, but the first record is a {kind.__name__}"
            )
        if type(record) is not kind and names_of is not None:
            known, wanted = names_of(type(record)), names_of(kind)
            if set(known) != set(wanted):
                raise _misfit("field", known, wanted, is_chosen=False)
        try:
            return tuple([getattr(record, name) for name in names])
        except AttributeError:
            known = tuple(name for name in names if hasattr(record, name))
        if known == names:  # a property raises it now and then
            raise MisfitError("one of its attributes cannot be read")
        raise _misfit("attribute", known, names, is_chosen=names_of is None)

    return cells, names


def _names_of_fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _names_of_columns(kind: Any) -> tuple[str, ...]:
    return tuple(field.attname for field in kind._meta.concrete_fields if not field.generated)


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
        return _attribute_cells(kind, columns, None)
    sent = [field for field in kind._meta.concrete_fields if not field.generated]
    names = []
    for field in sent:
        values = [getattr(item, field.attname) for item in head if isinstance(item, kind)]
        if not all(_is_left_to_postgresql(value, field) for value in values):
            names.append(field.attname)
    left_out = [field for field in sent if field.attname not in names]
    read, chosen = _attribute_cells(kind, tuple(names), _names_of_columns)
    fields = [field for field in sent if field.attname in names]
    mixable = [place for place, field in enumerate(fields) if _may_be_left(field)]

    def cells(record: Any) -> tuple[Any, ...]:
        found = read(record)
        for field in left_out:
            if not _is_left_to_postgresql(value := getattr(record, field.attname), field):
                raise MisfitError(
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


def instance_columns(kind: Any, names: tuple[str, ...], are_chosen: bool) -> WholeColumns:  # noqa: FBT001
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

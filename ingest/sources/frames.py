"""What frames of pandas and polars hold, and lose or cannot give when they are read as Arrow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ingest.exceptions import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Objects = Mapping[str, Sequence[Any]]

_OBJECTS = {"object", "str", "string"}
"""Types of pandas whose values are Python objects, or may be."""
_WIDE = {"Int128", "UInt128"}
"""Types of polars that Arrow does not have."""


def without_objects(given: Any, *, takes_all: bool = False) -> tuple[Any, Objects]:
    """Return a frame without the columns that Arrow would not get as they are, and their values.

    ``takes_all``: also those of pandas that Arrow mostly gets. Any other source is returned as it
    is.
    """
    library = type(given).__module__.partition(".")[0]
    if library == "pandas" and hasattr(given, "isetitem"):
        return _of_pandas(given, takes_all=takes_all)
    if library == "polars" and hasattr(given, "with_columns") and hasattr(given, "schema"):
        return _of_polars(given)
    return given, {}


def _of_pandas(given: Any, *, takes_all: bool) -> tuple[Any, Objects]:
    """Take out values of several kinds: Arrow would give all of them one type.

    It would also give all objects in a column the same keys.
    """
    given = _with_index(given)
    names = list(map(str, given.columns))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"pandas DataFrame has several columns {twice!r}: rename them.")
    objects: dict[str, list[Any]] = {}
    kept = given
    for place, name in enumerate(names):
        column = given.iloc[:, place]
        kind = str(column.dtype)
        if kind.startswith("Sparse"):
            kept = given.copy(deep=False) if kept is given else kept
            kept.isetitem(place, column.sparse.to_dense())
            continue
        has_objects = kind == "object" and _changes_in_arrow(column)
        if not has_objects and not (takes_all and kind in _OBJECTS):
            continue
        objects[name] = [
            None if is_missing else _without_numpy(value)
            for value, is_missing in zip(column.tolist(), column.isna().tolist(), strict=True)
        ]
        kept = given.copy(deep=False) if kept is given else kept
        kept.isetitem(place, [None] * len(column))
    return kept, objects


def _changes_in_arrow(column: Any) -> bool:
    """Return whether Arrow would give Python objects one type, and all decimals equal places."""
    kind = sys.modules["pandas"].api.types.infer_dtype(column, skipna=True)
    if kind == "decimal":
        places = {value.as_tuple().exponent for value in column.dropna()}
        return len(places) > 1 or not all(isinstance(it, int) and it <= 0 for it in places)
    return bool(kind.startswith("mixed"))


def _with_index(given: Any) -> Any:
    """Return a frame with a named index as a column.

    Arrow leaves out a range, and pandas makes one of any evenly spaced numbers, such as keys.
    """
    index = given.index
    is_range = type(index).__name__ == "RangeIndex"
    is_named = index.name is not None and index.name not in given.columns
    return given.reset_index() if is_range and is_named else given


def without_row_numbers(schema: Any) -> tuple[str, ...]:
    """Return the names of the columns that are not the row numbers of a pandas frame.

    They are an index without a name, which a frame has after it was filtered or sorted.
    """
    return tuple(
        field.name
        for field in schema
        if not (field.name.startswith("__index_level_") and pa.types.is_integer(field.type))
    )


def note_unread(index: str, source: str) -> str:
    """Return a warning of a pandas index whose values are not in the source."""
    return (
        f"Warning: the index {index!r} of a pandas frame is no column of {source}, and is not "
        "read: make it one with frame.reset_index()."
    )


def range_index(schema: Any) -> tuple[str, range] | None:
    """Return the name and the values of a pandas index that is not among the columns, or None.

    Arrow writes a named range only into the metadata of the schema.
    """
    facts = schema.pandas_metadata or {}
    for index in facts.get("index_columns", ()):
        is_range = isinstance(index, dict) and index.get("kind") == "range"
        if is_range and index["name"] is not None and index["name"] not in schema.names:
            return str(index["name"]), range(index["start"], index["stop"], index["step"])
    return None


def _of_polars(given: Any) -> tuple[Any, Objects]:
    """Take out Python objects, of which polars gives their addresses, and write wide integers."""
    polars = sys.modules["polars"]
    objects: dict[str, list[Any]] = {}
    for name, kind in given.schema.items():
        if str(kind) == "Object":
            objects[name] = given[name].to_list()
            given = given.with_columns(polars.lit(None).alias(name))
        elif str(kind) in _WIDE:
            given = given.with_columns(polars.col(name).cast(polars.String))
    return given, objects


def _without_numpy(value: Any) -> Any:
    """Return objects and lists with plain numbers in the place of numpy's, as Arrow would."""
    if isinstance(value, dict):
        return {name: _without_numpy(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_without_numpy, value))
    is_of_numpy = type(value).__module__ == "numpy"
    return value.tolist() if is_of_numpy and value.dtype.kind in "biufU" else value

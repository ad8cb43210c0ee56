"""One field's column: raw cells in, a typed Arrow array and the refused places out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.conversion.cleaning import Cleaner, Refusal
from ingest.conversion.kernels import Mask, both, find_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.db import models

    from ingest.encoding import ColumnEncoding


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedCell:
    """A cell that the field refused, by its place in the batch."""

    place: int
    value: Any
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column that is ready to be encoded; refused cells are null in it."""

    values: pa.Array
    refused: Sequence[RefusedCell] = ()


class ColumnConverter:
    """Turns the cells of one source column into what the field would have stored."""

    def __init__(self, field: models.Field[Any, Any], encoding: ColumnEncoding, alias: str) -> None:
        self.field = field
        self.encoding = encoding
        self.cleaner = Cleaner(field, encoding.column, alias)
        # A kernel's values are stored as they are: the column must be of a type that holds them.
        # A column without a time zone holds local times, and kernels know those of UTC.
        is_kernel_fit = encoding.dump is None and encoding.arrow_type != pa.timestamp("us")
        self._kernel = find_kernel(field) if is_kernel_fit else None

    def convert(self, cells: pa.Array | list[Any]) -> TypedColumn:
        """Convert a whole column; a binary Arrow array holds the cells of a text file."""
        is_text = isinstance(cells, pa.Array) and pa.types.is_binary(cells.type)
        if is_text:
            decoded = _decode(cells)
            if decoded is None:
                return self._convert_singly(_decode_singly(cells), is_text=True)
            cells = self._empty_as_null(decoded)
        typed, mask = self._convert_at_once(cells, is_text=is_text)
        if typed is not None and mask is None:
            return TypedColumn(typed)
        if typed is None:
            return self._convert_singly(_python_values(cells), is_text=is_text)
        return self._complete(typed, cells, mask, is_text=is_text)

    def clean(self, cells: pa.Array | list[Any]) -> list[Any]:
        """Give the cleaned Python value, or a ``Refusal``, of each cell."""
        if isinstance(cells, pa.Array) and pa.types.is_binary(cells.type):
            return self._clean(_decode_singly(cells), is_text=True)
        return self._clean(_python_values(cells), is_text=False)

    def _empty_as_null(self, text: pa.Array) -> pa.Array:
        if self.cleaner.empty_text is not None:
            return text
        empty = pc.equal(text, "")
        if not pc.any(empty).as_py():
            return text
        return pc.if_else(empty, pa.scalar(None, pa.string()), text)

    def _convert_at_once(
        self, cells: pa.Array | list[Any], *, is_text: bool
    ) -> tuple[pa.Array | None, pa.Array | None]:
        """Let the kernel take what it can: values, and the mask of taken cells (None: all)."""
        kernel = self._kernel
        if kernel is None:
            return None, None
        mask: Mask = None
        try:
            if is_text:
                values, mask = kernel.parse(cells)
            elif isinstance(cells, list):
                values = kernel.from_python(cells)
            else:
                values = kernel.adopt(cells)
            if values is None:
                return None, None
            mask = both(mask, kernel.judge(values))
            values = pc.cast(values, self.encoding.arrow_type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None, None
        # The validators say nothing of a null: only the field's ``null`` does.
        if mask is not None and mask.null_count:
            mask = pc.fill_null(mask, True)
        if values.null_count and not self.field.null:
            mask = both(mask, pc.is_valid(values))
        if mask is not None and pc.all(mask).as_py() is not False:
            mask = None
        return values, mask

    def _complete(
        self, typed: pa.Array, cells: pa.Array | list[Any], mask: pa.Array, *, is_text: bool
    ) -> TypedColumn:
        """Let the field judge the cells that the kernel did not take."""
        places = pc.indices_nonzero(pc.invert(mask))
        if isinstance(cells, list):
            left = [cells[place] for place in places.to_pylist()]
        else:
            left = _python_values(cells.take(places))
        rest = self._convert_singly(left, is_text=is_text)
        order = pa.array(range(len(typed)), pa.int64())
        order = pc.replace_with_mask(
            order, pc.invert(mask), pa.array(range(len(typed), len(typed) + len(left)), pa.int64())
        )
        both_kinds = pa.concat_arrays([typed, rest.values])
        at = places.to_pylist()
        return TypedColumn(
            both_kinds.take(order),
            [dataclasses.replace(cell, place=at[cell.place]) for cell in rest.refused],
        )

    def _convert_singly(self, values: list[Any], *, is_text: bool) -> TypedColumn:
        prepared = self.prepare(self._clean(values, is_text=is_text))
        refused = [
            RefusedCell(
                place, "" if is_text and values[place] is None else values[place], item.reason
            )
            for place, item in enumerate(prepared)
            if isinstance(item, Refusal)
        ]
        for cell in refused:
            prepared[cell.place] = None
        return self._build(prepared, values, refused)

    def _clean(self, values: list[Any], *, is_text: bool) -> list[Any]:
        clean = self.cleaner.clean
        if not is_text:
            return [clean(value) for value in values]
        read = self.cleaner.read
        return [
            read(value)
            if type(value) is str
            else (value if isinstance(value, Refusal) else clean(value))
            for value in values
        ]

    def prepare(self, cleaned: list[Any]) -> list[Any]:
        """Give what is stored for cleaned values; a ``Refusal`` stays or arises in its place."""
        prepare = self.cleaner.prepare
        known: dict[str, Any] = {}
        prepared = []
        for value in cleaned:
            if isinstance(value, Refusal):
                prepared.append(value)
            elif type(value) is str and self.cleaner.is_repeatable:
                if value not in known:
                    known[value] = prepare(value)
                prepared.append(known[value])
            else:
                prepared.append(prepare(value))
        return prepared

    def _build(
        self, prepared: list[Any], values: list[Any], refused: list[RefusedCell]
    ) -> TypedColumn:
        try:
            return TypedColumn(self.to_arrow(prepared), refused)
        except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
            pass
        # Some value does not fit the column's type: find each that does not.
        refused = list(refused)
        for place, item in enumerate(prepared):
            try:
                self.to_arrow([item])
            except Exception:  # noqa: BLE001 - whatever the driver's dumper raises
                reason = f"the column's type {self.encoding.column.sql_type} cannot hold it"
                refused.append(RefusedCell(place, values[place], reason))
                prepared[place] = None
        refused.sort(key=lambda cell: cell.place)
        return TypedColumn(self.to_arrow(prepared), refused)

    def to_arrow(self, prepared: list[Any]) -> pa.Array:
        """Give prepared values the Arrow type that the column's encoding asks for."""
        dump = self.encoding.dump
        if dump is not None:
            prepared = [None if item is None else dump(item) for item in prepared]
        elif pa.types.is_string(self.encoding.arrow_type):
            prepared = [None if item is None else str(item) for item in prepared]
        return pa.array(prepared, type=self.encoding.arrow_type)


def _decode(cells: pa.Array) -> pa.Array | None:
    try:
        return pc.cast(cells, pa.string())
    except pa.ArrowInvalid:
        return None


def _decode_singly(cells: pa.Array) -> list[Any]:
    decoded: list[Any] = []
    for cell in cells.to_pylist():
        try:
            decoded.append(None if cell is None else cell.decode())
        except UnicodeDecodeError as error:
            byte = cell[error.start]
            decoded.append(
                Refusal(
                    f"byte 0x{byte:02X} is not valid in the source's encoding: say which encoding "
                    "the file has"
                )
            )
    return decoded


def _python_values(cells: pa.Array | Iterable[Any]) -> list[Any]:
    return cells.to_pylist() if isinstance(cells, pa.Array) else list(cells)

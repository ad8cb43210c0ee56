"""Convert one field's column of raw cells to a typed Arrow array and its refused cells."""

from __future__ import annotations

import dataclasses
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator
from django.db import connections, models

from ingest.conversion.cells import (
    as_shortest_texts,
    decode,
    mask_of,
    plain,
    python_values,
    shortest_text,
    within_a_day,
    without_nanoseconds,
)
from ingest.conversion.cleaning import Cleaner, RefusedValue, is_of_decimals
from ingest.conversion.cures import why_unread
from ingest.conversion.kernels import (
    Kernel,
    Mask,
    both,
    find_bytes_kernel,
    find_kernel,
    honours,
    keep,
)
from ingest.conversion.kernels.base import is_all
from ingest.conversion.kernels.reasons import why_by_value
from ingest.conversion.postgres_text import find_reader
from ingest.conversion.slow_fields import MANY_VALUES, SlowField
from ingest.conversion.storing import make_fit, text_limit
from ingest.conversion.structures import MisfitError
from ingest.conversion.value_warnings import ValueWarnings
from ingest.results.rejects import as_text, shorten
from ingest.sources.batch import CellText
from ingest.sources.cell_text import text_of
from ingest.sources.text import LONE_SURROGATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.postgres.encoding import ColumnEncoding


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedCell:
    """A cell that the field refused, and its place in the batch."""

    place: int
    value: Any
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column that is ready to be encoded, with null for each refused cell."""

    values: pa.Array
    refused: Sequence[RefusedCell] = ()


class ColumnConverter:
    """Converts the cells of one source column to the values that the field would store."""

    def __init__(
        self,
        field: models.Field[Any, Any],
        encoding: ColumnEncoding,
        alias: str,
        *,
        has_postgres_text: bool = False,
        reads_by_text: bool = False,
        has_json_numbers: bool = False,
    ) -> None:
        """``has_postgres_text``: the cells of a file were written by PostgreSQL; a null is NULL.

        ``reads_by_text``: convert typed values to text first, and read them as from a text file.
        ``has_json_numbers``: a ``JSONField`` stores a decimal as a float, as JSON's decoder does.
        """
        self.field = field
        self._has_postgres_text = has_postgres_text
        self._reads_by_text = reads_by_text
        self._has_json_numbers = has_json_numbers and isinstance(field, models.JSONField)
        self._read_postgres = find_reader(field) if has_postgres_text else None
        self.encoding = encoding
        self.cleaner = Cleaner(field, encoding.column, alias)
        self._warnings = ValueWarnings(field)
        self._is_of_decimals = is_of_decimals(field)
        self._fit = make_fit(encoding, ZoneInfo(connections[alias].timezone_name))
        # A kernel's values are stored unchanged, so the column's type must be able to hold them.
        self._kernel = (
            find_kernel(field, encoding.arrow_type)
            if encoding.dump is None
            else find_bytes_kernel(field, encoding)
        )
        self._limit = None if self._kernel is None else _unchecked_limit(encoding, self._kernel)
        self._why_by_value = why_by_value(field, honours) if self._kernel is None else None
        self._asked, self._seconds = 0, 0.0
        self._example: Any = None
        self._has_asked_texts = False

    def convert(self, cells: pa.Array | list[Any]) -> TypedColumn:
        """Convert a whole column; a binary Arrow array holds the cells of a text file."""
        is_text = isinstance(cells, pa.Array) and pa.types.is_binary(cells.type)
        undecodable: dict[int, RefusedValue] = {}
        cells = self._as_floats(cells)
        if is_text:
            decoded, undecodable = decode(cells)
            cells = self._empty_as_null(decoded)
        elif isinstance(cells, pa.Array):
            cells = self._plain(cells)
            if self._is_of_decimals and isinstance(cells, pa.Array):
                cells = as_shortest_texts(cells)
        typed, mask = self._convert_at_once(cells, is_text=is_text)
        if typed is None and isinstance(cells, list):
            typed, mask = self._convert_without_texts(cells)
        if typed is None and is_text and not undecodable and self.cleaner.is_repeatable:
            return self._judge_distinct(cells)
        if typed is None:
            values = _replaced(self._values(cells), undecodable)
            return self._judge_each(values, is_text=is_text)
        return self._judge_rest(cells, typed, mask, undecodable, is_text=is_text)

    def _judge_rest(
        self,
        cells: pa.Array | list[Any],
        typed: pa.Array,
        mask: Mask,
        undecodable: dict[int, RefusedValue],
        *,
        is_text: bool,
    ) -> TypedColumn:
        """Let the field judge the cells that the kernel did not take."""
        if undecodable:
            mask = both(mask, pc.invert(mask_of(undecodable, len(cells))))
        if mask is None:
            return TypedColumn(typed)
        places = pc.indices_nonzero(pc.invert(mask))
        at = places.to_pylist()
        if isinstance(cells, list):
            left = self._values([cells[place] for place in at])
        else:
            left = _replaced(
                self._values(cells.take(places)),
                {
                    number: undecodable[place]
                    for number, place in enumerate(at)
                    if place in undecodable
                },
            )
        rest = self._judge_each(left, is_text=is_text)
        return TypedColumn(
            pc.replace_with_mask(typed, pc.invert(mask), rest.values),
            [dataclasses.replace(cell, place=at[cell.place]) for cell in rest.refused],
        )

    @property
    def warnings(self) -> Iterable[str]:
        """Sentences about values that are stored as by the ORM, but are probably not meant so."""
        return self._warnings.sentences

    def slow(self) -> SlowField | None:
        """Return a report of the values that the field itself judged, if it is worth reporting."""
        reason = self._why_by_value
        if reason is None and self._asked >= MANY_VALUES:
            reason = f"values such as {shorten(self._example)}"
        if reason is None or not self._asked:
            return None
        return SlowField(
            name=self.field.name,
            reason=reason,
            values=self._asked,
            are_distinct=self._has_asked_texts,
            seconds=self._seconds,
        )

    def clean(self, cells: pa.Array | list[Any]) -> list[Any]:
        """Return the cleaned Python value, or a ``RefusedValue``, of each cell."""
        if isinstance(cells, pa.Array) and pa.types.is_binary(cells.type):
            decoded, undecodable = decode(cells)
            values = _replaced(self._empty_as_null(decoded).to_pylist(), undecodable)
            return self._clean(values, is_text=True)
        if isinstance(cells, pa.Array):
            cells = self._plain(cells)
        return self._clean(self._values(self._as_floats(cells)), is_text=False)

    def _as_floats(self, cells: pa.Array | list[Any]) -> pa.Array | list[Any]:
        """Return the numbers of JSON that are documents themselves as floats."""
        if not self._has_json_numbers or not isinstance(cells, list):
            return cells
        return [float(cell) if type(cell) is Decimal else cell for cell in cells]

    def _judge_each(self, values: list[Any], *, is_text: bool) -> TypedColumn:
        """Let the field judge and prepare values one at a time."""
        started, read_before = time.perf_counter(), self.cleaner.texts_read
        column = self.store(self._clean(values, is_text=is_text), values)
        self._seconds += time.perf_counter() - started
        if is_text:
            asked = self.cleaner.texts_read - read_before
            self._has_asked_texts = True
        else:
            asked = sum(value is not None for value in values)
        if asked and not self._asked:
            self._example = next(value for value in values if value is not None)
        self._asked += asked
        return column

    def _judge_distinct(self, texts: pa.Array) -> TypedColumn:
        """Let the field judge and prepare each distinct text once."""
        coded = texts.dictionary_encode(null_encoding="encode")
        distinct = coded.dictionary.to_pylist()
        column = self._judge_each(distinct, is_text=True)
        if len(distinct) == len(texts):
            return column
        refused = {cell.place: cell for cell in column.refused}
        places = pc.is_in(coded.indices, value_set=pa.array(list(refused), coded.indices.type))
        return TypedColumn(
            column.values.take(coded.indices),
            [
                dataclasses.replace(refused[coded.indices[place].as_py()], place=place)
                for place in pc.indices_nonzero(places).to_pylist()
            ],
        )

    def store(self, cleaned: list[Any], shown: list[Any]) -> TypedColumn:
        """Convert cleaned values and refusals; ``shown`` has the values to show in rejects."""
        stored = [
            item if item is None or isinstance(item, RefusedValue) else self._try_fit(item)
            for item in self.prepare(cleaned)
        ]
        values = self._gather(stored)
        refused = [
            RefusedCell(place, shown[place], item.reason)
            for place, item in enumerate(stored)
            if isinstance(item, RefusedValue)
        ]
        return TypedColumn(values, refused)

    def prepare(self, cleaned: list[Any]) -> list[Any]:
        """Return the stored values for cleaned ones, with a ``RefusedValue`` for each refused."""
        prepare = self.cleaner.prepare
        known: dict[str, Any] = {}
        prepared = []
        for value in cleaned:
            if isinstance(value, RefusedValue):
                prepared.append(value)
            elif type(value) is str and self.cleaner.is_repeatable:
                if value not in known:
                    known[value] = prepare(value)
                prepared.append(known[value])
            else:
                prepared.append(prepare(value))
        if self.encoding.column.is_required and not self.field.null:
            refusal = RefusedValue(str(self.field.error_messages["null"]))
            return [refusal if item is None else item for item in prepared]
        return prepared

    def _empty_as_null(self, text: pa.Array) -> pa.Array:
        if self.cleaner.empty_text is not None or (
            self._has_postgres_text and self.field.empty_strings_allowed
        ):
            return text
        empty = pc.equal(text, "")
        if not pc.any(empty).as_py():
            return text
        return pc.if_else(empty, pa.scalar(None, pa.string()), text)

    def _convert_at_once(
        self, cells: pa.Array | list[Any], *, is_text: bool
    ) -> tuple[pa.Array | None, Mask]:
        """Convert what the kernel can: return the values and the mask of taken cells (None: all).

        The values are None if the kernel can take no cell.
        """
        kernel = self._kernel
        if kernel is None:
            return None, None
        try:
            if isinstance(cells, list):
                found = kernel.from_python(cells)
            elif pa.types.is_string(cells.type):
                found = self._read_texts(kernel, cells) if is_text else kernel.parse(cells)
            else:
                found = kernel.adopt(cells)
            if found is None:
                return None, None
            values, mask = found
            mask = both(mask, kernel.judge(values))
            if self._limit is not None:
                mask = both(mask, pc.less_equal(pc.utf8_length(values), self._limit))
            mask = self._with_nulls(cells, mask)
            if mask is not None:
                values = keep(values, mask)
            return pc.cast(values, self.encoding.arrow_type), mask
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None, None

    def _read_texts(self, kernel: Kernel, text: pa.Array) -> tuple[pa.Array, Mask] | None:
        """Let the kernel read the cells of a text file, if it knows their format."""
        if self._read_postgres is None:
            return kernel.read(text)
        return kernel.read_postgres(text)

    def _convert_without_texts(self, cells: list[Any]) -> tuple[pa.Array | None, Mask]:
        """Let the kernel take the typed cells of a column that also has ``CellText`` cells."""
        is_typed = [type(cell) is not CellText for cell in cells]
        if all(is_typed) or not any(is_typed):
            return None, None
        values = [cell if typed else None for cell, typed in zip(cells, is_typed, strict=True)]
        found, mask = self._convert_at_once(values, is_text=False)
        return found, None if found is None else both(mask, pa.array(is_typed))

    def _with_nulls(self, cells: pa.Array | list[Any], mask: Mask) -> Mask:
        """Take nulls if the field accepts them; return None for a mask that takes every cell."""
        is_taken = self.field.null and self.field.blank
        if isinstance(cells, list):
            missing = [cell is None for cell in cells] if _may_have_none(cells) else []
            nulls = pa.array(missing, pa.bool_()) if missing else None
        else:
            nulls = pc.is_null(cells) if cells.null_count else None
        if mask is not None:
            mask = pc.fill_null(mask, False)
        if nulls is not None and (mask is not None or not is_taken):
            mask = pc.if_else(nulls, is_taken, True if mask is None else mask)
        return None if mask is None or is_all(mask) else mask

    def _clean(self, values: list[Any], *, is_text: bool) -> list[Any]:
        cleaned = self._clean_each(values, is_text=is_text)
        self._warnings.note(values, cleaned, is_text=is_text)
        return cleaned

    def _clean_each(self, values: list[Any], *, is_text: bool) -> list[Any]:
        clean, read = self.cleaner.clean, self.cleaner.read
        if not is_text:
            if self._reads_by_text:
                values = [_as_cell_text(value) for value in values]
            else:
                self._warnings.note_texts(values)
            return [read(value) if type(value) is CellText else clean(value) for value in values]
        if self._has_postgres_text:
            return list(map(self._clean_postgres, values))
        return [read(value) if type(value) is str else clean(value) for value in values]

    def _clean_postgres(self, value: Any) -> Any:
        """Clean a text written by PostgreSQL: an empty one is an empty string, None is NULL."""
        if type(value) is not str or value == "":
            return self.cleaner.clean(value)
        if self._read_postgres is None:
            return self.cleaner.read(value)
        try:
            read = self._read_postgres(value)
        except ValidationError as error:
            return RefusedValue(" ".join(error.messages))
        except (ValueError, TypeError, RecursionError):
            return RefusedValue(f"PostgreSQL does not write such a {self.encoding.column.sql_type}")
        return self.cleaner.clean(read)

    def _plain(self, cells: pa.Array) -> pa.Array | list[Any]:
        cells = within_a_day(plain(cells))
        if isinstance(cells, list) or not self.cleaner.is_of_time:
            return cells
        return without_nanoseconds(cells)

    def _values(self, cells: pa.Array | list[Any]) -> list[Any]:
        values = python_values(cells, getattr(self.field, "decimal_places", None))
        if not self._is_of_decimals:
            return values
        # Django would convert all binary digits of a float: 12.34 has fifty.
        return [shortest_text(value) for value in values]

    def _try_fit(self, prepared: Any) -> Any:
        try:
            return self._fit(prepared)
        except MisfitError as error:
            return RefusedValue(str(error))
        except Exception:  # noqa: BLE001 - whatever the driver's dumper raises
            return self._misfit(prepared)

    def _misfit(self, value: Any) -> RefusedValue:
        if isinstance(value, str) and as_text(value) != value:
            return RefusedValue(LONE_SURROGATE)
        if not isinstance(self.field, ArrayField) and (why := why_unread(self.field, value)):
            return RefusedValue(why)
        return RefusedValue(f"the column's type {self.encoding.column.sql_type} cannot hold it")

    def _gather(self, stored: list[Any]) -> pa.Array:
        """Make an array; refuse, in ``stored``, each value that Arrow cannot hold."""
        kind = self.encoding.arrow_type
        values = [None if isinstance(item, RefusedValue) else item for item in stored]
        try:
            return pa.array(values, type=kind)
        except (pa.ArrowException, OverflowError, ValueError):
            pass
        for place, item in enumerate(values):
            try:
                pa.array([item], type=kind)
            except (pa.ArrowException, OverflowError, ValueError):
                stored[place], values[place] = self._misfit(item), None
        return pa.array(values, type=kind)


def _may_have_none(cells: list[Any]) -> bool:
    """Return whether None may be among the cells; uses ``in``, because it is fast."""
    try:
        return None in cells
    except Exception:  # noqa: BLE001 - a NumPy array has no truth value
        return True


def _as_cell_text(value: Any) -> Any:
    if value is None or isinstance(value, RefusedValue):
        return value
    return CellText(text_of(value) or "")


def _replaced(values: list[Any], refusals: dict[int, RefusedValue]) -> list[Any]:
    return (
        [refusals.get(place, value) for place, value in enumerate(values)] if refusals else values
    )


def _unchecked_limit(encoding: ColumnEncoding, kernel: Kernel) -> int | None:
    """Return the most characters that the column holds, or None if a validator checks them."""
    limit = text_limit(encoding.column)
    if limit is None or not pa.types.is_string(encoding.arrow_type):
        return None
    checked = [check.limit_value for check in kernel.checks if type(check) is MaxLengthValidator]
    return None if any(length <= limit for length in checked) else limit

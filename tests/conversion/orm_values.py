"""What the ORM makes of a value: the field's judgement, and the row that `save()` stores."""

import dataclasses
import datetime as dt
import json
import warnings
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
from django.contrib.postgres.fields import DateRangeField, HStoreField, RangeField
from django.core.exceptions import ValidationError
from django.db import models

UUID_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A cell that stands for no Python value: a meant difference, see docs/fields.md."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of one cell."""

    stored: str | None = None
    """The row's text in PostgreSQL, where it was accepted."""
    messages: tuple[str, ...] | None = None
    """The field's own words, where it had any."""


def values_of(cells, field):
    """Return the Python value that each cell stands for, or an `Unreadable`."""
    if cells.form == "text":
        return [text_value(cell, field) for cell in cells.column.to_pylist()]
    if cells.form == "python":
        return [python_value(cell, field) for cell in cells.column]
    return [arrow_value(cell, field) for cell in cells.column]


def python_value(cell, field):
    if isinstance(field, RangeField) and isinstance(cell, dict):
        return range_as_text(cell)
    if is_list_of_decimals(field) and isinstance(cell, str):
        return decimals_as_texts(cell)
    if is_of_decimals(field):
        return without_floats(cell)  # a meant difference: the float's shortest text
    if is_of_uuids(field):
        return with_uuids(cell)
    if isinstance(field, DateRangeField) and isinstance(cell, list | tuple):
        bounds = set(map(type, cell))
        if {dt.date, dt.datetime} <= bounds:
            return Unreadable("a day and a moment")
    return cell


def is_of_uuids(field):
    while hasattr(field, "target_field") or hasattr(field, "base_field"):
        field = getattr(field, "base_field", None) or field.target_field
    return isinstance(field, models.UUIDField)


def with_uuids(value):
    """Return 16 bytes as the UUID that they are, also in lists: a meant difference."""
    if type(value) in {list, tuple}:
        return type(value)(map(with_uuids, value))
    is_uuid = isinstance(value, bytes | bytearray | memoryview) and len(value) == UUID_BYTES
    return UUID(bytes=bytes(value)) if is_uuid else value


def range_as_text(value):
    """Return an object with bounds as the text of it, which the ORM reads: a meant difference."""
    is_range = value and value.keys() <= {"lower", "upper", "bounds", "empty"}
    return json.dumps(value) if is_range else value


def is_of_decimals(field):
    field = getattr(field, "base_field", field)
    return isinstance(field, models.DecimalField)


def without_floats(value):
    if type(value) in {list, tuple}:
        return [in_decimals(item) for item in value]
    return repr(value) if type(value) is float else value


def in_decimals(value):
    if type(value) in {list, tuple}:
        return [in_decimals(item) for item in value]
    return Decimal(str(value)) if type(value) in {int, float} else value


def text_value(cell, field):
    if cell is None:
        return None
    try:
        text = cell.decode()
    except UnicodeDecodeError:
        return Unreadable("no text")
    if text == "":
        is_text = field.empty_strings_allowed and not isinstance(field, models.ForeignKey)
        return "" if is_text and not field.null else None
    if isinstance(field, models.JSONField | HStoreField):
        try:
            return json.loads(text, cls=getattr(field, "decoder", None))
        except (ValueError, RecursionError):
            return Unreadable("no JSON")
    return decimals_as_texts(text) if is_list_of_decimals(field) else text


def is_list_of_decimals(field):
    return is_of_decimals(field) and hasattr(field, "base_field")


def decimals_as_texts(text):
    """Return the text of a list with its fractions as texts: a meant difference, as with floats."""
    try:
        found = json.loads(text, parse_float=str)
    except (ValueError, RecursionError):
        return text
    return json.dumps(found) if isinstance(found, list) else text


def arrow_value(cell, field):
    try:
        value = without_pandas(cell.as_py())
        if is_of_decimals(field):
            value = shortest_text(cell) if type(value) is float else without_floats(value)
    except (ValueError, OverflowError):
        return Unreadable("no such value in Python")
    if isinstance(field, models.DecimalField) and isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        places = field.decimal_places
        while places is not None and -exponent > places and digits[-1] == 0:
            digits, exponent = digits[:-1] or (0,), exponent + 1
        return Decimal((sign, digits, exponent))
    return value


def without_pandas(value):
    """Return a time of pandas, which Arrow gives where pandas is installed, as Python's own."""
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        return value
    for name in ("to_pydatetime", "to_pytimedelta"):
        if hasattr(value, name):
            return getattr(value, name)()
    return value


def shortest_text(cell):
    """Return a float as the shortest text of its own width: a meant difference."""
    if pa.types.is_float16(cell.type):
        cell = cell.cast(pa.float32())
    return cell.cast(pa.string()).as_py()


def verdicts(model, values, first_position):
    """Clean and save each value on its own; the accepted ones are in the table afterwards."""
    with warnings.catch_warnings():
        # Naive times: ingest reads them as Django does, but without this warning.
        warnings.filterwarnings("ignore", r".*received a naive datetime", RuntimeWarning)
        return [
            verdict(model, value, position) for position, value in enumerate(values, first_position)
        ]


def verdict(model, value, position):
    field = model._meta.get_field("value")
    if isinstance(value, Unreadable):
        return Verdict()
    if value is None and isinstance(field, models.AutoField):
        return Verdict()
    try:
        instance = model(**{"position": position, field.attname: value})
        clean(instance, field)
    except ValidationError as error:
        try:
            return Verdict(messages=tuple(error.message_dict[field.name]))
        except ValueError:  # ArrayField formats a message with an item's "%" in it
            return Verdict()
    except Exception:  # noqa: BLE001 - whatever stops `full_clean()` refuses the value
        return Verdict()
    is_automatic = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    try:
        if is_automatic:
            # As it stands, without `pre_save`: a source's own time is kept.
            instance.save_base(raw=True, force_insert=True)
        else:
            instance.save(force_insert=True)
    except Exception:  # noqa: BLE001 - likewise
        return Verdict()
    return Verdict(stored="")


def clean(instance, field):
    try:
        instance.clean_fields(exclude={"position"})
    except ValidationError as error:
        if not is_missing_parent(error, field):
            raise
        setattr(instance, field.attname, field.to_python(getattr(instance, field.attname)))


def is_missing_parent(error, field):
    """PostgreSQL, not the field, says whether the referenced row exists."""
    if not isinstance(field, models.ForeignKey):
        return False
    [only] = error.error_dict[field.name]
    return only.code == "invalid" and "pk" in (only.params or {})

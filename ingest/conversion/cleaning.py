"""Clean and prepare values with the Django field itself, one at a time."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from copy import deepcopy
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from django.conf import settings
from django.contrib.postgres.fields import ArrayField, HStoreField, RangeField
from django.core.exceptions import ValidationError
from django.db import Error, connections, models
from django.db.models.fields.files import FieldFile
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute
from django.db.models.query_utils import DeferredAttribute
from psycopg.types.range import Range

from ingest.conversion.cures import why_unread
from ingest.conversion.storing import in_zone
from ingest.conversion.structures import NO_NULL_CHARACTER
from ingest.conversion.timezones import check_offset, holds_moments, make_aware
from ingest.results.rejects import REASON_SHOWN, VALUE_SHOWN, cut, shorten

if TYPE_CHECKING:
    from ingest.postgres.catalog import Column

DATABASE_ERRORS = (Error, psycopg.Error)
"""A validator may query the database; a failed query does not mean that the value is invalid."""
PLAIN_DESCRIPTORS = {DeferredAttribute, ForeignKeyDeferredAttribute}
"""Descriptors that return a value as it was assigned to the instance."""
NANOSECONDS = "it has nanoseconds, and PostgreSQL stores microseconds: round it in the source"
_FINER_THAN_MICROSECONDS = re.compile(r"[.,]\d{6}\d*[1-9]")
"""Django's parsers ignore all digits after the sixth."""
_OF_RANGE = {"lower", "upper", "bounds", "empty"}
"""The keys of an object that is a range: the names of the arguments of psycopg's ``Range``."""
REMEMBERED_VALUES = 65_536
"""Distinct texts whose result is cached for each field: some 10 MB at most."""

WHOLE_DIGITS = 400
"""Decimals with more digits before the point are shortened to this many. They are too large for any
integer field, and converting 999,999,999 digits to an integer takes minutes."""

UUID_BYTES = 16


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedValue:
    """Why a value was refused, in the field's own words."""

    reason: str


class Cleaner:
    """Judges the values of one field as ``Model.full_clean()`` and ``save()`` would.

    It does not check that referenced rows exist: PostgreSQL does that for all rows at once.
    """

    def __init__(self, field: models.Field[Any, Any], column: Column, alias: str) -> None:
        self.field = field
        self._has_zone = {"timestamptz": True, "timestamp": False}.get(column.type_name)
        self._connection = connections[alias]
        # Without callable defaults: a counter must be called exactly once for each row.
        self._instance = field.model(
            **{
                other.attname: None
                for other in field.model._meta.concrete_fields
                if callable(other.default)
            }
        )
        self._judged: dict[str, Any] = {}
        self.texts_read = 0
        """How many texts were judged that were not in the cache."""
        self._has_moments = settings.USE_TZ and holds_moments(field)
        self.is_of_time = isinstance(
            field, models.DateTimeField | models.TimeField | models.DurationField
        )
        """Whether the field holds times, which PostgreSQL stores in microseconds."""
        self._holds_times = isinstance(
            _innermost(field), models.DateTimeField | models.TimeField | models.DurationField
        )
        self._has_descriptor = type(field).descriptor_class not in PLAIN_DESCRIPTORS
        self._reads_json = isinstance(field, models.JSONField)
        self._is_whole = _is_of(field, models.IntegerField)
        self._is_uuid = _is_of(field, models.UUIDField)
        self._reads_lists = isinstance(field, ArrayField) and (
            is_of_decimals(field) or isinstance(field.base_field, ArrayField)
        )
        self.empty_text = "" if field.empty_strings_allowed and not field.null else None
        if isinstance(field, models.ForeignKey):
            self.empty_text = None
        # Other fields may prepare a value differently each time, for example by encrypting it.
        self._is_repeatable = type(field).__module__.startswith("django.")

    def read(self, text: str) -> Any:
        """Clean a cell of a text file: an empty one is NULL, or an empty string for a text field.

        Returns the cleaned value or a ``RefusedValue``.
        """
        if text == "":
            return self.clean(self.empty_text)
        if text not in self._judged:
            if len(self._judged) >= REMEMBERED_VALUES:
                self._judged.clear()
            self.texts_read += 1
            self._judged[text] = self._read(text)
        value = self._judged[text]
        if isinstance(value, dict | list) and not self._is_repeatable:
            return deepcopy(value)  # the field may prepare it in place
        return value

    def clean(self, value: Any) -> Any:
        """Clean a Python value: return what the field converts it to, or a ``RefusedValue``."""
        field = self.field
        if isinstance(value, models.Model) and isinstance(field, models.ForeignKey):
            value = _key_of(field, value)
        if isinstance(value, RefusedValue):
            return value
        if hasattr(value, "resolve_expression"):
            return RefusedValue(
                "an SQL expression cannot be sent as a value: use the ORM for this row"
            )
        try:
            value = self._as_attribute(value)
            is_skipped = field.blank and value in field.empty_values
            cleaned = value if is_skipped else self._as_attribute(self._clean(value))
        except ValidationError as error:
            return _refuse(error)
        except DATABASE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever stops full_clean() refuses the value
            return RefusedValue(_why_unread(field, error, value))
        if cleaned is None and not field.null:
            return RefusedValue(str(field.error_messages["null"]))
        if isinstance(cleaned, str) and "\0" in cleaned:
            return RefusedValue(NO_NULL_CHARACTER)
        if self._holds_times and _is_too_fine(value):
            return RefusedValue(NANOSECONDS)
        return cleaned

    def prepare(self, cleaned: Any) -> Any:
        """Return what the ORM would pass to the driver for a cleaned value, or ``RefusedValue``."""
        try:
            if self._has_moments:
                cleaned = make_aware(self.field, cleaned)
            if isinstance(self.field, models.FileField):
                cleaned = self._as_attribute(cleaned)
            prepared = self.field.get_db_prep_save(cleaned, self._connection)
            # BinaryField wraps its bytes for psycopg, but other drivers read them here, too.
            if isinstance(prepared, psycopg.Binary):
                return bytes(memoryview(prepared.obj))
            if isinstance(prepared, dt.datetime) and self._has_zone is not None:
                check_offset(prepared)
                zone = ZoneInfo(self._connection.timezone_name)
                return in_zone(prepared, zone, has_zone=self._has_zone)
        except ValidationError as error:
            return _refuse(error)
        except DATABASE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever stops save() refuses the value
            return RefusedValue(_why_unread(self.field, error, cleaned))
        return prepared

    @property
    def is_repeatable(self) -> bool:
        """Whether the field always prepares equal values in the same way."""
        return self._is_repeatable

    def _read(self, text: str) -> Any:
        if self._reads_json or isinstance(self.field, HStoreField):
            try:
                return self.clean(json.loads(text, cls=getattr(self.field, "decoder", None)))
            except (ValueError, RecursionError) as error:
                return RefusedValue(f"Value must be valid JSON: {error}.")
        return self.clean(text)

    def _as_list(self, text: str) -> Any:
        """Return the list in a JSON text, with the fractions of decimals as texts.

        ``ArrayField`` itself would read fractions as floats, and does not convert the items of
        nested lists.
        """
        if not self._reads_lists:
            return text
        try:
            found = json.loads(text, parse_float=str if is_of_decimals(self.field) else None)
        except (ValueError, RecursionError):
            return text
        if not isinstance(found, list):
            return text
        is_nested = isinstance(getattr(self.field, "base_field", None), ArrayField)
        return found if is_nested else json.dumps(found)

    def _as_attribute(self, value: Any) -> Any:
        """Return a value as the instance has it after assignment, such as a file's name."""
        if not self._has_descriptor:
            return value
        if isinstance(self.field, models.FileField) and not (
            value is None or isinstance(value, str | FieldFile)
        ):
            raise TypeError(f"a file's name is a text, not {type(value).__name__}")
        setattr(self._instance, self.field.attname, value)
        return getattr(self._instance, self.field.attname)

    def _clean(self, value: Any) -> Any:
        field = self.field
        if self._is_whole:
            value = _within_reach(value)
        elif self._is_uuid:
            value = _uuids_of_bytes(value)
        if isinstance(value, dict) and isinstance(field, RangeField):
            value = _read_range(field, value)
        if isinstance(value, str):
            value = self._as_list(value)
        if not isinstance(field, models.ForeignKey):
            if self._has_moments and type(value) is dt.date:
                # Like DateTimeField.to_python(), but without a warning.
                value = make_aware(field, value)
            if isinstance(field, ArrayField) and isinstance(value, list | tuple):
                return self._clean_list(field, value)
            return field.clean(value, self._instance)
        # ForeignKey.validate() would query the database for every single value.
        value = field.to_python(value)
        models.Field.validate(field, value, self._instance)
        field.run_validators(value)
        return value

    def _clean_list(self, field: ArrayField[Any, Any], value: Any) -> Any:
        """Clean a list; if the field refuses it, try again with its items converted."""
        try:
            return field.clean(value, self._instance)
        except DATABASE_ERRORS:
            raise
        except Exception:
            try:
                items = _read_items(field, value)
                return field.clean(items, self._instance)
            except Exception:  # noqa: BLE001, S110 - the first error is the one to report
                pass
            raise


def _key_of(field: models.ForeignKey[Any, Any], instance: models.Model) -> Any:
    """Return the key of an instance to which the field refers."""
    parent = cast("type[models.Model]", field.remote_field.model._meta.concrete_model)
    if isinstance(instance, parent):
        return getattr(instance, field.target_field.attname)
    return RefusedValue(
        f"it is an instance of {instance._meta.label}, and {field.name} refers to "
        f"{parent._meta.label}"
    )


def _is_of(field: models.Field[Any, Any], kind: type[models.Field[Any, Any]]) -> bool:
    """Return whether the field, its target field or its list items are of this kind."""
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    return isinstance(_innermost(field), kind)


def is_of_decimals(field: models.Field[Any, Any]) -> bool:
    """Return whether the field's values, or the items of its lists, are decimals."""
    return isinstance(_innermost(field), models.DecimalField)


def _innermost(field: models.Field[Any, Any]) -> models.Field[Any, Any]:
    """Return the field of a list's items or of a range's bounds, or the field itself."""
    while isinstance(field, ArrayField):
        field = field.base_field
    if isinstance(field, RangeField):
        base = field.base_field
        return base() if isinstance(base, type) else base
    return field


def _read_items(field: ArrayField[Any, Any], value: list[Any] | tuple[Any, ...]) -> Any:
    """Return a list with its items converted by their field, as for a JSON text.

    ``ArrayField`` itself leaves the items of a list as they are.
    """
    base = field.base_field
    if isinstance(base, ArrayField):
        items = [
            _read_items(base, item) if isinstance(item, list | tuple) else item for item in value
        ]
    else:
        items = [None if item is None else base.to_python(item) for item in value]
    is_changed = any(item is not given for item, given in zip(items, value, strict=True))
    return items if is_changed else value


def _read_range(field: RangeField[Any], value: dict[str, Any]) -> Any:
    """Return the range for an object with its bounds, which the field reads only as text.

    Dates and times are not converted: ``DateField`` would cut off the time.
    """
    if not value or not value.keys() <= _OF_RANGE:
        return value
    read = cast("models.Field[Any, Any]", field.base_field).to_python
    bounds = {
        name: read(bound) if name != "bounds" and isinstance(bound, str | int | float) else bound
        for name, bound in value.items()
    }
    return field.range_type(**bounds)


_UNREADABLE = (TypeError, AttributeError, LookupError)


def _why_unread(field: models.Field[Any, Any], error: Exception, value: Any) -> str:
    """Return why a field could not read a value, if it raised one of Python's exceptions."""
    is_list = isinstance(field, ArrayField) and isinstance(value, list | tuple)
    kinds = (TypeError, AttributeError) if is_list else (*_UNREADABLE, ValueError)
    if isinstance(error, kinds):
        reason = why_unread(field, value)
        if reason is not None:
            return reason
    return f"{type(error).__name__}: {error}"


def _is_too_fine(value: Any) -> bool:
    """Return whether a text in the value has a finer fraction of a second than microseconds."""
    if isinstance(value, str):
        return _FINER_THAN_MICROSECONDS.search(value) is not None
    if isinstance(value, list | tuple):
        return any(map(_is_too_fine, value))
    if isinstance(value, dict):
        return any(map(_is_too_fine, value.values()))
    return isinstance(value, Range) and _is_too_fine((value.lower, value.upper))


def _within_reach(value: Any) -> Any:
    """Return a smaller decimal for a huge one; both are too large for the field."""
    if isinstance(value, list | tuple):
        items = [_within_reach(item) for item in value]
        is_changed = any(item is not given for item, given in zip(items, value, strict=True))
        return items if is_changed else value  # messages show the value as it was given
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() > WHOLE_DIGITS:
        return Decimal(f"1e{WHOLE_DIGITS}").copy_sign(value)
    return value


def _uuids_of_bytes(value: Any) -> Any:
    """Return bytes as UUIDs: some libraries represent UUIDs as bytes."""
    if isinstance(value, list | tuple):
        items = [_uuids_of_bytes(item) for item in value]
        is_changed = any(item is not given for item, given in zip(items, value, strict=True))
        return items if is_changed else value
    if not isinstance(value, bytes | bytearray | memoryview):
        return value
    if len(value) != UUID_BYTES:
        raise ValidationError(f"A UUID has {UUID_BYTES} bytes, and not {len(value)}.")
    return UUID(bytes=bytes(value))


def _refuse(error: ValidationError) -> RefusedValue:
    # The error lists itself, so only the garbage collector frees it, and its frames hold the batch.
    for kept in (error, *error.error_list):
        kept.__traceback__ = kept.__context__ = None
    try:
        messages = error.messages
        if sum(map(len, messages)) > REASON_SHOWN:
            messages = _with_short_values(error)
    except (KeyError, TypeError, ValueError):
        # ArrayField formats the message of an item twice, and the item may have a "%".
        messages = [str(kept.message) for kept in error.error_list]
    return RefusedValue(cut(" ".join(messages), REASON_SHOWN))


def _with_short_values(error: ValidationError) -> list[str]:
    """Return the messages with the values in them cut short.

    The reason is often after the value, and would otherwise be cut off.
    """
    return [
        message
        for kept in error.error_list
        for message in ValidationError(kept.message, params=_short(kept.params or {})).messages
    ]


def _short(params: dict[str, Any]) -> dict[str, Any]:
    return {
        name: cut(value, VALUE_SHOWN)
        if isinstance(value, str)
        else shorten(value)
        if isinstance(value, bytes | list | tuple | dict)
        else value
        for name, value in params.items()
    }

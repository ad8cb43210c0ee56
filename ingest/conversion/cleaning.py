"""One value at a time: the Django field's own judgement, and what it would store."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import psycopg
from django.conf import settings
from django.contrib.postgres.fields import HStoreField
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.utils import timezone

if TYPE_CHECKING:
    from ingest.table import Column

REMEMBERED_VALUES = 65_536
"""Distinct texts whose judgement is remembered for each field: some 10 MB at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why a value was refused, in the field's own words."""

    reason: str


class Cleaner:
    """Judges the values of one field as ``Model.full_clean()`` and ``save()`` would.

    Whether a referenced row exists is not asked here: PostgreSQL says so for all rows at once.
    """

    def __init__(self, field: models.Field[Any, Any], column: Column, alias: str) -> None:
        self.field = field
        self._column_type = column.type_name
        self._connection = connections[alias]
        # Without callable defaults: a counter must move once for each row, and no further.
        self._instance = field.model(
            **{
                other.attname: None
                for other in field.model._meta.concrete_fields
                if callable(other.default)
            }
        )
        self._judged: dict[str, Any] = {}
        self._is_time = isinstance(field, models.DateTimeField) and settings.USE_TZ
        self._reads_json = isinstance(field, models.JSONField)
        self.empty_text = "" if field.empty_strings_allowed and not field.null else None
        if isinstance(field, models.ForeignKey):
            self.empty_text = None
        # What others prepare may differ each time, as encryption does.
        self._is_repeatable = type(field).__module__.startswith("django.")

    def read(self, text: str) -> Any:
        """Clean a cell of a text file: an empty one is NULL, or an empty string for a text field.

        Gives the cleaned value or a ``Refusal``.
        """
        if text == "":
            return self.clean(self.empty_text)
        if text not in self._judged:
            if len(self._judged) >= REMEMBERED_VALUES:
                self._judged.clear()
            self._judged[text] = self._read(text)
        return self._judged[text]

    def clean(self, value: Any) -> Any:
        """Clean a Python value: give what the field makes of it, or a ``Refusal``."""
        field = self.field
        if isinstance(value, models.Model) and isinstance(field, models.ForeignKey):
            value = getattr(value, field.target_field.attname)
        if hasattr(value, "resolve_expression"):
            return Refusal("an SQL expression cannot be sent as a value: use the ORM for this row")
        try:
            cleaned = value if self._is_skipped(value) else self._clean(value)
        except ValidationError as error:
            return Refusal(" ".join(error.messages))
        except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
            return Refusal(f"{type(error).__name__}: {error}")
        if cleaned is None and not field.null:
            return Refusal(str(field.error_messages["null"]))
        if isinstance(cleaned, str) and "\0" in cleaned:
            return Refusal("Null characters are not allowed: PostgreSQL cannot store U+0000.")
        return cleaned

    def prepare(self, cleaned: Any) -> Any:
        """Give what the ORM would hand to the driver for a cleaned value, or a ``Refusal``."""
        if self._is_time and isinstance(cleaned, dt.datetime) and timezone.is_naive(cleaned):
            cleaned = timezone.make_aware(cleaned, timezone.get_default_timezone())
        if cleaned is None and isinstance(self.field, models.FileField):
            # An instance holds a FieldFile instead; that of no file is stored as an empty name.
            cleaned = ""
        try:
            prepared = self.field.get_db_prep_save(cleaned, self._connection)
        except (TypeError, ValueError, ArithmeticError, AttributeError) as error:
            return Refusal(f"{type(error).__name__}: {error}")
        # BinaryField wraps its bytes for psycopg, which is not the only reader here.
        if isinstance(prepared, psycopg.Binary):
            return bytes(prepared.obj)
        return self._in_zone(prepared) if isinstance(prepared, dt.datetime) else prepared

    def _in_zone(self, moment: dt.datetime) -> dt.datetime:
        """Do what PostgreSQL does in the time zone that Django gives its connection."""
        if timezone.is_naive(moment) and self._column_type == "timestamptz":
            return moment.replace(tzinfo=ZoneInfo(self._connection.timezone_name))
        if timezone.is_aware(moment) and self._column_type == "timestamp":
            return timezone.make_naive(moment, ZoneInfo(self._connection.timezone_name))
        return moment

    @property
    def is_repeatable(self) -> bool:
        """Does the field prepare equal values alike?"""
        return self._is_repeatable

    def _read(self, text: str) -> Any:
        if self._reads_json or isinstance(self.field, HStoreField):
            try:
                return self.clean(json.loads(text, cls=getattr(self.field, "decoder", None)))
            except ValueError as error:
                return Refusal(f"Value must be valid JSON: {error}.")
        return self.clean(text)

    def _is_skipped(self, value: Any) -> bool:
        # Model.clean_fields() does not ask a field that may be blank about an empty value.
        return self.field.blank and any(
            value is empty or (type(value) is type(empty) and value == empty)
            for empty in self.field.empty_values
        )

    def _clean(self, value: Any) -> Any:
        field = self.field
        if not isinstance(field, models.ForeignKey):
            return field.clean(value, self._instance)
        # ForeignKey.validate() would ask the database about every single value.
        value = field.to_python(value)
        models.Field.validate(field, value, self._instance)
        field.run_validators(value)
        return value

"""Fields such as projects write for themselves: each has one habit that ingest must honour."""

import codecs
import dataclasses
from decimal import Decimal

from django.db import models


@dataclasses.dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str

    def __str__(self):
        return f"{self.amount} {self.currency}"


class MoneyField(models.Field):
    """An object in Python, text in the database: `get_prep_value` and `from_db_value`."""

    def get_internal_type(self):
        return "CharField"

    def get_prep_value(self, value):
        return None if value is None else str(value)

    def from_db_value(self, value, expression, connection):  # noqa: ARG002
        return self.to_python(value)

    def to_python(self, value):
        if value is None or isinstance(value, Money):
            return value
        amount, currency = value.split()
        return Money(Decimal(amount), currency)


class ColourField(models.Field):
    """`#rrggbb` in Python, an integer in the database: the column's type is not the value's."""

    def get_internal_type(self):
        return "IntegerField"

    def get_prep_value(self, value):
        return None if value is None else int(value.removeprefix("#"), 16)

    def from_db_value(self, value, expression, connection):  # noqa: ARG002
        return None if value is None else f"#{value:06x}"

    def to_python(self, value):
        return value


class SecretField(models.TextField):
    """Only `get_db_prep_save` hides the value, as encrypting fields do."""

    def get_db_prep_save(self, value, connection):
        value = super().get_db_prep_save(value, connection)
        return None if value is None else codecs.encode(value, "rot13")

    def from_db_value(self, value, expression, connection):  # noqa: ARG002
        return None if value is None else codecs.decode(value, "rot13")


class TypedField(models.Field):
    """A field with a `db_type` of its own and no other habit: an enum, a domain, a macaddr."""

    def __init__(self, sql_type, **options):
        self.sql_type = sql_type
        super().__init__(**options)

    def db_type(self, connection):  # noqa: ARG002
        return self.sql_type

    def deconstruct(self):
        name, path, positional, named = super().deconstruct()
        return name, path, [self.sql_type, *positional], named


class InitialField(models.CharField):
    """Its `pre_save` ignores what it is given and takes the first letter of the `name`."""

    def pre_save(self, model_instance, add):  # noqa: ARG002
        value = model_instance.name[:1].upper()
        setattr(model_instance, self.attname, value)
        return value


class ShoutField(models.TextField):
    """SQL around the parameter: what is stored is not what is sent."""

    def get_placeholder(self, value, compiler, connection):  # noqa: ARG002
        return "upper(%s)"

    def get_placeholder_sql(self, value, compiler, connection):  # noqa: ARG002
        return "upper(%s)", (value,)

"""Fields such as projects write for themselves."""

import codecs
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import models
from hypothesis import strategies as st

from tests.conversion.families.base import Family, optional
from tests.conversion.families.numbers import TEXTS as NUMBERS
from tests.conversion.families.numbers import VALUES as NUMBER_VALUES
from tests.conversion.families.texts import TEXTS, VALUES


class UpperField(models.CharField):
    """`to_python` changes the text: a longer one may come of it."""

    def to_python(self, value):
        value = super().to_python(value)
        return value if value is None else value.upper().strip()


class OddField(models.IntegerField):
    """`validate` has a rule of its own."""

    def validate(self, value, model_instance):
        super().validate(value, model_instance)
        if value is not None and value % 2 == 0:
            raise ValidationError("Even.", code="even")


class CentsField(models.BigIntegerField):
    """A Decimal in Python, whole cents in the database."""

    def to_python(self, value):
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return Decimal(value)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ValidationError("No amount.") from error

    def get_prep_value(self, value):
        return None if value is None else int(value * 100)

    @property
    def validators(self):
        return []


class SecretField(models.TextField):
    """Only `get_db_prep_save` hides the value."""

    def get_db_prep_save(self, value, connection):
        value = super().get_db_prep_save(value, connection)
        return None if value is None else codecs.encode(value, "rot13")


class PairField(models.Field):
    """A tuple in Python, text in the database; `clean` raises what it should not."""

    def db_type(self, connection):  # noqa: ARG002
        return "varchar(7)"

    def to_python(self, value):
        if value is None or isinstance(value, tuple):
            return value
        left, right = value.split("/")
        return left, int(right)

    def get_prep_value(self, value):
        return None if value is None else f"{value[0]}/{value[1]}"


class TypedField(models.Field):
    """A column of a type that Django has no field for."""

    def __init__(self, sql_type, **options):
        self.sql_type = sql_type
        super().__init__(**options)

    def db_type(self, connection):  # noqa: ARG002
        return self.sql_type


class PickyField(models.CharField):
    """It takes no empty value at all, and may say so, because it has none."""

    empty_values = ()


Family(
    name="custom",
    fields={
        **optional(UpperField, max_length=5),
        "secret": SecretField(blank=True),
        "pair": PairField(null=True, blank=True),
        "picky": PickyField(max_length=5, null=True, blank=True),
    },
    texts=["a/1", "abcde/1", "abcde/12", "a/b", "/", "ßßß", "  abcdef", " ab ", *TEXTS],
    values=[("a", 1), ("abcdef", 12), (1,), ["a", 1], *VALUES],
    text=st.text(max_size=7),
)
Family(
    name="custom number",
    fields={**optional(OddField), "cents": CentsField(null=True, blank=True)},
    texts=NUMBERS,
    values=NUMBER_VALUES,
)
Family(
    name="custom type",
    fields={
        "real": TypedField("real"),
        "padded": TypedField("char(5)"),
        "short": TypedField("varchar(5)", null=True, blank=True),
        "numeric": TypedField("numeric(5, 2)"),
        "json": TypedField("json"),
        "naive moment": TypedField("timestamp"),
        "mac": TypedField("macaddr"),
        "bits": TypedField("bit(4)"),
    },
    texts=["1.23", "1.235", "999.995", "1e3", "08:00:2b:01:02:03", "0101", "{}", *TEXTS],
    values=[*VALUES, Decimal("1.23"), Decimal("1.235"), Decimal(1000), 0.1, 1e39, 2**31],
)

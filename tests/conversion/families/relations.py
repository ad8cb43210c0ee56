from uuid import UUID, uuid4

import pyarrow as pa
from django.db import models
from hypothesis import strategies as st

from tests.conversion.families.base import REGISTRY, Family, optional
from tests.conversion.families.numbers import INTEGERS, TEXTS, VALUES
from tests.conversion.families.structures import NUMBER


def parent(name, **attributes):
    meta = type("Meta", (), {"apps": REGISTRY, "app_label": "conversion"})
    return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **attributes})


Owner = parent("Owner", code=models.CharField(max_length=5, unique=True))
Small = parent("Small", id=models.SmallAutoField(primary_key=True))
Universal = parent("Universal", id=models.UUIDField(primary_key=True, default=uuid4))


def refer(to=Owner, **options):
    return models.ForeignKey(to, models.CASCADE, related_name="+", db_constraint=False, **options)


Family(
    name="foreign key",
    fields={
        **optional(refer),
        "small": refer(Small, null=True, blank=True),
        "by code": refer(to_field="code"),
        "by code or null": refer(to_field="code", null=True, blank=True),
        "universal": refer(Universal),
    },
    texts=[*TEXTS, NUMBER, "abcde", "abcdef", "a\x00", ""],
    values=[*VALUES, UUID(NUMBER), "abcdef", [1], "\ud800", b"a"],
    text=st.integers(-9, 2**32).map(str),
    value=st.integers(-9, 2**32),
    arrow_types=[*INTEGERS, pa.string(), pa.float64()],
)

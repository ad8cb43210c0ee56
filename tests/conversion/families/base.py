import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from django.apps.registry import Apps
from django.db import models
from hypothesis import strategies as st

REGISTRY = Apps()
"""Models that the rest of the tests do not see."""
FAMILIES = []


@dataclasses.dataclass(kw_only=True)
class Family:
    """Fields of one kind, each in a model of its own, and the cells that are hard for them."""

    name: str
    fields: dict[str, models.Field]
    texts: Sequence[str] = ()
    """Cells of text files; typed input has them, too."""
    values: Sequence[Any] = ()
    """Python values."""
    text: st.SearchStrategy = dataclasses.field(default_factory=st.text)
    """Makes further cells of text files."""
    value: st.SearchStrategy = dataclasses.field(default_factory=st.none)
    """Makes further Python values."""
    arrow_types: Sequence[Any] = ()
    """The Arrow types that are of interest; all others are tried more rarely."""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        self.models = [self._model(variant, field) for variant, field in self.fields.items()]
        FAMILIES.append(self)

    def __str__(self):
        return self.name

    def _model(self, variant, field):
        name = re.sub(r"\W+", "_", f"{self.name}_{variant}").title().replace("_", "")
        attributes = {
            "__module__": __name__,
            "position": models.IntegerField(db_index=True),
            "value": field,
            "Meta": type("Meta", (), {"apps": REGISTRY, "app_label": "conversion"}),
        }
        if not field.primary_key:
            attributes["position"] = models.IntegerField(primary_key=True)
        return type(name, (models.Model,), attributes)


def optional(kind, *positional, **options):
    """Return a field in the four ways it may be left empty."""
    return {
        "required": kind(*positional, **options),
        "blank": kind(*positional, blank=True, **options),
        "null": kind(*positional, null=True, **options),
        "null blank": kind(*positional, null=True, blank=True, **options),
    }

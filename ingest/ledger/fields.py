"""Fields of the ledger's models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    Base = models.Field[Any, Any]
else:
    Base = models.Field


class TextArrayField(Base):
    """A list of texts, as PostgreSQL's ``text[]``.

    Django's own ``ArrayField`` requires ``django.contrib.postgres`` in ``INSTALLED_APPS``.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002
        return "text[]"

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    def value_to_string(self, obj: models.Model) -> str:
        return json.dumps(self.value_from_object(obj))

"""Models whose rows go into the scratch schema for a while."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.models import Model


@contextmanager
def redirect(names: Mapping[type[Model], str]) -> Iterator[None]:
    """Let each model's queries use another table, given quoted and with its schema.

    It changes the models for the whole process, so nothing else may use them meanwhile. Whatever
    happens, they are as before at the end.
    """
    before = {model: model._meta.db_table for model in names}
    try:
        for model, name in names.items():
            _set(model, name)
        yield
    finally:
        for model, name in before.items():
            _set(model, name)


def _set(model: type[Model], db_table: str) -> None:
    model._meta.db_table = db_table
    # A field remembers its column together with the table's name.
    for field in (*model._meta.local_fields, model._meta.pk):
        vars(field).pop("cached_col", None)

"""What a role that loads or undoes needs to be granted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DatabaseError, transaction

from ingest.ledger.place import ledger_names
from ingest.ledger.rows import DjangoConnection
from ingest.postgres.quoting import quote_db_table
from ingest.postgres.rights import tell_missing
from ingest.postgres.several_tables import models_of_rows

if TYPE_CHECKING:
    from django.db import models


def name_missing_rights(
    alias: str, said: str, model: type[models.Model], rights: str, role: str = ""
) -> str:
    """Return a sentence with the GRANT that an error calls for, or an empty string.

    ``rights`` are those that are needed on the model's tables, separated by commas; see
    ``tell_missing``. It is read over Django's connection, whose transaction continues.
    """
    every: list[Any] = model._meta.get_fields(include_hidden=True)
    related = {field.related_model for field in every if field.related_model is not None}
    needed = {
        quote_db_table(other._meta.db_table): "SELECT"
        for other in related
        if hasattr(other, "_meta")
    }
    if apps.is_installed("ingest"):
        needed |= dict.fromkeys(ledger_names(), "SELECT,INSERT,UPDATE,DELETE")
    needed |= {quote_db_table(part._meta.db_table): rights for part in models_of_rows(model)}
    with suppress(DatabaseError), transaction.atomic(using=alias):
        return tell_missing(DjangoConnection(alias), said, needed, role)
    return ""

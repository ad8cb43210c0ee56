"""Write rows by a method or by `save()`, and read what is stored."""

import math
from contextlib import contextmanager
from datetime import UTC, datetime

from django.db import DEFAULT_DB_ALIAS, connection, models, transaction
from django.db.models.functions import Cast

from ingest.benchmark.methods import Target, get_method
from ingest.postgres.session import DjangoSession
from tests.whole_table import whole_table


@contextmanager
def rows_removed(*used):
    """Empty the models' tables on leaving, the ones that refer to others first."""
    try:
        yield
    finally:
        for model in used:
            for table in (model, *model._meta.get_parent_list()):
                queryset = table._base_manager.all()
                queryset._raw_delete(queryset.db)


def target(model, fields):
    session = DjangoSession(DEFAULT_DB_ALIAS)
    return Target(
        model=model,
        alias=DEFAULT_DB_ALIAS,
        table=whole_table(session, model),
        fields=tuple(fields),
    )


def written(name, model, fields, rows):
    """Write by the method and give the number that it gives."""
    with get_method(name)(target(model, fields)) as method:
        return method.write(rows)


def saved(model, fields, rows):
    names = [field.attname for field in fields]
    for row in rows:
        model(**dict(zip(names, row, strict=True))).save(force_insert=True)


def stored(model, fields):
    """Return what the ORM reads of the rows, and the same as PostgreSQL writes it."""
    names = [field.attname for field in fields]
    queryset = model._base_manager.order_by("pk")
    as_text = [Cast(name, models.TextField()) for name in names]
    return list(queryset.values_list(*names)), list(queryset.values_list(*as_text))


def stored_by_save(case):
    with transaction.atomic():
        saved(case.model, case.fields, case.rows)
        found = stored(case.model, case.fields)
        transaction.set_rollback(True)
    return found


def is_same(given, got):
    if isinstance(given, float) and math.isnan(given):
        return isinstance(got, float) and math.isnan(got)
    if isinstance(given, datetime):
        # In the hour that comes twice Python holds times of two zones for unequal, always.
        return given.astimezone(UTC) == got
    if isinstance(given, list):
        return isinstance(got, list) and len(given) == len(got) and all(map(is_same, given, got))
    return given == got


def differences(fields, got_rows, want_rows, written_as=str):
    assert len(got_rows) == len(want_rows)
    return [
        f"row {number}, {field.name}: {written_as(got)} is not {written_as(want)}"
        for number, (got_row, want_row) in enumerate(zip(got_rows, want_rows, strict=True))
        for field, got, want in zip(fields, got_row, want_row, strict=True)
        if written_as(got) != written_as(want)
    ]


def has_table(model):
    return model._meta.db_table in connection.introspection.table_names() or (
        model._meta.managed or model._meta.proxy
    )

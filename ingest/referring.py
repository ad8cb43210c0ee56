"""Which other rows refer to some rows: through Django's relations and PostgreSQL's foreign keys."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import CharField, TextField
from django.db.models.functions import Cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model, QuerySet

FOREIGN_KEYS = """
SELECT k.conrelid::regclass::text, k.conrelid, k.conname, k.confdeltype::text,
       array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c (number, place)
             JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (k.conrelid, c.number)
             ORDER BY c.place),
       array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS c (number, place)
             JOIN pg_catalog.pg_attribute a ON (a.attrelid, a.attnum) = (k.confrelid, c.number)
             ORDER BY c.place)
FROM pg_catalog.pg_constraint k
WHERE k.contype = 'f' AND k.confrelid = %s::regclass AND k.conparentid = 0
ORDER BY 1, 3
"""
HARMLESS = {"a", "r"}
"""pg_constraint.confdeltype of NO ACTION and RESTRICT: PostgreSQL refuses to delete the row."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Referrers:
    """Rows of one table that refer to the rows in question by one relation."""

    name: str
    """The model's label, or the table's name where it is no model's."""
    by: str
    """The field, or the constraint."""
    count: int
    example: str
    """One of them, by its key."""

    def __str__(self) -> str:
        return f"{self.count:,} of {self.name} by {self.by} (one is {self.example})"


def find_referrers(rows: QuerySet[Any]) -> list[Referrers]:
    """Name the rows outside of ``rows`` that refer to them."""
    model: type[Model] = rows.model._meta.concrete_model
    found = [*_relations(model, rows), *_generic_relations(model, rows)]
    return [*found, *_foreign_keys(model, rows)]


def lock_cascading_tables(rows: QuerySet[Any]) -> None:
    """Keep rows out, until the commit, whom PostgreSQL would delete or change along with these."""
    connection = connections[rows.db]
    with connection.cursor() as cursor:
        for table, _, _, action, _, _ in _read_foreign_keys(rows.model, rows.db):
            if action not in HARMLESS:
                cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")


def _relations(model: type[Model], rows: QuerySet[Any]) -> Iterator[Referrers]:
    relations: list[Any] = model._meta.get_fields(include_parents=False, include_hidden=True)
    for relation in relations:
        if not relation.auto_created or relation.concrete:
            continue
        if not (relation.one_to_many or relation.one_to_one):
            continue
        field = relation.field
        if field.model._meta.proxy:
            continue
        referring = _base(field.model, rows).filter(**{f"{field.name}__in": rows})
        if field.model._meta.concrete_model is model:
            referring = referring.exclude(pk__in=rows.values("pk"))
        yield from _counted(referring, field.model, field.name)


def _generic_relations(model: type[Model], rows: QuerySet[Any]) -> Iterator[Referrers]:
    for relation in model._meta.private_fields:
        if not hasattr(relation, "bulk_related_objects"):
            continue
        generic: Any = relation
        related = generic.remote_field.model
        name = generic.object_id_field_name
        key: Any = related._meta.get_field(name)
        keys = rows.values("pk")
        if isinstance(key, (CharField, TextField)):
            keys = rows.annotate(key=Cast("pk", TextField())).values("key")
        kind = generic.get_content_type()
        referring = _base(related, rows).filter(
            **{f"{generic.content_type_field_name}_id": kind.pk, f"{name}__in": keys}
        )
        yield from _counted(referring, related, name)


def _base(model: type[Model], rows: QuerySet[Any]) -> QuerySet[Any]:
    return model._base_manager.using(rows.db)


def _counted(referring: QuerySet[Any], model: type[Model], by: str) -> Iterator[Referrers]:
    count = referring.count()
    if count:
        example = referring.order_by("pk").values_list("pk", flat=True)[0]
        label = model._meta.label
        yield Referrers(name=label, by=by, count=count, example=f"{label} {example}")


def _foreign_keys(model: type[Model], rows: QuerySet[Any]) -> Iterator[Referrers]:
    """Look at the tables that no relation of the model leads to."""
    connection = connections[rows.db]
    quote = connection.ops.quote_name
    fields = {field.column: field.attname for field in model._meta.local_concrete_fields}
    known = [quote(model._meta.db_table)] + [
        quote(relation.field.model._meta.db_table)
        for relation in model._meta.get_fields(include_parents=False, include_hidden=True)
        if relation.auto_created and not relation.concrete and hasattr(relation, "field")
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT array(SELECT to_regclass(t)::oid FROM unnest(%s::text[]) t)", [known]
        )
        [oids] = cursor.fetchone()
        for table, oid, name, _, columns, keys in _read_foreign_keys(model, rows.db):
            if oid in oids:
                continue
            wanted, values = rows.values(*(fields[key] for key in keys)).query.sql_with_params()
            own = ", ".join(map(quote, columns))
            where = f"FROM {table} WHERE ({own}) IN ({wanted})"
            cursor.execute(f"SELECT count(*) {where}", values)
            [count] = cursor.fetchone()
            if count:
                cursor.execute(f"SELECT {own} {where} LIMIT 1", values)
                pairs = zip(columns, cursor.fetchone(), strict=True)
                example = "that of " + ", ".join(f"{column} {value}" for column, value in pairs)
                yield Referrers(name=table, by=name, count=count, example=example)


def _read_foreign_keys(model: type[Model], alias: str) -> list[Any]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(FOREIGN_KEYS, [connection.ops.quote_name(model._meta.db_table)])
        return list(cursor.fetchall())

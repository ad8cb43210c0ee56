"""Rows that refer to given rows, through Django's relations or PostgreSQL's foreign keys."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import CharField, TextField

from ingest.exceptions import LedgerError
from ingest.ledger.table_identity import read_type
from ingest.plurals import noun
from ingest.postgres.quoting import double_percent, quote_db_table, quote_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

    from ingest.ledger.ownership import RowSet

HARMLESS = {"a", "r"}
"""pg_constraint.confdeltype of NO ACTION and RESTRICT: PostgreSQL refuses to delete the row."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Referrers:
    """Rows of one table that refer to the given rows through one relation."""

    name: str
    """The model's label, or the table's name if it has no model."""
    by: str
    """The name of the field or of the constraint."""
    count: int
    example: str
    """The key of one of these rows."""

    def __str__(self) -> str:
        one = noun(self.count, "it", "one")
        return f"{self.count:,} of {self.name} by {self.by} ({one} is {self.example})"


def find_referrers(rows: RowSet) -> list[Referrers]:
    """Return the rows outside of ``rows`` that refer to them, by relation."""
    model: type[Model] = rows.model._meta.concrete_model or rows.model
    with connections[rows.using].cursor() as cursor:
        looked = _Look(cursor, model, rows)
        return [*looked.relations(), *looked.generic_relations(), *looked.foreign_keys()]


def lock_cascading_tables(rows: RowSet) -> None:
    """Lock the tables in which PostgreSQL would delete or change rows along with these.

    The locks last until the commit. Raise ``LedgerError`` if row security may hide such rows,
    because they could not be searched for.
    """
    with connections[rows.using].cursor() as cursor:
        for key in _read_foreign_keys(cursor, rows.model):
            if key.action not in HARMLESS:
                if key.may_be_hidden:
                    raise LedgerError(
                        "The load cannot be undone, because row security may hide rows of "
                        f"{key.shown} from its role, and the foreign key {key.name!r} would delete "
                        "or change them along with its rows. Nothing was deleted: delete them by "
                        "hand."
                    )
                cursor.execute(
                    f"LOCK TABLE {quote_name(key.schema)}.{quote_name(key.table)} IN SHARE MODE"
                )


@dataclasses.dataclass(frozen=True)
class _ReferringKey:
    """A foreign key that refers to the model's table."""

    oid: int
    """The oid of the referring table."""
    shown: str
    """The referring table's name, as PostgreSQL shows it on this connection."""
    schema: str
    table: str
    name: str
    action: str
    columns: list[str]
    keys: list[str]
    """The columns that the key refers to."""
    equals: list[str]
    """The operators that compare these with the key's own columns."""
    may_be_hidden: bool
    """Whether policies of the referring table apply to the role."""


class _Look:
    """A search for the rows that refer to given rows."""

    def __init__(self, cursor: Any, model: type[Model], rows: RowSet) -> None:
        self._cursor = cursor
        self._model = model
        self._rows = rows
        self._oid = self._find(model)

    def relations(self) -> Iterator[Referrers]:
        every: list[Any] = self._model._meta.get_fields(include_parents=False, include_hidden=True)
        for relation in every:
            if not relation.auto_created or relation.concrete:
                continue
            if not (relation.one_to_many or relation.one_to_one):
                continue
            field = relation.field
            oid = None if field.model._meta.proxy else self._find(field.model)
            if oid is None:  # without a table there are no rows
                continue
            source, pairs = self._follow(field)
            equal = " AND ".join(
                self._equal(mine, (oid, theirs), own) for own, mine, theirs in pairs
            )
            where = f"EXISTS (SELECT FROM {source} WHERE {equal} AND {self._condition('own')})"
            parameters = self._rows.parameters
            if oid == self._oid:
                where += f" AND NOT {self._condition('r')}"
                parameters *= 2
            yield from self._count(field.model, field.name, where, parameters)

    def generic_relations(self) -> Iterator[Referrers]:
        for relation in self._model._meta.private_fields:
            if not hasattr(relation, "bulk_related_objects"):
                continue
            generic: Any = relation
            related = generic.remote_field.model
            oid = self._find(related)
            if oid is None:
                continue
            field: Any = related._meta.get_field(generic.object_id_field_name)
            kind: Any = related._meta.get_field(generic.content_type_field_name)
            column = str(self._model._meta.pk.column)
            key = f"own.{_quote(column)}"
            if isinstance(field, (CharField, TextField)):
                equal = (
                    f"{key}::pg_catalog.text OPERATOR(pg_catalog.=) "
                    f"r.{_quote(str(field.column))}::pg_catalog.text"
                )
            else:
                equal = self._equal((self._oid, column), (oid, field.column), "own")
            where = (
                f"r.{_quote(kind.column)} OPERATOR(pg_catalog.=) %s::pg_catalog.int8 AND EXISTS "
                f"(SELECT FROM {self._rows.table} own WHERE {equal} AND {self._condition('own')})"
            )
            parameters = (str(generic.get_content_type().pk), *self._rows.parameters)
            yield from self._count(related, field.name, where, parameters)

    def foreign_keys(self) -> Iterator[Referrers]:
        """Yield referrers in tables that no relation of the model leads to."""
        relations: list[Any] = self._model._meta.get_fields(
            include_parents=False, include_hidden=True
        )
        known = {self._oid} | {
            self._find(relation.field.model)
            for relation in relations
            if relation.auto_created and not relation.concrete and hasattr(relation, "field")
        }
        for key in _read_foreign_keys(self._cursor, self._model):
            if key.oid in known:
                continue
            equal = " AND ".join(
                f"own.{_quote(mine)} OPERATOR({double_percent(equals)}) r.{_quote(theirs)}"
                for mine, equals, theirs in zip(key.keys, key.equals, key.columns, strict=True)
            )
            where = (
                f"FROM {_quote(key.schema)}.{_quote(key.table)} r WHERE EXISTS "
                f"(SELECT FROM {self._rows.table} own WHERE {equal} AND {self._condition('own')})"
            )
            self._cursor.execute(f"SELECT pg_catalog.count(*) {where}", self._rows.parameters)
            [count] = self._cursor.fetchone()
            if count:
                own = ", ".join(f"r.{_quote(name)}" for name in key.columns)
                self._cursor.execute(f"SELECT {own} {where} LIMIT 1", self._rows.parameters)
                pairs = zip(key.columns, self._cursor.fetchone(), strict=True)
                example = "that of " + ", ".join(f"{column} {value}" for column, value in pairs)
                yield Referrers(name=key.shown, by=key.name, count=count, example=example)

    def _follow(self, field: Any) -> tuple[str, list[tuple[str, tuple[Any, str], str]]]:
        """Return the tables that hold the referenced columns, joined, and the pairs of columns.

        A pair is the alias, the referenced column and the referring one. A field of a child model
        may refer to a column in a parent's table.
        """
        source, alias = f"{self._rows.table} own", "own"
        model = self._model
        parent = field.related_fields[0][1].model._meta.concrete_model
        while parent is not model and parent is not None:
            link: Any = model._meta.get_ancestor_link(parent)
            if link is None:
                break
            above = link.remote_field.model._meta.concrete_model
            joined = f"{alias}_parent"
            equal = self._equal(
                (self._find(model), link.column),
                (self._find(above), link.target_field.column),
                alias,
                joined,
            )
            source += f" JOIN {_quote_table(above)} {joined} ON {equal}"
            model, alias = above, joined
        oid = self._find(model)
        return source, [
            (alias, (oid, mine.column), theirs.column) for theirs, mine in field.related_fields
        ]

    def _equal(
        self, mine: tuple[Any, str], theirs: tuple[Any, str], alias: str, other: str = "r"
    ) -> str:
        (kind, equals), (other_kind, _) = (
            read_type(self._cursor, oid, column) for oid, column in (mine, theirs)
        )
        operator = double_percent(equals) if kind == other_kind else "pg_catalog.="
        return f"{alias}.{_quote(mine[1])} OPERATOR({operator}) {other}.{_quote(theirs[1])}"

    def _condition(self, alias: str) -> str:
        return self._rows.condition(alias)

    def _count(
        self, model: type[Model], by: str, where: str, parameters: tuple[Any, ...]
    ) -> Iterator[Referrers]:
        table = _quote_table(model)
        self._cursor.execute(f"SELECT pg_catalog.count(*) FROM {table} r WHERE {where}", parameters)
        [count] = self._cursor.fetchone()
        if not count:
            return
        fields: list[Any] = getattr(model._meta, "pk_fields", [model._meta.pk])
        keys = ", ".join(f"r.{_quote(field.column)}" for field in fields)
        self._cursor.execute(
            f"SELECT {keys} FROM {table} r WHERE {where} ORDER BY {keys} LIMIT 1", parameters
        )
        found = self._cursor.fetchone()
        key = found[0] if len(found) == 1 else found
        label = model._meta.label
        yield Referrers(name=label, by=by, count=count, example=f"{label} {key}")

    def _find(self, model: type[Model]) -> int | None:
        self._cursor.execute(
            "SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid::pg_catalog.int8",
            [quote_db_table(model._meta.db_table)],
        )
        [oid] = self._cursor.fetchone()
        return None if oid is None else int(oid)


def _read_foreign_keys(cursor: Any, model: type[Model]) -> list[_ReferringKey]:
    cursor.execute(_FOREIGN_KEYS, [quote_db_table(model._meta.db_table)])
    return [_ReferringKey(*row) for row in cursor.fetchall()]


def _quote(column: str) -> str:
    return double_percent(quote_db_table(column))


def _quote_table(model: type[Model]) -> str:
    return double_percent(quote_db_table(model._meta.db_table))


_FOREIGN_KEYS = """
SELECT k.conrelid::pg_catalog.int8, k.conrelid::pg_catalog.regclass::pg_catalog.text,
       n.nspname::pg_catalog.text, c.relname::pg_catalog.text, k.conname::pg_catalog.text,
       k.confdeltype::pg_catalog.text,
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS p (number, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
               AND a.attnum OPERATOR(pg_catalog.=) p.number
             ORDER BY p.place),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS p (number, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) p.number
             ORDER BY p.place),
       ARRAY(SELECT pg_catalog.concat(pg_catalog.quote_ident(s.nspname), '.', o.oprname)
             FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY AS p (number, place)
             JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) p.number
             JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) o.oprnamespace
             ORDER BY p.place),
       pg_catalog.row_security_active(k.conrelid)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.contype OPERATOR(pg_catalog.=) 'f'
  AND k.conparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
  AND k.confrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::pg_catalog.oid
ORDER BY 2, 5
"""

"""What PostgreSQL's catalog says of a model's table.

``read_table`` asks once and gives a frozen ``Table``; nothing else in ingest reads the catalog of
the table that is loaded. Source of the columns' meaning:
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError

if TYPE_CHECKING:
    from django.db.models import Field, Model

    from ingest.session import Session

REREAD_BY_NAME = r"\{(NULLIFEXPR|DISTINCTEXPR|CASETESTEXPR) "
"""Marks an expression, as the catalog keeps it, whose SQL text has ``NULLIF``, ``IS DISTINCT FROM``
or ``CASE x WHEN``: these cannot name the operator that they compare by. Another ``=``, of a schema
that comes earlier in the search path, could be taken when the text is read again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column, as pg_attribute has it; a domain is seen through to its base type."""

    name: str
    type_oid: int
    """The base type's oid."""
    type_name: str
    """The base type's pg_type.typname: ``int8``, ``_text`` for an array of text."""
    type_kind: str
    """pg_type.typtype: ``b`` base, ``e`` enum, ``r`` range, ``m`` multirange, ``c`` composite."""
    type_schema: str = "pg_catalog"
    """The schema of the base type."""
    equal: str = "OPERATOR(pg_catalog.=)"
    """The operator by which two values of the base type are equal, with its schema."""
    type_modifier: int
    """atttypmod, or the domain's; -1 where there is none."""
    sql_type: str
    """The type as SQL writes it, with its modifier: ``numeric(12,2)``."""
    is_required: bool
    """Is it NOT NULL?"""
    has_default: bool
    """Does PostgreSQL fill it by itself: by a default, its own or its type's, or an identity?"""
    identity: str
    """``a`` always, ``d`` by default, or empty."""
    is_generated: bool
    """Is it computed from other columns?"""

    @property
    def qualified_type(self) -> str:
        """The base type's name with its schema, quoted, to be put into SQL."""
        return f"{quote_name(self.type_schema)}.{quote_name(self.type_name)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """One index of the table."""

    name: str
    definition: str
    """The CREATE INDEX statement, from pg_get_indexdef."""
    is_primary: bool
    is_unique: bool
    constraint: str | None
    """The constraint that it serves, if one does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constraint:
    """One check, unique, exclusion, primary or foreign key constraint."""

    name: str
    kind: str
    """pg_constraint.contype: ``c``, ``u``, ``x``, ``p``, ``f``."""
    definition: str
    """From pg_get_constraintdef."""
    columns: tuple[str, ...]
    is_deferrable: bool
    is_deferred: bool
    """Is it checked at the end of the transaction, unless somebody sets it otherwise?"""
    is_validated: bool
    is_enforced: bool
    """False only for NOT ENFORCED, which PostgreSQL 18 introduced."""
    references_oid: int | None = None
    references: str | None = None
    """The referenced table, quoted and with its schema; for a foreign key."""
    referenced_columns: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trigger:
    """One trigger that a user made (those of foreign keys are PostgreSQL's own)."""

    name: str
    definition: str
    """From pg_get_triggerdef."""
    enabled: str
    """pg_trigger.tgenabled: ``O`` origin, ``A`` always, ``R`` replica, ``D`` disabled."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table, as the catalog describes it."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind: ``r`` ordinary, ``p`` partitioned, ``f`` foreign, ``v`` view."""
    is_partition: bool
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...]
    constraints: tuple[Constraint, ...]
    triggers: tuple[Trigger, ...]
    insert_triggers: tuple[str, ...]
    """Users' triggers that may fire on INSERT, by name; those of its partitions, too."""
    rules: tuple[str, ...]
    """Rules on INSERT, by name."""
    takes_copy: bool
    """Can COPY write to it? To a view only where an INSTEAD OF trigger takes the rows."""
    row_security: str
    """The setting of this name where the table's policies hold for the role; empty where none do,
    as for superusers, roles with BYPASSRLS, and the owner without FORCE ROW LEVEL SECURITY."""

    @property
    def qualified_name(self) -> str:
        """The name with its schema, quoted, to be put into SQL."""
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"

    @property
    def foreign_keys(self) -> tuple[Constraint, ...]:
        """The foreign keys among the constraints."""
        return tuple(item for item in self.constraints if item.kind == "f")

    def column(self, name: str) -> Column:
        """Give the column that a field's ``column`` names, or raise ``ConfigurationError``.

        As in a ``db_table``, a name already in quotes is one that Django does not quote again.
        """
        is_quoted = len(name) > 1 and name.startswith('"') and name.endswith('"')
        unquoted = name[1:-1].replace('""', '"') if is_quoted else name
        for column in self.columns:
            if column.name == unquoted:
                return column
        raise ConfigurationError(
            f"The table {self.qualified_name} has no column {name!r}, but the model does: "
            "run `python manage.py migrate`."
        )


def quote_name(name: str) -> str:
    """Quote one identifier for SQL; every character may stand in it but U+0000."""
    return '"' + name.replace('"', '""') + '"'


def quote_db_table(db_table: str) -> str:
    """Quote a model's ``db_table`` as Django does: a name already in quotes stays as it is.

    Quotes inside are not doubled: ``ods"."sales`` is the table ``sales`` of the schema ``ods``.
    """
    if db_table.startswith('"') and db_table.endswith('"'):
        return db_table
    return f'"{db_table}"'


def concrete_fields_of_table(model: type[Model]) -> list[Field[Any, Any]]:
    """Return the fields whose columns are in the model's own table; a proxy has its model's."""
    concrete = model._meta.concrete_model or model
    return list(concrete._meta.local_concrete_fields)


def find_table(session: Session, db_table: str) -> int | None:
    """Give the oid of the table a ``db_table`` names on this connection, or None."""
    [(oid,)] = session.fetch(_FIND, quote_db_table(db_table))
    return None if oid is None else int(oid)


def read_model_table(session: Session, model: type[Model]) -> Table:
    """Describe the table of a model, or raise ``ConfigurationError`` where there is none."""
    oid = find_table(session, model._meta.db_table)
    if oid is None:
        raise ConfigurationError(
            f"The table {quote_db_table(model._meta.db_table)} of "
            f"{model._meta.label} does not exist in this database: "
            "run `python manage.py migrate`."
        )
    return read_table(session, oid)


def read_settled_table(session: Session, model: type[Model]) -> Table:
    """Describe the table of a model inside a transaction, when nobody is changing it.

    Another load may be dropping and building indexes: PostgreSQL's functions that write out a
    definition fail on one that has just gone. A lock waits for it, and is given back at once.
    """
    oid = find_table(session, model._meta.db_table)
    session.execute("SAVEPOINT ingest_read")
    if oid is not None and session.fetch(_MAY_LOCK, oid)[0][0]:
        name = quote_db_table(model._meta.db_table)
        session.execute(f"LOCK TABLE ONLY {name} IN ROW EXCLUSIVE MODE")
    table = read_model_table(session, model)
    session.execute("ROLLBACK TO SAVEPOINT ingest_read")
    session.execute("RELEASE SAVEPOINT ingest_read")
    return table


def read_table(session: Session, oid: int) -> Table:
    """Describe the table with this oid."""
    [(schema, name, kind, is_partition, insert_triggers, rules, takes_copy, row_security)] = (
        session.fetch(_TABLE, oid)
    )
    return Table(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        is_partition=is_partition,
        columns=tuple(
            Column(**dict(zip(_COLUMN_FIELDS, row, strict=True)))
            for row in session.fetch(_COLUMNS, oid)
        ),
        indexes=tuple(
            Index(**dict(zip(_INDEX_FIELDS, row, strict=True)))
            for row in session.fetch(_INDEXES, oid)
        ),
        constraints=tuple(_constraint(row) for row in session.fetch(_CONSTRAINTS, oid)),
        triggers=tuple(
            Trigger(**dict(zip(_TRIGGER_FIELDS, row, strict=True)))
            for row in session.fetch(_TRIGGERS, oid)
        ),
        insert_triggers=tuple(insert_triggers),
        rules=tuple(rules),
        takes_copy=takes_copy,
        row_security=row_security,
    )


def _constraint(row: tuple[object, ...]) -> Constraint:
    values: dict[str, Any] = dict(zip(_CONSTRAINT_FIELDS, row, strict=True))
    values["columns"] = tuple(values["columns"])
    values["referenced_columns"] = tuple(values["referenced_columns"])
    schema = values.pop("referenced_schema")
    table = values.pop("referenced_table")
    if table is not None:
        values["references"] = f"{quote_name(schema)}.{quote_name(table)}"
    return Constraint(**values)


_FIND = "SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid::bigint"
_MAY_LOCK = """
SELECT c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog."char"[])
       AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""
# Bits of tgtype (pg_trigger.h): 4 fires on INSERT, 64 INSTEAD OF it. A rule's ev_type 3 is INSERT.
_TABLE = """
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind::pg_catalog.text,
       c.relispartition,
       ARRAY(SELECT t.tgname::pg_catalog.text FROM pg_catalog.pg_trigger t
             WHERE (t.tgrelid OPERATOR(pg_catalog.=) c.oid
                    OR t.tgrelid OPERATOR(pg_catalog.=) ANY (ARRAY(
                      SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(c.oid) p
                      WHERE c.relkind OPERATOR(pg_catalog.=) 'p')))
               AND NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
               AND (t.tgtype OPERATOR(pg_catalog.&) 4::smallint) OPERATOR(pg_catalog.<>) 0
             ORDER BY 1),
       ARRAY(SELECT r.rulename::pg_catalog.text FROM pg_catalog.pg_rewrite r
             WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid
               AND r.ev_type OPERATOR(pg_catalog.=) '3'
               AND r.ev_enabled OPERATOR(pg_catalog.<>) 'D'
             ORDER BY 1),
       c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'f']::pg_catalog."char"[])
         OR EXISTS (
           SELECT FROM pg_catalog.pg_trigger t
           WHERE c.relkind OPERATOR(pg_catalog.=) 'v'
             AND t.tgrelid OPERATOR(pg_catalog.=) c.oid
             AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
             AND (t.tgtype OPERATOR(pg_catalog.&) 68::smallint) OPERATOR(pg_catalog.=) 68),
       CASE WHEN pg_catalog.row_security_active(c.oid)
            THEN pg_catalog.current_setting('row_security') ELSE '' END
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""

_COLUMN_FIELDS = (
    "name",
    "type_oid",
    "type_name",
    "type_kind",
    "type_schema",
    "equal",
    "type_modifier",
    "sql_type",
    "is_required",
    "has_default",
    "identity",
    "is_generated",
)
# A domain may be of a domain: the recursion walks down to the base type, and the innermost
# modifier is the one that holds.
_COLUMNS = """
WITH RECURSIVE base AS (
    SELECT a.attnum, a.atttypid AS type_oid, a.atttypmod AS modifier, a.attnotnull AS is_required
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
      AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
  UNION ALL
    SELECT b.attnum, t.typbasetype, t.typtypmod, b.is_required OR t.typnotnull
    FROM base b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type_oid
    WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT a.attname::pg_catalog.text, t.oid::bigint, t.typname::pg_catalog.text,
       t.typtype::pg_catalog.text, s.nspname::pg_catalog.text,
       coalesce(
         CASE WHEN s.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' THEN (
           SELECT pg_catalog.format('OPERATOR(%I.%s)', e.nspname, o.oprname)
           FROM pg_catalog.pg_opclass p
           JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) p.opcmethod
           JOIN pg_catalog.pg_amop x ON x.amopfamily OPERATOR(pg_catalog.=) p.opcfamily
             AND x.amoplefttype OPERATOR(pg_catalog.=) p.opcintype
             AND x.amoprighttype OPERATOR(pg_catalog.=) p.opcintype
             AND x.amopstrategy OPERATOR(pg_catalog.=) 3  -- "equal" of a B-tree
           JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) x.amopopr
           JOIN pg_catalog.pg_namespace e ON e.oid OPERATOR(pg_catalog.=) o.oprnamespace
           WHERE p.opcdefault AND p.opcintype OPERATOR(pg_catalog.=) t.oid
             AND m.amname OPERATOR(pg_catalog.=) 'btree') END,
         'OPERATOR(pg_catalog.=)'),
       b.modifier::integer,
       pg_catalog.format_type(a.atttypid, a.atttypmod), b.is_required,
       a.attidentity OPERATOR(pg_catalog.<>) ''
         OR (a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '')
         OR EXISTS (SELECT FROM pg_catalog.pg_type y
                    WHERE y.oid OPERATOR(pg_catalog.=) a.atttypid AND y.typdefault IS NOT NULL),
       a.attidentity::pg_catalog.text, a.attgenerated OPERATOR(pg_catalog.<>) ''
FROM base b
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.=) b.attnum
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.type_oid
JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) t.typnamespace
WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'
ORDER BY a.attnum
"""

_INDEX_FIELDS = ("name", "definition", "is_primary", "is_unique", "constraint")
_INDEXES = """
SELECT c.relname::pg_catalog.text, pg_catalog.pg_get_indexdef(i.indexrelid), i.indisprimary,
       i.indisunique,
       (SELECT pg_catalog.min(k.conname::pg_catalog.text) FROM pg_catalog.pg_constraint k
        WHERE k.conindid OPERATOR(pg_catalog.=) i.indexrelid
          AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
          AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}'::pg_catalog."char"[]))
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
ORDER BY NOT i.indisprimary, c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""

_CONSTRAINT_FIELDS = (
    "name",
    "kind",
    "definition",
    "columns",
    "is_deferrable",
    "is_deferred",
    "is_validated",
    "is_enforced",
    "references_oid",
    "referenced_schema",
    "referenced_table",
    "referenced_columns",
)
_CONSTRAINTS = """
SELECT k.conname::pg_catalog.text, k.contype::pg_catalog.text,
       pg_catalog.pg_get_constraintdef(k.oid),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.attnum
             ORDER BY u.place),
       k.condeferrable, k.condeferred, k.convalidated,
       coalesce((pg_catalog.to_jsonb(k) OPERATOR(pg_catalog.->>) 'conenforced')::boolean, true),
       CASE WHEN k.confrelid OPERATOR(pg_catalog.<>) 0 THEN k.confrelid::bigint END,
       n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.attnum
             ORDER BY u.place)
FROM pg_catalog.pg_constraint k
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.confrelid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.conrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) ANY ('{c,u,x,p,f}'::pg_catalog."char"[])
ORDER BY k.contype::pg_catalog.text COLLATE pg_catalog."C",
         k.conname::pg_catalog.text COLLATE pg_catalog."C"
"""

_TRIGGER_FIELDS = ("name", "definition", "enabled")
_TRIGGERS = """
SELECT t.tgname::pg_catalog.text, pg_catalog.pg_get_triggerdef(t.oid),
       t.tgenabled::pg_catalog.text
FROM pg_catalog.pg_trigger t
WHERE t.tgrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid AND NOT t.tgisinternal
ORDER BY t.tgname::pg_catalog.text COLLATE pg_catalog."C"
"""

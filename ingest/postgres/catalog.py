"""What PostgreSQL's catalog says of a model's table.

``read_table`` asks one statement and returns a frozen ``Table``. Guards, indexes, keys, references,
order and the search for refused rows look at this value and do not read the catalog themselves.
Source of the columns' meaning:
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, cast

from ingest.exceptions import ConfigurationError
from ingest.postgres.catalog_queries import PARTS, RUNS_FUNCTIONS, one_statement
from ingest.postgres.citus import WHY_NOT_OURS, read_distribution

if TYPE_CHECKING:
    from django.db.models import Field, Model

    from ingest.postgres.citus import Distribution
    from ingest.postgres.facts import TableFacts
    from ingest.postgres.session import Session

NOT_OURS = "its table is stored in a way that does not say who inserted a row"
"""Why a load cannot be undone: its table has another access method, or is on another server."""
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
    """Whether it is NOT NULL."""
    has_default: bool
    """Whether PostgreSQL fills it: by a default, its own or its type's, or an identity."""
    identity: str
    """``a`` always, ``d`` by default, or empty."""
    is_generated: bool
    """Whether it is computed from other columns."""

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
    """Whether it is checked at the end of the transaction, unless somebody sets it otherwise."""
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
    follows_rows: bool
    """Whether it fires for each row at the end of an INSERT or COPY, which then names no row."""
    is_deferrable: bool
    is_deferred: bool
    """Whether it fires at the end of the transaction, unless somebody sets it otherwise."""


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
    """Whether COPY can write to it: to a view only where an INSTEAD OF trigger takes the rows."""
    row_security: str
    """The setting of this name where the table's policies hold for the role; empty where none do,
    as for superusers, roles with BYPASSRLS, and the owner without FORCE ROW LEVEL SECURITY."""
    size: int | None = dataclasses.field(compare=False)
    """Bytes of its rows; None where it is no heap. 0: it has no rows."""
    row_count: float = dataclasses.field(compare=False)
    """pg_class.reltuples: how many rows it had when it was last analyzed; -1: it never was."""
    lock_timeout: str = dataclasses.field(compare=False)
    """The setting of this name."""
    foreign_parts: tuple[str, ...] = ()
    """The foreign tables among its partitions, or itself: quoted, with their schemas."""
    facts: TableFacts = dataclasses.field(compare=False, repr=False)
    """What else the same statement has read, as the modules need it that decide by it."""
    distribution: Distribution | None = None
    """How Citus keeps its rows; None where it does not."""
    parts: tuple[Table, ...] = ()
    """The tables of a multi-table child, a parent's before its child's; this is the child's, with
    the columns and constraints of all of them. Empty for a table by itself."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that its rows are written to."""
        return self.parts or (self,)

    def part_with(self, column: str) -> Table:
        """Return the table among ``tables`` that has a field's column."""
        bare = unquoted(column)
        return next(
            (part for part in self.tables if any(item.name == bare for item in part.columns)), self
        )

    @property
    def qualified_name(self) -> str:
        """The name with its schema, quoted, to be put into SQL."""
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"

    @property
    def foreign_keys(self) -> tuple[Constraint, ...]:
        """The foreign keys among the constraints."""
        return tuple(item for item in self.constraints if item.kind == "f")

    @property
    def why_not_owned(self) -> str | None:
        """Why it cannot be known who inserted a row, whose ``xmin`` means nothing here; or None."""
        if self.distribution is not None:
            return WHY_NOT_OURS
        if self.foreign_parts:
            return (
                f"rows of {', '.join(self.foreign_parts)} are on another server, which does not "
                "say who inserted them"
            )
        if self.kind == "r" and self.size is None:
            return NOT_OURS
        return None

    def column(self, name: str) -> Column:
        """Return the column that a field's ``column`` names, or raise ``ConfigurationError``.

        As in a ``db_table``, a name already in quotes is one that Django does not quote again.
        """
        bare = unquoted(name)
        for column in self.columns:
            if column.name == bare:
                return column
        raise ConfigurationError(
            f"The table {self.qualified_name} has no column {name!r}, but the model does: "
            "run `python manage.py migrate`."
        )


def quote_name(name: str) -> str:
    """Quote one identifier for SQL; every character may stand in it but U+0000."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(column: str) -> str:
    """Return a column's name as the catalog has it: Django takes a quoted name as it is."""
    is_quoted = len(column) > 1 and column.startswith('"') and column.endswith('"')
    return column[1:-1].replace('""', '"') if is_quoted else column


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
    """Return the oid of the table a ``db_table`` names on this connection, or None."""
    [(oid,)] = session.fetch(_FIND, quote_db_table(db_table))
    return None if oid is None else int(oid)


def read_model_table(session: Session, model: type[Model]) -> Table:
    """Describe the table of a model, or raise ``ConfigurationError`` where there is none."""
    oid = find_table(session, model._meta.db_table)
    if oid is None:
        raise _no_table(model)
    return read_table(session, oid)


def _no_table(model: type[Model]) -> ConfigurationError:
    return ConfigurationError(
        f"The table {quote_db_table(model._meta.db_table)} of "
        f"{model._meta.label} does not exist in this database: "
        "run `python manage.py migrate`."
    )


def read_settled_table(session: Session, model: type[Model]) -> Table:
    """Describe the table of a model inside a transaction, when nobody is changing it.

    Another load may be dropping and building indexes: PostgreSQL's functions that write out a
    definition fail on one that has just gone. A lock waits for it, and is given back at once.
    """
    name = quote_db_table(model._meta.db_table)
    [(oid, may_lock)] = session.fetch(_FIND_TO_LOCK, name)
    if oid is None:
        raise _no_table(model)
    if not may_lock:
        return read_table(session, oid)
    session.execute(f"SAVEPOINT ingest_read; LOCK TABLE ONLY {name} IN ROW EXCLUSIVE MODE")
    table = _read(session, name=name)  # which may be another one since
    session.execute("ROLLBACK TO SAVEPOINT ingest_read; RELEASE SAVEPOINT ingest_read")
    if table is None:
        raise _no_table(model)
    return table


def read_table(session: Session, oid: int) -> Table:
    """Describe the table with this oid, by one statement.

    It is true as long as a lock keeps others from changing the table, and for this transaction
    alone: rights, policies and settings are those of now.
    """
    table = _read(session, oid=oid)
    if table is None:
        raise ConfigurationError(f"There is no table with the oid {oid} any more.")
    return table


def _read(session: Session, oid: int | None = None, name: str = "") -> Table | None:
    """Describe the table with this oid, or that this name means now; None: there is none."""
    return _described(session, session.fetch(_READ, oid, REREAD_BY_NAME, name)[0])


def read_locked_table(
    session: Session, model: type[Model], also: str, *parameters: Any
) -> tuple[Table, tuple[Any, ...]]:
    """Describe the table of a model, which the transaction has locked, by one message.

    ``also`` is a query of one row that may use the table's ``r.oid``, and ``parameters`` from
    ``$4`` on: its row is given, too.
    """
    name = quote_db_table(model._meta.db_table)
    columns = ", ".join(map(quote_name, ("oid", *PARTS)))
    sql = f"SELECT r.*, also.* FROM ({_READ}) r ({columns}) CROSS JOIN LATERAL ({also}) also"
    [row] = session.fetch(sql, None, REREAD_BY_NAME, name, *parameters)
    table = _described(session, row[: len(PARTS) + 1])
    if table is None:
        raise _no_table(model)
    return table, row[len(PARTS) + 1 :]


def lock_statement(model: type[Model]) -> str:
    """Return the statement that keeps a model's table as it is: the lock that COPY takes, too."""
    return f"LOCK TABLE ONLY {quote_db_table(model._meta.db_table)} IN ROW EXCLUSIVE MODE"


def _described(session: Session, row: tuple[Any, ...]) -> Table | None:
    found, *texts_of_parts = row
    parts = {
        part: [json.loads(text) for text in texts]
        for part, texts in zip(PARTS, texts_of_parts, strict=True)
    }
    if not parts["table"]:
        return None
    table: dict[str, Any]
    [table] = parts.pop("table")
    for name in ("insert_triggers", "rules", "foreign_parts"):
        table[name] = tuple(table[name])
    distribution = None
    if table.pop("has_citus"):
        distribution = read_distribution(session, found)
    return Table(
        oid=found,
        **table,
        distribution=distribution,
        columns=tuple(Column(**item) for item in parts.pop("columns")),
        indexes=tuple(Index(**item) for item in parts.pop("indexes")),
        constraints=tuple(map(_constraint, parts.pop("constraints"))),
        triggers=tuple(Trigger(**item) for item in parts.pop("triggers")),
        facts=cast("TableFacts", parts),
    )


def _constraint(values: dict[str, Any]) -> Constraint:
    values["columns"] = tuple(values["columns"])
    values["referenced_columns"] = tuple(values["referenced_columns"])
    schema = values.pop("referenced_schema")
    table = values.pop("referenced_table")
    if table is not None:
        values["references"] = f"{quote_name(schema)}.{quote_name(table)}"
    return Constraint(**values)


_READ = one_statement()
_FIND = "SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid::bigint"
_FIND_TO_LOCK = """
SELECT c.oid::bigint,
       c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog."char"[])
       AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
FROM (SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid) given (oid)
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) given.oid
"""


def runs_functions(session: Session, table: Table) -> bool:
    """Return whether an INSERT into the table may run functions that users made."""
    [(runs,)] = session.fetch(RUNS_FUNCTIONS, table.oid)
    return bool(runs)

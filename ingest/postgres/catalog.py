"""Describes a model's table from PostgreSQL's catalog.

``read_table`` runs one statement and returns a frozen ``Table``. The checks before a load, indexes,
keys, references, order and the search for refused rows use this value and do not read the catalog
themselves. The catalog's columns are described at
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from ingest.exceptions import ConfigurationError
from ingest.postgres.catalog_queries import PARTS, one_statement
from ingest.postgres.citus import WHY_NOT_OURS, read_distribution
from ingest.postgres.fact_queries import ALL_FACTS, FOR_DIRECT, RUNS_FUNCTIONS
from ingest.postgres.quoting import quote_db_table, quote_name, unquoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.models import Field, Model

    from ingest.postgres.base import Session
    from ingest.postgres.citus import Distribution
    from ingest.postgres.facts import TableFacts

__all__ = [
    "NOT_OURS",
    "REREAD_BY_NAME",
    "Column",
    "Constraint",
    "Index",
    "Table",
    "Trigger",
    "check_columns_later",
    "concrete_fields_of_table",
    "find_table",
    "lock_statement",
    "quote_db_table",
    "quote_name",
    "read_locked_table",
    "read_model_table",
    "read_settled_table",
    "read_table",
    "read_whole_table",
    "runs_functions",
    "unquoted",
]
NOT_OURS = "its table is stored in a way that does not say who inserted a row"
"""Why a load cannot be undone: its table has another access method, or is on another server."""
REREAD_BY_NAME = r"\{(NULLIFEXPR|DISTINCTEXPR|CASETESTEXPR) "
"""Matches a stored expression whose SQL text has ``NULLIF``, ``IS DISTINCT FROM`` or ``CASE x
WHEN``. These cannot name the operator that they compare by: when the text is parsed again, an ``=``
of a schema that is earlier in the search path could be used."""
_TYPES = """
SELECT a.attrelid::bigint, a.attname::pg_catalog.text,
       pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute a
WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1::pg_catalog.text)
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column, from pg_attribute; a domain is resolved to its base type."""

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
    """The equality operator of the base type, with its schema."""
    type_modifier: int
    """atttypmod, or the domain's; -1 if there is none."""
    sql_type: str
    """The type as SQL writes it, with its modifier: ``numeric(12,2)``."""
    is_required: bool
    """Whether it is NOT NULL."""
    has_default: bool
    """Whether PostgreSQL fills it by the column's or the type's default, or by an identity."""
    identity: str
    """``a`` always, ``d`` by default, or empty."""
    is_generated: bool
    """Whether it is computed from other columns."""
    may_insert: bool = True
    """Whether the role may give it a value in an INSERT."""

    @property
    def qualified_type(self) -> str:
        """The base type's name with its schema, quoted for SQL."""
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
    """The constraint that it implements, if any."""


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
    """Whether it is checked at the end of the transaction by default."""
    is_validated: bool
    is_enforced: bool
    """False only for NOT ENFORCED, which PostgreSQL 18 introduced."""
    references_oid: int | None = None
    references: str | None = None
    """The referenced table, quoted and with its schema; for a foreign key."""
    referenced_columns: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trigger:
    """One trigger that a user defined (those of foreign keys are PostgreSQL's own)."""

    name: str
    definition: str
    """From pg_get_triggerdef."""
    enabled: str
    """pg_trigger.tgenabled: ``O`` origin, ``A`` always, ``R`` replica, ``D`` disabled."""
    is_deferrable: bool
    is_deferred: bool
    """Whether it fires at the end of the transaction by default."""


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
    """Names of users' triggers that may fire on INSERT, including those of its partitions."""
    rules: tuple[str, ...]
    """Names of the rules on INSERT."""
    takes_copy: bool
    """Whether COPY can write to it; for a view, whether it has an INSTEAD OF trigger on INSERT."""
    row_security: str
    """The setting of this name if the table's policies apply to the role; empty if none do, as for
    superusers, roles with BYPASSRLS, and the owner without FORCE ROW LEVEL SECURITY."""
    size: int | None = dataclasses.field(compare=False)
    """Bytes of its rows; 0 if it has none. None if it is not a heap."""
    row_count: float = dataclasses.field(compare=False)
    """pg_class.reltuples: the number of rows when it was last analyzed; -1 if it never was."""
    lock_timeout: str = dataclasses.field(compare=False)
    """The setting of this name."""
    foreign_parts: tuple[str, ...] = ()
    """The foreign tables among its partitions, or itself: quoted, with their schemas."""
    facts: TableFacts = dataclasses.field(compare=False, repr=False)
    """Further facts from the same statement, in the form that other modules need; see
    ``TableFacts`` for those that are left out."""
    distribution: Distribution | None = None
    """How Citus stores its rows; None if it is not a table of Citus."""
    parts: tuple[Table, ...] = ()
    """The tables of a multi-table child, parents first. This table is then the child's, with the
    columns and constraints of all of them. Empty for a single table."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that its rows are written to."""
        return self.parts or (self,)

    @property
    def qualified_name(self) -> str:
        """The name with its schema, quoted for SQL."""
        return f"{quote_name(self.schema)}.{quote_name(self.name)}"

    @property
    def foreign_keys(self) -> tuple[Constraint, ...]:
        """The foreign keys among the constraints."""
        return tuple(item for item in self.constraints if item.kind == "f")

    @property
    def is_elsewhere(self) -> bool:
        """Whether rows, and the locks on them, are on other servers."""
        return self.distribution is not None or bool(self.foreign_parts)

    @property
    def why_not_owned(self) -> str | None:
        """Why ``xmin`` does not show which transaction inserted a row, or None if it does."""
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

        As with ``db_table``, Django does not quote a name that is already in quotes.
        """
        bare = unquoted(name)
        for column in self.columns:
            if column.name == bare:
                return column
        raise ConfigurationError(
            f"The table {self.qualified_name} has no column {name!r}, but the model does: "
            "run `python manage.py migrate`."
        )


def concrete_fields_of_table(model: type[Model]) -> list[Field[Any, Any]]:
    """Return the fields whose columns are in the model's own table; a proxy has its model's."""
    concrete = model._meta.concrete_model or model
    return list(concrete._meta.local_concrete_fields)


def find_table(session: Session, db_table: str) -> int | None:
    """Return the oid of the table that ``db_table`` names on this connection, or None."""
    [(oid,)] = session.fetch(_FIND, quote_db_table(db_table))
    return None if oid is None else int(oid)


def read_model_table(session: Session, model: type[Model]) -> Table:
    """Describe the table of a model without its ``facts``, which only the loaded table needs.

    Raises ``ConfigurationError`` if it does not exist.
    """
    table = _read(session, name=quote_db_table(model._meta.db_table), left_out=ALL_FACTS)
    if table is None:
        raise _no_table(model)
    return table


def _no_table(model: type[Model]) -> ConfigurationError:
    return ConfigurationError(
        f"The table {quote_db_table(model._meta.db_table)} of "
        f"{model._meta.label} does not exist in this database: "
        "run `python manage.py migrate`."
    )


def read_settled_table(session: Session, model: type[Model]) -> Table:
    """Describe the table of a model inside a transaction, when no other session is changing it.

    Facts that only decide about a faster way than COPY are left out: see ``read_whole_table``.

    Another load may be dropping and building indexes, and PostgreSQL's functions that return
    definitions fail for an index that was just dropped. So this waits for a lock on the table, and
    releases it at once: ``direct`` may need a stronger one, for which two loads that both keep the
    lock would wait for each other. See ``check_columns_later``.
    """
    name = quote_db_table(model._meta.db_table)
    [(oid, may_lock)] = session.fetch(_FIND_TO_LOCK, name)
    if oid is None:
        raise _no_table(model)
    if may_lock:
        with _settled(session, name):
            # By name: it may be another table by now.
            table = _read(session, name=name, left_out=FOR_DIRECT)
    else:
        table = _read(session, oid=oid, left_out=FOR_DIRECT)
    if table is None:
        raise _no_table(model)
    return table


def read_whole_table(session: Session, table: Table) -> Table:
    """Describe a table again with all its facts, like ``read_settled_table``."""
    with _settled(session, table.qualified_name):
        return read_table(session, table.oid)


@contextmanager
def _settled(session: Session, name: str) -> Iterator[None]:
    """Keep others from changing a table for a moment."""
    session.execute(f"SAVEPOINT ingest_read; LOCK TABLE ONLY {name} IN ROW EXCLUSIVE MODE")
    yield
    session.execute("ROLLBACK TO SAVEPOINT ingest_read; RELEASE SAVEPOINT ingest_read")


def read_table(session: Session, oid: int) -> Table:
    """Describe the table with this oid and all its facts, by one statement, under a lock.

    The description is valid while a lock keeps others from changing the table, and only in this
    transaction: it includes the current rights, policies and settings.
    """
    table = _read(session, oid=oid, left_out=frozenset())
    if table is None:
        raise ConfigurationError(f"There is no table with the oid {oid} any more.")
    return table


def _read(
    session: Session, oid: int | None = None, name: str = "", *, left_out: frozenset[str]
) -> Table | None:
    """Describe the table with this oid or name, without some facts; None if it does not exist."""
    [row] = session.fetch_prepared(one_statement(left_out), oid, REREAD_BY_NAME, name)
    return _described(session, row, left_out)


def check_columns_later(session: Session, table: Table) -> Callable[[], None]:
    """Read the columns again; return a function that raises ``ConfigurationError`` if they changed.

    Another session may change the table between ``read_settled_table`` and the first COPY, which
    would take the bytes of an ``integer`` for a ``real``. The answer is final once rows are
    written, and so the table is locked.
    """
    reads = [(each, session.fetch_later(_TYPES, each.qualified_name)) for each in table.tables]

    def check() -> None:
        for each, read in reads:
            found = {(int(oid), name, sql_type) for oid, name, sql_type in read()}
            if not found.issuperset((each.oid, it.name, it.sql_type) for it in each.columns):
                raise changed_meanwhile(each)

    return check


def changed_meanwhile(table: Table) -> ConfigurationError:
    """Return the error for a table that another session changed during a load."""
    return ConfigurationError(
        f"The table {table.qualified_name} was changed while rows were loaded into it."
    )


def read_locked_table(
    session: Session, model: type[Model], also: str, *parameters: Any
) -> tuple[Table, tuple[Any, ...]]:
    """Describe the table of a model, which the transaction has locked, in one round trip.

    ``also`` is a query of one row that may use the table's ``r.oid``, and ``parameters`` from
    ``$4`` on. Its row is returned, too.
    """
    name = quote_db_table(model._meta.db_table)
    columns = ", ".join(map(quote_name, ("oid", *PARTS)))
    read = one_statement(FOR_DIRECT)
    sql = f"SELECT r.*, also.* FROM ({read}) r ({columns}) CROSS JOIN LATERAL ({also}) also"
    [row] = session.fetch_prepared(sql, None, REREAD_BY_NAME, name, *parameters)
    table = _described(session, row[: len(PARTS) + 1], FOR_DIRECT)
    if table is None:
        raise _no_table(model)
    return table, row[len(PARTS) + 1 :]


def lock_statement(model: type[Model]) -> str:
    """Return the statement that protects a model's table from changes; COPY takes the same lock."""
    return f"LOCK TABLE ONLY {quote_db_table(model._meta.db_table)} IN ROW EXCLUSIVE MODE"


def _described(session: Session, row: tuple[Any, ...], left_out: frozenset[str]) -> Table | None:
    found, *texts_of_parts = row
    parts = {
        part: [json.loads(text) for text in texts]
        for part, texts in zip(PARTS, texts_of_parts, strict=True)
        if part not in left_out  # a missing fact is not an empty one
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


_FIND = "SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid::bigint"
_FIND_TO_LOCK = """
SELECT c.oid::bigint,
       c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog."char"[])
       AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
FROM (SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid) given (oid)
LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) given.oid
"""


def runs_functions(session: Session, table: Table) -> bool:
    """Return whether an INSERT into the table may run functions that users defined."""
    [(runs,)] = session.fetch(RUNS_FUNCTIONS, table.oid)
    return bool(runs)

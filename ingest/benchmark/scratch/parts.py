"""Indexes, constraints and triggers of a table, as PostgreSQL defines them.

A part can be dropped from a table and added again, or added to a bare copy of the table.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.benchmark.scratch import definitions
from ingest.benchmark.scratch.copying import exchange, plain_names
from ingest.postgres.catalog import find_table, quote_name
from ingest.postgres.session import DjangoSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.benchmark.scratch.tables import ScratchTables

BARE_SCHEMA = "information_schema"
"""The schema whose scratch schema holds the bare copy. No copied table comes from it, so the parts
of the bare copy can have the names of the real ones."""
KINDS = (
    "primary key",
    "unique",
    "exclusion",
    "unique index",
    "index",
    "check",
    "foreign key",
    "trigger",
)
"""The order in which an explanation adds them."""
_CONSTRAINT_KINDS = {"PRIMARY": "primary key", "UNIQUE": "unique", "EXCLUDE": "exclusion"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """An index, a constraint or a trigger of a table."""

    kind: str
    """One of ``KINDS``."""
    name: str
    """Its name, quoted if necessary."""
    add: tuple[str, ...]
    """The statements that add it to the table."""
    drop: str
    """The statement that drops it."""


def read_parts(tables: ScratchTables, name: str) -> list[Part]:
    """Return the parts of the model's scratch table, for adding them to the table ``name``.

    ``name`` is quoted and includes the schema: the scratch table itself, or a bare copy of it. The
    parts are in an order in which they can be added; indexes in the order of their creation.
    """
    session = DjangoSession(tables.alias)
    oid = find_table(session, tables.name)
    assert oid is not None  # noqa: S101 - it was created in this run's own schema
    with plain_names(tables.alias):
        original = session.fetch(definitions.TABLES, oid)[0][3]
        reader = _Reader(session, oid, original, name)
        return [
            *reader.indexes(),
            *reader.checks(),
            *reader.foreign_keys(),
            *reader.triggers(),
        ]


def create_bare(tables: ScratchTables) -> str:
    """Create a table with only the columns of the model's scratch table; return its name.

    NOT NULL, defaults, identity and generation are kept, because they belong to the columns.
    """
    session = DjangoSession(tables.alias)
    oid = find_table(session, tables.name)
    assert oid is not None  # noqa: S101 - it was created in this run's own schema
    with plain_names(tables.alias):
        _, _, table, original, _, persistence, options = session.fetch(definitions.TABLES, oid)[0]
        name = f"{quote_name(tables.scratch.schema_for(BARE_SCHEMA))}.{quote_name(table)}"
        session.execute(f"DROP TABLE IF EXISTS {name}")
        session.execute(
            f"CREATE {persistence}TABLE {name} (LIKE {original} INCLUDING DEFAULTS "
            f"INCLUDING GENERATED INCLUDING IDENTITY INCLUDING STORAGE INCLUDING COMPRESSION) "
            f"{options}"
        )
    return name


class _Reader:
    def __init__(self, session: DjangoSession, oid: int, original: str, name: str) -> None:
        self._session = session
        self._oid = oid
        self._original = original
        self._name = name
        self._schema = name.partition(".")[0]

    def indexes(self) -> Iterator[Part]:
        for index, constraint, head, definition, options in self._session.fetch(
            definitions.INDEXES, self._oid
        ):
            if not constraint:
                old, new = f"{head} ON {self._original}", f"{head} ON {self._name}"
                drop = f"DROP INDEX {self._schema}.{index}"
                add = exchange(definition, old, new)
                kind = "unique index" if head.startswith("CREATE UNIQUE") else "index"
                yield Part(kind=kind, name=index, add=(add,), drop=drop)
                continue
            add = f"ALTER TABLE {self._name} ADD CONSTRAINT {constraint} {definition}"
            setting = f"ALTER INDEX {self._schema}.{index} SET ({options})"
            yield Part(
                kind=_CONSTRAINT_KINDS[definition.split(maxsplit=1)[0]],
                name=constraint,
                add=(add, setting) if options else (add,),
                drop=self._drop_constraint(constraint),
            )

    def checks(self) -> Iterator[Part]:
        for clause, name in self._session.fetch(definitions.CHECKS, self._oid):
            yield Part(
                kind="check",
                name=name,
                add=(f"ALTER TABLE {self._name} {clause}",),
                drop=self._drop_constraint(name),
            )

    def foreign_keys(self) -> Iterator[Part]:
        for name, (head, parent), definition, target in self._session.fetch(
            definitions.FOREIGN_KEYS, self._oid
        ):
            new = self._name if target == self._oid else parent
            clause = exchange(definition, f"{head}{parent}(", f"{head}{new}(")
            yield Part(
                kind="foreign key",
                name=name,
                add=(f"ALTER TABLE {self._name} ADD CONSTRAINT {name} {clause}",),
                drop=self._drop_constraint(name),
            )

    def triggers(self) -> Iterator[Part]:
        for name, head, definition, enabled, _ in self._session.fetch(
            definitions.TRIGGERS, self._oid
        ):
            add = exchange(definition, head + self._original, head + self._name)
            switch = f"ALTER TABLE {self._name} {enabled} TRIGGER {name}"
            yield Part(
                kind="trigger",
                name=name,
                add=(add, switch) if enabled else (add,),
                drop=f"DROP TRIGGER {name} ON {self._name}",
            )

    def _drop_constraint(self, name: str) -> str:
        return f"ALTER TABLE {self._name} DROP CONSTRAINT {name}"

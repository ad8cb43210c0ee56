"""Copies of real tables in the scratch schema, including the names of their indexes.

``CREATE TABLE (LIKE …)`` copies columns, defaults, identity, generation, storage and collation;
everything else comes from PostgreSQL's own definitions. They are read under an empty search_path,
where they name every table with its schema, so that their beginning is known exactly. Only that
beginning is replaced, and an unexpected one is an error.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import transaction

from ingest.benchmark.scratch import definitions
from ingest.exceptions import BenchmarkError
from ingest.postgres.catalog import quote_name
from ingest.postgres.session import DjangoSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.benchmark.scratch import Scratch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy:
    """One table and its copy; the names are quoted and include the schema."""

    oid: int
    """The real table's oid."""
    original: str
    name: str


class TableCopier:
    """Copies a table and all that it references, step by step, in the caller's transaction."""

    def __init__(self, scratch: Scratch, oid: int) -> None:
        self._scratch = scratch
        self._session = DjangoSession(scratch.alias)
        self._root = oid
        self.copies: dict[int, Copy] = {}
        """The copies by the real table's oid; the first is that of the requested table."""
        self.inward_foreign_keys: list[tuple[str, str]] = []
        """SQL to drop and to add each foreign key of another table that refers to the first
        table."""

    def copy_tables(self) -> None:
        """Create the tables without foreign keys and triggers: rows may be inserted in between."""
        with plain_names(self._scratch.alias):
            tables = self._session.fetch(definitions.TABLES, self._root)
            for oid, schema, name, original, refusal, *_ in tables:
                if refusal:
                    raise BenchmarkError(f"The table {original} {refusal}.")
                new = f"{quote_name(self._scratch.schema_for(schema))}.{quote_name(name)}"
                self.copies[oid] = Copy(oid=oid, original=original, name=new)
            sequences = self._copy_sequences()
            for oid, *_, persistence, options in tables:
                self._create(self.copies[oid], persistence, options)
            self._set_defaults(sequences)
            for copy in self.copies.values():
                self._copy_indexes(copy)
                self._run(definitions.CHECKS, copy)
                self._run(definitions.SETTINGS, copy)
                self._rename_identities(copy)

    def copy_foreign_keys(self) -> None:
        """Add the foreign keys, which refer to tables in the scratch schema."""
        with plain_names(self._scratch.alias):
            for copy in self.copies.values():
                for name, start, definition, target in self._session.fetch(
                    definitions.FOREIGN_KEYS, copy.oid
                ):
                    [head, original] = start
                    new = head + self.copies[target].name + "("
                    add = (
                        f"ALTER TABLE {copy.name} ADD CONSTRAINT {name} "
                        f"{exchange(definition, head + original + '(', new)}"
                    )
                    self._session.execute(add)
                    if target == self._root != copy.oid:
                        drop = f"ALTER TABLE {copy.name} DROP CONSTRAINT {name}"
                        self.inward_foreign_keys.append((drop, add))

    def has_triggers(self) -> bool:
        """Return whether a user created a trigger on any of the tables."""
        with plain_names(self._scratch.alias):
            return any(self._session.fetch(definitions.TRIGGERS, oid) for oid in self.copies)

    def copy_triggers(self) -> None:
        """Add the triggers that users created; they call the original functions."""
        with plain_names(self._scratch.alias):
            for copy in self.copies.values():
                for name, head, definition, enabled, other in self._session.fetch(
                    definitions.TRIGGERS, copy.oid
                ):
                    if other:
                        self._scratch.notes.append(
                            f"The constraint trigger {name} of {copy.original} is left out: "
                            "it names a second table."
                        )
                        continue
                    self._session.execute(
                        exchange(definition, head + copy.original, head + copy.name)
                    )
                    if enabled:
                        self._session.execute(f"ALTER TABLE {copy.name} {enabled} TRIGGER {name}")

    def _create(self, copy: Copy, persistence: str, options: str) -> None:
        self._session.execute(
            f"CREATE {persistence}TABLE {copy.name} (LIKE {copy.original} INCLUDING DEFAULTS "
            "INCLUDING GENERATED INCLUDING IDENTITY INCLUDING STORAGE INCLUDING COMPRESSION "
            f"INCLUDING STATISTICS INCLUDING COMMENTS) {options}"
        )

    def _copy_sequences(self) -> dict[tuple[str, str], str]:
        # Real sequences must not advance: a rollback would not undo that.
        renamed = {}
        for schema, name, original, literal, options in self._session.fetch(
            definitions.SEQUENCES, list(self.copies)
        ):
            new = f"{quote_name(self._scratch.schema_for(schema))}.{quote_name(name)}"
            self._session.execute(f"CREATE SEQUENCE {new} {options}")
            [(new_literal,)] = self._session.fetch(
                "SELECT format('%L::regclass', $1::text::regclass::text)", new
            )
            renamed[original, literal] = new_literal
            renamed[original, ""] = new
        return renamed

    def _set_defaults(self, sequences: dict[tuple[str, str], str]) -> None:
        for oid, column, default, original, literal, is_owned in self._session.fetch(
            definitions.SEQUENCE_DEFAULTS, list(self.copies)
        ):
            copy = self.copies[oid]
            if literal not in default:
                raise BenchmarkError(
                    f"The default of {copy.original}.{column} cannot be copied: {default}."
                )
            # An exact token: inside a text literal its quotes would be doubled.
            new = default.replace(literal, sequences[original, literal])
            self._session.execute(
                f"ALTER TABLE {copy.name} ALTER COLUMN {column} SET DEFAULT {new}"
            )
            if is_owned:
                self._session.execute(
                    f"ALTER SEQUENCE {sequences[original, '']} OWNED BY {copy.name}.{column}"
                )

    def _copy_indexes(self, copy: Copy) -> None:
        # In the order of their creation: PostgreSQL maintains them in that order.
        schema = copy.name.partition(".")[0]
        for index, constraint, head, definition, options in self._session.fetch(
            definitions.INDEXES, copy.oid
        ):
            if constraint:
                self._session.execute(
                    f"ALTER TABLE {copy.name} ADD CONSTRAINT {constraint} {definition}"
                )
                if options:
                    self._session.execute(f"ALTER INDEX {schema}.{index} SET ({options})")
                continue
            self._session.execute(
                exchange(definition, f"{head} ON {copy.original}", f"{head} ON {copy.name}")
            )

    def _run(self, query: str, copy: Copy) -> None:
        for clause, *_ in self._session.fetch(query, copy.oid):
            self._session.execute(f"ALTER TABLE {copy.name} {clause}")

    def _rename_identities(self, copy: Copy) -> None:
        # LIKE chooses the name, and makes every sequence a bigint.
        for column, name, sql_type in self._session.fetch(definitions.IDENTITIES, copy.oid):
            [(sequence, current)] = self._session.fetch(
                "SELECT c.oid::regclass::text, quote_ident(c.relname) FROM pg_catalog.pg_class c "
                "WHERE c.oid = pg_get_serial_sequence($1::text, $2::text)::regclass",
                copy.name,
                column,
            )
            self._session.execute(f"ALTER SEQUENCE {sequence} AS {sql_type}")
            if current != name:
                self._session.execute(f"ALTER SEQUENCE {sequence} RENAME TO {name}")


@contextmanager
def plain_names(alias: str) -> Iterator[None]:
    """Open a transaction in which PostgreSQL names every table with its schema.

    Names without a schema in its statements are PostgreSQL's own.
    """
    session = DjangoSession(alias)
    with transaction.atomic(using=alias):
        [(path,)] = session.fetch("SELECT pg_catalog.current_setting('search_path')")
        session.fetch("SELECT pg_catalog.set_config('search_path', '', true)")
        yield
        session.fetch(
            "SELECT pg_catalog.set_config('search_path', $1::pg_catalog.text, true)", path
        )


def exchange(definition: str, head: str, new_head: str) -> str:
    """Replace ``head``, with which the definition must begin, by ``new_head``."""
    if not definition.startswith(head):
        raise BenchmarkError(
            f"PostgreSQL describes an object in an unknown way, it cannot be copied: {definition}."
        )
    return new_head + definition.removeprefix(head)

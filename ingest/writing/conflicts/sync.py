"""Delete the rows of a scope that the source does not have, after all of it is loaded.

This is the last step of ``sync``, in the same transaction. The rows are locked and counted, and
deleted only if there are no more than allowed, and if no other row refers to one of them. Rows that
are not in the key's index (one of its columns is NULL, or they are outside a partial index) cannot
be found in a source, and stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingest.exceptions import ConfigurationError, DeletesRefused
from ingest.plurals import counted
from ingest.postgres.catalog import quote_db_table, quote_name
from ingest.postgres.errors import refusal_of
from ingest.results.rejects import shorten
from ingest.writing.conflicts.options import DEFAULT_LIMIT, NOTHING_TO_KEEP, DeleteLimit
from ingest.writing.conflicts.scope import read_scope
from ingest.writing.staging import own_prefix, temporary_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.options import ConflictOptions


class _Referrer(NamedTuple):
    """A foreign key of some table that refers to the loaded table."""

    name: str
    table: str
    columns: Sequence[str]
    referenced: Sequence[str]
    operators: Sequence[str]
    """The operator that compares each pair; the referenced column is on the left."""
    is_own: bool
    """Whether it is a foreign key of the loaded table itself."""


class Deletion:
    """Deletes the rows that the source of one load does not have."""

    def __init__(
        self,
        session: Session,
        table: Table,
        model: type[models.Model],
        key: ConflictKey,
        options: ConflictOptions,
        alias: str,
    ) -> None:
        """Count the rows of the scope before the load; raise an error for an invalid scope."""
        self._session, self._table, self._model, self._key = session, table, model, key
        self._limit = options.max_deletes
        own = own_prefix(table)
        self._keys = [f"{own}k{place}" for place in range(1, len(key.expressions) + 1)]
        self._scope, self._values = read_scope(session, table, model, alias, options.scope)
        self._doomed = temporary_name("doomed")
        self._rows = self._count_rows()
        session.execute(
            f"CREATE TEMPORARY TABLE {self._doomed} (part pg_catalog.oid, tid pg_catalog.tid) "
            "ON COMMIT DROP"
        )

    def _count_rows(self) -> int:
        sql = f"SELECT pg_catalog.count(*) FROM {self._table.qualified_name} t WHERE {self._scope}"
        try:
            [(rows,)] = self._session.fetch(sql, *self._values)
        except Exception as error:
            # A value that the field accepts, but not the type of its column.
            refusal = refusal_of(error, "", ())
            if (refusal.state or "").startswith("22"):
                raise ConfigurationError(
                    f"PostgreSQL refuses a value of scope (--scope): {refusal.message}."
                ) from error
            raise
        return int(rows)

    def delete(self, seen: str, old_values: OldValues | None) -> tuple[int, str]:
        """Delete the rows whose keys the load has not seen; return their number and a sentence.

        ``seen`` is the table with the keys of the load. Raises ``DeletesRefused``.
        """
        session, name = self._session, self._table.qualified_name
        [(is_empty,)] = session.fetch(f"SELECT NOT EXISTS (SELECT FROM {seen})")
        if is_empty:
            raise DeletesRefused(NOTHING_TO_KEEP)
        session.execute(f"ANALYZE {seen}")
        self._find(seen)
        [(number,)] = session.fetch(f"SELECT pg_catalog.count(*) FROM pg_temp.{self._doomed}")
        limit = DeleteLimit.parse(self._limit)
        if not limit.allows(number, self._rows):
            said = DEFAULT_LIMIT if self._limit is None else self._limit
            raise DeletesRefused(
                f"sync would delete {number:,} of the {counted(self._rows, 'row')} of the "
                "scope, and "
                f"max_deletes allows {said}: check whether the source has all rows, or allow more "
                "with max_deletes (--max-deletes)."
            )
        if number:
            session.execute(f"ANALYZE pg_temp.{self._doomed}")
            self._refuse_referred()
            rows = f"{name} t, pg_temp.{self._doomed} d WHERE {_JOINED}"
            if old_values is not None:
                from ingest.writing.conflicts.old_values import exactly  # few loads keep them

                session.execute(exactly(old_values.keep_deleted("t", rows)))
            [(deleted,)] = session.fetch(
                f"WITH gone AS (DELETE FROM {name} t USING pg_temp.{self._doomed} d "
                f"WHERE {_JOINED} RETURNING 1) SELECT pg_catalog.count(*) FROM gone"
            )
            if deleted != number:
                raise DeletesRefused(
                    f"sync was to delete {counted(number, 'row')} of {name}, but deleted "
                    f"{deleted:,}: a trigger, a rule or row security keeps the others."
                )
        return number, f"Sync: deleted {number:,} of the {counted(self._rows, 'row')} of the scope."

    def _find(self, seen: str) -> None:
        """Find and lock the rows to delete."""
        key, expressions = self._key, [f"({item})" for item in self._key.expressions]
        present = (
            ""
            if key.nulls_are_equal
            else "".join(f" AND {item} IS NOT NULL" for item in expressions)
        )
        same = []
        for item, name, operator in zip(expressions, self._keys, key.operators, strict=True):
            part = f"{item} {operator} e.{name}"
            if key.nulls_are_equal:
                part = f"({part} OR {item} IS NULL AND e.{name} IS NULL)"
            same.append(part)
        self._session.fetch(
            f"INSERT INTO pg_temp.{self._doomed} SELECT t.tableoid, t.ctid "
            f"FROM {self._table.qualified_name} t WHERE {self._scope} "
            f"AND ({key.predicate or 'true'}){present} "
            f"AND NOT EXISTS (SELECT FROM {seen} e WHERE {' AND '.join(same)}) FOR UPDATE OF t",
            *self._values,
        )

    def _refuse_referred(self) -> None:
        """Raise ``DeletesRefused`` if other rows refer to a row to delete."""
        name = self._table.qualified_name
        shown = ", ".join(f"t.{quote_name(column)}" for column in self._key.columns)
        for referrer in self._referrers():
            same = " AND ".join(
                f"t.{quote_name(other)} {operator} c.{quote_name(one)}"
                for one, other, operator in zip(
                    referrer.columns, referrer.referenced, referrer.operators, strict=True
                )
            )
            stays = (
                f" AND NOT EXISTS (SELECT FROM pg_temp.{self._doomed} o WHERE o.tid "
                "OPERATOR(pg_catalog.=) c.ctid AND o.part OPERATOR(pg_catalog.=) c.tableoid)"
                if referrer.is_own
                else ""
            )
            found = self._session.fetch(
                f"SELECT pg_catalog.concat_ws(', ', {shown}) "
                f"FROM {name} t, pg_temp.{self._doomed} d WHERE {_JOINED} AND EXISTS "
                f"(SELECT FROM {referrer.table} c WHERE {same}{stays}) LIMIT 1"
            )
            if found:
                raise DeletesRefused(
                    f"sync would delete the row of {name} with the key {shorten(found[0][0])}, "
                    f"but rows of {referrer.table} refer to it ({referrer.name}): delete them "
                    "first, or leave the row out of the scope."
                )

    def _referrers(self) -> list[_Referrer]:
        """Return the foreign keys that refer to the table, also those without a constraint."""
        found = [
            _Referrer(name, table, columns, referenced, operators, oid == self._table.oid)
            for name, table, columns, referenced, operators, oid in self._session.fetch(
                _REFERRERS, self._table.oid
            )
        ]
        for relation in self._model._meta.related_objects:
            field = relation.field
            column = getattr(field, "column", None)
            if column is None or getattr(field, "db_constraint", True):
                continue
            target = self._table.column(str(field.target_field.column))
            found.append(
                _Referrer(
                    str(field),
                    quote_db_table(field.model._meta.db_table),
                    [column],
                    [target.name],
                    [target.equal],
                    field.model is self._model,
                )
            )
        return found


_JOINED = "t.ctid OPERATOR(pg_catalog.=) d.tid AND t.tableoid OPERATOR(pg_catalog.=) d.part"
_REFERRERS = """
SELECT k.conname::pg_catalog.text,
       pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.',
                         pg_catalog.quote_ident(c.relname::pg_catalog.text)),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.attnum
             ORDER BY u.place),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY u(attnum, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.confrelid
               AND a.attnum OPERATOR(pg_catalog.=) u.attnum
             ORDER BY u.place),
       ARRAY(SELECT pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)
             FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY u(oid, place)
             JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) u.oid
             JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) o.oprnamespace
             ORDER BY u.place),
       k.conrelid::bigint
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.confrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.conparentid OPERATOR(pg_catalog.=) 0
ORDER BY 2, 1
"""

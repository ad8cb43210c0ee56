"""Old values of rows that a load changed or deleted: kept in the ledger, restored by undo.

``writing/conflicts/old_values.py`` describes how a writer collects them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections, transaction

from ingest.ledger.rows import table_of
from ingest.postgres.catalog import quote_name
from ingest.postgres.quoting import double_percent
from ingest.writing.conflicts.old_values import exactly
from ingest.writing.staging import temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.ledger.models import Load
    from ingest.ledger.ownership import Ownership
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.old_values import OldValues

ROWS_TOGETHER = 1_000
"""Rows of a chunk whose old values share one row of the ledger. One ledger row for each would cost
more than the values, because each adds an index entry and a foreign key check."""
BYTES_TOGETHER = 1 << 24
"""Characters of old values in one row of the ledger, if this limit is reached first: PostgreSQL has
no array of more than 1 GB."""


def keep_old_rows(session: Session, chunk: int, old: OldValues) -> None:
    """Copy the old values collected for a chunk into the ledger, in the transaction of its rows."""
    session.fetch(
        _KEEP.format(into=table_of("OldRows"), old=old.name),
        chunk,
        json.dumps(old.all_columns),
        json.dumps(old.columns),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OldCounts:
    """How many of the rows that a load changed or deleted can be restored."""

    restorable: int = 0
    """Changed rows that are still as the load left them."""
    missing: int = 0
    """Deleted rows whose keys are free now."""
    changed: int = 0
    """Rows that were changed after the load, or that have the key of a row that it deleted."""
    gone: int = 0
    """Changed rows that no longer exist."""


class KeptRows:
    """The old values of one load, in a temporary table, compared with the table as it is now."""

    def __init__(self, load: Load, ownership: Ownership) -> None:
        """Read the old values, except those of rows that the load itself had inserted."""
        self._using = ownership.own.using
        self._ownership = ownership
        self._table = ownership.own.table
        self._prefix = "old_" if ownership.column.startswith("ingest_") else "ingest_"
        self._name = temporary_name("kept")
        self._temporary = [self._name]
        self._facts = {
            "key": ownership.key,
            "p": self._prefix,
            "name": self._name,
            "table": self._table,
            "equal": f"r.{ownership.key} OPERATOR({ownership.equals}) o.{ownership.key}",
        }
        self._run(
            _READ.format(
                **self._facts,
                type=ownership.key_type,
                kept=double_percent(table_of("OldRows")),
                chunk=double_percent(table_of("Chunk")),
                own=ownership.same_keys.condition("o"),
            ),
            str(load.pk),
            *ownership.same_keys.parameters,
        )
        self._run(f"ANALYZE pg_temp.{self._name}")

    def why_not(self) -> str | None:
        """Return why the old values cannot be restored, or None if they can."""
        [(columns,)] = self._run(_LOST.format(**self._facts), self._table_unescaped)
        if columns:
            return f"its table has no column {' and no column '.join(map(repr, columns))} any more"
        return None

    def lock(self) -> None:
        """Lock the rows that the load changed, so that nobody changes them."""
        self._run(_LOCK.format(**self._facts))

    def count(self) -> OldCounts:
        """Compare the old values with the table as it is now."""
        written = self._ownership.written
        [counts] = self._run(
            _COUNT.format(**self._facts, written=written.condition("r")), *written.parameters
        )
        return OldCounts(
            **dict(zip(("restorable", "missing", "changed", "gone"), counts, strict=True))
        )

    def changed_keys(self, most: int) -> list[str]:
        """Return the keys of a few rows that were changed since the load."""
        written = self._ownership.written
        found = self._run(
            _CHANGED.format(**self._facts, written=written.condition("r"), most=most),
            *written.parameters,
        )
        return [key for (key,) in found]

    def restore(self) -> int:
        """Restore the changed rows that are still as the load left them; return their number."""
        written = self._ownership.written
        rows = 0
        for columns, typed in self._typed(is_deleted=False):
            values = ", ".join(f"{name} = (o.old).{name}" for name in columns)
            update = (
                f"UPDATE {self._table} r SET {values} FROM pg_temp.{typed} o "
                f"WHERE {self._facts['equal']} AND {written.condition('r')} "
                "AND o.turn OPERATOR(pg_catalog.>=) %s::bigint "
                "AND o.turn OPERATOR(pg_catalog.<=) %s::bigint"
            )
            [(last,)] = self._run(f"SELECT pg_catalog.max(turn) FROM pg_temp.{typed}")
            rows += self._restore_in_turn(update, 1, last)
        return rows

    def _restore_in_turn(self, update: str, first: int, last: int) -> int:
        """Restore these rows; if one has a unique value that another had before, in their turn.

        PostgreSQL checks a unique key at once for each row of a statement.
        """
        try:
            with transaction.atomic(using=self._using):
                return self._change(update, *self._ownership.written.parameters, first, last)
        except IntegrityError:
            if first == last:
                raise
        half = (first + last) // 2
        return self._restore_in_turn(update, first, half) + self._restore_in_turn(
            update, half + 1, last
        )

    def put_back(self) -> int:
        """Insert the deleted rows whose keys are free; return their number."""
        rows = 0
        for columns, typed in self._typed(is_deleted=True):
            values = ", ".join(f"(o.old).{name}" for name in columns)
            rows += self._change(
                f"INSERT INTO {self._table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE "
                f"SELECT {values} FROM pg_temp.{typed} o WHERE NOT EXISTS "
                f"(SELECT FROM {self._table} r WHERE {self._facts['equal']})"
            )
        return rows

    def drop(self) -> None:
        """Drop the temporary tables: the transaction may be the caller's and continue."""
        for name in reversed(self._temporary):
            self._run(f"DROP TABLE IF EXISTS pg_temp.{name}")

    def _typed(self, *, is_deleted: bool) -> Iterator[tuple[list[str], str]]:
        """Yield, for each list of columns, their quoted names and a temporary table of old values.

        The texts are parsed into this table first, under settings that must not apply to triggers.
        """
        sql = _LISTS.format(**self._facts)
        for number, (group, names) in enumerate(self._run(sql, is_deleted)):
            columns = [quote_name(name) for name in json.loads(names)]
            typed = f"{self._name}_{is_deleted:d}{number}"
            row = f"{typed}_row"
            self._execute(
                f"CREATE TEMPORARY TABLE {row} ON COMMIT DROP AS SELECT {', '.join(columns)} "
                f"FROM {self._plain(self._table)} WITH NO DATA"
            )
            self._execute(
                exactly(
                    _TYPED.format(
                        typed=typed,
                        row=row,
                        is_deleted=is_deleted,
                        group=group,
                        **{**self._facts, "key": self._plain(self._facts["key"])},
                    )
                )
            )
            self._temporary += [row, typed]
            yield [double_percent(name) for name in columns], typed

    @property
    def _table_unescaped(self) -> str:
        return self._plain(self._table)

    @staticmethod
    def _plain(sql: str) -> str:
        """Return SQL for a statement without parameters, in which percent signs are not doubled."""
        return sql.replace("%%", "%")

    def _run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with connections[self._using].cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def _change(self, sql: str, *parameters: Any) -> int:
        with connections[self._using].cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def _execute(self, sql: str) -> None:
        with connections[self._using].cursor() as cursor:
            cursor.execute(sql)


_KEEP = f"""
INSERT INTO {{into}} (chunk_id, is_deleted, columns, keys, rows)
SELECT $1::bigint, o.is_deleted,
       CASE WHEN o.is_deleted THEN $2::pg_catalog.text::pg_catalog.jsonb
            ELSE $3::pg_catalog.text::pg_catalog.jsonb END,
       pg_catalog.array_agg(o.key ORDER BY o.place), pg_catalog.array_agg(o.old ORDER BY o.place)
FROM (
  SELECT p.*, p.place OPERATOR(pg_catalog./) {ROWS_TOGETHER}::bigint AS part,
         pg_catalog.sum(pg_catalog.length(p.old)::bigint) OVER (ORDER BY p.place)
           OPERATOR(pg_catalog./) {BYTES_TOGETHER}::numeric AS filled
  FROM {{old}} p
) o
GROUP BY o.is_deleted, o.part, pg_catalog.trunc(o.filled)
ORDER BY pg_catalog.min(o.place)
"""
# The first old values recorded for a row are those from before the load.
_READ = """
CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS
SELECT o.* FROM (
  SELECT DISTINCT ON (u.key) (u.key)::{type} AS {key}, u.old AS {p}old,
         k.is_deleted AS {p}is_deleted, k.columns AS {p}columns,
         pg_catalog.row_number() OVER (ORDER BY c.ordinal DESC, k.id DESC, u.place DESC) AS {p}turn
  FROM {kept} k
  JOIN {chunk} c ON c.id OPERATOR(pg_catalog.=) k.chunk_id
  CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.keys), pg_catalog.unnest(k.rows))
    WITH ORDINALITY AS u (key, old, place)
  WHERE c.load_id OPERATOR(pg_catalog.=) %s::pg_catalog.int8
  ORDER BY u.key, c.ordinal, k.id, u.place
) o
WHERE NOT {own}
"""
_LOST = """
SELECT pg_catalog.array_agg(DISTINCT n.name)
FROM {name} o CROSS JOIN LATERAL pg_catalog.jsonb_array_elements_text(o.{p}columns) n (name)
WHERE NOT EXISTS (
  SELECT FROM pg_catalog.pg_attribute a
  WHERE a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::pg_catalog.oid
    AND a.attname::pg_catalog.text OPERATOR(pg_catalog.=) n.name AND NOT a.attisdropped
)
"""
_LOCK = """
SELECT pg_catalog.count(*) FROM (
  SELECT FROM {table} r JOIN {name} o ON {equal} WHERE NOT o.{p}is_deleted FOR UPDATE OF r
) locked
"""
_COUNT = """
SELECT pg_catalog.count(*) FILTER (WHERE NOT o.{p}is_deleted AND r.{p}there AND r.{p}written),
       pg_catalog.count(*) FILTER (WHERE o.{p}is_deleted AND r.{p}there IS NULL),
       pg_catalog.count(*) FILTER
         (WHERE r.{p}there AND (o.{p}is_deleted OR NOT r.{p}written)),
       pg_catalog.count(*) FILTER (WHERE NOT o.{p}is_deleted AND r.{p}there IS NULL)
FROM {name} o
LEFT JOIN (SELECT r.{key}, true AS {p}there, {written} AS {p}written FROM {table} r) r ON {equal}
"""
_CHANGED = """
SELECT o.{key}::pg_catalog.text
FROM {name} o JOIN {table} r ON {equal}
WHERE o.{p}is_deleted OR NOT {written}
ORDER BY o.{key} LIMIT {most}
"""
_LISTS = """
SELECT DISTINCT pg_catalog.quote_literal(o.{p}columns::pg_catalog.text),
       o.{p}columns::pg_catalog.text
FROM {name} o WHERE o.{p}is_deleted OPERATOR(pg_catalog.=) %s ORDER BY 1
"""
_TYPED = """
CREATE TEMPORARY TABLE {typed} ON COMMIT DROP AS
SELECT o.{key}, (o.{p}old)::pg_temp.{row} AS old,
       pg_catalog.row_number() OVER (ORDER BY o.{p}turn) AS turn
FROM pg_temp.{name} o
WHERE o.{p}is_deleted OPERATOR(pg_catalog.=) {is_deleted}
  AND o.{p}columns::pg_catalog.text OPERATOR(pg_catalog.=) {group}
"""

"""Collect the values that rows had before a load changed or deleted them, for its undo.

A writer with ``keeps_old`` creates ``OldValues`` at the start of ``write``, in the chunk's
transaction, and stores it in its attribute ``old_values``. For each batch it runs ``keep_updated``
right before its UPDATE and ``keep_deleted`` right before its DELETE, after the rows are locked, in
the same savepoint. At the end of the chunk, the ledger copies the collected rows with one
INSERT … SELECT; see ``ledger/old_rows.py``.

- A row that is not changed in the end must not be kept: so the FROM and WHERE are the UPDATE's.
- A row may be kept several times. Its first values count: those from before the load.
- A row that the load itself has inserted may be kept, too. Undo deletes it.
- Rows are kept as the text of ``ROW(…)``, because PostgreSQL writes and reads that text only with
  the output and input functions of the types: a cast to text may be user-defined. The text is exact
  under the settings ``EXACT``, as in ``pg_dump``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.postgres.catalog import quote_name
from ingest.writing.staging import temporary_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

EXACT = {"DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "3"}
"""Settings under which the texts of all types can be read again without loss: those of pg_dump. A
text of ``bytea`` can be read regardless of ``bytea_output``."""


class OldValues:
    """A temporary table of old values, dropped at the end of the transaction."""

    def __init__(self, session: Session, table: Table, *, key: str, columns: Sequence[str]) -> None:
        """Create the table; ``key`` is the column of the primary key.

        ``columns`` are all columns that an UPDATE of the load sets, also those that the source does
        not have, such as columns of ``auto_now`` fields.
        """
        name = temporary_name("old")
        self.name = f"pg_temp.{name}"
        self.columns = tuple(columns)
        """The columns that are kept for updated rows."""
        self.all_columns = tuple(item.name for item in table.columns if not item.is_generated)
        """The columns that are kept for deleted rows."""
        self.key = key
        session.execute(_CREATE.format(name=name))

    def keep_updated(self, row: str, rows: str, key: str | None = None) -> str:
        """Return the statement that keeps the old values of rows that are about to be updated.

        ``rows`` is the FROM clause with its WHERE: the rows to update, each once. In it, ``row`` is
        the alias of the table. ``key`` is the SQL of the new key, if the UPDATE changes it. The
        statement can be used in a WITH.
        """
        return self._insert(row, rows, self.columns, key, is_deleted=False)

    def keep_deleted(self, row: str, rows: str) -> str:
        """Return the statement that keeps all columns of rows that are about to be deleted."""
        return self._insert(row, rows, self.all_columns, None, is_deleted=True)

    def _insert(
        self, row: str, rows: str, columns: Sequence[str], key: str | None, *, is_deleted: bool
    ) -> str:
        key = key or f"{row}.{quote_name(self.key)}"
        values = ", ".join(f"{row}.{quote_name(name)}" for name in columns)
        return (
            f"INSERT INTO {self.name} (key, old, is_deleted) "
            f"SELECT pg_catalog.concat({key}), "
            f"(ROW({values}))::pg_catalog.text, {is_deleted} FROM {rows}"
        )


def exactly(sql: str) -> str:
    """Return several statements in one message that apply ``EXACT`` only to ``sql``.

    It cannot return rows: use it in a ``Statement``, not in a ``Query``.
    """
    return f"SELECT {_exact()}; {sql}; SELECT {_back()}"


def exactly_in_block(sql: str) -> str:
    """Return the same for a PL/pgSQL block: triggers that fire later have the usual settings."""
    return f"PERFORM {_exact()}; {sql}; PERFORM {_back()};"


def _exact() -> str:
    # The server keeps the previous values, like that for the triggers; see postgres/steps.py.
    calls = [
        f"pg_catalog.set_config('ingest.{name}', pg_catalog.current_setting('{name}'), true), "
        f"pg_catalog.set_config('{name}', '{value}', true)"
        for name, value in EXACT.items()
    ]
    return ", ".join(calls)


def _back() -> str:
    calls = [
        f"pg_catalog.set_config('{name}', pg_catalog.current_setting('ingest.{name}'), true)"
        for name in EXACT
    ]
    return ", ".join(calls)


_CREATE = """
CREATE TEMPORARY TABLE {name} (
  place bigint GENERATED ALWAYS AS IDENTITY,
  key pg_catalog.text,
  old pg_catalog.text,
  is_deleted boolean
) ON COMMIT DROP
"""

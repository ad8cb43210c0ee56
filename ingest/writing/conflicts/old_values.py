"""The values that rows had before a load changed or deleted them, collected for its undo.

Who does what: a writer that may change rows is told ``keeps_old`` and then makes ``OldValues`` at
the start of ``write``, in the chunk's transaction, and leaves it in its attribute ``old_values``.
For each batch it runs ``keep_updated`` right before its UPDATE and ``keep_deleted`` right before
its DELETE, once the rows are locked, in the same savepoint. At the chunk's end the ledger copies
what was collected by one INSERT … SELECT; see ``ledger/old_rows.py``.

- A row that is not changed in the end must not be kept: the fragment is that of the UPDATE.
- A row may be kept several times. Its first values count, those of before the load.
- A row that the load itself has inserted may be kept, too. Undo deletes it.
- Rows are kept as the text of ``ROW(…)``, because PostgreSQL makes and reads that text with the
  output and input functions of the types alone: a cast to text may be somebody's own. The text is
  exact where ``EXACT`` holds, as in ``pg_dump``.
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
"""Settings with which the texts of all types can be read again without a loss: pg_dump's. A text
of ``bytea`` is read whatever ``bytea_output`` was."""


class OldValues:
    """A temporary table of old values, gone at the end of the transaction."""

    def __init__(self, session: Session, table: Table, *, key: str, columns: Sequence[str]) -> None:
        """Make the table; ``key`` is the column of the primary key.

        ``columns`` are those that an UPDATE of the load sets, with the ones that the source does
        not have, such as those of ``auto_now``.
        """
        name = temporary_name("old")
        self.name = f"pg_temp.{name}"
        self.columns = tuple(columns)
        """The columns that are kept of rows that are updated."""
        self.all_columns = tuple(item.name for item in table.columns if not item.is_generated)
        """The columns that are kept of rows that are deleted."""
        self.key = key
        session.execute(_CREATE.format(name=name))

    def keep_updated(self, row: str, rows: str, key: str | None = None) -> str:
        """Return the statement that keeps the old values of rows that are about to be updated.

        ``rows`` is what follows FROM, with its WHERE: the rows that are updated, each once. In it
        ``row`` is the alias of the table. ``key`` is the SQL of the key that a row will have, where
        the UPDATE changes it. The statement can stand in a WITH.
        """
        return self._insert(row, rows, self.columns, key, is_deleted=False)

    def keep_deleted(self, row: str, rows: str) -> str:
        """Return the statement that keeps rows that are about to be deleted, whole."""
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
    """Return one message of several statements: ``EXACT`` holds for ``sql`` alone.

    It cannot be answered with rows: it is a ``Statement``, and not a ``Query``.
    """
    return f"SELECT {_exact()}; {sql}; SELECT {_back()}"


def exactly_in_block(sql: str) -> str:
    """Do the same in a block of PL/pgSQL: triggers that fire later have the usual settings."""
    return f"PERFORM {_exact()}; {sql}; PERFORM {_back()};"


def _exact() -> str:
    # The values before are kept by the server, as those of the triggers are; see postgres/steps.py.
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

"""Check deferred constraints for the rows of a load before the load returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import psycopg

from ingest.postgres.catalog import quote_name
from ingest.postgres.errors import explain
from ingest.postgres.session import BEGIN_CHECK, END_CHECK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.postgres.catalog import Constraint, Table, Trigger
    from ingest.postgres.session import Session
    from ingest.writing.refused_rows import RecentBatches


_UNDONE = """
        BEGIN
          {fire}
          RAISE EXCEPTION USING ERRCODE = 'INGU1';
        EXCEPTION WHEN SQLSTATE 'INGU1' THEN
          NULL;
        END;"""
LEFT = (
    "References: left to PostgreSQL at the end of the caller's transaction, which has rows from "
    "before the load whose parents are not there yet."
)


def find_check(session: Session, statement: str) -> tuple[str, list[str]]:
    """Return the statement if the caller's own rows pass it, or otherwise "" and a decision."""
    try:
        _try(session, statement)
    except (asyncpg.PostgresError, psycopg.Error) as error:
        if explain(error) is None:
            raise
        return "", [LEFT]
    return statement, []


def _try(session: Session, statement: str) -> None:
    try:
        session.execute(f"{BEGIN_CHECK}; {statement}")
    finally:
        session.execute(END_CHECK)


def firing_of(session: Session, table: Table) -> tuple[str, list[str]]:
    """Return PL/pgSQL that fires deferred constraint triggers in a block, and the decisions.

    It fires them for the rows of the block, which can then be refused. In a caller's transaction
    its effects are rolled back, so that the triggers fire again when the caller has them set to.
    """
    triggers = [trigger for trigger in table.triggers if trigger.is_deferred]
    immediate = set_constraints(table, triggers, "IMMEDIATE")
    if not immediate or not session.is_callers:
        return immediate + set_constraints(table, triggers, "DEFERRED"), []
    check, told = find_check(session, immediate.rstrip("; "))
    return check and _UNDONE.format(fire=immediate), told


def set_constraints(table: Table, constraints: Sequence[Constraint | Trigger], when: str) -> str:
    """Return statements that set these constraints and their triggers; each ends with ``;``."""
    return "".join(
        f"SET CONSTRAINTS {quote_name(table.schema)}.{quote_name(item.name)} {when}; "
        for item in constraints
    )


class DeferredChecks:
    """The deferred constraints of one table, for a load that ends at the first refused row.

    In its own transaction, the load sets them to IMMEDIATE after its last row. In a caller's
    transaction it does so only for foreign keys, and in a savepoint that is rolled back, so that
    each constraint remains as the caller set it.
    """

    def __init__(
        self, session: Session, table: Table, recent: RecentBatches, *, defers_references: bool
    ) -> None:
        """``recent`` has the batches in which a refused row is searched for."""
        self._session, self._table, self._recent = session, table, recent
        names = [
            f"{quote_name(part.schema)}.{quote_name(item.name)}"
            for part in table.tables
            for item in part.constraints
            if item.is_deferred
            and not (defers_references and item.kind == "f")
            and not (session.is_callers and item.kind != "f")
        ]
        self._statement = f"SET CONSTRAINTS {', '.join(names)} IMMEDIATE" if names else None
        self._waits = False

    def prepare(self) -> list[str]:
        """Test whether the caller's own rows would pass; return the decisions, as sentences."""
        if not self._session.is_callers or self._statement is None or self._session.is_brief:
            return []
        check, told = find_check(self._session, self._statement)
        self._statement = check or None
        return told

    @property
    def beside(self) -> str:
        """The check for a load of one batch, which is sent in the message of its COPY."""
        return (self._statement or "") if self._session.is_brief else ""

    def note(self, *, leaves_out_triggers: bool) -> bool:
        """Return whether the batch that is sent next has checks that wait for ``check``."""
        waits = self._statement is not None and not leaves_out_triggers
        self._waits = self._waits or waits
        return waits

    def check(self) -> None:
        """Check the rows that were sent; raise ``ConstraintRefused`` with the record if refused."""
        if not self._waits or self._statement is None or self._session.is_brief:
            return
        try:
            if self._session.is_callers:
                _try(self._session, self._statement)
            else:
                self._session.execute(self._statement)
        except (asyncpg.PostgresError, psycopg.Error) as error:
            refusal = self._recent.explain(error, self._table)
            if refusal is None:
                raise
            raise refusal from error

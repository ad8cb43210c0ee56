"""Trials with a few rows before the measurement, in transactions that are rolled back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections, transaction

from ingest.exceptions import BenchmarkError
from ingest.postgres.session import DjangoSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.benchmark.methods.base import Method, Row, Target
    from ingest.benchmark.scratch.tables import ScratchTables
    from ingest.benchmark.verification import Reference

TRIAL_ROWS = 20
"""Enough to see the effects of a trigger; more than one, because bulk_create treats one
differently."""


class _Undo(Exception):  # noqa: N818 - not an error: it rolls a trial back
    """Leaves the transaction of a trial."""


def try_rows(tables: ScratchTables, reference: Reference) -> None:
    """Raise ``BenchmarkError`` if PostgreSQL refuses the rows, before triggers are added."""
    try:
        _trial(tables, lambda: reference.insert_into_table(TRIAL_ROWS))
    except DatabaseError as error:
        raise BenchmarkError(
            f"PostgreSQL refuses the rows of {tables.model._meta.label}: {_first_line(error)}. "
            "Give a file of rows with --source FILE."
        ) from error


def add_triggers(tables: ScratchTables, reference: Reference) -> None:
    """Add the user's triggers, unless they write to tables outside the scratch schema.

    Their functions are the real ones, so they write to real rows in tables that they name. Writing
    over a function's own connection (dblink) is not detected.
    """
    if tables.copier is None or not tables.copier.has_triggers():
        return
    reason = ""
    try:
        with transaction.atomic(using=tables.alias):
            tables.copier.copy_triggers()
            outside = _trial(tables, lambda: reference.insert_into_table(TRIAL_ROWS))
            if outside:
                reason = f"they write to {', '.join(outside)}, which is real"
                raise _Undo  # noqa: TRY301 - it leaves the transaction, which rolls back
    except _Undo:
        pass
    except DatabaseError as error:
        reason = f"they fail on the copy: {_first_line(error)}"
    if reason:
        tables.scratch.notes.append(f"The triggers are left out: {reason}.")
    else:
        reference.expect_triggers()


def try_method(
    tables: ScratchTables, method: type[Method], target: Target, rows: Sequence[Row]
) -> tuple[list[str], list[str]]:
    """Let a Django method write a few rows; return its SQL and the real tables it wrote to.

    ``save()`` sends signals, whose receivers may write anywhere. An error is left for the measured
    run to report.
    """
    statements: list[str] = []

    def capture(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        statements.append(sql)
        return execute(sql, parameters, many, context)

    def write() -> None:
        with connections[tables.alias].execute_wrapper(capture), method(target) as opened:
            opened.write(rows[:TRIAL_ROWS])

    try:
        outside = _trial(tables, write)
    except Exception:  # noqa: BLE001 - raised again and reported in the measured run
        outside = []
    return statements, outside


def _trial(tables: ScratchTables, write: Callable[[], None]) -> list[str]:
    """Write, return the tables outside the scratch schema that were written to, and roll back."""
    with _undone(tables.alias):
        before = _written(tables)
        write()
        with connections[tables.alias].cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        after = _written(tables)
    return sorted(name for name in after if after[name] != before.get(name, 0))


@contextmanager
def _undone(alias: str) -> Iterator[None]:
    try:
        with transaction.atomic(using=alias):
            yield
            raise _Undo  # noqa: TRY301 - it leaves the transaction, which rolls back
    except _Undo:
        pass


def _written(tables: ScratchTables) -> dict[str, int]:
    # The counts may include those of earlier transactions: only the difference counts.
    session = DjangoSession(tables.alias)
    rows = session.fetch(
        "SELECT pg_catalog.format('%I.%I', schemaname, relname), (n_tup_ins OPERATOR(pg_catalog.+) "
        "n_tup_upd OPERATOR(pg_catalog.+) n_tup_del)::bigint "
        "FROM pg_catalog.pg_stat_xact_all_tables "
        "WHERE schemaname OPERATOR(pg_catalog.<>) ALL ($1::pg_catalog.text[]) "
        "AND NOT pg_catalog.starts_with(schemaname::pg_catalog.text, 'pg_temp')",
        [*tables.scratch.schemas, "pg_catalog", "pg_toast", "information_schema"],
    )
    return {name: count for name, count in rows if count}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")

"""What a load with ``on_conflict`` would do with the first records, without keeping any change.

The records are written one at a time, in a transaction that is rolled back. So the result shown is
that of the load itself, with the constraints and triggers of the table.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from ingest.postgres.catalog import quote_name
from ingest.writing.conflicts.options import Given, refuse_several_tables
from ingest.writing.conflicts.scope import read_scope
from ingest.writing.conflicts.tables import SeenKeys
from ingest.writing.conflicts.writer import ConflictWriter
from ingest.writing.primary_keys import PrimaryKeys
from ingest.writing.staging import temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db import models

    from ingest.conversion import Converter, TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.results.rejects import Reject
    from ingest.writing.batch_result import BatchResult
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.options import ConflictOptions

What = Literal["insert", "update", "unchanged", "ignored", "skipped"]

LOCK_SECONDS = 5
"""How long a preview waits for a row lock, or for another load into the table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordOutcome:
    """What would happen to one record."""

    what: What
    """``skipped``: a later record with the same key counts."""
    changes: dict[str, tuple[Any, Any]]
    """For an update: the old and the new value of each field that differs, by the field's name."""


class Settlement:
    """Settles single records in the session's open transaction, which must be rolled back."""

    def __init__(
        self,
        session: Session,
        table: Table,
        model: type[models.Model],
        converter: Converter,
        options: ConflictOptions,
        alias: str,
    ) -> None:
        """Plan it; raise ``ConfigurationError`` for options that do not fit the table."""
        if options.mode == "sync":  # what it deletes depends on the whole source
            read_scope(session, table, model, alias, options.scope)
            options = dataclasses.replace(options, mode="upsert", scope=None, max_deletes=None)
        if table.parts:
            refuse_several_tables(model)
        self._session, self._table, self._model = session, table, model
        self._keys = PrimaryKeys(session, table, model, converter.encoding, purpose="returned")
        if options.inserts:
            self._keys.use_spares(model._meta.pk)
        self._writer = ConflictWriter(
            table,
            model,
            options=options,
            given=Given(fields=converter.given, lacking=converter.lacking),
            seen=SeenKeys(),
            skips_refused=True,
            keeps_old=True,
        )
        self._fields = {str(field.column): field.name for field in converter.given}
        self.outcomes: dict[int, RecordOutcome] = {}
        """The outcome of each record that was not refused."""

    def settle(self, batches: Iterable[TypedBatch]) -> Iterator[TypedBatch]:
        """Settle the records of these batches; yield each batch without the refused ones."""
        self._session.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        waiting: deque[TypedBatch] = deque()
        singly = iter(waiting.popleft, None)
        with closing(self._writer.write(self._session, self._keys, singly)) as results:
            for batch in batches:
                waiting.extend(_singly(batch))
                rejects: list[Reject] = []
                self._session.looks_back = True  # each result before the next batch is taken
                for result in islice(results, len(batch.records)):
                    rejects.extend(result.rejects)
                    if not result.rejects:
                        self.outcomes[result.batch.records[0]] = self._outcome(result)
                yield batch.without(rejects)

    def _outcome(self, result: BatchResult) -> RecordOutcome:
        old = self._writer.old_values
        kept = [] if old is None else self._take_old(old)
        if kept:
            return RecordOutcome(what="update", changes=kept[0])
        counts = result.counts
        what: What = "unchanged"
        if counts.skipped and not counts.inserted:
            what = "skipped"
        elif counts.inserted:
            what = "insert"
        elif counts.updated:
            what = "update"
        elif counts.ignored:
            what = "ignored"
        return RecordOutcome(what=what, changes={})

    def _take_old(self, old: OldValues) -> list[dict[str, tuple[Any, Any]]]:
        """Return the fields that the update of one row changed, if a row was updated."""
        shape = temporary_name("shape")
        names = ", ".join(map(quote_name, old.columns))
        key = next(item for item in self._table.columns if item.name == old.key)
        key_type = f"{quote_name(key.type_schema)}.{quote_name(key.type_name)}"
        table = self._table.qualified_name
        self._session.execute(
            f"CREATE TEMPORARY TABLE {shape} AS SELECT {names} FROM {table} WITH NO DATA"
        )
        olds = ", ".join(f"(o.old::pg_temp.{shape}).{quote_name(name)}" for name in old.columns)
        news = ", ".join(f"t.{quote_name(name)}" for name in old.columns)
        found = self._session.fetch(
            f"SELECT {olds}, {news} FROM {old.name} o JOIN {table} t "
            f"ON t.{quote_name(old.key)} OPERATOR(pg_catalog.=) o.key::{key_type}"
        )
        self._session.execute(f"DROP TABLE pg_temp.{shape}; DELETE FROM {old.name}")
        count = len(old.columns)
        return [
            {
                self._fields[name]: (before, after)
                for name, before, after in zip(old.columns, row[:count], row[count:], strict=True)
                if name in self._fields and before != after
            }
            for row in found
        ]


def _singly(batch: TypedBatch) -> Iterator[TypedBatch]:
    """Yield each accepted record as its own batch."""
    for place, record in enumerate(batch.records):
        yield dataclasses.replace(
            batch, rows=batch.rows.slice(place, 1), records=[record], rejects=()
        )

"""A small load in the ledger, written by one statement in the transaction of its rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils import timezone

from ingest.ledger.entries import LedgerEntry
from ingest.ledger.entry import Settled
from ingest.ledger.place import LEDGER_TABLES, ledger_names, qualified_names
from ingest.ledger.rows import MODELS, DjangoConnection, given, insert, model_of, table_of, text_of
from ingest.ledger.table_identity import CLUSTER, IDENTITY, MAY_IDENTIFY
from ingest.postgres.catalog import quote_name, read_locked_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db import models

    from ingest.ledger.inserters import Inserters
    from ingest.ledger.models import Load
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session
    from ingest.results.rejects import Reject
    from ingest.writing.conflicts.old_values import OldValues
    from ingest.writing.conflicts.tables import SeenKeys
    from ingest.writing.ranges import Range


class NotBriefError(Exception):
    """The load cannot be done with few messages: it is started again as an ordinary load."""


class BriefEntry(LedgerEntry):
    """A load of one batch and one transaction, which no other process could resume.

    The ledger has nothing of it before its rows are in the table: a process that dies leaves
    neither. A load that fails is recorded afterwards, over Django's connection.
    """

    is_brief = True

    def __init__(self, alias: str, *, is_recorded: bool, **facts: Any) -> None:
        """Take the fields of ``Load`` that are known at the beginning as ``facts``."""
        load: Any = model_of("Load")(started_at=timezone.now(), **facts) if is_recorded else None
        super().__init__(load, alias)
        self._is_recorded = is_recorded
        self._is_noted = False
        """Whether the load failed and was recorded over Django's connection."""
        self._chunk: dict[str, Any] = {}
        self._ranges: Sequence[Range] = ()
        self._lists: list[str] = []
        self._may_identify = False
        self._is_heap = False
        self._database = ""
        self._table_oid = 0
        self.has_table = False
        """Whether the table is locked and has been read."""
        self._written: Callable[[], list[tuple[Any, ...]]] | None = None
        """Returns the keys of the load and of its chunk."""

    @property
    def may_have_chunks(self) -> bool:
        return False

    def lock(self, session: Session) -> None:
        """Do nothing: no other process can find the load before it is committed."""

    def settle(self, session: Session) -> Settled:  # noqa: ARG002
        return Settled()

    def look(self, session: Session, model: type[models.Model]) -> Table:
        """Read the table, which is locked, and what the ledger needs, in one message.

        Raise ``NotBriefError`` if writing rows to this table takes more than a COPY.
        """
        names = ledger_names() if apps.is_installed("ingest") else []
        table, [facts] = read_locked_table(session, model, _LOOK, names)
        self.has_table = True
        if table.kind != "r" or table.triggers or table.rules or table.row_security:
            raise NotBriefError
        found = json.loads(facts)
        if self._is_recorded:
            self._ledger = qualified_names([tuple(row) for row in found["ledger"] or ()])
            if len(self._ledger) < len(MODELS):
                self.load, self._is_recorded = None, False  # type: ignore[assignment]
                return table
            self._database, self._is_heap = found["database"], found["is_heap"]
            self._may_identify, self._table_oid = found["may_identify"], table.oid
            self.load.table, self.load.schema = table.qualified_name, table.schema
            self.load.role = found["role"]
            self.load.session_state = session.state.to_json()
        return table

    def begin_chunk(self, session: Session, ordinal: int, first_record: int, table: Table) -> int:  # noqa: ARG002
        self._chunk = {"ordinal": ordinal, "first_record": first_record}
        self._lists = []
        return 0

    def forget_keys(self, session: Session) -> None:
        """Do nothing: there are no other chunks whose keys were kept."""

    def keep_keys(self, session: Session, chunk: int, keys: list[str]) -> None:  # noqa: ARG002
        self._lists.append(json.dumps(keys))

    def end_chunk(  # noqa: PLR0913 - like the other entries
        self,
        session: Session,  # noqa: ARG002
        chunk: int,  # noqa: ARG002
        *,
        ranges: Sequence[Range],
        rejects: Sequence[Reject],  # noqa: ARG002 - the first one ends the load
        inserters: Inserters,  # noqa: ARG002 - no savepoint is used
        old_values: OldValues | None = None,  # noqa: ARG002 - rows are only inserted
        seen: SeenKeys | None = None,  # noqa: ARG002 - there are no other chunks
        **facts: Any,
    ) -> None:
        self._ranges = ranges
        self._chunk |= {**facts, "committed_at": timezone.now()}

    def tell(self, session: Session, **facts: Any) -> None:
        """Record the load, its chunk and the chunk's keys at the end of the transaction."""
        if not self._is_recorded:
            return
        for name, fact in facts.items():
            setattr(self.load, name, fact)
        sql, parameters = self._statement()
        self._written = session.fetch_later(sql, *parameters)
        if session.is_callers and self._chunk and self._is_heap:
            # A savepoint has its own transaction id, which shows only once a row is written.
            chunk = table_of("Chunk")
            session.fetch_later(_OWN_TRANSACTION.format(chunk=chunk), chunk)
        if not session.is_callers:
            self._number()

    def _number(self) -> None:
        if self._written is not None:
            [(self.load.pk, _)] = self._written()
            self.load._state.adding, self.load._state.db = False, self._alias

    def note(self, **facts: Any) -> None:
        """Record a load that failed, unless its COMMIT succeeded and only the answer was lost."""
        if not self._is_recorded:
            return
        if self._is_noted:
            super().note(**facts)
            return
        self._is_noted = True
        for name, fact in {**facts, "seen_at": timezone.now()}.items():
            setattr(self.load, name, fact)
        connection = DjangoConnection(self._alias)
        if not self._ledger:
            self._ledger = qualified_names(connection.fetch(LEDGER_TABLES, ledger_names()))
        if len(self._ledger) < len(MODELS):
            return
        # With the number that a successful COMMIT has given it. The insert waits for a COMMIT that
        # is still in flight, and does nothing if that succeeds.
        self.load.pk = (
            insert(connection, self.load, self._alias, self._table("Load"), is_ignored=True)
            or self.load.pk
        )
        self.load._state.adding, self.load._state.db = False, self._alias

    def show_progress(self, **facts: Any) -> bool:  # noqa: ARG002
        return False

    def status(self) -> str | None:
        return super().status() if self._is_recorded and self.load.pk else None

    def read(self) -> Load:
        self._number()
        return self.load

    def _statement(self) -> tuple[str, list[Any]]:
        """Return the statement that writes the load, its chunk and the chunk's keys."""
        parameters: list[Any] = []

        def values(row: models.Model, left_out: set[str]) -> tuple[str, str]:
            fields = [f for f in row._meta.concrete_fields if f.attname not in left_out]
            casts = [given(len(parameters) + at, f, self._alias) for at, f in enumerate(fields, 1)]
            parameters.extend(text_of(getattr(row, field.attname)) for field in fields)
            return ", ".join(quote_name(str(f.column)) for f in fields), ", ".join(casts)

        names, casts = values(self.load, {"id"})
        load = f"INSERT INTO {table_of('Load')} ({names}) VALUES ({casts}) RETURNING id"
        if not self._chunk:
            return f"WITH new_load AS ({load}) SELECT id, 0::bigint FROM new_load", parameters
        chunk = model_of("Chunk")(**self._chunk)
        left_out = {"id", "load_id"}
        extra_names = extra = ""
        if self._is_heap:
            left_out |= {"transactions", "table_identity"}
            cluster = f"({CLUSTER})" if self._may_identify else "''"
            identity = f"/{self._database}/{self._table_oid}"
            parameters.append(identity)
            extra_names = ", transactions, table_identity"
            extra = (
                f", {_TRANSACTIONS}, {cluster} OPERATOR(pg_catalog.||) "
                f"${len(parameters)}::pg_catalog.text"
            )
        names, casts = values(chunk, left_out)
        first, last = zip(*self._ranges, strict=True) if self._ranges else ((), ())
        parameters += [list(map(str, first)), list(map(str, last)), self._lists]
        at = len(parameters)
        sql = (
            f"WITH new_load AS ({load}), new_chunk AS ("
            f"INSERT INTO {table_of('Chunk')} (load_id, {names}{extra_names}) "
            f"SELECT new_load.id, {casts}{extra} FROM new_load RETURNING id), new_ranges AS ("
            f"INSERT INTO {table_of('KeyRange')} (chunk_id, first, last) "
            "SELECT new_chunk.id, given.* FROM new_chunk CROSS JOIN ROWS FROM ("
            f"pg_catalog.unnest(${at - 2}::pg_catalog.text[]::bigint[]), "
            f"pg_catalog.unnest(${at - 1}::pg_catalog.text[]::bigint[])) AS given), new_lists AS ("
            f"INSERT INTO {table_of('KeyList')} (chunk_id, keys) "
            "SELECT new_chunk.id, given.keys::pg_catalog.jsonb FROM new_chunk "
            f"CROSS JOIN pg_catalog.unnest(${at}::pg_catalog.text[]) AS given (keys)) "
            "SELECT new_load.id, new_chunk.id FROM new_load CROSS JOIN new_chunk"
        )
        return sql, parameters


_ID = "pg_catalog.pg_current_xact_id()::pg_catalog.text::pg_catalog.int8"
_TRANSACTIONS = (
    "pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array("
    f"pg_catalog.to_jsonb({_ID}), pg_catalog.to_jsonb({_ID})))"
)
_EPOCH = "4294967296::bigint"
_OWN_TRANSACTION = f"""
UPDATE {{chunk}} c SET transactions = pg_catalog.jsonb_build_array(
  pg_catalog.jsonb_build_array(pg_catalog.to_jsonb(own.id), pg_catalog.to_jsonb(own.id)))
FROM (
  SELECT m.id AS chunk, t.id OPERATOR(pg_catalog.+) ((
    (m.xmin::pg_catalog.text::pg_catalog.int8 OPERATOR(pg_catalog.-) t.id)
    OPERATOR(pg_catalog.%) {_EPOCH} OPERATOR(pg_catalog.+) {_EPOCH}) OPERATOR(pg_catalog.%) {_EPOCH}
  ) AS id
  FROM {{chunk}} m CROSS JOIN (SELECT {_ID} AS id) t
  WHERE m.id OPERATOR(pg_catalog.=) pg_catalog.currval(
    pg_catalog.pg_get_serial_sequence($1::pg_catalog.text, 'id')::pg_catalog.regclass)
) own
WHERE c.id OPERATOR(pg_catalog.=) own.chunk
"""
"""Replaces the transaction's id with the savepoint's, in 64 bits, which is later."""
_LOOK = f"""
SELECT pg_catalog.row_to_json(facts)::pg_catalog.text FROM (
  SELECT i.database, i.is_heap, ({MAY_IDENTIFY}) AS may_identify,
         current_user::pg_catalog.text AS role,
         (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
            l.name, l.schema, l.relation, pg_catalog.to_json(l.columns)))
          FROM ({LEDGER_TABLES.replace("$1", "$4")}) l (name, schema, relation, columns)) AS ledger
  FROM ({IDENTITY.format(table="r.oid::pg_catalog.oid")}) i (database, is_heap)
) facts
"""
"""What the ledger needs to know, besides the table's description ``r``."""

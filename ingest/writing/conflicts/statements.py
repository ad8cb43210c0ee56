"""Write the statement by which the server handles the rows of one batch; see ``Settling``.

It is a single DO, so that a batch takes few round trips. It uses these tables:

- the stage has the batch's rows as they were sent, each with its record's number as its place;
- ``work`` has the rows that are being handled, with the matching row of the table and the outcome
  (see ``plan``);
- ``seen`` has the keys of the load's rows, each with the record that holds it now;
- ``repeated`` has the rows of the batch that wait for another row with the same key;
- ``todo`` has the places of the rows of the next round, and of those that are tried one by one;
  of rows whose key was held by a record that was refused, also the place of that record, and when
  it is their turn;
- ``refused`` has the rows that were refused, with PostgreSQL's messages;
- ``fresh`` has the keys of the inserted rows;
- ``noted`` has rows of ``seen`` as text, for the ledger, if a load is committed in chunks.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.postgres.errors import OF_STATEMENT, SERVERS_OWN, state_patterns
from ingest.postgres.quoting import quote_name, quote_text
from ingest.writing.conflicts.block import SETTLE
from ingest.writing.conflicts.changing import Changing
from ingest.writing.conflicts.duplicates import Duplicates
from ingest.writing.conflicts.meeting import Meeting
from ingest.writing.conflicts.old_values import exactly_in_block
from ingest.writing.conflicts.plan import (
    IGNORED,
    INSERT,
    LACKING_STATE,
    MISSING_STATE,
    SETTLED,
    UNCHANGED,
    UPDATE,
    equals,
)
from ingest.writing.conflicts.references import BRING_BACK_TRIGGERS
from ingest.writing.conflicts.suspects import find_suspects
from ingest.writing.row_by_row import KEPT_OUT_STATE, begin_outer, end_outer

if TYPE_CHECKING:
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.old_values import OldValues

ROUNDS = 10
"""How often a row is looked up again because other transactions insert and delete it. After that,
a trigger or row security must be keeping it out."""
PIECE_ROWS = 4_096
"""The most rows to try at a time after a whole batch was refused."""


class Settling(Meeting, Changing, Duplicates):
    """Writes the statements for one load."""

    # Making the tables

    def create(self, session: Session, *, keeps_seen: bool, makes_seen: bool) -> None:
        """Create the temporary tables; with ``keeps_seen``, the keys outlive the transaction."""
        tables, own, stage = self.tables, self.own, self._stage
        place = stage.place
        keys = ", ".join(
            f"({item}) AS {name}"
            for item, name in zip(self._key.expressions, self._keys, strict=True)
        )
        columns = ", ".join(map(quote_name, self._names))
        key_type = quote_name(self._returned) if self._returned else "0"
        made = (
            f"CREATE TEMPORARY TABLE {_bare(tables.work)} ON COMMIT DROP AS SELECT {columns}, "
            f"{place}, {', '.join(self._keys)}, NULL::pg_catalog.tid AS {own}tid, "
            f"NULL::pg_catalog.xid AS {own}xmin, ''::pg_catalog.text AS {own}final, "
            f"''::pg_catalog.text AS {own}what, ''::pg_catalog.text AS {own}earlier"
            f"{self._originals(self._base, 's', ', ')} "
            f"FROM (SELECT *, {keys} FROM {stage.name}) s WITH NO DATA; "
            f"CREATE TEMPORARY TABLE {_bare(tables.fresh)} ON COMMIT DROP AS "
            f"SELECT {key_type} AS key FROM {self._table.qualified_name} WITH NO DATA; "
        )
        made += _CREATE.format(**{name: _bare(table) for name, table in vars(tables).items()})
        if keeps_seen:
            made += f"; {_CREATE_NOTED.format(noted=_bare(tables.noted))}"
        if not makes_seen:
            session.execute(made)
            return
        lasts = "PRESERVE ROWS" if keeps_seen else "DROP"
        nulls = " NULLS NOT DISTINCT" if self._key.nulls_are_equal else ""
        session.execute(
            f"{made}; CREATE TEMPORARY TABLE {_bare(tables.seen)} ON COMMIT {lasts} AS "
            f"SELECT {', '.join(self._keys)}, 0::bigint AS {own}seen_file, "
            f"0::bigint AS {own}seen_place, ''::pg_catalog.text AS {own}what"
            f"{self._originals(self._base, 's', ', ')} "
            f"FROM (SELECT *, {keys} FROM {stage.name}) s WITH NO DATA; "
            f"CREATE UNIQUE INDEX ON {tables.seen} ({', '.join(self._keys)}){nulls}"
        )

    @property
    def emptying(self) -> str:
        """The statements that empty the tables of one batch, outside savepoints."""
        tables = self.tables
        names = (tables.work, tables.repeated, tables.todo, tables.refused, tables.fresh)
        return f"TRUNCATE {', '.join(names)}"

    @property
    def index_columns(self) -> str:
        """The columns of the unique index of ``seen``."""
        return ", ".join(self._keys)

    @property
    def noting(self) -> str:
        """The statement that notes the keys of a batch for the ledger, after it was written."""
        own, tables = self.own, self.tables
        return (
            f"INSERT INTO {tables.noted} (row) SELECT (e)::pg_catalog.text "
            f"FROM {self._keyed} s, {tables.seen} e WHERE {self._is_keyed('s')} "
            f"AND {self._same_key('e', 's')} AND e.{own}seen_place OPERATOR(pg_catalog.=) "
            f"s.{self._stage.place} AND e.{own}seen_file OPERATOR(pg_catalog.=) "
            "pg_catalog.current_setting('ingest.file')::bigint"
        )

    # The statement

    def statement(self, old_values: OldValues | None) -> str:
        """Return the statement that handles the rows of the stage."""
        own, tables, place = self.own, self.tables, self._stage.place
        keep = ""
        if old_values is not None and self.set_columns:
            row, work, where = self._updated()
            rows = f"{self._table.qualified_name} {row}, {work} WHERE {where}"
            if not self.has_row_ids:
                # With row ids, the ctid shows the UPDATE that a row was changed since then.
                rows += f" FOR NO KEY UPDATE OF {row}"
            key = None
            if self._tracks_outcomes and old_values.key in self.set_columns:
                key = f"{own}w.{quote_name(old_values.key)}"
            elif old_values.key in self._changes.columns:
                key = self._changes.value(old_values.key, row, f"{own}w")
            keep = exactly_in_block(old_values.keep_updated(row, rows, key))
        update = self._update()
        meet = self._meet_last if self._tracks_outcomes else self._meet
        parts = {
            "own": own,
            "place": place,
            "stage": self._stage.name,
            **dataclasses.asdict(tables),
            "meet_all": meet(only_todo=False),
            "meet_todo": meet(only_todo=True),
            "lock": self._lock(),
            "keep": keep,
            "update": update,
            "insert": self._insert(),
            "insert_whole": self._insert_whole(),
            "leave_out_triggers": self._leave_out_triggers(),
            "bring_back_triggers": BRING_BACK_TRIGGERS if self.references else "",
            "fire_deferred": self.firing,
            "find_suspects": find_suspects(
                self._table,
                self._names,
                key=self._key.name,
                work=tables.work,
                own=own,
                place=place,
                suspects=tables.todo,
                servers_own=state_patterns(SERVERS_OWN),
            ),
            "first_duplicates": self._find_duplicates(),
            "later_duplicates": self._find_again(),
            "next_again": self._next_again(),
            "hold_key": self._hold_key(),
            "note_again": self._note_again(),
            "index_places": self._index_places(),
            "note_outcomes": self._note_outcomes(),
            "count_ignored": self._count_ignored(),
            "count_settled": self._count_settled(),
            "missing_state": MISSING_STATE,
            "lacking_state": LACKING_STATE,
            "kept_out_state": KEPT_OUT_STATE,
            "begin_outer": begin_outer(self._table),
            "end_outer": end_outer(self._table),
            "after_refused": _END.format(own=own) if self._ends_at_first else "",
            "servers_own": state_patterns(SERVERS_OWN),
            "of_statement": state_patterns(OF_STATEMENT),
            "probe": self._probe(),
            "forget_refused": self._forget_refused(),
            "piece": PIECE_ROWS,
            "rounds": ROUNDS,
        }
        return f"DO {quote_text(SETTLE.format(**parts))}"

    def _index_places(self) -> str:
        """Return the SQL that creates the indexes for trying single rows, when first needed."""
        work, todo, place = self.tables.work, self.tables.todo, self._stage.place
        return f"""IF pg_catalog.to_regclass('{work}_place') IS NULL THEN
        CREATE INDEX {_bare(work)}_place ON {work} ({place});
        CREATE INDEX ON {todo} (place);
        CREATE INDEX ON {todo} (of_place);
        CREATE INDEX ON {todo} (turn);
      END IF;"""

    def _count_settled(self) -> str:
        """Return the SQL that adds up the outcomes of the rows of ``work``."""
        own = self.own
        what = f"w.{own}{'final' if self._tracks_outcomes else 'what'}"
        outcomes = {
            "inserted": INSERT,
            "updated": UPDATE,
            "unchanged": UNCHANGED,
            "ignored": IGNORED,
        }
        counts = "".join(
            f"""{own}{name} OPERATOR(pg_catalog.+)
             pg_catalog.count(*) FILTER (WHERE {equals("f.what", outcome)})
             OPERATOR(pg_catalog.-)
             pg_catalog.count(*) FILTER (WHERE {equals("f.earlier", outcome)}),
           """
            for name, outcome in outcomes.items()
        )
        return f"""
    SELECT {counts}{own}skipped OPERATOR(pg_catalog.+)
             pg_catalog.count(*) FILTER (WHERE f.earlier OPERATOR(pg_catalog.<>) '')
    INTO {", ".join(f"{own}{name}" for name in outcomes)}, {own}skipped
    FROM (SELECT {what} AS what, w.{own}earlier AS earlier FROM {self.tables.work} w
          WHERE w.{own}what OPERATOR(pg_catalog.=) ANY ('{{{SETTLED}}}'::pg_catalog.text[])) f;"""


def _bare(name: str) -> str:
    return name.removeprefix("pg_temp.")


_END = "{own}is_over := true; {own}at := {own}final OPERATOR(pg_catalog.+) 1; EXIT;"
_CREATE = """
CREATE TEMPORARY TABLE {repeated} (place bigint, of_file bigint, of_place bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE {todo} (place bigint, of_place bigint, turn bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE {refused} (
  place bigint, state pg_catalog.text, message pg_catalog.text, detail pg_catalog.text,
  constraint_name pg_catalog.text, column_name pg_catalog.text
) ON COMMIT DROP;
CREATE TEMPORARY TABLE {marks} () ON COMMIT DROP
"""
_CREATE_NOTED = """
CREATE TEMPORARY TABLE {noted} (
  place bigint GENERATED ALWAYS AS IDENTITY, row pg_catalog.text
) ON COMMIT DROP
"""

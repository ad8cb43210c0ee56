"""A file for a table that has half of its keys: what each mode of ``on_conflict`` makes of it."""

import collections
import csv
import dataclasses
import io
import json
from contextlib import closing

from django.apps import apps

from ingest.exceptions import LedgerError
from ingest.ledger.undo import undo
from tests.chaos.scenario import (
    EARLIER,
    ESCAPED_TEXTS,
    HEADER,
    PLAIN_TEXTS,
    Findings,
    Ground,
    clear,
    examine_rejects,
    left_over,
)

MODES = ("ignore", "update", "upsert", "upsert keep-old", "sync", "sync keep-old")
ONLY_IN_TABLE = 40
"""Rows that the file does not have: a sync deletes them."""
COUNTS = ("inserted", "updated", "unchanged", "ignored", "rejected", "skipped", "deleted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SecondFile(Ground):
    """``good`` has the account, the amount and the description of each reference."""

    mode: str
    keeps_old: bool
    duplicates: str
    before: dict[str, tuple[int, int, str]]
    """The rows that the table has before."""
    counts: dict[str, int]
    repeated: collections.Counter
    """How often a key comes again."""
    is_watched: bool
    """Whether a trigger notes each row that is written: without one the load may go another way."""

    def arguments(self, *more):
        conflict = ("--on-conflict", self.mode, "--duplicates", self.duplicates)
        conflict += ("--keep-old",) if self.keeps_old else ()
        if self.mode != "sync":
            return super().arguments(*conflict, *more)
        return (
            *("finance.Transaction", self.path),
            *(("--escape", "\\") if self.has_escapes else ()),
            *conflict,
            *("--scope", "all", "--max-deletes", "100%"),
            *(item for item in more if item != "--overwrite"),  # nothing is refused
        )

    def set_up(self, server):
        clear(server)
        rows = [(name, *row) for name, row in self.before.items() if name[0] != "E"]
        with closing(server.connect()) as session:
            session.execute(_TABLES)
            session.execute(_ROWS, [json.dumps(rows)])
            session.execute(_BEFORE)
            if self.is_watched:
                session.execute(_WATCH)

    def examine(self, server, alias, catalog):
        found = Findings()
        events = collections.Counter(server.ask(_EVENTS))
        server.ask("DROP TRIGGER IF EXISTS noted ON public.finance_transaction")
        counted = collections.Counter(server.ask(_CONTENT))
        want = collections.Counter((name, *values) for name, values in self.good.items())
        found.lost, found.twice = (want - counted).total(), (counted - want).total()
        inserted, updated, deleted = self._events()
        if self.is_watched:
            most = inserted + updated + deleted
            if self.duplicates == "last":  # in another batch it is written again
                most += collections.Counter(
                    {("UPDATE", name): times for name, times in self.repeated.items()}
                )
            found.twice += (events - most).total()
            found.want("rows written too often", dict(events - most), {})
            found.want("rows not written", dict((inserted + deleted + updated) - events), {})
        written = [name for _, name in updated + deleted]
        found.want("rows written that do not change", server.ask(_MOVED.format(written)), [])
        found.want("rows with another key", server.ask(_OTHER_KEY), [])
        found.want("catalog", server.catalog(), catalog)
        found.want("locks and transactions left over", left_over(server), 0)
        self._examine_ledger(found, server, alias)
        if self.mode != "sync":
            examine_rejects(found, self, server)
        self._undo(found, server, alias)
        return found

    def _events(self):
        """Return what must be written: once, but for keys that come again."""
        before, after = self.before, self.good
        both = after.keys() & before.keys()
        return (
            collections.Counter(("INSERT", name) for name in after.keys() - before.keys()),
            collections.Counter(("UPDATE", name) for name in both if after[name] != before[name]),
            collections.Counter(("DELETE", name) for name in before.keys() - after.keys()),
        )

    def _examine_ledger(self, found, server, alias):
        loads = list(apps.get_model("ingest", "Load").objects.using(alias).order_by("pk"))
        found.want("loads with chunks", sum(load.chunks.exists() for load in loads), 1)
        load = loads[-1]
        found.want("status", load.status, "loaded")
        found.want("counts", {name: getattr(load, name) for name in COUNTS}, self.counts)
        sums = sum(getattr(load, name) for name in COUNTS if name != "deleted")
        found.want("read", (load.read, sums), (self.records, self.records))
        chunks = list(load.chunks.order_by("ordinal"))
        ends = [(chunk.ordinal, chunk.first_record, chunk.last_record) for chunk in chunks]
        found.want("chunks", ends, self.chunks())
        sums = {name: sum(getattr(chunk, name) for chunk in chunks) for name in COUNTS}
        found.want("the chunks' sums", sums, self.counts)
        found.want("keys kept", server.ask("SELECT id FROM public.ingest_seenkeys"), [])

    def _undo(self, found, server, alias):
        load = apps.get_model("ingest", "Load").objects.using(alias).latest("pk")
        try:
            undo(load.pk, using=alias)
        except LedgerError as error:
            is_refused = self.counts["updated"] + self.counts["deleted"] and not self.keeps_old
            found.want("undo is refused", (bool(is_refused), str(error)), (True, str(error)))
        else:
            found.want("after the undo", server.ask(_UNLIKE_BEFORE), [])


def make_second_file(chance, folder, *, mode, records=1_000, chunk_rows=200, bad=20):
    """Write a file of which the table has about half, and say what must become of each record.

    The last word of ``mode`` may be ``keep-old``. A sync is one transaction, and refuses nothing.
    """
    mode, _, keeps = mode.partition(" ")
    is_sync = mode == "sync"
    plot = _Plot(chance, mode, chance.choice(["first", "last", *([] if is_sync else ["reject"])]))
    numbers = range(1, records + 1)
    odd_ones = set(chance.sample(numbers[10:], bad))
    kinds = ["duplicate"] if is_sync else ["value", "parse", "reference", "duplicate"]
    lines = [
        plot.line(number, chance.choice(kinds) if number in odd_ones else "") for number in numbers
    ]
    if not is_sync:
        plot.good = plot.before | plot.good
    plot.counts["rejected"] = len(plot.refused)
    plot.counts["deleted"] = len(plot.before.keys() - plot.good.keys())
    path = folder / "rows.csv"
    path.write_text(HEADER + "".join(lines))
    for left in ("rejects.jsonl", "mend.csv"):
        (folder / left).unlink(missing_ok=True)
    return SecondFile(
        path=path,
        records=records,
        chunk_rows=None if is_sync else chunk_rows,
        good=plot.good,
        bad=plot.refused,
        aside=folder,
        has_escapes=plot.has_escapes,
        mode=mode,
        keeps_old=bool(keeps),
        duplicates=plot.duplicates,
        before=plot.before,
        counts=dict(plot.counts),
        repeated=plot.repeated,
        is_watched=chance.random() < 0.7,
    )


class _Plot:
    """What is in the table and in the file, and what comes of both."""

    def __init__(self, chance, mode, duplicates):
        self.chance, self.mode, self.duplicates = chance, mode, duplicates
        self.has_escapes = chance.random() < 0.5
        self.before = {f"E{number}": (1, 0, "") for number in range(1, EARLIER + 1)}
        self.before |= {f"D{number}": (1, 0, "") for number in range(ONLY_IN_TABLE)}
        self.good = {}
        self.counts = collections.Counter(dict.fromkeys(COUNTS, 0))
        self.repeated = collections.Counter()
        self.refused = []
        self._repeatable = []

    def line(self, number, fault):
        """Return a record as the file has it."""
        text = self.chance.choice(ESCAPED_TEXTS if self.has_escapes else PLAIN_TEXTS)
        row = (1 + number % 3, number, _value(text, "\\" if self.has_escapes else None))
        name, (account, amount, _), end = f"R{number}", row, ""
        is_there = number % 2 == 0 or (self.mode == "update" and number % 10 != 1)
        if is_there:
            self.before[name] = row if number % 4 == 0 else (account, -number, row[2])
        if fault == "duplicate":
            name, account = self.chance.choice(self._repeatable)
            self._repeat(name, (account, *row[1:]))
        elif fault or (self.mode == "update" and not is_there):
            self.refused.append(number)
            amount = "x" if fault == "value" else amount
            end = ",," if fault == "parse" else end
            account = 999 if fault == "reference" else account
        else:
            self._settle(name, row)
        return f"1,{account},{amount},2025-01-01,{name},{text}{end}\n"

    def _repeat(self, name, row):
        self.repeated[name] += 1
        if self.duplicates == "reject":
            self.refused.append(row[1])
            return
        self.counts["skipped"] += 1
        is_kept = self.mode == "ignore" and name in self.before
        if self.duplicates == "last" and not is_kept:
            self.good[name] = row

    def _settle(self, name, row):
        was = self.before.get(name)
        fate = "inserted" if was is None else "unchanged" if was == row else "updated"
        if was is not None and self.mode == "ignore":
            fate = "ignored"
        self.counts[fate] += 1
        self.good[name] = was if fate == "ignored" else row
        if was != row:  # with ``last``, a row that comes to be as it was would be written twice
            self._repeatable.append((name, row[0]))


def _value(text, escape):
    """Return what a cell means."""
    return next(csv.reader(io.StringIO(f"1,{text}\n"), escapechar=escape))[1]


_TABLES = """
DROP TRIGGER IF EXISTS noted ON public.finance_transaction;
DROP TRIGGER IF EXISTS waits ON public.finance_transaction;
DROP SCHEMA IF EXISTS chaos CASCADE;
CREATE SCHEMA chaos;
CREATE TABLE chaos.event (kind text, reference text);
CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO chaos.event VALUES (TG_OP, coalesce(NEW.reference, OLD.reference));
  RETURN NULL;
END $$;
CREATE FUNCTION chaos.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(42);
  RETURN OLD;
END $$;
"""
_ROWS = """
INSERT INTO public.finance_transaction
  (user_id, account_id, amount, description, tx_date, reference, created_at)
SELECT 1, (r->>1)::int, (r->>2)::int, r->>3, '2025-01-01', r->>0, now()
FROM jsonb_array_elements(%s::jsonb) r
"""
_BEFORE = """
CREATE TABLE chaos.before AS SELECT ctid AS place, * FROM public.finance_transaction
"""
_WATCH = """
CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON public.finance_transaction
FOR EACH ROW EXECUTE FUNCTION chaos.note()
"""
_EVENTS = "SELECT kind, reference FROM chaos.event"
_CONTENT = """
SELECT reference, account_id, amount::int8, description FROM public.finance_transaction
"""
_MOVED = """
SELECT t.reference FROM public.finance_transaction t JOIN chaos.before b USING (id)
WHERE t.ctid <> b.place AND t.reference <> ALL (ARRAY{}::text[])
"""
_OTHER_KEY = """
SELECT t.reference FROM public.finance_transaction t JOIN chaos.before b USING (reference)
WHERE (t.id, t.created_at, t.account_id) <> (b.id, b.created_at, b.account_id)
"""
_UNLIKE_BEFORE = """
WITH now AS (TABLE public.finance_transaction),
  before AS (SELECT to_jsonb(b) - 'place' AS row FROM chaos.before b)
SELECT 'gone', row->>'reference' FROM (TABLE before EXCEPT ALL SELECT to_jsonb(now) FROM now) lost
UNION ALL
SELECT 'new', row->>'reference'
FROM (SELECT to_jsonb(now) AS row FROM now EXCEPT ALL TABLE before) more
"""

"""A file with good and bad records, its table, and what must be in that at the end."""

import collections
import csv
import dataclasses
import io
import random
import time
from pathlib import Path

from django.apps import apps

HEADER = "user,account,amount,tx_date,reference,description\n"
MISS_SECONDS = 5
EARLIER = 3
"""Rows that the table has before the load."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ground:
    path: Path
    records: int
    chunk_rows: int | None
    good: dict[str, int]
    """What must be in the table: reference and amount."""
    bad: list[int]
    """The numbers of the records that must be refused."""
    aside: Path
    """The folder for the rejects."""
    has_log: bool = True
    has_escapes: bool = False
    """Whether quotes and line ends in cells are written behind a backslash."""
    names: tuple[Path, ...] = ()
    """The names by which the file is given, in turn: a link is the same file."""

    @property
    def log(self):
        return self.aside / "rejects.jsonl"

    @property
    def mend(self):
        return self.aside / "mend.csv"

    def without_log(self):
        return dataclasses.replace(self, has_log=False)

    def chunks(self):
        """Return each chunk's number, and its first and last record."""
        rows = self.chunk_rows or self.records
        firsts = range(1, self.records + 1, rows)
        return [
            (ordinal, first, min(first + rows - 1, self.records))
            for ordinal, first in enumerate(firsts, 1)
        ]

    def arguments(self, *more):
        """Return the command's arguments for the whole load."""
        return (
            *("finance.Transaction", random.choice(self.names or (self.path,))),
            *(("--escape", "\\") if self.has_escapes else ()),
            *(("--chunk-rows", self.chunk_rows) if self.chunk_rows else ()),
            *("--on-error", "reject", "--reject-file", self.mend),
            *(("--reject-log", self.log) if self.has_log else ()),
            *more,
        )

    def set_up(self, server):
        clear(server)

    def examine(self, server, alias, catalog):
        return examine(self, server, alias, catalog)


PLAIN_TEXTS = ["", "Bread", '"two\nlines"', '"a ""quote"" and, a comma"']
ESCAPED_TEXTS = ["", "Bread", '"two\\\nlines"', r'"a \"quote\" and, a comma"', "one\\\ntwo", r"\\"]


KINDS = ("value", "parse", "reference", "duplicate", "earlier")
"""Why a record is refused. Of two with one key the first is in, where there is an order."""


def make_ground(  # noqa: PLR0913 - the shape of a file
    chance, folder, *, records=2_000, chunk_rows=250, bad=20, name="rows.csv", kinds=KINDS
):
    """Write a file; some of its records have line ends in quotes, or behind an escape."""
    has_escapes = chance.random() < 0.5
    texts = ESCAPED_TEXTS if has_escapes else PLAIN_TEXTS
    refused = dict.fromkeys(
        sorted(chance.sample(range(2, records + 1), bad)),
    )
    good, lines, last = {}, [HEADER], "R1"
    for number in range(1, records + 1):
        reference, account, amount, end = f"R{number}", 1 + number % 3, number, ""
        if number in refused:
            fault = chance.choice(kinds)
            amount = "x" if fault == "value" else amount
            end = ",," if fault == "parse" else end
            account = 999 if fault == "reference" else account
            if fault == "duplicate":
                reference, account = last, 1 + int(last[1:]) % 3
            elif fault == "earlier":
                reference, account = "E1", 1
        else:
            good[reference] = number
            last = chance.choice([last, reference])
        text = chance.choice(texts)
        lines.append(f"1,{account},{amount},2025-01-01,{reference},{text}{end}\n")
    path = folder / name
    path.write_text("".join(lines))
    link = folder / f"link to {name}"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    for left in ("rejects.jsonl", "mend.csv"):
        (folder / left).unlink(missing_ok=True)
    return Ground(
        path=path,
        records=records,
        chunk_rows=chunk_rows,
        good=good,
        bad=list(refused),
        aside=folder,
        has_escapes=has_escapes,
        names=(path, link),
    )


def clear(server):
    """Empty the tables, but for what was there before the load."""
    server.ask(
        f"""
        SET search_path = public;
        TRUNCATE finance_transaction, ingest_load CASCADE;
        INSERT INTO finance_transaction
          (user_id, account_id, amount, description, tx_date, reference, created_at)
        SELECT 1, 1, 0, '', '2024-01-01', 'E' || n, now() FROM generate_series(1, {EARLIER}) n"""
    )


def fill(server):
    """Make the rows that the files refer to."""
    server.ask(
        """
        SET search_path = public;
        INSERT INTO auth_user (id, username, password, is_superuser, first_name, last_name, email,
          is_staff, is_active, date_joined)
        VALUES (1, 'u', '', false, '', '', '', false, true, now());
        INSERT INTO finance_account (id, user_id, number, name, currency)
        SELECT n, 1, 'A' || n, 'x', 'EUR' FROM generate_series(1, 3) n"""
    )


@dataclasses.dataclass
class Findings:
    """What is wrong after a load has come to its end."""

    lost: int = 0
    twice: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)

    def want(self, what, got, want):
        if got != want:
            self.problems.append(f"{what}: {_short(got)} instead of {_short(want)}")


def examine(ground, server, alias, catalog):
    """Compare the table, the ledger, the rejects and the catalog with what they must be."""
    found = Findings()
    rows = server.ask(
        "SELECT reference, amount::int8, id FROM public.finance_transaction ORDER BY id"
    )
    mine = [(reference, amount) for reference, amount, _ in rows if reference[0] == "R"]
    counted, want = collections.Counter(mine), collections.Counter(ground.good.items())
    found.lost = (want - counted).total()
    found.twice = (counted - want).total()
    found.want("rows of others", len(rows) - len(mine), EARLIER)
    found.want("catalog", server.catalog(), catalog)
    found.want("locks and transactions left over", left_over(server), 0)
    _examine_ledger(found, ground, server, alias, {key for name, _, key in rows if name[0] == "R"})
    examine_rejects(found, ground, server)
    return found


def _examine_ledger(found, ground, server, alias, keys):
    load_model = apps.get_model("ingest", "Load")
    loads = list(load_model.objects.using(alias).order_by("pk"))
    found.want("loads with chunks", sum(load.chunks.exists() for load in loads), 1)
    load = loads[-1]
    found.want("status", load.status, "loaded")
    found.want("ended", load.ended_at is not None, True)
    counts = {
        "read": ground.records,
        "loaded": len(ground.good),
        "rejected": len(ground.bad),
        "skipped": 0,
    }
    found.want("counts", {name: getattr(load, name) for name in counts}, counts)
    chunks = list(load.chunks.order_by("ordinal"))
    ends = [(chunk.ordinal, chunk.first_record, chunk.last_record) for chunk in chunks]
    found.want("chunks", ends, ground.chunks())
    sums = [sum(getattr(chunk, name) for chunk in chunks) for name in ("inserted", "rejected")]
    found.want("the chunks' sums", sums, [len(ground.good), len(ground.bad)])
    found.want("Load.rows()", set(load.rows().values_list("pk", flat=True)) == keys, True)


def examine_rejects(found, ground, server):
    in_table = server.ask("SELECT record FROM public.ingest_reject ORDER BY id")
    found.want("rejects in the table", [record for (record,) in in_table], ground.bad)
    if ground.has_log:
        lines = ground.log.read_text().splitlines()
        in_log = [int(line.partition('"record": ')[2].partition(",")[0] or 0) for line in lines]
        found.want("rejects in the log", in_log, ground.bad)
    escape = "\\" if ground.has_escapes else None
    mended = list(csv.reader(io.StringIO(ground.mend.read_text()), escapechar=escape))
    found.want("rejects in the file", len(mended) - 1, len(ground.bad))


def left_over(server):
    """Count what is still there when PostgreSQL has had the time to miss a killed client."""
    deadline = time.monotonic() + MISS_SECONDS
    while True:
        [(count,)] = server.ask(_LEFT_OVER)
        if not count or time.monotonic() > deadline:
            return count
        time.sleep(0.02)


def _short(value):
    shown = repr(value)
    return shown if len(shown) < 300 else f"{shown[:300]}…"


_LEFT_OVER = """
SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
     + (SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'
        OR (backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()))
"""

"""The progress of a load: rows that PostgreSQL has accepted, and the bytes that these come from."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import random
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from django.core.management import call_command
from django.db import connection

from finance.models import Account
from ingest import load, resume
from ingest.management.display import ProgressDisplay
from ingest.models import Load
from tests.factories import UserFactory
from tests.sources.read_source import Pipe
from tests.sources.workbooks import fill

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ["user", "number", "name"]
COUNT = 3_000
BATCH_ROWS = 500
SLACK = {"gz": 0.2, "bz2": 1}
"""By how much a share of a file may be off, by its suffix: gzip reads 8 KB ahead, which is much of
this small file, and bzip2 packs it as one block."""


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    for name in ("text.CHUNK_BYTES", "delimited.BLOCK_BYTES", "json_lines.BLOCK_BYTES"):
        monkeypatch.setattr(f"ingest.sources.{name}", 20_000, raising=False)
    for name in ("parquet", "workbook", "records", "arrow"):
        monkeypatch.setattr(f"ingest.sources.{name}.BATCH_ROWS", BATCH_ROWS)


@pytest.fixture
def accepted(db):
    """Count the rows that the server has taken: a sequence is not rolled back, and all see it."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE accepted_rows")
        cursor.execute(
            "CREATE FUNCTION accept_slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF pg_catalog.nextval('public.accepted_rows') % 100 = 0 THEN"
            " PERFORM pg_catalog.pg_sleep(0.002); END IF; RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER accept_slowly BEFORE INSERT ON finance_account"
            " FOR EACH ROW EXECUTE FUNCTION accept_slowly()"
        )

    def count():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM accepted_rows"
            )
            return cursor.fetchone()[0]

    yield count
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER accept_slowly ON finance_account")
        cursor.execute("DROP FUNCTION accept_slowly()")
        cursor.execute("DROP SEQUENCE accepted_rows")


@pytest.fixture
def rows(db):
    user, rng = UserFactory(), random.Random(15)
    return [(user.pk, f"N{number:08}", f"{rng.getrandbits(80):020x}") for number in range(COUNT)]


def csv_of(rows):
    lines = [",".join(NAMES), *(",".join(map(str, row)) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def jsonl_of(rows):
    return b"".join(json.dumps(dict(zip(NAMES, row, strict=True))).encode() + b"\n" for row in rows)


def zipped(rows):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", csv_of(rows))
    return content.getvalue()


def parquet_of(rows):
    content = io.BytesIO()
    columns = [list(column) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(columns, names=NAMES), content, row_group_size=700)
    return content.getvalue()


def workbook_of(rows):
    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        fill(book, book.add_worksheet(), [NAMES, *rows])
    return content.getvalue()


FILES = {
    "rows.csv": csv_of,
    "rows.utf16.csv": lambda rows: csv_of(rows).decode().encode("utf-16"),
    "rows.csv.gz": lambda rows: gzip.compress(csv_of(rows)),
    "rows.csv.bz2": lambda rows: bz2.compress(csv_of(rows)),
    "rows.jsonl": jsonl_of,
    "rows.json": lambda rows: b"[" + b",".join(jsonl_of(rows).splitlines()) + b"]",
    "rows.zip": zipped,
    "rows.parquet": parquet_of,
    "rows.xlsx": workbook_of,
}


def watched(accepted, source, **options):
    """Load a source and return what was told, each with what the server had taken by then."""
    told = []

    def watch(progress):
        told.append((progress.rows, progress.counts.inserted, accepted(), progress.bytes_read))
        totals.add(progress.bytes_total)

    totals = set()
    load(Account, source, progress=watch, **options)
    assert len(totals) == 1
    return told, totals.pop()


def slack_of(name):
    return SLACK.get(name.rpartition(".")[2], 0.1)


def check(told, total, slack=0.1):
    assert len(told) > 2
    for count, inserted, taken, read in told:
        assert count == inserted <= taken
        assert read / total == pytest.approx(count / COUNT, abs=slack)
    assert [read for *_, read in told] == sorted(read for *_, read in told)
    assert (told[-1][0], told[-1][-1]) == (COUNT, total)


@pytest.mark.parametrize("name", FILES)
def test_the_rows_that_the_server_has_taken_and_their_bytes(accepted, rows, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name](rows))
    told, total = watched(accepted, path, encoding="utf-16" if "utf16" in name else "utf-8")
    # An archive counts what is in it.
    assert total == (len(csv_of(rows)) if name == "rows.zip" else path.stat().st_size)
    check(told, total, slack=slack_of(name))


def test_plain_text_to_the_byte(accepted, rows, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbf" + csv_of([(*row[:2], "é" * 15) for row in rows]))
    lines = path.read_bytes().splitlines(keepends=True)
    told, _ = watched(accepted, path)
    assert len(told) > 2
    for count, _, _, read in told:
        assert read == sum(map(len, lines[: count + 1]))


@pytest.mark.parametrize("is_long", [False, True])
def test_a_pipe(accepted, rows, is_long):
    content = csv_of(rows)
    told, total = watched(accepted, Pipe(content, None if is_long else 4_000))
    assert total is None
    check(told, len(content))


def test_several_files(accepted, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.sources.joining.FEW_RECORDS", 100)
    (tmp_path / "1.csv").write_bytes(csv_of(rows[:1_000]))
    (tmp_path / "2.zip").write_bytes(zipped(rows[1_000:2_000]))
    (tmp_path / "3.csv").write_bytes(csv_of(rows[2_000:]))
    told, total = watched(accepted, sorted(tmp_path.iterdir()))
    assert total == sum(path.stat().st_size for path in tmp_path.iterdir())
    check(told, total, slack=0.2)


def test_dicts_have_no_bytes(accepted, rows):
    told, total = watched(accepted, (dict(zip(NAMES, row, strict=True)) for row in rows))
    assert total is None
    assert [(count, read) for count, _, _, read in told] == [
        (count, 0) for count in range(BATCH_ROWS, COUNT + 1, BATCH_ROWS)
    ]


@pytest.mark.parametrize("options", [{"on_error": "reject"}, {"on_conflict": "upsert"}])
def test_refused_and_changed_records_count_when_they_are_settled(
    accepted, rows, tmp_path, monkeypatch, options
):
    monkeypatch.setattr("ingest.writing.conflicts.grouping.MOST_RECORDS", 100)
    if "on_error" in options:
        rows[5::10] = [(*row[:2], "") for row in rows[5::10]]  # a name is required
    else:
        options = {**options, "key": "number"}
    path = tmp_path / "rows.csv"
    path.write_bytes(csv_of(rows))
    told = []
    got = load(
        Account,
        path,
        progress=lambda it: told.append((it.counts, accepted(), it.bytes_read)),
        **options,
    )
    for counts, taken, read in told:
        assert counts.add_up
        assert counts.inserted <= taken
        assert read / path.stat().st_size == pytest.approx(counts.read / COUNT, abs=0.1)
    assert (got.read, got.inserted) == (COUNT, told[-1][0].inserted)


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet", "rows.xlsx"])
def test_a_resumed_load_counts_what_is_committed(accepted, rows, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name](rows))

    def stop(progress):
        if progress.rows > 1_500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Account, path, chunk_rows=1_000, resumable=True, progress=stop)
    stopped = Load.objects.get()
    assert stopped.read == 1_000
    assert stopped.bytes_read / stopped.bytes_total == pytest.approx(1 / 3, abs=slack_of(name))
    told = []
    resume(stopped.pk, progress=told.append)
    assert (told[0].rows, told[0].bytes_read) == (1_000, stopped.bytes_read)
    assert {progress.rows_before for progress in told} == {1_000}
    told = [(it.rows, it.counts.inserted, COUNT, it.bytes_read) for it in told]
    check(told, path.stat().st_size, slack=slack_of(name))
    stopped.refresh_from_db()
    assert (stopped.read, stopped.bytes_read) == (COUNT, stopped.bytes_total)


def test_the_ledger_and_the_command_tell_the_same(accepted, rows, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ingest.loading.progress.SECONDS_BETWEEN_NOTES", 0)
    path = tmp_path / "rows.csv"
    path.write_bytes(csv_of(rows))
    seen = []
    show = ProgressDisplay.__call__

    def look(display, progress):
        show(display, progress)
        running = Load.objects.get()  # what the admin shows, of the batch before
        seen.append((running.read, running.bytes_read, accepted()))

    monkeypatch.setattr(ProgressDisplay, "__call__", look)
    call_command("bulk_load", "finance.Account", str(path), "--progress", "json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["rows"], line["bytes_read"]) for line in lines if "rows" in line]
    assert [(read, size) for read, size, _ in seen[1:]] == told[:-1]
    assert all(count <= taken for (count, _), (_, _, taken) in zip(told, seen, strict=True))
    assert told[-1] == (COUNT, path.stat().st_size)

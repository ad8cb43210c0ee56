"""Records that repeat a key of the source: within a batch, across batches, chunks and resumes."""

import pytest
from django.db import connection

from finance.models import Account
from ingest import RecordsRefused, load, resume
from ingest.exceptions import ServerFailed
from ingest.ledger.models import SeenKeys
from tests.factories import AccountFactory
from tests.writing.conflicts.tables import ask, counts, run, upsert

RECORDS = [
    {"number": "b1", "note": "first"},
    {"number": "a1", "note": "first"},
    {"number": "b1", "note": "second"},
    {"number": "a1", "note": "one"},
    {"number": "b1", "note": "third"},
]
WANT = {
    "reject": ({"inserted": 1, "updated": 1, "rejected": 3}, "first", "first"),
    "first": ({"inserted": 1, "updated": 1, "skipped": 3}, "first", "first"),
    "last": ({"inserted": 1, "unchanged": 1, "skipped": 3}, "one", "third"),
}


def notes():
    return [note for (note,) in ask("SELECT note FROM item WHERE number <> 'a2' ORDER BY number")]


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("duplicates", WANT)
def test_duplicates_decides_which_record_of_a_key_counts(item, duplicates, rows, monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", rows)
    want, *left = WANT[duplicates]
    got = upsert(item, RECORDS, duplicates=duplicates, on_error="reject")
    assert got == want
    assert notes() == left


@pytest.mark.parametrize("duplicates", WANT)
def test_a_batch_of_many_records_is_settled_in_pieces(item, duplicates, monkeypatch):
    monkeypatch.setattr("ingest.writing.conflicts.grouping.MOST_RECORDS", 2)
    records = [*RECORDS[:4], {"number": None, "note": "none"}, RECORDS[4], {"note": "none"}]
    result = load(
        *(item, [(record.get("number"), record["note"]) for record in records]),
        columns=["number", "note"],
        on_conflict="upsert",
        on_error="reject",
        duplicates=duplicates,
        analyze=False,
    )
    want, *left = WANT[duplicates]
    assert counts(result) == {**want, "rejected": want.get("rejected", 0) + 2}
    refused = [reject.record for reject in result.rejects]
    assert refused == ([3, 4, 5, 6, 7] if duplicates == "reject" else [5, 7])
    assert notes() == left


def test_a_reject_names_the_earlier_record(item):
    result = load(item, RECORDS, on_conflict="upsert", on_error="reject")
    got = [(it.record, it.column, it.value, it.kind, it.constraint) for it in result.rejects]
    key = "item_number_key"
    assert got == [
        (3, "number", "b1", "duplicate", key),
        (4, "number", "a1", "duplicate", key),
        (5, "number", "b1", "duplicate", key),
    ]
    assert next(iter(result.rejects)).reason == (
        "Record 1 has the same key: take one of them out, or choose one with duplicates='first' or "
        "'last' (--duplicates)."
    )
    with pytest.raises(RecordsRefused, match=r"record 3.*'b1': Record 1 has the same key"):
        load(item, RECORDS, on_conflict="upsert")


def test_a_refused_record_is_no_duplicate(item):
    run("ALTER TABLE item ADD CONSTRAINT good CHECK (note <> 'bad')")
    records = [{"number": "c", "note": note} for note in ("bad", "bad", "good", "later")]
    assert upsert(item, records, on_error="reject") == {"inserted": 1, "rejected": 3}
    assert ask("SELECT note FROM item WHERE number = 'c'") == [("good",)]


MANY_REFUSED = [
    ("c", "bad"),
    ("a1", "bad"),
    ("c", "bad"),
    ("d", "fine"),
    ("a1", "one"),  # as it is
    ("d", "bad"),
    ("c", "good"),
    ("a1", "other"),
    ("e", "bad"),
    ("c", "bad"),
    ("a1", "bad"),
    ("e", "bad"),
    ("c", "last"),
    ("a2", "bad"),
    ("e", "bad"),
    ("d", "bad"),
]


@pytest.mark.parametrize("times_again", [0, 1, 8])
@pytest.mark.parametrize("on_conflict", ["upsert", "update", "ignore"])
@pytest.mark.parametrize("duplicates", ["reject", "first"])
def test_refused_records_of_a_key_do_not_depend_on_the_batch(
    item, on_conflict, duplicates, times_again, monkeypatch
):
    monkeypatch.setattr("ingest.writing.conflicts.duplicates.TIMES_AGAIN", times_again)
    run("ALTER TABLE item ADD CONSTRAINT good CHECK (note <> 'bad')")
    rows = [{"number": number, "note": note} for number, note in MANY_REFUSED]
    found = []
    for size in (1, 100):
        monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", size)
        options = {"on_conflict": on_conflict, "duplicates": duplicates, "on_error": "reject"}
        result = load(item, rows, analyze=False, **options)
        rejects = [
            (it.record, it.kind, it.reason if it.kind == "duplicate" else it.constraint)
            for it in result.rejects
        ]
        table = ask("SELECT number, note FROM item ORDER BY number")
        found.append((counts(result), rejects, table))
        run("DELETE FROM item WHERE number > 'b'; UPDATE item SET note = 'one' WHERE number = 'a1'")
    assert found[0] == found[1]
    assert found[0][0]["rejected"] > 0


LAST = {
    "upsert": ({"inserted": 2, "updated": 1, "rejected": 7, "skipped": 6}, [("c", "last")]),
    "update": ({"updated": 1, "rejected": 13, "skipped": 2}, []),
    "ignore": ({"inserted": 2, "ignored": 2, "rejected": 5, "skipped": 7}, [("c", "last")]),
}


@pytest.mark.parametrize("times_again", [0, 1, 8])
@pytest.mark.parametrize("on_conflict", LAST)
def test_the_last_record_that_is_not_refused_counts(item, on_conflict, times_again, monkeypatch):
    monkeypatch.setattr("ingest.writing.conflicts.duplicates.TIMES_AGAIN", times_again)
    run("ALTER TABLE item ADD CONSTRAINT good CHECK (note <> 'bad')")
    rows = [{"number": number, "note": note} for number, note in MANY_REFUSED]
    want, new = LAST[on_conflict]
    options = {"on_conflict": on_conflict, "duplicates": "last", "on_error": "reject"}
    assert upsert(item, rows, **options) == want
    assert ask("SELECT number, note FROM item WHERE number = 'c'") == new


@pytest.mark.parametrize("duplicates", WANT)
def test_many_refused_records_of_one_key_are_looked_at_a_few_times_each(item, duplicates):
    run("""
        ALTER TABLE item DROP CONSTRAINT item_number_key;
        CREATE SEQUENCE looks;
        CREATE FUNCTION look(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
        BEGIN PERFORM nextval('conflicts_test.looks'); RETURN $1; END $$;
        CREATE UNIQUE INDEX by_look ON item (look(number));
        ALTER TABLE item ADD CONSTRAINT good CHECK (note <> 'bad');
    """)

    def looks(records):
        rows = [{"number": "c", "note": "bad"}] * records
        [(before,)] = ask("SELECT last_value FROM looks")
        got = upsert(item, rows, key=["number"], duplicates=duplicates, on_error="reject")
        assert got == {"rejected": records}
        [(after,)] = ask("SELECT last_value FROM looks")
        return after - before

    assert looks(120) < 2.5 * looks(60)


def write(path, records):
    lines = [f"{record['number']},{record['note']}" for record in records]
    path.write_text("\n".join(["number,note", *lines]), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("duplicates", WANT)
def test_duplicates_in_other_chunks(item, duplicates, workers, tmp_path):
    path = write(tmp_path / "rows.csv", RECORDS)
    options = {"duplicates": duplicates, "on_error": "reject", "analyze": False}
    result = load(item, path, on_conflict="upsert", chunk_rows=1, workers=workers, **options)
    want, *left = WANT[duplicates]
    assert counts(result) == want
    assert notes() == left
    assert ("One worker, because" in " ".join(result.decisions)) == (workers > 1)
    assert not SeenKeys.objects.exists()


@pytest.mark.parametrize("chunk_rows", [1, 3])
@pytest.mark.parametrize("duplicates", WANT)
def test_duplicates_after_a_resume(duplicates, chunk_rows, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.sources.delimited.BLOCK_BYTES", 32)  # a chunk of 3 is some batches
    user = AccountFactory(number="a1", name="one").user_id
    records = [*RECORDS[:3], {"number": "x", "note": "x"}, *RECORDS[3:]]
    lines = [f"{record['number']},{record['note']},{user}" for record in records]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["number,name,user", *lines]), encoding="utf-8")
    with connection.cursor() as cursor:
        cursor.execute("""
            CREATE FUNCTION stop_here() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER stop_here BEFORE INSERT ON finance_account FOR EACH ROW
                WHEN (NEW.number = 'x') EXECUTE FUNCTION stop_here();
        """)
    options = {"duplicates": duplicates, "on_error": "reject", "analyze": False}
    try:
        with pytest.raises(ServerFailed, match="rows of earlier chunks are committed"):
            load(Account, path, on_conflict="upsert", chunk_rows=chunk_rows, **options)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION stop_here CASCADE")
    [number] = set(SeenKeys.objects.values_list("chunk__load", flat=True))
    got = counts(resume(number))
    want, *left = WANT[duplicates]
    assert got == {**want, "inserted": want["inserted"] + 1}
    names = dict(Account.objects.values_list("number", "name"))
    assert [names["a1"], names["b1"]] == left
    assert not SeenKeys.objects.exists()

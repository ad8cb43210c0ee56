"""Many small files, whose records go on together: each is still a record of its own file."""

import dataclasses
import json
from pathlib import Path

import pytest

from finance.models import Account, Transaction
from ingest import ConstraintRefused, RecordsRefused, SourceError, load
from ingest.ledger.models import Chunk, Load
from ingest.sources.joining import join_small
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.sources.joining.MOST_SECONDS", 60)  # on a slow machine, too
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def joined(monkeypatch):
    """Return how many files the batches are from that were joined."""
    found = []

    def watch(batches):
        for batch in join_small(batches):
            found.append(1 if batch.files is None else len(batch.files))
            yield batch

    monkeypatch.setattr("ingest.loading.pipeline.join_small", watch)
    return found


def write(number, user, *lines, columns="user,number,name"):
    path = Path(f"{number}.csv")
    path.write_text(f"{columns}\n" + "".join(line.format(user=user.pk) + "\n" for line in lines))


def write_accounts(user):
    write(1, user, "{user},A,x", "{user},B", "{user},C,y")
    write(2, user, "name,{user},D", ",{user},E", columns="name,user,number")
    write(3, user, "{user}," + 40 * "F" + ",z", "", "9999999,G,z", "{user},A,again")
    write(4, user)
    write(5, user, "{user},H,x", "x,I,y", "{user},C,again,and,more")


def summary(reject, *, reason=True):
    """Return a reject without what depends on the load: which of its records had a key before."""
    told = dataclasses.replace(reject, reason=reject.reason if reason else "")
    return dataclasses.replace(told, reason="") if told.kind == "duplicate" else told


def test_the_rejects_are_those_of_each_file_alone(folder, user, joined):
    write_accounts(user)
    want, written = [], []
    for path in sorted(folder.glob("*.csv")):
        got = load(Account, path.name, on_error="reject", reject_file="one.txt", overwrite=True)
        want += map(summary, got.rejects)
        written += Path("one.txt").read_text().splitlines()[1:] if got.rejected else []
    accounts = set(Account.objects.values_list("user", "number", "name"))
    Account.objects.all().delete()
    del joined[:]

    got = load(
        *(Account, "*.csv"),
        on_error="reject",
        reject_file="all.txt",
        reject_log="log.jsonl",
    )
    assert joined == [5]
    assert [summary(reject) for reject in got.rejects] == want
    places = [("1.csv", 2, 3), ("2.csv", 2, 3), ("3.csv", 1, 2), ("3.csv", 2, 4)]
    places += [("3.csv", 3, 5), ("5.csv", 2, 3), ("5.csv", 3, 4)]
    assert [(item.source, item.record, item.line) for item in got.rejects] == places
    assert (got.read, got.rows, got.rejected) == (11, 4, 7)
    assert set(Account.objects.values_list("user", "number", "name")) == accounts
    log = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [(item["source"], item["record"], item["line"]) for item in log] == places
    kept = got.load.rejects.order_by("pk").values_list("source", "record", "line")
    assert list(kept) == places
    of_first = [line.split(",ingest")[0] for line in Path("all.txt").read_text().splitlines()[1:]]
    assert len(of_first) == len(written) == 7


@pytest.mark.parametrize("indexes", ["auto", "rebuild"])
def test_a_key_that_the_table_refuses_is_named_in_its_file(folder, user, indexes):
    write(1, user, "{user},A,x", "{user},B,y")
    write(2, user, "{user},C,x", "{user},D,y")
    write(3, user, "{user},E,x", "", "{user},B,again")
    with pytest.raises(ConstraintRefused) as caught:
        load(Account, "*.csv", indexes=indexes)
    assert "3.csv, record 2 (line 4), column 'number': 'B'" in str(caught.value)
    assert not Account.objects.exists()


def test_a_parent_that_is_not_there_is_named_in_its_file(folder, user):
    write(1, user, "{user},A,x")
    write(2, user, "{user},C,x", "9999999,D,y")
    with pytest.raises(ConstraintRefused) as caught:
        load(Account, "*.csv", references="set", indexes="rebuild")
    assert str(caught.value).startswith(
        "PostgreSQL would refuse 2.csv, record 2 (line 3), column 'user': '9999999': "
    )


def test_the_records_that_end_a_load_are_named_in_their_files(folder, user):
    write_accounts(user)
    with pytest.raises(RecordsRefused) as caught:
        load(Account, "*.csv")
    places = [(item.source, item.record, item.line) for item in caught.value.rejects]
    assert places == [("1.csv", 2, 3), ("2.csv", 2, 3), ("3.csv", 1, 2), ("5.csv", 2, 3),
                      ("5.csv", 3, 4)]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_chunks_end_within_files_and_a_load_goes_on_from_there(folder, kind, joined):
    account = AccountFactory()
    row = {"user": account.user_id, "account": account.pk, "amount": 1, "tx_date": "2026-01-01"}
    for number in range(6):
        rows = [row | {"description": f"{number}{at}"} for at in range(4)]
        lines = [json.dumps(row) for row in rows]
        if kind == "csv":
            lines = [
                ",".join(map(str, row.values())) for row in ({key: key for key in rows[0]}, *rows)
            ]
        Path(f"{number}.{kind}").write_text("\n".join(lines) + "\n")
    how = {"chunk_rows": 5, "resumable": True}

    def stop(progress):
        if progress.rows >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Transaction, f"*.{kind}", progress=stop, **how)
    assert joined == [6]
    begun = Load.objects.get()
    positions = [item.position["source"] for item in Chunk.objects.order_by("ordinal")]
    assert [(item["file"], item["record"]) for item in positions] == [(1, 1), (2, 2)][
        : len(positions)
    ]
    assert positions
    got = load(Transaction, f"*.{kind}", **how)
    assert got.load == begun
    found = Transaction.objects.order_by("pk").values_list("description", flat=True)
    assert list(found) == [f"{number}{at}" for number in range(6) for at in range(4)]


def test_what_stands_before_a_file_that_does_not_fit_is_committed(folder, user):
    write(1, user, "{user},A,x", "{user},B,x")
    write(2, user, "{user},C,x")
    write(3, user, "{user},D,x", columns="user,number,label")
    with pytest.raises(SourceError, match=r"3\.csv, unlike 1\.csv, has a column 'label'"):
        load(Account, "*.csv", chunk_rows=1, resumable=True)
    assert list(Account.objects.order_by("number").values_list("number", flat=True)) == list("ABC")

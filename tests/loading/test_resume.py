"""An unfinished load is found by what is in its file, whatever the file is called now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from finance.models import Transaction
from ingest import LedgerError, load, resume
from ingest.models import Load
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONS = {"chunk_rows": 4, "resumable": True}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    account = AccountFactory()

    def write(name, numbers, amount=1):
        path = tmp_path / name
        lines = [
            f"{account.user_id},{account.pk},{amount},2025-01-01,R{number:02}\n"
            for number in numbers
        ]
        path.write_text("user,account,amount,tx_date,description\n" + "".join(lines))
        return path

    return write


def stop(progress):
    if progress.rows > 4:
        raise KeyboardInterrupt


def begin(source):
    with pytest.raises(KeyboardInterrupt):
        load(Transaction, source, progress=stop, **OPTIONS)
    return Load.objects.first()


def numbers_in():
    found = Transaction.objects.order_by("description").values_list("description", flat=True)
    return [int(text[1:]) for text in found]


def renamed(path, kind):
    link = Path(f"link-{kind}.csv")
    if kind == "relative":
        return path.name
    if kind == "dotted":
        return f"./../{path.parent.name}/{path.name}"
    if kind == "symbolic link":
        link.symlink_to(path)
    elif kind == "hard link":
        link.hardlink_to(path)
    elif kind == "copy":
        shutil.copy(path, link)
    elif kind == "moved":
        path.rename(link)
    elif kind == "pattern":
        return "row*.csv"
    elif kind == "list":
        return [path.name]
    return link


@pytest.mark.parametrize(
    ("kind", "workers"),
    [
        *((kind, 1) for kind in ("relative", "dotted", "symbolic link", "hard link", "copy")),
        *((kind, 1) for kind in ("moved", "pattern", "list")),
        ("moved", 2),  # the workers open the file themselves
    ],
)
def test_the_same_file_by_another_name_goes_on(write, kind, workers):
    path = write("rows.csv", range(10))
    begun = begin(path)
    got = load(Transaction, renamed(path, kind), workers=workers, **OPTIONS)
    assert got.load == begun
    assert numbers_in() == list(range(10))
    assert got.decisions[0] == f"Continued load {begun.pk}, which was not finished."


def test_several_files_that_were_moved(write, tmp_path):
    paths = [write("1.csv", range(6)), write("2.csv", range(6, 12))]
    begun = begin(paths)
    (tmp_path / "there").mkdir()
    moved = [path.rename(path.parent / "there" / path.name) for path in paths]
    assert load(Transaction, str(tmp_path / "there" / "*.csv"), **OPTIONS).load == begun
    assert numbers_in() == list(range(12))
    assert moved[0].exists()


def test_the_ledger_learns_the_new_name(write):
    path = write("rows.csv", range(12))
    begun = begin(path)
    moved = path.rename("moved.csv")

    def stop_again(progress):
        if progress.rows > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(Transaction, "moved.csv", progress=stop_again, **OPTIONS)
    begun.refresh_from_db()
    assert (begun.source, begun.options["given"]) == ("moved.csv", str(moved.absolute()))
    assert resume(begun.pk).rows == 12
    assert numbers_in() == list(range(12))


def test_a_resume_by_number_of_a_file_that_was_moved(write):
    path = write("rows.csv", range(10))
    begun = begin(path)
    path.rename("moved.csv")
    with pytest.raises(LedgerError) as caught:
        resume(begun.pk)
    assert str(caught.value) == (
        f"Load {begun.pk} cannot be resumed: the file {str(path)!r} is gone. Restore it, or give "
        f"its new name: `bulk_load --resume {begun.pk} FILE`."
    )
    write("other.csv", range(11))
    with pytest.raises(LedgerError, match="is no longer the file that was loaded"):
        resume(begun.pk, "other.csv")
    call_command("bulk_load", "--resume", str(begun.pk), "moved.csv", "--progress", "none")
    assert numbers_in() == list(range(10))


def test_a_resume_by_number_takes_no_model(write):
    begun = begin(write("rows.csv", range(10)))
    with pytest.raises(CommandError, match="Only a file that was moved or renamed is named"):
        call_command("bulk_load", "finance.Transaction", "rows.csv", "--resume", str(begun.pk))


@pytest.mark.parametrize("numbers", [[*range(9), 19], range(12)], ids=["as long", "longer"])
def test_another_file_with_the_same_beginning_is_another_load(write, numbers):
    begun = begin(write("rows.csv", range(10)))
    got = load(Transaction, write("other.csv", numbers), **OPTIONS)
    assert (got.load != begun, got.rows) == (True, len(numbers))
    assert numbers_in() == sorted([*range(4), *numbers])
    assert load(Transaction, "rows.csv", **OPTIONS).load == begun


def test_a_file_that_has_grown_under_its_name_is_refused(write):
    begun = begin(write("rows.csv", range(10)))
    write("rows.csv", range(12))
    with pytest.raises(LedgerError, match="it was changed after the records that are in"):
        load(Transaction, "rows.csv", **OPTIONS)
    assert numbers_in() == list(range(4))
    assert Load.objects.get() == begun


def test_the_content_is_looked_for_before_the_name(write):
    first = begin(write("rows.csv", range(10)))
    os.rename("rows.csv", "first.csv")  # noqa: PTH104
    second = write("rows.csv", range(20, 30)).rename("second.csv")
    begin(second)
    os.rename("first.csv", "second.csv")  # noqa: PTH104
    assert load(Transaction, "second.csv", **OPTIONS).load == first
    assert numbers_in() == [*range(10), *range(20, 24)]


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "copy"])
@pytest.mark.parametrize("rows", [1, 5], ids=["before the first chunk", "after it"])
def test_two_processes_with_one_file_under_two_names(write, monkeypatch, kind, rows):
    monkeypatch.setattr("ingest.ledger.locks.PATIENCE_SECONDS", 0.2)
    path = write("rows.csv", range(10))
    link = renamed(path, kind)
    refused = []

    def other(progress):
        if progress.rows >= rows and not refused:
            with pytest.raises(LedgerError) as caught:
                load(Transaction, link, **OPTIONS)
            refused.append(str(caught.value))

    got = load(Transaction, path, progress=other, **OPTIONS)
    assert refused == [
        f"Another process is at work on load {got.load.pk}: wait for its end, or cancel it."
    ]
    assert numbers_in() == list(range(10))


def test_standard_input_says_that_no_other_load_can_go_on(write):
    write("rows.csv", range(10))
    with Path("rows.csv").open("rb") as file:
        got = load(Transaction, file, **OPTIONS)
    assert got.decisions[0] == (
        "rows.csv can be read only once: it is committed in chunks, but no other load can "
        "resume this one."
    )

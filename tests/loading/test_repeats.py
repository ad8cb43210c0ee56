"""A file that was loaded into the same table before is told of, or refused, before it begins."""

import io
import logging
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from finance.models import Account
from ingest import ConfigurationError, LedgerError, load
from ingest.ledger.undo import undo
from ingest.models import Load
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def write(tmp_path):
    user = UserFactory()

    def write(name, *numbers):
        path = tmp_path / name
        lines = [f"{user.pk},{number},name\n" for number in numbers]
        path.write_text("user,number,name\n" + "".join(lines))
        return path

    return write


def free(path):
    """Take away what is in, behind the ledger's back: the same rows can go in again."""
    Account.objects.all().delete()
    return path


def told(result):
    return [each for each in result.decisions if each.startswith("The same file")]


def test_the_same_file_is_told_of_before_it_begins(write, caplog, tmp_path):
    first = load(Account, write("a.csv", "1", "2"))
    assert told(first) == []
    renamed = (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    free(renamed)
    seen = []
    with caplog.at_level(logging.WARNING, "ingest"):
        got = load(Account, renamed, progress=lambda _: seen.append(len(caplog.records)))
    today = timezone.localdate().isoformat()
    sentence = (
        f"The same file was loaded into finance.Account before: {renamed} is the file of load "
        f"{first.number} of {today}, under the name {tmp_path / 'a.csv'}."
    )
    assert told(got) == [sentence]
    assert got.warnings == (sentence,)
    [record] = [each for each in caplog.records if each.name.startswith("ingest")]
    assert (record.event, record.earlier, record.getMessage()) == (
        "repeated",
        first.number,
        sentence,
    )
    assert seen[0] == 1  # it was told before the first batch was in
    assert got.rows == 2


def test_the_command_says_so_at_once_and_refuses(write):
    path = str(write("a.csv", "1"))
    call_command("bulk_load", "finance.Account", path, stdout=io.StringIO())
    free(path)
    err = io.StringIO()
    call_command("bulk_load", "finance.Account", path, stdout=io.StringIO(), stderr=err)
    assert err.getvalue().count("The same file was loaded into finance.Account before: ") == 1
    last = Load.objects.first().pk
    with pytest.raises(CommandError) as caught:
        call_command("bulk_load", "finance.Account", path, "--on-repeat", "refuse")
    today = timezone.localdate().isoformat()
    assert str(caught.value) == (
        f"The same file was loaded into finance.Account before: {path} is the file of load {last} "
        f"of {today}. Nothing was loaded, as asked: undo it with `bulk_load --undo "
        f"{last}`, or load it again with --on-repeat warn (on_repeat='warn')."
    )
    assert Load.objects.count() == 2


@pytest.mark.parametrize("chunks", [{}, {"chunk_rows": 1}, {"resumable": True}])
def test_a_file_is_known_however_it_is_loaded(write, chunks):
    path = write("a.csv", "1", "2")
    load(Account, path, **chunks)
    free(path)
    with pytest.raises(LedgerError, match="The same file was loaded"):
        load(Account, path, on_repeat="refuse", **chunks)
    assert (Account.objects.count(), Load.objects.count()) == (0, 1)
    with pytest.raises(LedgerError, match="The same file was loaded"):
        load(Account, path, on_repeat="refuse", dry_run=True)
    assert len(told(load(Account, path, dry_run=True))) == 1
    assert len(told(load(Account, path, **chunks))) == 1


def test_what_is_no_repeat(write):
    path = write("a.csv", "1", "2")
    undone = load(Account, path)
    undo(undone.number)
    with pytest.raises(Exception, match="duplicate"):
        load(Account, write("twice.csv", "7", "7"))
    Account.objects.all().delete()
    Load.objects.filter(status="failed").update(fingerprint="x")
    refusing = {"on_repeat": "refuse"}
    assert load(Account, path, **refusing).rows == 2
    assert load(Account, write("b.csv", "3", "4"), **refusing).rows == 2  # as many bytes
    assert load(Account, write("c.csv", "5"), **refusing).rows == 1
    Load.objects.update(model="finance.Transaction")
    free(path)
    assert load(Account, path, **refusing).rows == 2
    Load.objects.update(schema="another")
    free(path)
    assert load(Account, path, **refusing).rows == 2


def test_inside_a_transaction_of_the_caller(write):
    path = write("a.csv", "1")
    with transaction.atomic():
        load(Account, path)
        free(path)
        with pytest.raises(LedgerError), transaction.atomic():
            load(Account, path, on_repeat="refuse")
        assert len(told(load(Account, path))) == 1


def test_a_file_that_is_being_loaded_is_refused_too(write):
    path = write("a.csv", "1")
    errors = []

    def again():
        try:
            load(Account, path, on_repeat="refuse")
        except LedgerError as error:
            errors.append(str(error))
        finally:
            connection.close()

    def meanwhile(_):
        thread = threading.Thread(target=again)
        thread.start()
        thread.join()

    got = load(Account, path, on_repeat="refuse", progress=meanwhile)
    assert got.rows == 1
    [error] = errors
    assert error.startswith("The same file is being loaded into finance.Account: ")


def test_only_a_file_can_be_refused():
    with pytest.raises(ConfigurationError) as caught:
        load(Account, [{"number": "1"}], on_repeat="refuse")
    assert "on_repeat (--on-repeat) has no effect on list" in str(caught.value)
    with pytest.raises(ConfigurationError, match="on_repeat is 'ignore': use 'warn' or 'refuse'"):
        load(Account, "a.csv", on_repeat="ignore")


def test_without_a_ledger_nothing_can_be_refused(write):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingest_chunk RENAME TO elsewhere")
    try:
        with pytest.raises(LedgerError, match=r"cannot be kept\. Not recorded: "):
            load(Account, write("a.csv", "1"), on_repeat="refuse")
        assert Account.objects.count() == 0
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO ingest_chunk")

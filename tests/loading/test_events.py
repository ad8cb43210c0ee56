"""What others hear of a load: the signal, and log records that quote neither rows nor passwords."""

import functools
import logging
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction
from django.test import override_settings

from finance.models import Account, Transaction
from ingest import ConnectionFailed, ConstraintRefused, RecordsRefused, SourceError, load
from ingest.loading.events import announced
from ingest.models import Load
from ingest.results import Counts
from ingest.signals import load_ended
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
SECRET, PASSWORD = "qzvx-of-a-row", "qzvx-of-the-alias"


@pytest.fixture
def heard():
    """Return what a receiver was told, and whether it could see the rows from a transaction."""
    got = []

    def receive(sender, **told):
        del told["signal"]
        got.append({"sender": sender, "is_in_atomic": connection.in_atomic_block, **told})

    load_ended.connect(receive)
    yield got
    load_ended.disconnect(receive)


@pytest.fixture
def records(caplog):
    """Return the log records of ingest, which are checked for secrets at the end."""
    caplog.set_level(logging.DEBUG)
    yield lambda: [each for each in caplog.records if each.name.startswith("ingest")]
    formatter = logging.Formatter()
    # The factories' own records are the test's doing.
    logged = [each for each in caplog.get_records("call") if not each.name.startswith("factory")]
    assert logged
    for record in logged:
        assert "qzvx" not in formatter.format(record) + repr(vars(record))


def events(records):
    return [(each.levelname, each.event) for each in records()]


def accounts(user, *numbers):
    return [{"user_id": user.pk, "number": number, "name": SECRET} for number in numbers]


def test_a_load_that_went_well(heard, records):
    result = load(Account, accounts(UserFactory(), "1", "2"))
    assert heard == [
        {
            "sender": Account,
            "is_in_atomic": False,
            "using": "default",
            "result": result,
            "load": result.load,
            "error": None,
        }
    ]
    started, loaded = records()
    assert (started.name, started.levelname) == ("ingest.loading.events", "INFO")
    assert (started.event, started.method) == ("started", "direct")
    assert started.getMessage() == (
        f"The load of {result.source} into finance.Account on default has started."
    )
    assert loaded.getMessage() == (
        f"Loaded 2 rows of {result.source} into finance.Account on default "
        f"in {result.seconds:.2f} s; 0 rejected."
    )
    facts = {
        "event": "loaded",
        "model": "finance.Account",
        "database": "default",
        "load": result.load.pk,
        "source": result.source,
        "method": "direct",
        "driver": "asyncpg",
        "is_dry_run": False,
        "read": 2,
        "rows": 2,
        "inserted": 2,
        "updated": 0,
        "unchanged": 0,
        "ignored": 0,
        "deleted": 0,
        "rejected": 0,
        "skipped": 0,
        "seconds": result.seconds,
        "rows_per_second": result.rows_per_second,
    }
    assert {name: getattr(loaded, name) for name in facts} == facts


def test_rejects_are_counted_and_not_quoted(heard, records):
    user = UserFactory()
    AccountFactory(number="taken-qzvx")
    rows = accounts(user, "1", "taken-qzvx", "far-too-long-qzvx" * 9)
    got = load(Account, rows, on_error="reject")
    assert (got.rows, got.rejected) == (1, 2)
    assert any(SECRET in str(vars(reject)) or "qzvx" in str(reject) for reject in got.rejects)
    assert heard[0]["result"] is got
    assert (records()[-1].read, records()[-1].rejected) == (3, 2)


@pytest.mark.parametrize(
    ("rows", "kind", "code"),
    [
        (("1", "far-too-long-qzvx" * 9), RecordsRefused, None),
        (("twice-qzvx", "twice-qzvx"), ConstraintRefused, "23505"),
    ],
)
def test_a_load_that_is_refused(heard, records, rows, kind, code):
    with pytest.raises(kind) as caught:
        load(Account, accounts(UserFactory(), *rows))
    assert "qzvx" in str(caught.value)
    assert [(each["result"], each["error"]) for each in heard] == [(None, caught.value)]
    assert events(records) == [("INFO", "started"), ("ERROR", "failed")]
    failed = records()[-1]
    assert failed.getMessage() == (
        f"The load into finance.Account on default ended by {kind.__name__}."
    )
    assert (failed.error, failed.sqlstate) == (kind.__name__, code)
    assert failed.seconds > 0


def test_a_source_that_cannot_be_opened(heard, records, tmp_path):
    with pytest.raises(SourceError) as caught:
        load(Account, tmp_path / "missing.csv")
    assert heard[0]["error"] is caught.value
    assert events(records) == [("ERROR", "failed")]


def test_a_connection_that_fails_does_not_tell_the_password(heard, records, add_alias):
    alias = add_alias(
        {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": "1",
            "NAME": "bank",
            "USER": "loader",
            "PASSWORD": PASSWORD,
        }
    )
    with pytest.raises(ConnectionFailed) as caught:
        load(Account, accounts(UserFactory(), "1"), using=alias)
    assert (heard[0]["using"], heard[0]["error"]) == (alias, caught.value)
    assert events(records) == [("ERROR", "failed")]
    assert records()[0].database == alias


def test_an_interruption_is_an_end_too(heard, records):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        load(Account, accounts(UserFactory(), "1"), progress=interrupt)
    assert heard[0]["error"] is caught.value
    assert events(records) == [("INFO", "started"), ("WARNING", "interrupted")]
    assert not Account.objects.exists()


def test_a_dry_run_says_so(heard, records):
    load(Account, accounts(UserFactory(), "1"), dry_run=True)
    assert heard[0]["result"].is_dry_run
    assert records()[-1].is_dry_run
    assert records()[-1].getMessage().startswith("Would have loaded 1 row of ")


def test_inside_atomic_the_signal_comes_before_the_callers_commit(heard, records):
    seen = []
    with transaction.atomic():
        load(Account, accounts(UserFactory(), "1"))
        transaction.on_commit(lambda: seen.append(Account.objects.count()))
        assert heard[0]["is_in_atomic"]
    assert seen == [1]
    assert records()[-1].driver == "psycopg"


def fails(**_told):
    raise ValueError("no room for this")


class Unnamed:
    """A receiver that Django's own log of failures trips over: it has no __qualname__."""

    __call__ = staticmethod(functools.partial(fails))


@pytest.mark.parametrize(("receiver", "name"), [(fails, "fails"), (Unnamed(), "A receiver")])
def test_a_receivers_failure_does_not_make_a_load_look_failed(records, receiver, name):
    load_ended.connect(receiver)
    try:
        got = load(Account, accounts(UserFactory(), "1"))
    finally:
        load_ended.disconnect(receiver)
    assert got.rows == Account.objects.count() == 1
    assert events(records)[1:] == [("INFO", "loaded"), ("ERROR", "receiver failed")]
    assert (
        records()[-1]
        .getMessage()
        .startswith(f"{name} could not take the end of the load into finance.Account: ")
    )


def test_chunks_and_retries_of_a_recorded_load(heard, records):
    recorded = Load.objects.create(
        model="finance.Transaction", table="t", source="s", started_at=datetime.now(UTC)
    )
    error = ConnectionFailed(f"the server was lost: {SECRET}")
    error.__cause__ = OSError(PASSWORD)
    with announced(Transaction, "default") as announcement:
        announcement.load = recorded
        announcement.committed(3, Counts(read=1003, inserted=1000, rejected=2, skipped=1))
        announcement.retrying(error, tries=1, wait_seconds=0.5)
    committed, retrying = records()
    assert committed.getMessage() == (
        f"Chunk 3 of load {recorded.pk} into finance.Transaction is committed: 1000 rows."
    )
    assert (committed.chunk, committed.rows, committed.rejected, committed.skipped) == (
        *(3, 1000),
        *(2, 1),
    )
    assert retrying.levelname == "WARNING"
    assert retrying.getMessage() == (
        f"Load {recorded.pk} into finance.Transaction goes on in 0.5 s, after ConnectionFailed."
    )
    assert (retrying.tries, retrying.wait_seconds, retrying.sqlstate) == (1, 0.5, None)
    assert heard[0]["load"] == recorded


@override_settings(LOGGING_CONFIG=None)
def test_without_logging_set_up_nothing_is_written_to_standard_error(capsys, tmp_path):
    with pytest.raises(SourceError):
        load(Account, tmp_path / "missing.csv")
    assert capsys.readouterr().err == ""

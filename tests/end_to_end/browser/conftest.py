import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from finance.models import Transaction
from ingest.ledger.locks import LOCK_CLASS
from ingest.models import KeyRange, Load, Reject
from tests.end_to_end.browser.driver import open_browser
from tests.ledger.recorded_loads import inserted, record_chunk, record_load
from tests.many_rows import many_rows

ROWS = 1_000_000


@pytest.fixture(scope="package")
def db(django_db_setup, django_db_blocker):
    """Rows for all tests; the name is pytest-django's, which makes it set up a database for them.

    Its own would empty the tables after each test, or keep what is in them from the server.
    """
    with django_db_blocker.unblock(), many_rows(ROWS):
        yield


@pytest.fixture(scope="package")
def server(db, django_db_blocker):
    # Not `live_server`: that empties the tables after each test.
    strict = [*settings.MIDDLEWARE, "tests.end_to_end.browser.driver.strict_policy"]
    hosts = ["localhost", "testserver"]
    with (
        django_db_blocker.unblock(),
        override_settings(MIDDLEWARE=strict, ALLOWED_HOSTS=hosts),
    ):
        started = LiveServer("localhost")
        yield started
        started.stop()


@pytest.fixture(scope="package")
def shared_browser(server):
    with open_browser() as browser:
        browser.server = server.url
        yield browser


@pytest.fixture
def browser(shared_browser):
    yield shared_browser
    complaints = shared_browser.complaints()
    assert complaints == []


@pytest.fixture
def log_in(browser):
    """Log somebody in: the superuser, or a clerk with these permissions only."""

    def log_in(*permissions):
        users = get_user_model().objects
        users.filter(username__in=["root", "clerk"]).delete()
        if permissions:
            user = users.create_user("clerk", is_staff=True)
            user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        else:
            user = users.create_superuser("root")
        client = Client()
        client.force_login(user)
        browser.log_in(client)

    return log_in


@pytest.fixture
def picture(request, browser):
    def take(name):
        if request.config.getoption("screenshots"):
            browser.take_picture(name)

    return take


@pytest.fixture
def load():
    """A load of a thousand of the rows, with all that its page can show."""
    keys = Transaction.objects.order_by("pk").values_list("pk", flat=True)[1_000:2_000]
    first, last = keys[0], keys[999]
    load = record_load(
        Transaction,
        source="statements/2025-02.csv",
        fingerprint="5f0c0f5d1c1e4d6f8a2b3c4d5e6f7a8b",
        who="berta",
        inserted=1_000,
        read=1_007,
        rejected=7,
        chunk_rows=500,
        started_at=timezone.now() - timezone.timedelta(seconds=4),
        ended_at=timezone.now(),
        stages={
            "read": 0.21,
            "convert": 0.34,
            "look up references": 0.42,
            "send": 1.9,
            "encode": 0.8,
        },
        decisions=[
            "References: 2 foreign keys checked as a set.",
            "Indexes: maintained row by row, because the table holds rows already.",
        ],
    )
    chunk = load.chunks.get()
    chunk.inserted = 500
    for name, value in inserted(Transaction, Transaction.objects.filter(pk__in=keys)).items():
        setattr(chunk, name, value)
    chunk.save()
    record_chunk(load, 2, inserted=500, rejected=7, first_record=501, last_record=1_007)
    KeyRange.objects.create(chunk=chunk, first=first, last=last)
    for record in range(7):
        Reject.objects.create(
            load=load,
            chunk=chunk,
            source=load.source,
            record=record + 40,
            line=record + 41,
            column="amount" if record % 2 else "tx_date",
            field="amount" if record % 2 else "tx_date",
            value="12,50 €" if record % 2 else "2025-02-30",
            reason="Enter a number." if record % 2 else "There is no such day.",
            kind="value",
        )
    yield load
    load.delete()


@pytest.fixture
def running():
    load = record_load(
        Transaction,
        source="statements/2025-03.csv",
        status=Load.Status.RUNNING,
        bytes_read=100_000,
        bytes_total=1_000_000,
        seen_at=timezone.now(),
        who="berta",
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, load.pk % 2**31])
    yield load
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock_all()")
    load.delete()

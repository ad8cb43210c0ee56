"""Whatever stands in an address, no page of the admin fails."""

from __future__ import annotations

import base64
import itertools
import json
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.urls import reverse

from finance.models import Transaction
from tests.admin.clients import TRANSACTIONS, address, reject
from tests.ledger.recorded_loads import record_load
from tests.sampling import some_of

ROWS = 20_000

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("large_table")]

ANSWERS = {200, 302, 400, 404}


def anchor(*parts):
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


GARBAGE = [
    "",
    "\0",
    "a\0b",
    "x",
    "-",
    "0",
    "-1",
    "1",
    "1.5",
    "9" * 19,
    "9" * 40,
    "-" + "9" * 40,
    "9" * 5000,
    "1e999999999",
    "NaN",
    "-Infinity",
    "²",
    "\u0661",
    "2025-13-45",
    "2025-01-01",
    "99999-01-01",
    "0000-00-00",
    "9999-12-31",
    "null",
    "true",
    "[]",
    "{}",
    "'",
    '"',
    "%",
    "\\",
    "é\u2028\u202e\x1b[31m",
    "\udc80",
    "x" * 3000,
    ",",
    "a,b",
    "column:\0",
    "column:",
    "🦆",
]
ANCHORS = [
    anchor(),
    anchor(1),
    anchor(1, True),
    anchor(1, True, "2025-01-01"),
    anchor(1, True, "2025-01-01", "9" * 40),
    anchor(1, True, "2025-01-01", "1.5"),
    anchor(10**30, True, "2025-01-01", "1"),
    anchor(-(10**30), False, "2025-01-01", "1"),
    anchor(1e308, True, "2025-01-01", "1"),
    anchor(float("inf"), True, "2025-01-01", "1"),
    anchor(1, True, "0001-01-01", "-" + "9" * 19),
    anchor(1, True, "2025-01-01\0", "1"),
    anchor(1, True, None, None),
    anchor(1, True, [1], {}),
    anchor({}, [], "2025-01-01", "1"),
    anchor([1], True, "2025-01-01", "1"),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    base64.urlsafe_b64encode(b"[" * 3000).decode(),
    "====",
    "AAAA",
]
LARGE_PARAMETERS = [
    *("p", "o", "q", "all", "e", "_at", "_sum", "load", "_facets", "_popup", "_to_field"),
    *("tx_date__year", "tx_date__month", "tx_date__day", "tx_date__gte", "tx_date__lt"),
    *("account__currency", "account__currency__isnull", "account__currency__in", "account"),
    *("id", "id__exact", "id__in", "id__range", "id__gt", "amount", "amount__lt", "pk"),
    *("description__regex", "description__contains", "created_at", "created_at__date"),
    *("tx_date__isnull", "nothing", "account__user__password", "\0", "tx_date__year\0"),
]
LOAD_PARAMETERS = [
    *("p", "o", "q", "all", "e", "status", "status__exact", "model", "id", "id__in", "pk"),
    *("started_at__gte", "error__contains", "options__x", "source__regex", "loaded__gt", "\0"),
    *("started_at__year", "is_cancel_asked", "is_cancel_asked__exact", "rejects__value"),
]
PAGE_PARAMETERS = ["chunks", "rejects", "kind", "column", "load", "\0"]


def visit(client, url, query):
    pairs = [
        (key.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for key, value in query
    ]
    return client.get(f"{url}?{urlencode(pairs)}")


def faults_of(client, url, parameters, values):
    """Return what fails of some of the values of each parameter; each value is tried."""
    found = []
    pairs = [
        (name, value)
        for place, name in enumerate(parameters)
        for value in some_of(values, min(5, len(parameters)), place)
    ]
    for name, value in pairs:
        try:
            response = visit(client, url, [(name, value)])
        except Exception as error:  # noqa: BLE001 - what the server would answer 500 to
            found.append((name, value[:40], repr(error)[:200]))
            continue
        if response.status_code not in ANSWERS:
            found.append((name, value[:40], response.status_code))
    return found


@pytest.mark.parametrize("part", range(2))
def test_the_list_of_a_large_table(admin_client, part):
    parameters = LARGE_PARAMETERS[part::2]
    assert faults_of(admin_client, TRANSACTIONS, parameters, GARBAGE) == []


def test_the_place_of_a_page(admin_client):
    assert faults_of(admin_client, TRANSACTIONS, ["_at"], ANCHORS) == []
    for value in ANCHORS:
        for page in ("0", "2", "150", "9" * 30):
            assert visit(admin_client, TRANSACTIONS, [("_at", value), ("p", page)]).status_code in (
                ANSWERS
            )


def test_rows_of_the_last_day_there_is(admin_client):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE finance_transaction SET tx_date = '9999-12-31' WHERE id IN "
            "(SELECT id FROM finance_transaction LIMIT 1)"
        )
    assert admin_client.get(TRANSACTIONS).status_code == 200
    for query in ({"tx_date__year": 9999}, {"tx_date__year": 9999, "tx_date__month": 12}):
        assert admin_client.get(TRANSACTIONS, query).status_code in ANSWERS  # Django ends here


@pytest.mark.parametrize("year", ["0", "1", "2025", "9999", "10000", "-5", "9" * 30, "x"])
def test_the_parts_of_a_date(admin_client, year):
    months, days = ["0", "2", "12", "13", "x"], ["0", "30", "31", "32", "x"]
    for month, day in some_of(itertools.product(months, days), 3, len(year)):
        query = [("tx_date__year", year), ("tx_date__month", month), ("tx_date__day", day)]
        assert visit(admin_client, TRANSACTIONS, query).status_code in ANSWERS, query
        assert visit(admin_client, TRANSACTIONS, query[1:]).status_code in ANSWERS, query
        assert visit(admin_client, TRANSACTIONS, query[::2]).status_code in ANSWERS, query


def test_the_list_of_loads(admin_client):
    record_load(Transaction)
    url = reverse("admin:ingest_load_changelist")
    assert faults_of(admin_client, url, LOAD_PARAMETERS, GARBAGE) == []


@pytest.mark.parametrize(
    "page", ["change", "rejects", "reject_file", "reject_log", "resume", "cancel", "undo"]
)
def test_the_pages_of_a_load(admin_client, page):
    load = record_load(Transaction)
    reject(load)
    assert faults_of(admin_client, address(load, page), PAGE_PARAMETERS, GARBAGE) == []


def test_the_progress_of_loads(admin_client):
    url = reverse("admin:ingest_load_progress")
    assert faults_of(admin_client, url, ["load", "x", "\0"], GARBAGE) == []


@pytest.mark.parametrize("value", GARBAGE)
def test_the_number_of_a_load(admin_client, value):
    list_address = reverse("admin:ingest_load_changelist")
    part = value.encode("utf-8", "surrogateescape")
    quoted = "".join(f"%{byte:02x}" for byte in part)
    for page in (
        *("change/", "history/", "delete/", "", "rejects.jsonl", "reject-log/", "reject-file/"),
        *("resume/", "cancel/", "undo/"),
    ):
        code = admin_client.get(f"{list_address}{quoted}/{page}").status_code
        assert code in {*ANSWERS, 301, 403}, (page, code)

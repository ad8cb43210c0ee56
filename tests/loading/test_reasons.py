"""Equal reasons are counted: in the result, in the ledger and in the admin."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import random
import re
import time

import pytest
from django.core.management import call_command
from django.db import transaction
from django.urls import reverse

from finance.models import Account
from ingest import ConfigurationError, RecordsRefused, Reject, aload, load, resume
from ingest.models import Load
from ingest.results.reasons import REASONS_KEPT, TEXTS_REMEMBERED, ReasonCounts, without_value
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = "\N{MULTIPLICATION SIGN}"


def reject(value, reason, column="a", record=1):
    return Reject(
        source="s", record=record, column=column, field=column, value=value, reason=reason,
        kind="value",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "reason", "want"),
    [
        ("Germany", "Value 'Germany' is not a choice.", "Value … is not a choice."),
        ("1", "“1” is no number from 1 to 10.", "“…” is no number from … to 10."),
        ("a", "This is a fact.", "This is … fact."),
        ("", "This field cannot be blank.", "This field cannot be blank."),
        (None, "None is nothing.", "None is nothing."),
        (7.5, "7.5 is too much.", "… is too much."),
        ("x", "At most 2 (it has 12).", "At most 2 (it has …)."),
        ("n" * 60, f"“{'n' * 60}” is long.", "“…” is long."),
    ],
)
def test_the_reason_without_its_value(value, reason, want):
    assert without_value(reject(value, reason)) == want


def test_memory_is_bounded_and_nothing_is_left_uncounted():
    seen = 3 * TEXTS_REMEMBERED
    counts = ReasonCounts(
        reject(str(number), f"'{number}' is bad.", column=f"c{number % (2 * REASONS_KEPT)}")
        for number in range(seen)
    )
    told = counts.reasons()
    assert len(counts._exact) == TEXTS_REMEMBERED
    assert len(told) == REASONS_KEPT + 1
    assert sum(reason.count for reason in told) == seen
    assert str(told[-1]).endswith(f"{TIMES} Other reasons.")


def test_counts_do_not_depend_on_the_order():
    rejects = [reject(value, f"'{value}' is bad.") for value in "aaabbcde"]
    want = {("3", "'a'"), ("2", "'b'"), ("3", "…")}
    for seed in range(3):
        random.Random(seed).shuffle(rejects)
        got = {(str(it.count), it.reason.split()[0]) for it in ReasonCounts(rejects).reasons()}
        assert got == want


@pytest.fixture
def rows():
    """Twelve records, of which six are refused."""
    user = UserFactory().pk
    good = [{"user": user, "number": f"A{place}", "name": "x"} for place in range(6)]
    long = [{"user": user, "number": "B" * 40, "name": "x"}] * 4
    blank = [{"user": user, "number": "C", "name": ""}] * 2
    return [*good, *long, *blank]


WANT = [
    (4, "number", "Ensure this value has at most 34 characters (it has 40)."),
    (2, "name", "This field cannot be blank."),
]


def test_the_result_and_the_ledger_count_reasons(rows):
    result = load(Account, rows, on_error="reject")
    assert [(it.count, it.column, it.reason) for it in result.reasons] == WANT
    assert result.number == Load.objects.get().pk
    [first, second] = Load.objects.get().reasons
    assert (first["count"], first["reason"]) == (WANT[0][0], WANT[0][2])
    assert second["example"] == "list, record 11, column 'name': '': This field cannot be blank."


@pytest.mark.parametrize("how", [{"chunk_rows": 3}, {"resumable": True, "chunk_rows": 5}])
def test_reasons_of_a_load_in_chunks(rows, how, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    result = load(Account, path, on_error="reject", **how)
    assert [(it.count, it.column, it.reason) for it in result.reasons] == WANT
    assert [it["count"] for it in Load.objects.get().reasons] == [4, 2]


def test_reasons_of_a_load_that_failed_for_its_rejects(rows):
    with pytest.raises(Exception, match="the limit is 3"):
        load(Account, rows, on_error="reject", reject_limit=3)
    [failed] = Load.objects.all()
    assert failed.status == "failed"
    assert [(it["count"], it["column"]) for it in failed.reasons] == [(4, "number"), (2, "name")]


def test_many_refusals_that_end_a_load_are_counted(rows):
    with pytest.raises(RecordsRefused) as caught:
        load(Account, [*rows[:6], *rows[6:7] * 30, rows[-1]])
    assert str(caught.value).splitlines()[:4] == [
        f"30 {TIMES} number: {WANT[0][2]}",
        f"    The first of them: list, record 7, column 'number': '{'B' * 38}…: {WANT[0][2]}",
        f"list, record 37, column 'name': '': {WANT[1][2]}",
        "These are the 31 rejects of one batch.",
    ]
    assert "Nothing was loaded." in str(caught.value)


def test_the_page_of_a_load_counts_reasons(rows, admin_client):
    number = load(Account, rows, on_error="reject").number
    shown = admin_client.get(reverse("admin:ingest_load_change", args=[number])).content.decode()
    cells = re.findall(r"<tr><td>(\d+)</td><td>(\w+)</td><td>([^<]+)</td>", shown)
    assert [(int(count), *rest) for count, *rest in cells][:2] == WANT


def test_a_result_prints_shortly_and_is_pickled(rows):
    result = load(Account, rows, on_error="reject")
    number = result.number
    short = f'Loaded 6 rows of list into "public"."finance_account", 6 rejected (load {number})'
    assert (str(result), repr(result)) == (short, f"<LoadResult: {short}>")
    copy = pickle.loads(pickle.dumps(result))
    assert str(copy) == short
    assert list(copy.rejects) == list(result.rejects)
    assert copy.reasons == result.reasons
    assert (copy.rows, copy.decisions, copy.number) == (6, result.decisions, number)
    told = result.as_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["rows"], told["rejected"], told["load"], told["audit"]) == (6, 6, number, None)
    assert [it["count"] for it in told["reasons"]] == [4, 2]
    assert [it["record"] for it in told["rejects"]] == [7, 8, 9, 10, 11, 12]


def test_a_message_with_nul_is_kept():
    def lines():
        yield {"user": UserFactory().pk, "number": "A", "name": "x"}
        raise ValueError("a\x00b \x1b[31m \ud800 end")

    with pytest.raises(ValueError, match="end"):
        load(Account, lines())
    [failed] = Load.objects.all()
    assert (failed.status, failed.error) == ("failed", "a\\u0000b \\u001b[31m \\ud800 end")


def test_a_reason_with_nul_is_kept(rows):
    rows = [{**rows[0], "number": "A\x00B"}, {**rows[0], "name": "\x1b" * 101}]
    result = load(Account, rows, on_error="reject")
    [first, second] = Load.objects.get().rejects.order_by("pk")
    assert "\x00" not in first.value + first.reason + second.reason
    assert result.rejected == 2
    shown = "".join(map(str, result.rejects)) + "".join(map(str, result.reasons))
    assert "\x00" not in shown
    assert "\x1b" not in shown
    assert "Null characters are not allowed" in shown


def test_in_an_event_loop_load_names_aload_and_leaves_nothing(rows):
    async def inside():
        with pytest.raises(ConfigurationError, match=r"await aload\(\) instead"):
            load(Account, rows[:6])
        with pytest.raises(ConfigurationError, match=r"resume\(\) cannot be called in a running"):
            resume(1)
        return await aload(Account, rows[:6])

    result = asyncio.run(inside())
    assert result.rows == 6
    assert [(it.pk, it.status) for it in Load.objects.all()] == [(result.number, "loaded")]


def listed(*arguments):
    out = io.StringIO()
    call_command("bulk_load", "--list", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_list_shows_the_last_loads(rows, tmp_path):
    assert listed() == ["The ledger of 'default' has no loads."]
    numbers = [load(Account, rows[:2]).number, load(Account, rows[2:], on_error="reject").number]
    with pytest.raises(Exception, match="blank"):
        load(Account, rows[-1:])
    head, *lines = listed()
    assert head.split() == ["load", "model", "file", "started", "state", "rows", "rejects"]
    today = time.strftime("%Y-%m-%d")
    got = [(it[0], it[1], it[2], *it[5:]) for it in map(str.split, lines)]
    assert got[1:] == [
        (str(numbers[1]), "finance.Account", "list", "loaded", "4", "6"),
        (str(numbers[0]), "finance.Account", "list", "loaded", "2", "0"),
    ]
    assert got[0][1:4] == ("finance.Account", "list", "failed")
    assert all(len(it.split()[3]) == len(today) for it in lines)
    assert len(listed("1")) == 2


def test_reasons_inside_atomic(rows):
    with transaction.atomic():
        result = load(Account, rows, on_error="reject")
    assert [it["count"] for it in Load.objects.get(pk=result.number).reasons] == [4, 2]

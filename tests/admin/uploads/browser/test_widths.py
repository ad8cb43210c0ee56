"""What of the loads is on the screen, on a desk and on a phone."""

import pytest
from django.urls import reverse

from finance.models import Account
from ingest.models import Load
from tests.admin.clients import reject
from tests.ledger.recorded_loads import record_load

pytestmark = pytest.mark.django_db(transaction=True)

LOADS = reverse("admin:ingest_load_changelist")
ENDS = """
return arguments[0].map((name) =>
  document.querySelector(`#result_list td.field-${name}`).getBoundingClientRect().right
  - document.querySelector("#changelist .results").getBoundingClientRect().right)
"""
SCROLLS = """
return [...document.querySelectorAll(".ingest-load .results")].map((box) => {
  const {right} = box.getBoundingClientRect();
  return [box.scrollWidth > box.clientWidth, right <= document.documentElement.clientWidth];
})
"""


@pytest.fixture
def loads():
    facts = {"inserted": 1_234_567, "updated": 12_345, "rejected": 123, "who": "berta.beispiel"}
    facts |= {"read": 1_247_035, "source": "/srv/statements/a-rather-long-name-2025-02.csv"}
    done = record_load(Account, **facts)
    record_load(Account, **facts, status=Load.Status.RUNNING, bytes_total=100, bytes_read=30)
    return done


@pytest.mark.parametrize(
    ("size", "want"),
    [
        ((1440, 860), ["state", "loaded_rows", "rejected_records", "started_at", "who"]),
        ((390, 844), ["state", "loaded_rows"]),
    ],
)
def test_what_matters_of_a_load_is_on_screen(chromium, visit, loads, size, want):
    browser = visit(chromium)
    browser.driver.set_window_size(*size)
    browser.open(LOADS)
    assert max(browser.driver.execute_script(ENDS, want)) <= 0


def test_the_rejects_scroll_in_their_own_box(chromium, visit, loads):
    reject(loads, column="c" * 60, field="f" * 60, value="v" * 300, reason="r" * 300)
    browser = visit(chromium)
    browser.driver.set_window_size(390, 844)
    browser.open(reverse("admin:ingest_load_change", args=[loads.pk]))
    boxes = browser.driver.execute_script(SCROLLS)
    assert [True, True] in boxes
    assert all(is_inside for _, is_inside in boxes)
    wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.driver.execute_script(wide) <= 0

"""What becomes of rows that the table has already, as the page says it and as a layout does."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from finance.models import Account
from ingest.models import Load, SavedLayout, Upload
from ingest.uploads.layouts import fingerprint_of
from tests.admin.clients import clerk
from tests.admin.uploads.test_way import ACCOUNTS, HEADER, numbers, page

pytestmark = pytest.mark.django_db

CONFLICT = """
[conflict]
on_conflict = "upsert"
key = "number"
keep_if_null = ["opened_on"]
keep_old = true
"""


@pytest.fixture(autouse=True)
def old():
    """A row that the file has otherwise."""
    root = get_user_model().objects.create_user("root")
    return Account.objects.create(user=root, number="DE1", name="Old", currency="EUR")


@pytest.fixture
def layout(way):
    """A layout of somebody else, for the same header, that says what becomes of such rows."""
    way.upload(ACCOUNTS)
    text = way.found.layout + CONFLICT
    columns = HEADER.split(",")
    owner = get_user_model().objects.get(username="root")
    way.post("forget")
    return SavedLayout.objects.create(
        name="shared",
        model="finance.Account",
        layout=text,
        columns=columns,
        fingerprint=fingerprint_of(columns),
        owner=owner,
        is_shared=True,
    )


def names():
    return list(Account.objects.order_by("number").values_list("name", flat=True))


@pytest.mark.django_db(transaction=True)  # else the load holds its lock
def test_what_a_layout_says_is_filled_in_and_done(way, layout):
    way.upload(ACCOUNTS)
    assert way.found.options["start"] == f"saved:{layout.name}"
    shown = page(way.go("options"))
    inputs = way.inputs("options")
    assert (inputs["on_conflict"], inputs["key"], inputs["keep_old"]) == ("upsert", "number", True)
    assert "keep_if_null = [&quot;opened_on&quot;]" in shown
    way.go("confirm")
    way.post("confirm")
    load = Load.objects.get()
    assert (load.inserted, load.updated, names()) == (1, 1, ["Giro", "Sparbuch"])
    assert load.options["how"]["keep_if_null"] == ["opened_on"]
    way.client.post(reverse("admin:ingest_load_undo", args=[load.pk]))
    assert names() == ["Old"]


def test_what_the_page_says_comes_before_what_the_layout_says(way, layout):
    way.upload(ACCOUNTS)
    said = {"on_conflict": "ignore", "key": "", "keep_old": ""}
    way.go("confirm", options=said)
    way.post("confirm")
    assert names() == ["Old", "Sparbuch"]


def test_a_layout_does_not_change_rows_for_who_may_only_add(way_of, layout):
    way = way_of(clerk("upload_load", "add_account"))
    way.upload(ACCOUNTS)
    assert way.found.options["start"] == f"saved:{layout.name}"
    way.go("confirm")
    assert way.found.check_result["counts"]["rejected"] == 1
    way.post("confirm", rejects="on")
    assert names() == ["Old", "Sparbuch"]


def test_a_forged_layout_changes_no_rows(way_of):
    way = way_of(clerk("upload_load", "add_account"))
    way.upload(ACCOUNTS)
    way.go("confirm")
    Upload.objects.update(layout=way.found.layout + CONFLICT)
    assert way.post("confirm").status_code == 403
    assert way.post("check", action="begin").status_code == 403
    assert numbers() == ["DE1"]


@pytest.mark.django_db(transaction=True)  # else the load holds its lock
def test_an_update_can_be_undone_from_its_page(way):
    way.upload(ACCOUNTS)
    way.go("confirm", options={"on_conflict": "upsert", "key": "number", "keep_old": "on"})
    way.post("confirm")
    assert names() == ["Giro", "Sparbuch"]
    way.client.post(reverse("admin:ingest_load_undo", args=[Load.objects.get().pk]))
    assert names() == ["Old"]


@pytest.mark.parametrize(
    "said",
    [
        {"on_conflict": "error", "key": "number"},
        {"on_conflict": "error", "duplicates": "last"},
        {"on_conflict": "ignore", "keep_old": "on"},
        {"on_conflict": "upsert", "scope": "all"},
        {"on_conflict": "upsert", "max_deletes": "10%"},
    ],
)
def test_what_has_no_effect_is_refused(way, said):
    way.upload(ACCOUNTS)
    way.go("options")
    [wrong] = said.keys() - {"on_conflict"}
    errors = way.post("options", **said).context["form"].errors
    assert list(errors) == [wrong]
    assert "has no effect" in str(errors)


def test_a_field_of_a_scope_that_is_named_twice_is_refused(way):
    way.upload(ACCOUNTS)
    way.go("options")
    said = {"on_conflict": "sync", "scope": "currency=EUR, currency=USD"}
    errors = way.post("options", **said).context["form"].errors
    assert errors == {"scope": ["The field currency is named twice."]}


def test_one_of_several_keys_of_the_file_is_asked_for_beside_its_input(way):
    way.upload("id,user__username,number,name,currency\n1,root,DE1,Giro,EUR\n")
    mapping = {"source-id": "column:1"}
    way.go("mapping")
    way.post("mapping", **{**way.inputs("mapping"), **mapping})
    response = way.post("options", on_conflict="upsert", duplicates="reject")
    assert response.context["error"] == ""
    form = response.context["form"]
    assert form.errors == {
        "key": ["The file has several keys: choose the one that identifies a row."]
    }
    chosen = way.post("options", on_conflict="upsert", duplicates="reject", key="number")
    assert chosen.url == way.address("preview")

"""Layouts that are kept for the next file."""

import tomllib

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.urls import reverse

from finance.models import Account
from ingest import load
from ingest.models import SavedLayout
from tests.admin.clients import clerk
from tests.admin.uploads.test_way import BANK, numbers, page

pytestmark = pytest.mark.django_db

LIST = reverse("admin:ingest_savedlayout_changelist")
MAPPING = {
    "source-number": "column:1",
    "source-name": "column:2",
    "source-user": "column:3",
    "lookup-user": "username",
    "source-opened_on": "column:4",
}


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


def upload_bank(way, text=BANK):
    way.upload(text.encode("cp1252"), "konto.csv")
    way.go("mapping")


@pytest.fixture
def saved(way):
    upload_bank(way)
    way.post("mapping", **MAPPING, name="My bank", is_shared="on")
    return SavedLayout.objects.get()


def of(saved, name="change"):
    return reverse(f"admin:ingest_savedlayout_{name}", args=[saved.pk])


def test_the_next_file_with_the_same_header_is_filled_in_from_it(way, saved):
    assert (saved.owner.username, saved.is_shared) == ("admin", True)
    upload_bank(way, BANK.replace("DE1", "DE7"))
    assert way.found.options["start"] == "saved:My bank"
    assert way.inputs("mapping")["source-user"] == "column:3"
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE2", "DE7"]


def test_a_changed_header_says_what_is_new_and_gone(way, saved):
    upload_bank(way, BANK.replace("Eröffnet", "Datum"))
    way.post("mapping", action="start", start="saved:My bank")
    shown = page(way.get("mapping"))
    assert "The header differs from that" in shown
    assert "New columns: <bdi>Datum</bdi>" in shown
    assert "Columns that are gone: <bdi>Eröffnet</bdi>" in shown
    inputs = way.inputs("mapping")
    assert (inputs["source-number"], inputs["source-opened_on"]) == ("column:1", "")


def test_a_name_is_replaced_by_its_owner_only(way, way_of, saved):
    upload_bank(way)
    way.post("mapping", **{**MAPPING, "source-opened_on": ""}, name="My bank")
    assert "opened_on" not in SavedLayout.objects.get().layout
    other = way_of(clerk("upload_load", "add_account"))
    upload_bank(other)
    shown = page(other.post("mapping", **MAPPING, name="My bank"))
    assert "already exists" in shown
    assert SavedLayout.objects.get().owner.username == "admin"
    shown = page(other.post("mapping", **MAPPING, name="a\u202eb"))
    assert "only have visible characters" in shown


def test_the_command_and_the_code_take_it_by_its_name(saved, tmp_path):
    file = tmp_path / "konto.csv"
    file.write_bytes(BANK.encode("cp1252"))
    call_command("bulk_load", "finance.Account", str(file), layout="saved:My bank", verbosity=0)
    assert numbers() == ["DE1", "DE2"]
    Account.objects.all().delete()
    assert load(Account, file, layout="saved:My bank").rows == 2
    with pytest.raises(CommandError, match=r"no saved layout 'My Bank'\. Did you mean 'My bank'"):
        call_command("bulk_load", "finance.Account", str(file), layout="saved:My Bank")


def test_it_is_shown_and_downloaded_as_toml(admin_client, saved):
    shown = page(admin_client.get(of(saved)))
    assert "model = &quot;finance.Account&quot;" in shown
    assert "--layout &quot;saved:My bank&quot;" in shown or '--layout "saved:My bank"' in shown
    file = admin_client.get(of(saved, "toml"))
    assert file["Content-Disposition"] == 'attachment; filename="My_bank.toml"'
    assert tomllib.loads(file.content.decode())["source"]["encoding"] == "cp1252"
    assert "My bank" in page(admin_client.get(LIST))


def edited(client, saved):
    context = client.get(of(saved)).context
    rows = {
        name: value
        for row in context["rows"]
        for name, value in (
            (f"source-{row.name}", row.choice),
            (f"lookup-{row.name}", row.lookup),
            (f"constant-{row.name}", row.constant),
        )
    }
    form = {field.name: field.value() for field in context["form"] if field.value()}
    return {"name": saved.name, **form, **rows}


def test_its_owner_edits_it_as_a_form(admin_client, saved):
    fields = edited(admin_client, saved)
    fields |= {"name": "Bank", "source-currency": "constant", "constant-currency": "CHF"}
    fields["decimal"] = ","
    assert admin_client.post(of(saved), fields).status_code == 302
    found = SavedLayout.objects.get()
    said = tomllib.loads(found.layout)
    assert (found.name, said["fields"]["currency"]) == ("Bank", {"constant": "CHF"})
    assert (said["read"]["decimal"], said["source"]["encoding"]) == (",", "cp1252")
    forged = {**fields, "source-pk": "column:1"}
    assert admin_client.post(of(saved), forged).status_code == 403


def test_others_use_a_shared_one_and_do_not_see_another(admin_client, saved):
    client = clerk("upload_load", "add_account")
    assert "you can use it" in page(client.get(of(saved)))
    assert client.post(of(saved), edited(client, saved)).status_code == 403
    assert client.post(of(saved, "delete"), {"post": "yes"}).status_code == 403
    SavedLayout.objects.update(is_shared=False)
    for name in ("change", "toml"):
        assert client.get(of(saved, name)).status_code == 404
    assert "My bank" not in page(client.get(LIST))
    assert admin_client.post(of(saved, "delete"), {"post": "yes"}).status_code == 302
    assert not SavedLayout.objects.exists()


def test_nobody_sees_one_without_the_permission(saved):
    client = clerk("add_account")
    for address in (LIST, of(saved), of(saved, "toml")):
        assert client.get(address).status_code == 403

"""The way from a file to a load, step by step."""

import gzip
import io

import pytest
import xlsxwriter
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import models
from django.urls import reverse

from finance.management.commands.finance_demo import SAMPLES
from finance.models import Account, Transaction
from ingest.admin.uploads import file_views
from ingest.admin.uploads.mapping import MappingForm
from ingest.layout import Layout
from ingest.models import Load, SavedLayout, Upload
from tests.admin.clients import clerk
from tests.admin.uploads import runners
from tests.admin.uploads.conftest import ADD

pytestmark = pytest.mark.django_db

HEADER = "user__username,number,name,currency,opened_on"
ACCOUNTS = f"{HEADER}\nroot,DE1,Giro,EUR,2025-01-31\nroot,DE2,Sparbuch,EUR,\n"
REFUSED = f"{ACCOUNTS}nobody,DE3,Giro,EUR,\nroot,DE4,Giro,EURO,\n"
BANK = (
    "Kontoauszug vom 31.01.2025\n"
    "Nummer;Bezeichnung;Inhaber;Eröffnet\n"
    "DE1;Girokonto;root;31.01.2025\n"
    "DE2;Sparbuch für Kinder;root;28.02.2025\n"
)


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


def numbers():
    return sorted(Account.objects.values_list("number", flat=True))


def page(response):
    assert response.status_code == 200
    return response.content.decode()


def test_a_file_goes_from_the_upload_to_the_rows(way):
    assert way.upload(ACCOUNTS).status_code == 302
    assert "2</strong> rows would be inserted" in page(way.go("confirm"))
    assert numbers() == []
    response = way.post("confirm")
    load = Load.objects.get()
    assert response.url == reverse("admin:ingest_load_change", args=[load.pk])
    assert numbers() == ["DE1", "DE2"]
    assert (load.status, load.source, load.loaded) == ("loaded", "statement.csv", 2)
    assert load.who == "admin"
    [entry] = LogEntry.objects.all()
    assert entry.object_id == str(load.pk)
    found = Upload.objects.get()
    assert (found.state, found.storage_name, found.load_id) == ("forgotten", "", load.pk)
    assert load.rows().count() == 2


def test_a_script_gets_the_address_of_the_next_step(way):
    file = SimpleUploadedFile("accounts.csv", ACCOUNTS.encode())
    script = {"X-Requested-With": "XMLHttpRequest"}
    response = way.client.post(ADD, {"model": "finance.Account", "file": file}, headers=script)
    way.key = Upload.objects.get().key
    assert (response.status_code, response.headers["Location"]) == (201, way.address("file"))


def test_nothing_is_handed_over_but_the_number_of_the_load(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    way.post("confirm")
    load = Load.objects.get()
    assert runners.numbers == [load.pk, load.pk]  # the dry run, and the load


def test_the_cells_and_the_findings_of_a_bank_s_file_are_shown(way):
    way.upload(BANK.encode("cp1252"), "konto.csv")
    shown = page(way.get("file"))
    assert "Sparbuch für Kinder" in shown
    assert "Kontoauszug vom 31.01.2025" in shown
    form = way.inputs("file")
    assert (form["encoding"], form["delimiter"]) == ("cp1252", ";")
    assert (form["skip_records"], form["formats"]) == (1, "%d.%m.%Y")


def test_columns_constants_and_parents_are_mapped(way):
    way.upload(BANK.encode("cp1252"), "konto.csv")
    mapping = {
        "source-number": "column:1",
        "source-name": "column:2",
        "source-user": "column:3",
        "lookup-user": "username",
        "source-currency": "constant",
        "constant-currency": "CHF",
        "source-opened_on": "column:4",
    }
    way.go("confirm", mapping=mapping)
    way.post("confirm")
    [first, second] = Account.objects.order_by("number")
    assert (first.number, first.name, first.currency) == ("DE1", "Girokonto", "CHF")
    assert (str(second.opened_on), second.user.username) == ("2025-02-28", "root")


def test_a_required_field_that_nothing_feeds_is_marked_and_stops_the_way(way):
    way.upload(BANK.encode("cp1252"), "konto.csv")
    way.go("mapping")
    shown = page(way.post("mapping", **{"source-number": "column:1"}))
    assert "Each record needs a value for: User, Name." in shown
    assert shown.count("nothing feeds it") == 2
    assert way.get("preview").url == way.address("mapping")


def test_a_layout_that_cannot_work_is_told_where_it_is_said(way):
    way.upload(ACCOUNTS)
    way.go("mapping")
    said = {"source-opened_on": "constant", "constant-opened_on": "yesterday"}
    shown = page(way.post("mapping", **{**way.inputs("mapping"), **said}))
    assert "yesterday" in shown
    assert 'class="errornote"' in shown


def test_the_file_is_read_as_it_is_said(way):
    way.upload("a|b\n1|2\n".replace("|", ":"), "odd.csv")
    fields = {"encoding": "utf-8", "delimiter": ":", "quote": '"', "header": "on"}
    assert way.post("file", **fields, action="look").url == way.address("file")
    assert way.get("file").context["header"] == ["a", "b"]
    without = {key: value for key, value in fields.items() if key != "header"}
    way.post("file", **without, action="look")
    assert way.get("file").context["header"] == ["1", "2"]
    assert len(way.get("file").context["records"]) == 2
    shown = page(way.post("file", **{**fields, "encoding": "klingon"}))
    assert "There is no encoding &#x27;klingon&#x27;." in shown


def test_a_preview_shows_good_and_refused_records_in_their_order(way):
    way.upload(REFUSED)
    records = way.go("preview").context["records"]
    assert [(row["record"], row["state"]) for row in records] == [
        (1, "ok"),
        (2, "ok"),
        (3, "reject"),
        (4, "reject"),
    ]
    shown = page(way.get("preview"))
    assert shown.count(">refused</span>") == 2
    assert "has no row" in shown or "nobody" in shown


def test_refused_records_are_counted_and_left_out_only_if_somebody_says_so(way, folder):
    way.upload(REFUSED)
    shown = page(way.go("confirm"))
    assert "2</strong> records would be refused" in shown
    assert "Select the box to load the other records" in page(way.post("confirm"))
    assert Load.objects.get().status == "draft"
    way.post("confirm", rejects="on")
    load = Load.objects.get()
    assert (load.status, load.loaded, load.rejected) == ("loaded", 2, 2)
    assert numbers() == ["DE1", "DE2"]
    refused = (folder / "rejects" / f"{way.key}.csv").read_text()
    assert "nobody,DE3" in refused


def test_a_file_whose_records_are_all_refused_is_not_loaded(way):
    way.upload(f"{HEADER}\nnobody,DE3,Giro,EUR,\nroot,DE4,Giro,EURO,\n")
    shown = page(way.go("confirm"))
    assert "Every record would be refused, so there is nothing to load" in shown
    assert 'value="confirm"' not in shown
    assert "Every record would be refused" in page(way.post("confirm", rejects="on"))
    assert Load.objects.get().status == "draft"


def test_the_preview_names_the_fields_as_the_step_before_does(way):
    way.upload(ACCOUNTS)
    context = way.go("preview").context
    assert context["columns"][:3] == ["User", "Number", "Name"]
    assert len(context["columns"]) == len(context["records"][0]["cells"])


def test_the_values_of_a_field_with_choices_are_named():
    field = models.CharField("state", choices=[("", "-"), ("sale", "On sale"), ("gone", "Gone")])
    field.set_attributes_from_name("state")
    plain = models.CharField("name", help_text="Its name.")
    plain.set_attributes_from_name("name")
    many = models.IntegerField(choices=[(number, "x") for number in range(1, 30)])
    many.set_attributes_from_name("many")
    fields = {"state": field, "name": plain, "many": many}
    form = MappingForm(layout=Layout(), columns=["a"], fields=fields)
    got = {row.name: row.help for row in form.rows()}
    assert got == {"state": "One of: sale, gone.", "name": "Its name.", "many": ""}


def test_what_only_postgresql_refuses_is_found_by_the_dry_run(way):
    way.upload(f"{ACCOUNTS}root,DE1,Giro,EUR,\n")
    context = way.go("check").context
    assert context["refused_count"] == 1
    assert "number" in context["reasons"][0]["reason"]


def test_each_step_can_be_left_and_come_back_to(way):
    way.upload(ACCOUNTS)
    way.go("options")
    assert way.get("change").url == way.address("options")
    assert way.get("confirm").url == way.address("options")  # it is not reached by now
    assert way.get("file").status_code == 200
    assert way.address("change") in page(way.client.get(ADD))
    assert page(way.client.get(reverse("admin:ingest_upload_changelist")))


def test_another_mapping_makes_the_dry_run_count_no_more(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    way.post("mapping", **{**way.inputs("mapping"), "source-currency": ""})
    assert way.found.state == Upload.State.STORED
    assert way.get("confirm").url == way.address("options")
    assert way.post("confirm").url == way.address("options")
    assert numbers() == []


def test_a_load_is_confirmed_once(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    way.post("confirm")
    number = Load.objects.get().pk
    assert way.post("confirm").url == reverse("admin:ingest_load_change", args=[number])
    assert LogEntry.objects.count() == 1
    assert numbers() == ["DE1", "DE2"]


def test_the_same_bytes_are_known_again(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    way.post("confirm")
    number = Load.objects.get().pk
    way.upload(ACCOUNTS, "renamed.csv")
    shown = page(way.get("file"))
    assert "The same file was loaded before" in shown
    assert f"load {number}" in shown


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("accounts.csv.gz", gzip.compress(ACCOUNTS.encode())),
        (
            "accounts.jsonl",
            b'{"user__username": "root", "number": "DE1", "name": "G", "currency": "EUR"}\n',
        ),
    ],
    ids=["csv.gz", "jsonl"],
)
def test_other_formats_go_the_same_way(way, name, content):
    way.upload(content, name)
    way.go("confirm")
    way.post("confirm")
    assert "DE1" in numbers()
    assert Load.objects.get().source == name


def test_a_file_that_is_no_text_is_refused_at_once_and_not_kept(way, folder):
    shown = page(way.upload(b"\x89PNG\r\n\x1a\n" + bytes(200), "picture.csv"))
    assert 'class="errorlist"' in shown
    assert "The file is empty" in page(way.upload(b"", "empty.csv"))
    assert not Upload.objects.exists()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_an_upload_can_be_deleted(way, folder):
    way.upload(ACCOUNTS)
    way.go("confirm")
    way.post("forget")
    assert not Upload.objects.exists()
    assert not Load.objects.exists()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_load_in_chunks_says_so(way):
    way.upload(ACCOUNTS)
    way.go("confirm", options={"chunks": "on"})
    way.post("confirm")
    assert Load.objects.get().chunk_rows == 250_000


def test_the_lists_lead_to_the_way(admin_client, way_of):
    for name in ("ingest_load", "finance_transaction", "finance_account"):
        shown = page(admin_client.get(reverse(f"admin:{name}_changelist")))
        assert f'href="{ADD}' in shown
    chosen = admin_client.get(ADD, {"model": "finance.Transaction"})
    assert '<option value="finance.Transaction" selected>' in page(chosen)


def test_a_load_that_nobody_confirmed_cannot_be_resumed(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    number = Load.objects.get().pk
    resume = reverse("admin:ingest_load_resume", args=[number])
    assert "draft that nobody has confirmed" in page(way.client.get(resume))
    assert SavedLayout.objects.count() == 0


def workbook(**sheets):
    target = io.BytesIO()
    with xlsxwriter.Workbook(target, {"in_memory": True}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for row, cells in enumerate(rows):
                sheet.write_row(row, 0, cells)
    return target.getvalue()


def test_a_sheet_of_a_workbook_is_chosen(way):
    accounts = [line.split(",") for line in ACCOUNTS.splitlines()]
    content = workbook(Empty=[], Notes=[["What", "When"], ["Nothing", "never"]], Accounts=accounts)
    way.upload(content, "accounts.xlsx")
    form = way.get("file").context["form"]
    assert [name for name, _ in form.fields["sheet"].choices] == ["Empty", "Notes", "Accounts"]
    assert way.get("file").context["header"] == ["What", "When"]
    assert {"delimiter", "encoding"} & set(form.fields) == set()
    assert way.post("file", **{**way.inputs("file"), "sheet": "Accounts"}).url == way.address(
        "file"
    )
    assert way.get("file").context["header"] == HEADER.split(",")
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1", "DE2"]


def test_the_second_file_updates_and_inserts(way, root):
    Account.objects.create(user=root, number="DE1", name="Old", currency="EUR")
    way.upload(ACCOUNTS)
    way.go("options")
    choices = way.get("options").context["form"].fields["key"].choices
    assert [value for value, _ in choices] == ["", "number"]
    shown = page(way.go("confirm", options={"on_conflict": "upsert", "key": "number"}))
    assert "1</strong> row would be inserted" in shown
    assert "1</strong> row would be updated" in shown
    way.post("confirm")
    assert list(Account.objects.order_by("number").values_list("name", flat=True)) == [
        "Giro",
        "Sparbuch",
    ]
    assert Load.objects.get().updated == 1


def test_a_preview_shows_what_becomes_of_each_record(way, root):
    Account.objects.create(user=root, number="DE1", name="Old", currency="EUR")
    way.upload(ACCOUNTS)
    response = way.go("preview", options={"on_conflict": "upsert", "key": "number"})
    assert [row["state"] for row in response.context["records"]] == ["update", "insert"]
    shown = page(response)
    assert '<del class="ingest-old"><bdi>Old</bdi></del> → <ins><bdi>Giro</bdi></ins>' in shown
    assert ">changed</span>" in shown
    assert ">new</span>" in shown
    assert Account.objects.get().name == "Old"


def test_a_sync_names_the_rows_that_it_may_delete(way, root):
    Account.objects.create(user=root, number="DE9", name="Gone", currency="EUR")
    Account.objects.create(user=root, number="DE8", name="Other", currency="USD")
    way.upload(ACCOUNTS)
    said = {"on_conflict": "sync", "scope": "currency=EUR", "max_deletes": "1"}
    assert "1</strong> row would be deleted" in page(way.go("confirm", options=said))
    way.post("confirm")
    assert numbers() == ["DE1", "DE2", "DE8"]


def test_what_is_confirmed_meanwhile_is_changed_no_more(way, monkeypatch):
    way.upload(ACCOUNTS)
    way.go("confirm")
    fields = way.inputs("mapping")

    def confirm_meanwhile(*arguments, **options):
        Upload.objects.update(state=Upload.State.CONFIRMED)
        return look(*arguments, **options)

    look = file_views.first_rows
    monkeypatch.setattr(file_views, "first_rows", confirm_meanwhile)
    number = Load.objects.get().pk
    there = reverse("admin:ingest_load_change", args=[number])
    assert way.post("mapping", **fields).url == there
    assert way.found.state == Upload.State.CONFIRMED


def test_the_samples_of_finance_go_the_way(way):
    call_command("finance_demo", verbosity=0)
    way.upload((SAMPLES / "statement.csv").read_bytes(), "statement.csv", "finance.Transaction")
    assert "records would be refused" in page(way.go("confirm"))
    assert way.found.check_result["counts"]["rejected"] == 0
    way.post("confirm")
    assert Transaction.objects.count() == way.found.check_result["counts"]["inserted"] > 0


def test_a_layout_of_an_app_is_filled_in_where_it_fits(way, root):
    account = Account.objects.create(user=root, number="IE1", name="x", currency="EUR")
    text = (
        "Date,Details,Debit,Credit,Balance\n"
        "31/01/2025,Rent,800.00,,1200.00\n01/02/2025,Salary,,2000.00,3200.00\n"
    )
    way.upload(text, "ireland.csv", "finance.Transaction")
    assert way.found.options["start"] == "bank_of_ireland"
    rows = {row.name: row for row in way.go("mapping").context["rows"]}
    assert (rows["amount"].choice, rows["tx_date"].choice) == ("kept", "column:1")
    mapping = {
        "source-account": "constant",
        "constant-account": "IE1",
        "lookup-account": "number",
        "source-user": "constant",
        "constant-user": "root",
        "lookup-user": "username",
    }
    way.go("confirm", mapping=mapping)
    way.post("confirm")
    found = Transaction.objects.order_by("tx_date").values_list("account", "amount", "user")
    assert list(found) == [(account.pk, -800, root.pk), (account.pk, 2000, root.pk)]


def accounts_by_id(*numbers_):
    for number in numbers_:
        call = Account.objects.create(
            user=get_user_model().objects.get(username="root"), number=number, name="old"
        )
        yield call.pk


@pytest.fixture
def changers_way(way_of):
    return way_of(clerk("upload_load", "add_account", "change_account"))


def test_rows_are_updated_by_the_key_that_postgresql_drew(changers_way):
    way = changers_way
    first, second = accounts_by_id("DE1", "DE2")
    way.upload(
        f"id,user__username,number,name,currency\n{second},root,DE2,new,EUR\n999,root,DE3,n,EUR\n"
    )
    way.go("mapping")
    fields = way.inputs("mapping")
    assert fields["source-id"] == ""
    assert "Columns that feed nothing: <bdi>id</bdi>" in page(way.get("mapping"))
    way.post("mapping", **{**fields, "source-id": "column:1"})
    keys = way.get("options").context["form"].fields["key"].choices
    assert ("id", "id") in keys
    way.post("options", on_conflict="update", key="id")
    rows = way.get("preview").context["records"]
    assert [row["state"] for row in rows] == ["update", "reject"]
    way.post("preview")
    way.post("check")
    way.post("confirm", rejects="on")
    assert dict(Account.objects.values_list("pk", "name")) == {first: "old", second: "new"}


@pytest.mark.parametrize(
    "hidden", [{"readonly_fields": ["id"]}, {"exclude": ["id"]}, {"has_change_permission": None}]
)
def test_a_drawn_key_is_not_offered_where_the_model_admin_hides_it(
    changers_way, monkeypatch, hidden
):
    way = changers_way
    way.upload(f"id,{HEADER}\n7,root,DE1,Giro,EUR,\n")
    way.go("mapping")
    fields = way.inputs("mapping")
    assert "source-id" in fields
    for name, value in hidden.items():
        given = value if value is not None else lambda *_args, **_kwargs: False
        monkeypatch.setattr(admin.site._registry[Account], name, given, raising=False)
    assert "source-id" not in page(way.get("mapping"))
    assert way.post("mapping", **{**fields, "source-id": "column:1"}).status_code == 403

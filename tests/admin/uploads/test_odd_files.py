"""Files and forms as nobody expects them: each is told of, and no page breaks."""

import gzip
import json
import zipfile

import pytest
import xlwt
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import models
from django.http import QueryDict
from django.template.loader import render_to_string
from django.urls import reverse

from finance.models import Account
from ingest.admin.uploads.mapping import MappingForm
from ingest.exceptions import LayoutError
from ingest.layout import Layout
from ingest.models import Load, SavedLayout, Upload
from tests.admin.uploads.conftest import STEPS
from tests.admin.uploads.test_way import ACCOUNTS, HEADER, numbers, page
from tests.sources.workbooks import (
    LOCKED,
    make,
    make_locked,
    make_ods,
    make_xlsb,
    ods_cell,
    ods_row,
)

pytestmark = pytest.mark.django_db

NAMES = HEADER.split(",")
ROW = ["root", "DE1", "Giro", "EUR", "2025-01-31"]


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


def kept(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("content", "name", "want"),
    [
        (b"user__username,num\0ber,name\nroot,DE1,x\n", "a.csv", "The name of column 2 has"),
        (b'[{"number": "DE1", "na\\u0000me": "x"}]', "a.json", "The name of column 2 has"),
        (gzip.compress(ACCOUNTS.encode() * 9)[:-20], "cut.csv.gz", "cut.csv.gz cannot be decom"),
        (HEADER.encode() + b"," + b"x" * 300_000 + b"\n", "long.csv", "its first record is longer"),
        (b"\xef\xbb\xbf", "a.csv", "is empty"),
        (gzip.compress(b""), "a.csv.gz", "is empty"),
        (b"", "a.csv", "The file is empty"),
        (b"[" * 100_000, "a.json", "is cut off"),
        (b"PK\x03\x04 and no more", "a.zip", "is a damaged ZIP file"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and no more", "a.xls", "is truncated or damaged"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_file_that_cannot_be_loaded_is_told_of_and_not_kept(way, folder, content, name, want):
    assert want in page(way.upload(content, name))
    assert kept(folder) == []
    assert not Upload.objects.exists()


@pytest.mark.parametrize("line_end", ["", "\n"])
def test_a_file_of_nothing_but_a_header_goes_the_way(way, line_end):
    way.upload(HEADER + line_end)
    way.go("confirm")
    way.post("confirm")
    assert Load.objects.get().status == Load.Status.LOADED
    assert numbers() == []


@pytest.mark.parametrize("name", LOCKED)
def test_a_file_with_a_password_is_told_of(way, folder, tmp_path, name):
    content = make_locked(tmp_path / name).read_bytes()
    assert f"{name} is protected by a password: save it without one." in page(
        way.upload(content, name)
    )
    assert kept(folder) == []


def test_a_workbook_of_another_kind_than_its_name_goes_the_way(way, tmp_path):
    way.upload(workbook(tmp_path, "xls").read_bytes(), "accounts.xlsx")
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1"]


@pytest.mark.parametrize("name", ["accounts.xlsx.gz", "accounts.zip"])
def test_a_sheet_of_a_workbook_that_is_packed_is_chosen(way, tmp_path, name):
    path = make(
        tmp_path / "accounts.xlsx", ("Notes", [["What"], ["Nothing"]]), ("Table", [NAMES, ROW])
    )
    content = gzip.compress(path.read_bytes())
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(path, path.name)
        content = (tmp_path / name).read_bytes()
    way.upload(content, name)
    way.post("file", **{**way.inputs("file"), "sheet": "Table"})
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1"]


def workbook(folder, kind):
    path = folder / f"accounts.{kind}"
    if kind == "ods":
        rows = (NAMES, ROW)
        return make_ods(path, *(ods_row(*map(ods_cell, row)) for row in rows))
    if kind == "xls":
        book = xlwt.Workbook()
        sheet = book.add_sheet("Table")
        for at, row in enumerate((NAMES, ROW)):
            for place, cell in enumerate(row):
                sheet.write(at, place, cell)
        book.save(str(path))
        return path
    return (make_xlsb if kind == "xlsb" else make)(path, [NAMES, ROW])


@pytest.mark.parametrize("kind", ["ods", "xls", "xlsb", "xlsx"])
def test_each_kind_of_workbook_goes_the_way(way, tmp_path, kind):
    way.upload(workbook(tmp_path, kind).read_bytes(), f"accounts.{kind}")
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1"]


@pytest.mark.parametrize(
    ("field", "value", "want"),
    [
        ("encoding", "idna", "There is no encoding 'idna'"),
        ("encoding", "undefined", "There is no encoding 'undefined'"),
        ("encoding", "base64", "There is no encoding"),
        ("encoding", "utf-16", "does not begin with a byte-order mark"),
        ("quote", ",", "has two meanings"),
        ("skip_records", "99", "fewer than the 99 to be skipped"),
        ("null", "a\0b", "Null characters are not allowed"),
        ("formats", "%", ""),
    ],
)
def test_what_cannot_be_said_of_reading_is_told(way, field, value, want):
    way.upload(ACCOUNTS)
    before = way.found.layout
    response = way.post("file", **{**way.inputs("file"), field: value})
    if want:
        assert want in page(response).replace("&#x27;", "'")
        assert way.found.layout == before
    for step in STEPS[: STEPS.index(way.found.step) + 1]:
        assert way.get(step).status_code == 200


@pytest.mark.parametrize("said", [{"delimiter": ";"}, {"delimiter": " "}, {"encoding": "cp037"}])
def test_a_file_that_is_read_as_what_it_is_not_can_be_put_right(way, said):
    way.upload(ACCOUNTS)
    fields = way.inputs("file")
    way.post("file", **{**fields, **said})
    assert way.get("mapping").status_code == 200
    way.post("file", **fields)
    way.go("preview")


def test_errors_do_not_repeat_all_that_was_posted(way):
    way.upload(ACCOUNTS)
    way.go("mapping")
    shown = page(
        way.post("mapping", **{**way.inputs("mapping"), "formats-opened_on": "x" * 90_000})
    )
    alert = shown.partition('role="alert"')[2].partition("</p>")[0]
    assert 0 < len(alert) < 3_000


@pytest.mark.parametrize("constant", ["\0", "DE\0", "\x1b[31m\u202e<b>"])
def test_no_constant_breaks_a_page(way, constant):
    way.upload(ACCOUNTS)
    way.go("mapping")
    fields = {**way.inputs("mapping"), "source-name": "constant", "constant-name": constant}
    way.post("mapping", **fields)
    for step in STEPS[: STEPS.index(way.found.step) + 1]:
        shown = page(way.get(step))
        assert "<b>" not in shown.partition('id="content-main"')[2]


def wide_form(columns, fields=100, layout=None):
    names = [f"field_{at}" for at in range(fields)]
    offered = {name: models.CharField(name=name, max_length=9) for name in names}
    for name, field in offered.items():
        field.set_attributes_from_name(name)
    columns = [f"column {at}" for at in range(1, columns + 1)]
    return MappingForm(layout=layout or Layout(), columns=columns, fields=offered)


def posted(**fields):
    found = QueryDict(mutable=True)
    found.update({name.replace("_of_", "-"): value for name, value in fields.items()})
    return found


def test_the_names_of_many_columns_are_typed():
    form = wide_form(2_000)
    context = {"rows": form.rows(), "typed_names": form.typed_names, "is_owner": True}
    shown = render_to_string("admin/ingest/way/rows.html", context)
    assert len(shown) < 500_000
    assert shown.count("<datalist") == 1
    said = posted(
        source_of_field_1="typed",
        typed_of_field_1="column 7",
        typed_of_field_2=" 12 ",
        source_of_field_3="column:2000",
    )
    layout = form.to_layout(said)
    fed = {name: said.column for name, said in layout.fields.items()}
    assert fed == {"field_1": "column 7", "field_2": "column 12", "field_3": "column 2000"}
    row = next(row for row in wide_form(2_000, layout=layout).rows() if row.name == "field_1")
    assert row.choice == "column:7"
    assert ("column:7", "column 7") in row.choices
    assert len(row.choices) == 4
    assert wide_form(20).typed_names == []


@pytest.mark.parametrize("name", ["column", "2001", "0", "-1", "", "\0", "<b>"])
def test_a_typed_name_that_is_no_column_is_told(name):
    said = posted(source_of_field_1="typed", typed_of_field_1=name)
    with pytest.raises(LayoutError, match="Field 1: there is no column"):
        wide_form(2_000).to_layout(said)


def test_a_file_of_many_columns_goes_the_way(way):
    extra = [f"column {at}" for at in range(300)]
    way.upload("\n".join(",".join([*row, *extra]) for row in (NAMES, ROW)))
    way.go("mapping")
    fields = {**way.inputs("mapping"), "typed-name": "column 299"}
    fields["source-name"] = "typed"
    way.post("mapping", **fields)
    assert "column 299" in page(way.go("preview"))
    way.go("confirm")
    way.post("confirm")
    assert Account.objects.get().name == "column 299"


def test_long_names_of_columns_are_cut_where_they_are_shown(way):
    long = "x" * 50_000
    way.upload(f"{HEADER},{long}\nroot,DE1,Giro,EUR,,1\n")
    way.go("mapping")
    assert len(page(way.get("mapping"))) < 60_000
    way.post("mapping", **{**way.inputs("mapping"), "source-name": "column:6"})
    way.go("confirm")
    way.post("confirm")
    assert Account.objects.get().name == "1"


def test_two_tabs_do_not_load_what_was_not_looked_at(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    way.post("mapping", **{**way.inputs("mapping"), "source-currency": ""})  # the other tab
    assert way.post("confirm").url == way.address("options")
    assert numbers() == []
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1", "DE2"]


def test_who_goes_back_after_the_load_changes_nothing(way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    before = way.inputs("mapping")
    load = way.post("confirm").url
    for step in STEPS:
        assert way.get(step).url == load
        assert way.post(step, **before, action="begin").url == load
    assert way.post("forget").url == load
    assert numbers() == ["DE1", "DE2"]
    assert Load.objects.count() == 1


def test_who_is_logged_out_in_the_middle_goes_on_after_logging_in(way, admin_user):
    way.upload(ACCOUNTS)
    way.go("options")
    Session.objects.all().delete()
    response = way.post("options", on_conflict="error")
    assert response.url.startswith(reverse("admin:login"))
    assert way.found.step == "options"
    assert way.upload(ACCOUNTS).url.startswith(reverse("admin:login"))
    assert Upload.objects.count() == 1
    way.client.force_login(admin_user)
    way.key = Upload.objects.get().pk
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1", "DE2"]


def test_a_saved_layout_that_is_deleted_meanwhile_is_not_there(way):
    way.upload(ACCOUNTS)
    way.go("mapping")
    way.post("mapping", **way.inputs("mapping"), name="mine")
    saved = SavedLayout.objects.get()
    address = reverse("admin:ingest_savedlayout_change", args=[saved.pk])
    assert way.client.get(address).status_code == 200
    way.upload(ACCOUNTS)
    assert way.found.options["start"] == "saved:mine"
    saved.delete()
    assert way.client.post(address, {"name": "mine"}).status_code == 404
    way.go("confirm")
    way.post("confirm")
    assert numbers() == ["DE1", "DE2"]


@pytest.mark.parametrize("name", ["konto-größe.csv", "名前.csv", "حساب.csv", "a\nb.csv", "😀.csv"])
def test_names_and_columns_of_any_script_go_the_way(way, name):
    header = json.dumps(["user__username", "number", "名前", "اسم", "n\u202eame"])
    columns = json.loads(header)
    way.upload(",".join(columns) + "\nroot,DE1,花子,x,y\n", name)
    way.go("mapping")
    way.post("mapping", **{**way.inputs("mapping"), "source-name": "column:3"})
    way.go("confirm")
    way.post("confirm")
    assert Account.objects.get().name == "花子"
    assert "\u202e" not in page(way.client.get(reverse("admin:ingest_load_changelist")))

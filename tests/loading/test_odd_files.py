"""Files as they come: joined, from other systems, with what was hardly meant told or refused."""

from __future__ import annotations

import io
import zipfile

import pytest
from django.core.management import CommandError, call_command

from finance.models import Account
from ingest import LayoutError, RecordsRefused, load
from ingest.layout import FieldLayout, Layout, Reading
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
BOM = "\ufeff"


@pytest.fixture
def owner():
    return UserFactory(username="u")


def load_text(text, encoding="utf-8", **options):
    data = text if isinstance(text, bytes) else text.encode(encoding)
    options = {"encoding": encoding, **options}
    return load(Account, io.BytesIO(data), set={"user__username": "u"}, **options)


def stored(*names):
    return list(Account.objects.order_by("pk").values_list(*names or ("number", "name")))


@pytest.mark.parametrize(
    ("text", "encoding", "options"),
    [
        (f"{BOM}number,name\nA,a\n{BOM}number,name\nB,b\n", "utf-8", {}),
        (f'{BOM}"number","name"\n"A","a"\n{BOM}"number","name"\n"B","b"\n', "utf-8", {}),
        (
            f"{BOM}number\tname\r\nA\ta\r\n{BOM}number\tname\r\nB\tb",
            "utf-16-le",
            {"delimiter": "\t"},
        ),
        (f"number,name\nA,a\n{BOM}B2,b2,c\nB,b\n", "utf-8", {"lenient": "cut"}),
    ],
)
def test_a_byte_order_mark_within_a_file_refuses_its_record(owner, text, encoding, options):
    result = load_text(text, encoding, on_error="reject", **options)
    assert stored() == [("A", "a"), ("B", "b")]
    [reject] = result.rejects
    assert (reject.record, reject.kind) == (2, "parse")
    assert "it begins with a byte-order mark, as where files were joined" in reject.reason


def test_a_byte_order_mark_within_a_cell_is_text(owner):
    load_text(f'number,name\nA{BOM},"x\n{BOM}y"\n')
    assert stored() == [(f"A{BOM}", f"x\n{BOM}y")]


def test_a_header_with_a_mark_can_be_skipped(owner):
    fields = {
        "number": FieldLayout(column="number"),
        "name": FieldLayout(column="name"),
        "user": FieldLayout(constant="u", lookup=("username",)),
    }
    rule = Layout.from_document({"skip": [{"column": "number", "equals": ["number"]}]}, None).skip
    result = load(
        Account,
        io.BytesIO(f"number,name\nA,a\n{BOM}number,name\nnumber,name\nB,b\n".encode()),
        layout=Layout(fields=fields, skip=rule),
    )
    assert (stored(), result.skipped) == ([("A", "a"), ("B", "b")], 2)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("number,name\nA,a\nnumber,name\nB,b\n", {}, "as record 2. If that is a header, leave it"),
        (
            'number,name\n"number","name"\nA,a\n',
            {"columns": ["number", "name"], "header": False, "on_error": "reject"},
            "has 2 records whose cells are the names of its columns, first in record 1.",
        ),
        ('number,name\nA, "a"\n', {}, "has blanks before quotes"),
        ("number,name\nA,a\n", {"trailer_pattern": "^Total"}, "matches trailer_pattern, so that"),
    ],
)
def test_what_was_hardly_meant_is_told(owner, text, options, told):
    [warning] = load_text(text, **options).warnings
    assert warning.startswith("Warning: ")
    assert told in warning


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("number,name\nA,a\nname,number\n", {}),
        ("number,name\nnumber,x\n", {}),
        ('number,name\n"A","a, ""b"""\n', {}),
        ("number,name\nA,a\nTotal,1\n", {"trailer_pattern": "^Total"}),
        ("number,name\nA,é\n", {"encoding": "latin-1"}),
    ],
)
def test_what_may_be_meant_is_not_told(owner, text, options):
    assert load_text(text, **{"encoding": "utf-8", **options}).warnings == ()


def test_the_columns_of_a_file_that_has_them_are_told(owner):
    result = load_text("number,name\nA,a\n", columns=["number", "name"])
    assert (
        "as record 1. If that is a header, leave it out with --skip-records 1."
        in result.warnings[0]
    )


def test_windows_letters_that_are_read_as_controls_are_told(owner):
    [warning] = load_text("number,name\nA,5 €\n".encode("cp1252"), "latin-1").warnings
    assert "has control characters (U+0080 to U+009F) when it is read as latin-1" in warning


def test_mysqls_null_keeps_its_backslash(owner):
    layout = Layout(others="match", read=Reading(null=("\\N",)))
    load(
        Account,
        io.BytesIO(
            b"number,name,opened_on\n"
            rb"A,N,\N"
            b"\n"
            rb'"B\"",x\Ny,"2026-01-05"'
            b"\r\n"
            b"C,C:\\\\,\\N"
        ),
        layout=layout,
        escape="\\",
        set={"user__username": "u"},
    )
    assert [(*row[:2], str(row[2])) for row in stored("number", "name", "opened_on")] == [
        ("A", "N", "None"),
        ('B"', "xNy", "2026-01-05"),
        ("C", "C:\\", "None"),
    ]


@pytest.mark.parametrize("word", ["NULL", "n/a", "-", "0000-00-00"])
@pytest.mark.parametrize("read", [Reading(), Reading(formats=("%d.%m.%Y",))])
def test_a_word_for_null_names_the_cure(owner, word, read):
    with pytest.raises(
        RecordsRefused, match="set null in the layout, or give --null to the command"
    ):
        load_text(f"number,name,opened_on\nA,a,{word}\n", layout=Layout(others="match", read=read))


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"ignore_columns": ["3"]}, "a"),
        ({"ignore_columns": ["2"]}, "b"),
        ({"map": {"name": "3"}}, "b"),
    ],
)
def test_columns_of_one_name_are_told_apart_by_position(owner, options, want):
    load_text("number,name,name\nA,a,b\n", **options)
    assert stored() == [("A", want)]


def test_two_columns_of_one_name_name_the_position(owner, tmp_path):
    with pytest.raises(LayoutError, match="--ignore-columns 3, its position"):
        load_text("number,name,name\nA,a,b\n")
    path = tmp_path / "rows.csv"
    path.write_text("number,,x\nA,a,b\n")
    options = ("--map", "name=2", "--ignore-columns", "x", "--set", "user__username=u")
    call_command("bulk_load", "finance.Account", path, *options, verbosity=0)
    assert stored() == [("A", "a")]


def test_a_position_does_not_stand_for_a_column_with_a_name(owner):
    with pytest.raises(LayoutError, match="the source has no column '2'"):
        load_text("number,y\nA,a\n", map={"name": "2"})


def test_files_that_systems_leave_in_folders_are_not_members(owner, tmp_path):
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/rows.csv", "number,name\nA,a\n")
        for name in ("x/.DS_Store", "Thumbs.db", "x/desktop.ini", "__MACOSX/x/._rows.csv"):
            archive.writestr(name, "junk")
    call_command("bulk_load", "finance.Account", path, "--set", "user__username=u", verbosity=0)
    assert stored() == [("A", "a")]


def test_a_format_that_python_does_not_know_is_refused_by_the_command(owner, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("number,name,opened_on\nA,a,5.1.2026\n")
    options = ("--set", "user__username=u", "--date-format", "%-d.%-m.%Y")
    with pytest.raises(CommandError, match="'-' is a bad directive"):
        call_command("bulk_load", "finance.Account", path, *options)

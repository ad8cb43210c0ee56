"""What is said of values that a layout cannot read: the cause and the cure."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, models

from finance.models import Account, Transaction
from ingest import (
    Condition,
    ConstraintRefused,
    FieldLayout,
    Layout,
    LayoutError,
    Reading,
    RecordsRefused,
    SourceError,
    load,
)
from ingest.layout.columns import Picker
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
FORMATS = {"date": "%d.%m.%Y", "datetime": "%d.%m.%Y %H:%M", "time": "%H.%M"}
FIELDS = {
    "date": models.DateField,
    "datetime": models.DateTimeField,
    "time": models.TimeField,
}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("text", ["2026-01-31", "31/01/2026", "25.61", "x", "31.02.2026 10:00"])
def test_another_format_is_named_and_not_the_usual_one(kind, text):
    layout = Layout(fields={"f": FieldLayout(column="a", formats=(FORMATS[kind],))})
    picker = Picker(layout, "f", FIELDS[kind]())
    [(place, reason)] = picker.pick([pa.array([text.encode()])], ["a"], 1).refused
    assert (place, FORMATS[kind] in reason, text in reason) == (0, True, True)
    assert "YYYY" not in reason
    assert "HH:MM" not in reason


def test_a_datetime_in_another_format_is_told_by_the_command(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text("username,password,date_joined\na,!,31.01.2026 10:00\nb,!,2026-01-31 10:00\n")
    with pytest.raises(CommandError) as caught:
        call_command(
            *("bulk_load", "auth.User", str(path), "--date-format", FORMATS["datetime"]),
            stdout=io.StringIO(), stderr=io.StringIO(),
        )  # fmt: skip
    said = str(caught.value)
    assert "record 2 (line 3), column 'date_joined': '2026-01-31 10:00'" in said
    assert "cannot be read as '%d.%m.%Y %H:%M'" in said
    assert "YYYY" not in said
    assert get_user_model().objects.count() == 0


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ({"decimal": ","}, "decimal has no effect: name is not a number."),
        ({"formats": ("%d",)}, "formats has no effect: name is not a date or a time."),
        ({"timezone": "UTC"}, "timezone has no effect: name is not a date with a time."),
        ({"true": ("ja",)}, "true has no effect: name is not a boolean."),
        ({"join": "-"}, "join has no effect: name says no columns."),
        ({"otherwise": "x"}, "otherwise has no effect: name says no values."),
        ({"create": {}}, "create has no effect: name says no lookup."),
        ({"debit_is_negative": True}, "debit_is_negative has no effect: name says no debit."),
    ],
)
def test_a_key_of_a_field_without_effect(said, want):
    layout = Layout(fields={"name": FieldLayout(column="name", **said)})
    with pytest.raises(LayoutError) as caught:
        load(Account, [{"name": "x"}], layout=layout)
    assert want in str(caught.value)


def amounts(rows, *, skip=(), **said):
    account = AccountFactory()
    fields = {
        "user": FieldLayout(constant=account.user_id),
        "account": FieldLayout(constant=account.pk),
        "tx_date": FieldLayout(constant="2026-01-31"),
        "amount": FieldLayout(**said),
    }
    layout = Layout(fields=fields, skip=skip, read=Reading(decimal=","))
    load(Transaction, rows, columns=["out", "in"], layout=layout)
    return [
        str(each) for each in Transaction.objects.order_by("pk").values_list("amount", flat=True)
    ]


def test_an_empty_debit_and_credit_name_their_cures():
    rows = [("1,00", ""), ("", "2,00"), ("", " "), (None, "")]
    sides = {"debit": "out", "credit": "in"}
    with pytest.raises(RecordsRefused) as caught:
        amounts(rows, **sides)
    assert [(it.record, it.field) for it in caught.value.rejects] == [(3, "amount"), (4, "amount")]
    assert {it.reason for it in caught.value.rejects} == {
        (
            "Both the debit and the credit column are empty. Give a value for amount with the key "
            "'default' of its layout, or leave such records out with [[skip]]."
        )
    }
    assert amounts(rows, **sides, default="0") == ["-1.00", "2.00", "0.00", "0.00"]
    Transaction.objects.all().delete()
    skip = (Condition(column="out", empty=True),)
    assert amounts(rows, **sides, skip=skip) == ["-1.00"]


@pytest.mark.parametrize("side", ["debit", "credit"])
def test_one_empty_side(side):
    with pytest.raises(
        RecordsRefused, match=f"The {side} column is empty. Give a value for amount"
    ):
        amounts([("1,00", "")] * 2 + [("", "")], **{side: "out"})


@pytest.mark.parametrize(
    ("text", "record", "line"),
    [
        ('{u},A,x\n{u},"B,x\n{u},C,x\n{u},D,x\n', 2, 3),
        ('{u},"A\nA",x\n{u},C,"x\n{u},D,x\n', 2, 4),
        ('{u},A,x\n{u},B,"x', 2, 3),
    ],
)
@pytest.mark.parametrize("how", [{}, {"escape": "\\"}, {"encoding": "latin-1"}])
def test_an_open_quote_is_called_one_with_its_line(tmp_path, text, record, line, how):
    path = tmp_path / "rows.csv"
    path.write_text("user,number,name\n" + text.format(u=UserFactory().pk))
    with pytest.raises((RecordsRefused, SourceError)) as caught:
        load(Account, path, **how)
    said = str(caught.value)
    assert "a quote that is never closed" in said
    assert f"record {record} (line {line})" in said
    assert Account.objects.count() == 0


EMPTY = {
    "formats of a field": ("fields.a", '[fields.a]\ncolumn = "A"\nformats = []', "'formats'"),
    "formats of all": ("read", "[read]\nformats = []", "'formats'"),
    "columns": ("fields.a", "[fields.a]\ncolumns = []", "'columns'"),
    "lookup": ("fields.a", '[fields.a]\ncolumn = "A"\nlookup = []', "'lookup'"),
    "equals": ("skip", '[[skip]]\ncolumn = "A"\nequals = []', "'equals'"),
    "when": ("continuation", '[continuation]\nwhen = []\nappend = ["A"]', "'when'"),
    "append": (
        "continuation",
        '[continuation]\nappend = []\nwhen = [{column = "A", empty = true}]',
        "'append'",
    ),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_list_that_would_change_the_meaning_is_refused_with_its_line(tmp_path, kind):
    where, text, key = EMPTY[kind]
    path = tmp_path / "layout.toml"
    path.write_text(text)
    with pytest.raises(LayoutError) as caught:
        Layout.from_toml(path)
    said = str(caught.value)
    assert f"{key} of {where}" in said
    assert "is an empty list" in said
    line = next(n for n, it in enumerate(text.splitlines(), 1) if it.startswith(key.strip("'")))
    assert f"layout.toml, line {line}: " in said
    assert ("(column 'A')" in said) == ('column = "A"' in text and where != "continuation")


def test_empty_formats_in_python_are_refused():
    with pytest.raises(LayoutError, match=r"'formats' of fields\.f \(column 'a'\) is an empty"):
        Layout(fields={"f": FieldLayout(column="a", formats=())})
    with pytest.raises(LayoutError, match="'formats' of read is an empty"):
        Layout(read=Reading(formats=()))


def test_a_field_may_have_none_of_the_words_and_marks_of_all():
    read = Reading(null=("-",), thousands=(",",), currency=("USD",))
    fields = {
        "f": FieldLayout(column="a", null=(), thousands=(), currency=(), decimal="."),
        "g": FieldLayout(column="a"),
    }
    layout = Layout(fields=fields, read=read)
    field = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    cells = pa.array([b"-", b"USD 1", b"1,000", b"1.5"])
    own, general = (Picker(layout, name, field).pick([cells], ["a"], 4) for name in ("f", "g"))
    assert [place for place, _ in own.refused] == [0, 1, 2]
    assert general.refused == []
    assert general.cells.to_pylist() == [b"", b"1", b"1000", b"1.5"]


@pytest.fixture
def small_amounts():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE finance_transaction ADD CONSTRAINT small CHECK (amount < 1000)")
        yield
        cursor.execute("ALTER TABLE finance_transaction DROP CONSTRAINT small")


ACCOUNTS = Layout(
    fields={
        "account": FieldLayout(column="Konto", lookup=("number",)),
        "user": FieldLayout(copy="account.user"),
        "amount": FieldLayout(column="Betrag"),
        "tx_date": FieldLayout(column="Tag"),
        "reference": FieldLayout(column="Nr"),
    },
    read=Reading(decimal=",", thousands=(".",), formats=("%d.%m.%Y",)),
    source={"delimiter": ";"},
)
GOOD = [f"A{n % 2 + 1};{n},50;01.02.2026;R{n}" for n in range(40)]
MODES = [{}, {"method": "direct"}, {"on_conflict": "upsert", "key": ["reference", "account"]}]


def bank_text(*lines):
    return io.BytesIO("\n".join(("Konto;Betrag;Tag;Nr", *GOOD, *lines, "")).encode())


@pytest.mark.parametrize("more", MODES)
def test_what_postgresql_refuses_is_told_with_the_values_of_the_file(small_amounts, more):
    AccountFactory(number="A1"), AccountFactory(number="A2")
    bad = "A1;1.000,50;01.02.2026;X"
    with pytest.raises(ConstraintRefused) as caught:
        load(Transaction, bank_text(bad), layout=ACCOUNTS, **more)
    assert "record 41 (line 42), column 'Betrag' (field 'amount'): '1.000,50'" in str(caught.value)
    result = load(Transaction, bank_text(bad), layout=ACCOUNTS, on_error="reject", **more)
    [reject] = result.rejects
    assert (reject.record, reject.column, reject.field, reject.value) == (
        *(41, "Betrag", "amount"),
        "1.000,50",
    )
    assert result.rows == len(GOOD)


@pytest.mark.parametrize("more", MODES[:2])
def test_a_key_that_is_looked_up_is_told_as_the_file_has_it(more):
    AccountFactory(number="A1"), AccountFactory(number="A2")
    with pytest.raises(ConstraintRefused) as caught:
        load(Transaction, bank_text("A2;1,00;01.02.2026;R1"), layout=ACCOUNTS, **more)
    assert "column 'Konto' (field 'account'): 'A2', column 'Nr' (field 'reference'): 'R1'" in str(
        caught.value
    )


def test_in_files_that_are_joined_each_record_has_its_own_value(small_amounts, tmp_path):
    AccountFactory(number="A1")
    for n in range(6):
        amount = "2.000,00" if n == 4 else f"{n},00"
        text = f"Konto;Betrag;Tag;Nr\nA1;{amount};01.02.2026;F{n}\n"
        (tmp_path / f"{n}.csv").write_text(text)
    for more in ({}, {"on_conflict": "upsert", "key": ["reference", "account"]}):
        result = load(
            Transaction, str(tmp_path / "*.csv"), layout=ACCOUNTS, on_error="reject", **more
        )
        [reject] = result.rejects
        assert (reject.source, reject.record, reject.value) == (
            *(str(tmp_path / "4.csv"), 1),
            "2.000,00",
        )
        Transaction.objects.all().delete()

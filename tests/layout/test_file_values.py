"""Values out of a preamble, a file's name or a part of a cell, by a pattern with one group."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command

from finance.models import Account, Transaction
from ingest import load, preview
from ingest.exceptions import LayoutError
from ingest.layout import FieldLayout, Layout
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db

STATEMENT = """Statement of account;;
Account: A1;from 01.02.2024;"Größe"

date;text;amount
2024-01-31;Rent;1.00
2024-02-01;Bread;2.00
"""
PREAMBLE = {"skip_records": 2, "delimiter": ";"}
FIELDS = {
    "account": FieldLayout(preamble=r"Account: (\w+)", lookup=("number",)),
    "user": FieldLayout(copy="account.user"),
    "tx_date": FieldLayout(column="date"),
    "description": FieldLayout(column="text"),
    "amount": FieldLayout(column="amount"),
}


def write(folder, text, name="statement.csv", encoding="utf-8"):
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def test_a_parent_is_found_in_the_preamble(tmp_path):
    account = AccountFactory(number="A1")
    path = write(tmp_path, STATEMENT)
    layout = Layout(source=PREAMBLE, fields=FIELDS)
    assert [row[1:] for row in preview(Transaction, path, layout=layout).rows] != []
    load(Transaction, path, layout=layout)
    found = Transaction.objects.order_by("pk").values_list("account", "user", "description")
    assert list(found) == [
        (account.pk, account.user_id, "Rent"),
        (account.pk, account.user_id, "Bread"),
    ]


def test_a_value_of_the_preamble_is_read_as_the_layout_says(tmp_path):
    account = AccountFactory(number="A1")
    fields = {
        **FIELDS,
        "account": FieldLayout(constant="A1", lookup=("number",)),
        "tx_date": FieldLayout(preamble=r"from ([\d.]+)", formats=("%d.%m.%Y",)),
        "description": FieldLayout(preamble=r'(?i)"(größe)"'),
    }
    path = write(tmp_path, STATEMENT, encoding="latin-1")
    layout = Layout(source={**PREAMBLE, "encoding": "latin-1"}, fields=fields)
    load(Transaction, path, layout=layout)
    found = Transaction.objects.values_list("tx_date", "description").distinct()
    assert [(str(day), text) for day, text in found] == [("2024-02-01", "Größe")]
    assert account.transactions.count() == 2


def test_each_of_several_files_has_its_own(tmp_path):
    for number in ("A1", "B2"):
        AccountFactory(number=number)
        text = STATEMENT.replace("A1", number)
        write(tmp_path, text, f"{number}_2024-0{len(Account.objects.all())}-15.csv")
    fields = {**FIELDS, "tx_date": FieldLayout(file_name=r"_(\d{4}-\d\d-\d\d)\.csv$")}
    layout = Layout(source=PREAMBLE, fields=fields)
    load(Transaction, str(tmp_path / "*.csv"), layout=layout)
    found = Transaction.objects.order_by("pk").values_list("account__number", "tx_date")
    assert [(number, str(day)) for number, day in found] == [
        *[("A1", "2024-01-15")] * 2,
        *[("B2", "2024-02-15")] * 2,
    ]


def test_of_several_files_all_are_looked_at_before_the_first_row(tmp_path):
    AccountFactory(number="A1")
    write(tmp_path, STATEMENT, "1.csv")
    write(tmp_path, STATEMENT.replace("Account", "Konto"), "2.csv")
    layout = Layout(source=PREAMBLE, fields=FIELDS)
    with pytest.raises(LayoutError, match=r"account cannot be found in the preamble of .*2\.csv"):
        load(Transaction, str(tmp_path / "*.csv"), layout=layout, on_error="reject")
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (FieldLayout(preamble=r"Konto: (\d+)"), "does not match 'Statement of account;;"),
        (FieldLayout(preamble=r"Account: \d+"), "must have one group"),
        (FieldLayout(preamble=r"(Account): (\d+)"), "must have one group"),
        (FieldLayout(preamble=r"(Account"), "cannot be used: .*missing"),
        (FieldLayout(file_name=r"(\d+)"), "in the file name of .*: the pattern"),
        (FieldLayout(preamble="(S)", column="text"), "must have exactly one of"),
        (FieldLayout(preamble="(S)", file_name="(S)"), "must have exactly one of"),
        (FieldLayout(constant="x", pattern="(x)"), "takes a part of one cell"),
        (FieldLayout(columns=("text", "date"), pattern="(x)"), "takes a part of one cell"),
        (FieldLayout(column="text", pattern="x"), "must have one group"),
        (FieldLayout(column="text", pattern="(x"), "cannot be used"),
    ],
)
def test_patterns_that_cannot_be_used(said, message, tmp_path):
    AccountFactory(number="A1")
    layout = Layout(source=PREAMBLE, fields={**FIELDS, "description": said})
    with pytest.raises(LayoutError, match=message):
        load(Transaction, write(tmp_path, STATEMENT), layout=layout, on_error="reject")


@pytest.mark.parametrize(
    ("name", "said", "message"),
    [
        ("tx_date", FieldLayout(preamble="(Statement)"), "tx_date refuses the value that all"),
        (
            "tx_date",
            FieldLayout(preamble=r"from ([\d.]+)", formats=("%Y",)),
            "cannot be read as '%Y'",
        ),
        ("amount", FieldLayout(file_name="(s)tatement", decimal=","), "must be a decimal number"),
    ],
)
def test_a_value_that_the_field_refuses_ends_the_load_before_the_first_row(
    name, said, message, tmp_path
):
    AccountFactory(number="A1")
    layout = Layout(source=PREAMBLE, fields={**FIELDS, name: said})
    with pytest.raises(LayoutError, match=message):
        load(Transaction, write(tmp_path, STATEMENT), layout=layout, on_error="reject")


@pytest.mark.parametrize(
    ("source", "said", "message"),
    [
        ([{"name": "x"}], FieldLayout(preamble="(x)"), "no text before the header"),
        ([{"name": "x"}], FieldLayout(file_name="(x)"), "not a file with a name"),
        (io.BytesIO(b"name\nx\n"), FieldLayout(file_name="(x)"), "not a file with a name"),
        (io.BytesIO(b"name\nx\n"), FieldLayout(preamble="(x)"), "set skip_records"),
    ],
)
def test_a_source_that_has_neither(source, said, message):
    with pytest.raises(LayoutError, match=message):
        load(Account, source, layout=Layout(others="match", fields={"number": said}))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "dicts"])
def test_a_part_of_a_cell(kind, tmp_path):
    user = UserFactory()
    texts = ["Account A1, Prague", "no number", "", "account A22 and A3"]
    rows = [{"where": text, "name": "x", "user": user.pk} for text in texts]
    source = {
        "csv": lambda: write(
            tmp_path,
            "where,name,user\n" + "".join(f'"{text}",x,{user.pk}\n' for text in texts),
        ),
        "jsonl": lambda: write(
            tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl"
        ),
        "dicts": lambda: rows,
    }[kind]()
    said = FieldLayout(column="where", pattern=r"(?i)account (A\d+)", default="none")
    layout = Layout(others="match", fields={"number": said})
    result = load(Account, source, layout=layout, on_error="reject")
    numbers = Account.objects.order_by("pk").values_list("number", flat=True)
    assert list(numbers) == ["A1", "none", "A22"]
    [reject] = result.rejects
    assert (reject.record, reject.column, reject.value) == (2, "where", "no number")
    assert reject.reason == "“no number” has no part that fits the pattern '(?i)account (A\\\\d+)'."


def test_a_part_of_a_typed_cell():
    user = UserFactory()
    rows = [{"number": 20240131, "name": "x", "user": user.pk}, {"number": 5, "name": "y"}]
    rows[1]["user"] = user.pk
    fields = {
        "opened_on": FieldLayout(column="number", pattern=r"^(\d{8})$", formats=("%Y%m%d",)),
        "number": FieldLayout(column="number"),
        "name": FieldLayout(column="name"),
        "user": FieldLayout(constant=user.pk),
    }
    result = load(Account, rows, layout=Layout(fields=fields), on_error="reject")
    assert str(Account.objects.get().opened_on) == "2024-01-31"
    [reject] = result.rejects
    assert (reject.record, reject.field, reject.value) == (2, "opened_on", 5)


def test_a_natural_key_is_a_part_of_a_cell():
    account = AccountFactory(number="A1")
    fields = {
        "account__number": FieldLayout(column="text", pattern=r"to (\w+)"),
        "user": FieldLayout(copy="account.user"),
        "tx_date": FieldLayout(constant="2024-01-31"),
        "description": FieldLayout(column="text"),
        "amount": FieldLayout(constant=1),
    }
    rows = [{"text": "to A1"}, {"text": "nothing"}, {"text": "to B2"}]
    result = load(Transaction, rows, layout=Layout(fields=fields), on_error="reject")
    assert Transaction.objects.get().user_id == account.user_id
    assert [(reject.record, reject.kind, reject.value) for reject in result.rejects] == [
        (2, "value", "nothing"),
        (3, "reference", "to B2"),
    ]


def test_a_layouts_file_says_it(tmp_path):
    AccountFactory(number="A1")
    path = write(tmp_path, STATEMENT)
    layout = Layout(source=PREAMBLE, fields=FIELDS)
    file = write(tmp_path, layout.to_toml(), "l.toml")
    assert Layout.from_toml(file) == layout
    call_command("bulk_load", "finance.Transaction", str(path), layout=str(file), verbosity=0)
    assert Transaction.objects.count() == 2


def test_a_mapped_column_takes_the_place_of_the_preamble(tmp_path):
    AccountFactory(number="A1")
    file = write(tmp_path, Layout(source=PREAMBLE, fields=FIELDS).to_toml(), "l.toml")
    path = write(tmp_path, STATEMENT.replace("Rent", "A1").replace("Bread", "A1"))
    call_command(
        *("bulk_load", "finance.Transaction", str(path), "--layout", str(file)),
        *("--map", "account=text"),
        verbosity=0,
    )
    assert Transaction.objects.count() == 2

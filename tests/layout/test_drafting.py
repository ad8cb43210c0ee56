"""What is drafted of a file can be loaded right away, or says what it lacks."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from finance.models import Account, Transaction
from ingest import load
from ingest.layout import FieldLayout, Layout
from ingest.layout.drafting import draft
from ingest.sources.detection import detect
from tests.end_to_end.contract.models.moments import Moment
from tests.factories import AccountFactory, UserFactory

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BANKS = sorted((SHARED / "banks").glob("*.csv"))

GERMAN = (
    "Konto;DE12\n\n"
    "Buchungstag;Empfänger;Betrag;Account;User\n"
    "31.01.2026;Müller;-1.234,50 €;DE 1;owner\n"
    "01.02.2026;Bäcker;2,00 €;DE 1;owner\n"
    "Summe;;-1,50 €;;\n"
)


def drafted(path, model=Transaction):
    found = draft(detect(path), model)
    (path.parent / "drafted.toml").write_text(found.to_toml())
    assert Layout.from_toml(path.parent / "drafted.toml") == found.layout
    return found


def write(folder, text, encoding="utf-8"):
    path = folder / "file.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_the_whole_text(tmp_path):
    path = write(tmp_path, GERMAN, "cp1252")
    assert (
        drafted(path).to_toml()
        == f"""\
# {path} is read with encoding cp1252: its letters fit that best.
# The encoding is a guess: look at a few names with accents.
# The delimiter is ';': 4 of 5 records then have 5 cells.
# The table begins after 1 record, which a load leaves out (skip_records = 1): 'Konto DE12'.
# The header is 'Buchungstag', 'Empfänger', 'Betrag', 'Account', 'User'.
# The table ends before 1 record, which a load leaves out (trailer_records = 1): 'Summe -1,50 €'.
# Column 'Buchungstag' has dates as %d.%m.%Y.
# Column 'Betrag' has numbers with decimal mark ',' and thousands mark '.'.

model = "finance.Transaction"

[source]
encoding = "cp1252"
delimiter = ";"
skip_records = 1
trailer_pattern = "^Summe"

[read]
decimal = ","
thousands = ["."]
currency = ["€"]

[fields]
user = {{column = "User", lookup = ["username"]}}
account = {{column = "Account", lookup = ["number"]}}
amount = "Betrag"
tx_date = {{column = "Buchungstag", formats = ["%d.%m.%Y"]}}
# Source columns that feed nothing:
# "Empfänger"
"""
    )


@pytest.mark.django_db
def test_it_loads_right_away(tmp_path):
    AccountFactory(number="DE 1", user=UserFactory(username="owner"))
    path = write(tmp_path, GERMAN, "cp1252")
    drafted(path)
    got = load(Transaction, path, layout=str(tmp_path / "drafted.toml"))
    assert (got.rows, got.skipped) == (2, 1)
    assert set(Transaction.objects.values_list("amount", flat=True)) == {
        Decimal("-1234.50"),
        Decimal(2),
    }


def test_columns_that_name_fields_of_a_parent_look_it_up(tmp_path):
    path = write(
        tmp_path,
        "user__username,Account__Number,account__currency,account__colour,amount,tx_date\n"
        "owner,DE 1,EUR,red,1.5,2026-01-31\n",
    )
    found = drafted(path)
    assert found.layout.fields == {
        "user": FieldLayout(column="user__username", lookup=("username",)),
        "account": FieldLayout(
            columns=("Account__Number", "account__currency"), lookup=("number", "currency")
        ),
        "amount": FieldLayout(column="amount"),
        "tx_date": FieldLayout(column="tx_date"),
    }
    assert not found.missing
    assert [name for name, _ in found.unused] == ["account__colour"]


def test_what_is_missing_is_named(tmp_path):
    path = write(tmp_path, "Day,Value date,Debit,Credit\n01/31/2026,01/31/2026,1.5,\n")
    assert drafted(path).to_toml().splitlines()[-13:] == [
        'model = "finance.Transaction"',
        "",
        "[fields]",
        "# Each record needs these too. Write a column in, or give one value for all:",
        '# user = {constant = "", lookup = "username"}  # which auth.User',
        '# account = {constant = "", lookup = "number"}  # which finance.Account',
        '# amount = {debit = "Debit", credit = "Credit"}  # the debits become negative',
        '# tx_date = ""',
        "# Source columns that feed nothing:",
        '# "Day": dates as %m/%d/%Y',
        '# "Value date": dates as %m/%d/%Y',
        "# \"Debit\": numbers with '.'",
        '# "Credit"',
    ]


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ("number", "number"),
        ("NUMBER", "number"),
        ("Opened On", "opened_on"),
        ("opened-on", "opened_on"),
        ("ópened_on", "opened_on"),
        ("user_id", "user"),
        ("Numbers", None),
    ],
)
def test_names_that_fit(tmp_path, header, field):
    path = write(tmp_path, f"{header},x\n2026-01-31,a\n")
    layout = drafted(path, Account).layout
    assert [name for name, said in layout.fields.items() if said.column == header] == (
        [] if field is None else [field]
    )


def test_a_column_that_cannot_be_the_field_does_not_feed_it(tmp_path):
    path = write(tmp_path, "id,amount,tx_date\ntxn_1,much,today\n")
    assert drafted(path).layout.fields == {}


def test_two_columns_for_one_field_feed_none(tmp_path):
    path = write(tmp_path, "Amount,AMOUNT,account_id,account\n1,2,3,4\n")
    assert drafted(path).layout.fields == {}


def test_the_exact_name_comes_first(tmp_path):
    path = write(tmp_path, "AMOUNT,amount\n1,2\n")
    assert drafted(path).layout.fields["amount"].column == "amount"


def test_columns_of_one_name_are_called_by_position(tmp_path):
    path = write(tmp_path, "x,x,day\n1.5,a,2026-01-31\n")
    found = drafted(path)
    assert found.layout.fields["amount"].column == 1
    assert [name for name, _ in found.unused] == [2]


def test_without_a_header(tmp_path):
    path = write(tmp_path, "2026-01-31,1.5,x\n2026-02-01,2.5,y\n")
    layout = drafted(path).layout
    assert layout.source == {"header": False}
    assert layout.fields == {
        "amount": FieldLayout(column=2),
        "tx_date": FieldLayout(column=1),
    }


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["1.5", "2.5"], {}),
        (["(1.5)", "2.5"], {"decimal": "."}),
        (["1.5-", "2.5"], {"decimal": "."}),
        (["1.5 DR", "2.5 CR"], {"decimal": "."}),
    ],
)
def test_signs_beside_numbers_are_read(tmp_path, cells, want):
    path = write(tmp_path, "amount\n" + "".join(f"{cell}\n" for cell in cells))
    assert drafted(path).layout.fields["amount"] == FieldLayout(column="amount", **want)


def test_a_column_with_marks_of_its_own(tmp_path):
    path = write(tmp_path, 'a;b;amount\n"1.234,5";"1,5";"1,234.5"\n"2.345,5";"2,5";"2,345.5"\n')
    layout = drafted(path).layout
    assert (layout.read.decimal, layout.read.thousands) == (",", (".",))
    assert layout.fields["amount"] == FieldLayout(column="amount", decimal=".", thousands=(",",))


def test_times_that_fields_read_by_themselves_need_no_format(tmp_path):
    path = write(
        tmp_path, "day,moment\n2026-01-31,2026-01-31 10:00:00\n2026-02-01,2026-01-31 10:00:00\n"
    )
    names = [field.name for field in Moment._meta.local_concrete_fields]
    assert {"day", "moment"} <= set(names)
    layout = drafted(path, Moment).layout
    assert layout.fields["day"] == FieldLayout(column="day")
    assert layout.fields["moment"] == FieldLayout(column="moment")


def test_json_lines_have_names_only(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"Amount": 1, "User": 1, "x": 2}\n')
    found = draft(detect(path), Transaction)
    assert found.layout.source == {}
    assert found.layout.fields == {
        "user": FieldLayout(column="User"),
        "amount": FieldLayout(column="Amount"),
    }
    assert found.to_toml().splitlines()[-1] == '# "x"'


def test_of_several_files_the_first_is_looked_at(tmp_path):
    first = write(tmp_path, "amount\n1\n")
    found = detect([first, tmp_path / "none.csv"])
    assert found.findings[0] == "Of 2 files only the first was looked at."
    assert detect(str(tmp_path / "*.csv")).source == str(first)


def test_what_is_said_is_not_detected(tmp_path):
    path = write(tmp_path, "a,b;c\n1,5;2\n")
    found = detect(path, encoding="cp850", delimiter=",")
    assert (found.options.encoding, found.options.delimiter) == ("cp850", ",")
    assert found.findings[0] == f"{path} is read with encoding cp850: you said so."


@pytest.mark.django_db
@pytest.mark.skipif(not BANKS, reason="The real statements are not here: ../shared/data/banks.")
@pytest.mark.parametrize("path", BANKS, ids=lambda path: path.stem)
def test_real_statements_load_with_what_is_missing_given(path, tmp_path):
    """The draft reads every record; what it does not know is given as on the command line."""
    account = AccountFactory()
    found = draft(detect(path), Transaction)
    fields = dict(found.layout.fields)
    given = {
        "user": FieldLayout(constant=account.user_id),
        "account": FieldLayout(constant=account.pk),
        "amount": FieldLayout(constant="1"),
        "tx_date": FieldLayout(constant="2026-01-01"),
    }
    fields = {**given, **fields, "user": given["user"], "account": given["account"]}
    layout = Layout(source=found.layout.source, read=found.layout.read, fields=fields)
    got = load(Transaction, path, layout=layout, on_error="reject")
    assert got.rows
    assert get_user_model().objects.count() == 1
    # Blank dates or amounts, which the shipped layouts skip.
    assert {reject.value for reject in got.rejects} <= {"", None}

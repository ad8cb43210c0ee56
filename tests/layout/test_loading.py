"""load() through layouts: what is stored, refused, skipped, looked up and made."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from finance.models import Account, Transaction
from ingest import ConfigurationError, LayoutError, RecordsRefused, load
from ingest.layout import Condition, Continuation, FieldLayout, Layout, Reading, Sign
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)
GERMAN = Reading(decimal=",", thousands=(".",), formats=("%d.%m.%Y",), null=("-",))
FIELDS = {
    "account": FieldLayout(column="Konto", lookup=("number",)),
    "user": FieldLayout(copy="account.user"),
    "amount": FieldLayout(column="Betrag"),
    "tx_date": FieldLayout(column="Tag"),
    "description": FieldLayout(column="Text", default="none"),
}
HEADER = "Tag;Konto;Betrag;Text\n"


@pytest.fixture
def account():
    return AccountFactory(number="A1")


def german(**changes):
    return Layout(**{"fields": FIELDS, "read": GERMAN, "source": {"delimiter": ";"}, **changes})


def german_load(*lines, layout=None, **options):
    file = io.BytesIO((HEADER + "".join(f"{line}\n" for line in lines)).encode())
    return load(Transaction, file, layout=layout or german(), **options)


def stored():
    rows = Transaction.objects.order_by("pk")
    return [(str(row.tx_date), row.amount, row.description) for row in rows]


def test_text_is_read_as_the_layout_says(account):
    got = german_load("31.12.2024;A1;1.234,56-;Miete", "1.1.2025;A1;5;-")
    assert (got.read, got.rows, got.rejected, got.skipped) == (2, 2, 0, 0)
    assert stored() == [
        ("2024-12-31", Decimal("-1234.56"), "Miete"),
        ("2025-01-01", Decimal("5.00"), "none"),
    ]
    assert {row.user_id for row in Transaction.objects.all()} == {account.user_id}


def test_inside_atomic_parents_not_yet_committed_are_found():
    with transaction.atomic():
        AccountFactory(number="A1")
        assert german_load("31.12.2024;A1;1;x").driver == "psycopg"


def test_a_reject_has_the_sources_own_value_and_all_reasons(account):
    got = german_load(
        "31.12.2024;A1;1;good",
        "2024-12-31;A1;12.50;x",
        "31.12.2024;B2;12.345.678.901,00;y",
        "31.02.2024;A1;1;z",
        on_error="reject",
    )
    assert (got.read, got.rows, got.rejected) == (4, 1, 3)
    assert [
        (item.record, item.column, item.field, item.value, item.kind) for item in got.rejects
    ] == [
        (2, "Betrag", "amount", "12.50", "value"),
        (2, "Tag", "tx_date", "2024-12-31", "value"),
        (3, "Betrag", "amount", "12.345.678.901,00", "value"),
        (3, "Konto", "account", "B2", "reference"),
        (4, "Tag", "tx_date", "31.02.2024", "value"),
    ]
    reasons = {(item.record, item.field): item.reason for item in got.rejects}
    assert reasons[3, "account"] == "There is no account with number 'B2'."
    assert reasons[2, "amount"] == (
        "“12.50” value must be a decimal number. The layout reads numbers with the decimal mark "
        "',' and between thousands '.'."
    )


def test_the_first_refused_record_ends_the_load(account):
    with pytest.raises(RecordsRefused, match="no account with number 'B2'"):
        german_load("31.12.2024;A1;1;x", "31.12.2024;B2;1;y")
    assert stored() == []


def test_undecodable_bytes_are_left_to_the_field(account):
    file = io.BytesIO(HEADER.encode() + b"31.12.2024;A1;1;caf\xe9\n31.12.2024;A1;2;ok\n")
    got = load(Transaction, file, layout=german(), on_error="reject")
    assert [(item.record, item.field) for item in got.rejects] == [(1, "description")]
    assert stored() == [("2024-12-31", Decimal(2), "ok")]


def test_records_are_skipped_and_counted(account):
    skip = (Condition(column="Text", matches="^Saldo"), Condition(column=1, equals=("Summe",)))
    got = german_load(
        "31.12.2024;A1;1;x", "Summe;;1;", "31.12.2024;A1;1;Saldo alt", layout=german(skip=skip)
    )
    assert (got.read, got.rows, got.skipped) == (3, 1, 2)


def test_only_what_fits_is_kept(account):
    skip = (Condition(column="Text", equals=("x",), invert=True),)
    got = german_load("31.12.2024;A1;1;x", "31.12.2024;A1;1;y", layout=german(skip=skip))
    assert (got.rows, got.skipped) == (1, 1)


def test_continuation_records_are_appended():
    AccountFactory(number="A1")
    goes_on = Continuation(when=(Condition(column="Tag", empty=True),), append=("Text",))
    got = german_load(
        "31.12.2024;A1;1;one",
        ";;;two",
        ";;;three",
        "31.12.2024;A1;2;four",
        ";;;five",
        layout=german(continuation=goes_on),
    )
    assert (got.read, got.rows, got.skipped) == (5, 2, 3)
    assert [row[2] for row in stored()] == ["one two three", "four five"]


CONTINUED = [
    ("2024-12-31", "A1", 1, "one"),
    (None, None, None, "two"),
    ("2024-12-31", "A1", 2, 2.5),
    (None, None, None, 3),
    ("2024-12-31", "A1", 3, "three"),
]


def dicts():
    return [dict(zip(HEADER.strip().split(";"), row, strict=True)) for row in CONTINUED]


def arrow_batches():
    """Give the texts as two kinds of Arrow strings, and a batch for each record."""
    table = pa.Table.from_pylist([{**row, "Text": str(row["Text"])} for row in dicts()])
    column = table["Text"].cast(pa.large_string())
    return table.set_column(3, "Text", column).to_reader(max_chunksize=1)


@pytest.mark.parametrize(
    "make",
    [
        dicts,
        lambda: io.BytesIO("".join(f"{json.dumps(row)}\n" for row in dicts()).encode()),
        arrow_batches,
    ],
    ids=["dicts", "json lines", "arrow"],
)
def test_continuation_records_of_typed_sources_are_appended_as_texts(account, make):
    goes_on = Continuation(when=(Condition(column="Tag", empty=True),), append=("Text",))
    layout = Layout(fields=FIELDS, continuation=goes_on)
    source = make()
    options = {"format": "jsonl"} if isinstance(source, io.BytesIO) else {}
    got = load(Transaction, source, layout=layout, **options)
    assert (got.read, got.rows, got.skipped) == (5, 3, 2)
    assert [row[2] for row in stored()] == ["one two", "2.5 3", "three"]


def test_bytes_that_are_no_text_are_neither_empty_nor_lost(account):
    conditions = (Condition(column="Tag", empty=True),)
    lines = [b"31.12.2024;A1;1;caf\xe9", b";;;two", b"\xff;A1;2;x", b"31.12.2024;A1;3;good"]
    file = HEADER.encode() + b"".join(line + b"\n" for line in lines)
    goes_on = Continuation(when=conditions, append=("Text",))
    got = load(
        Transaction, io.BytesIO(file), layout=german(continuation=goes_on), on_error="reject"
    )
    assert [(item.record, item.field) for item in got.rejects] == [
        (1, "description"),
        (3, "tx_date"),
    ]
    assert [row[2] for row in stored()] == ["good"]
    got = load(Transaction, io.BytesIO(file), layout=german(skip=conditions), on_error="reject")
    assert (got.rejected, got.skipped) == (2, 1)


def sides(**changes):
    said = {"debit": "Betrag", "credit": "Text", **changes}
    fields = {**FIELDS, "amount": FieldLayout(**said), "description": FieldLayout(constant="c")}
    return german(fields=fields)


def test_debit_and_credit_columns(account):
    german_load("31.12.2024;A1;8,00;", "31.12.2024;A1;;9,00", "31.12.2024;A1;0;7", layout=sides())
    assert [row[1] for row in stored()] == [-8, 9, 7]


def test_debit_and_credit_at_once_are_refused(account):
    got = german_load(
        "31.12.2024;A1;8,00;1",
        "31.12.2024;A1;x;",
        "31.12.2024;A1;1;",
        layout=sides(debit_is_negative=True),
        on_error="reject",
    )
    assert [(item.record, item.column) for item in got.rejects] == [
        (1, "Betrag, Text"),
        (2, "Betrag, Text"),
    ]
    assert [row[1] for row in stored()] == [1]


def test_a_sign_from_another_column(account):
    sign = Sign(column="Text", negative=("S",), positive=("H",))
    fields = {**FIELDS, "amount": FieldLayout(column="Betrag", sign=sign)}
    got = german_load(
        "31.12.2024;A1;8,00;S",
        "31.12.2024;A1;9;H",
        "31.12.2024;A1;9;?",
        layout=german(fields=fields),
        on_error="reject",
    )
    assert [row[1] for row in stored()] == [-8, 9]
    [reject] = got.rejects
    assert reject.reason == "The layout does not know this sign in the column 'Text': '?'."


def test_codes_and_joined_columns(account):
    said = FieldLayout(columns=("Text", "Konto"), join="/", values={"k": "Card"}, otherwise="Other")
    fields = {**FIELDS, "description": said}
    german_load("31.12.2024;A1;1;k", "31.12.2024;A1;1;", layout=german(fields=fields))
    assert [row[2] for row in stored()] == ["Card/Other", "Other"]


def test_missing_parents_are_made_once():
    owner = {"constant": "owner", "lookup": "username", "create": {}}
    said = FieldLayout(
        column="Konto", lookup=("number",), create={"name": "New", "currency": "CZK", "user": owner}
    )
    layout = german(fields={**FIELDS, "account": said})
    german_load("31.12.2024;A1;1;x", "31.12.2024;B2;1;x", "31.12.2024;A1;1;x", layout=layout)
    german_load("31.12.2024;B2;1;x", layout=layout)
    got = list(Account.objects.order_by("number").values_list("number", "name", "user__username"))
    assert got == [("A1", "New", "owner"), ("B2", "New", "owner")]
    assert Transaction.objects.count() == 4


def test_a_parent_that_its_fields_refuse_is_not_made():
    said = FieldLayout(
        column="Konto",
        lookup=("number",),
        create={"name": "x", "user": {"constant": "o", "lookup": "username", "create": {}}},
    )
    layout = german(fields={**FIELDS, "account": said})
    got = german_load(f"31.12.2024;{'A' * 35};1;x", layout=layout, on_error="reject")
    [reject] = got.rejects
    assert "at most 34 characters" in reject.reason
    assert not Account.objects.exists()


def test_a_natural_key_of_two_columns(account):
    AccountFactory(number="B2", currency="USD")
    fields = {
        **FIELDS,
        "account": FieldLayout(columns=("Konto", "Text"), lookup=("number", "currency")),
    }
    got = german_load(
        "31.12.2024;A1;1;EUR",
        "31.12.2024;B2;1;USD",
        "31.12.2024;A1;1;USD",
        layout=german(fields=fields),
        on_error="reject",
    )
    assert got.rows == 2
    [reject] = got.rejects
    assert reject.value == ["A1", "USD"]
    assert reject.reason == "There is no account with number 'A1' and currency 'USD'."


def test_new_parents_in_every_batch_while_others_are_on_their_way():
    owner = {"constant": "owner", "lookup": "username", "create": {}}
    said = FieldLayout(column="Konto", lookup=("number",), create={"name": "n", "user": owner})
    fields = {**FIELDS, "account": said, "reference": FieldLayout(column="Text")}
    text = "x" * 60
    lines = [f"31.12.2024;K{place // 500};1;{text}{place % 99_000}" for place in range(100_000)]
    fields["reference"] = FieldLayout(column="Text", strip=True)
    got = german_load(
        *[line.replace(text, "") for line in lines], layout=german(fields=fields), on_error="reject"
    )
    assert (got.rows, got.rejected) == (100_000, 0)
    assert Account.objects.count() == 200


@pytest.mark.parametrize("remembered", [1, 3, 7, 1_000])
def test_parents_that_were_forgotten_are_asked_for_again(remembered, monkeypatch):
    monkeypatch.setattr("ingest.layout.lookup_cache.REMEMBERED_PARENTS", remembered)
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 4)
    accounts = {f"A{at}": AccountFactory(number=f"A{at}") for at in range(6)}
    numbers = [f"A{at * 5 % 7}" for at in range(40)]  # there is no A6
    rows = [("31.12.2024", number, str(at), "x") for at, number in enumerate(numbers)]
    columns = HEADER.strip().split(";")
    got = load(
        Transaction,
        rows,
        columns=columns,
        layout=Layout(fields=FIELDS, read=GERMAN),
        on_error="reject",
    )
    missing = [at for at, number in enumerate(numbers, 1) if number == "A6"]
    assert [reject.record for reject in got.rejects] == missing
    assert {reject.reason for reject in got.rejects} == {"There is no account with number 'A6'."}
    found = Transaction.objects.order_by("amount").values_list("account", "user")
    want = [accounts[number] for number in numbers if number != "A6"]
    assert list(found) == [(account.pk, account.user_id) for account in want]


def shout(batch: pa.RecordBatch) -> pa.RecordBatch:
    at = batch.schema.get_field_index("Text")
    return batch.set_column(at, "Text", pc.utf8_upper(batch.column(at)))


def cut(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(0, 0)


def test_a_hook_changes_whole_batches(account):
    german_load("31.12.2024;A1;1;x", layout=german(hook=f"{__name__}.shout"))
    assert stored()[0][2] == "X"
    with pytest.raises(LayoutError, match=r"must give a .* of 1 rows"):
        german_load("31.12.2024;A1;1;x", layout=german(hook=f"{__name__}.cut"))


def test_typed_sources_go_through_layouts_too(account):
    rows = [{"Tag": "31.12.2024", "Konto": "A1", "Betrag": Decimal("1.5"), "Text": None}]
    load(Transaction, rows, layout=Layout(fields=FIELDS, read=GERMAN))
    assert stored() == [("2024-12-31", Decimal("1.50"), "none")]


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"amuont": FieldLayout(column="Betrag")}, "Did you mean 'amount'"),
        ({"amount": FieldLayout(column="Betrga")}, "Did you mean 'Betrag'"),
        ({"amount": FieldLayout(column=9)}, "there is no column 9: the source has 4 columns"),
        ({"amount": FieldLayout()}, "must have exactly one of"),
        ({"amount": FieldLayout(column=1, lookup=("x",))}, "is not a foreign key"),
        ({"account": FieldLayout(column=1, lookup=("nubmer",))}, "Did you mean 'number'"),
        ({"user": FieldLayout(copy="account.user")}, "which the layout does not look up"),
    ],
)
def test_what_does_not_fit_is_said(fields, want):
    with pytest.raises(LayoutError, match=want):
        german_load("31.12.2024;A1;1;x", layout=german(fields=fields))


def test_the_command_maps_and_reads(account, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(f'user,Konto,Betrag,tx_date\n{account.user_id},{account.pk},"1,5",31.12.2024\n')
    out = io.StringIO()
    call_command(
        "bulk_load",
        "finance.Transaction",
        str(path),
        "--map",
        "amount=Betrag",
        "--map",
        "account=Konto",
        "--set",
        "description=given",
        "--decimal",
        ",",
        "--date-format",
        "%d.%m.%Y",
        stdout=out,
        stderr=io.StringIO(),
    )
    assert stored() == [("2024-12-31", Decimal("1.50"), "given")]


def test_the_command_takes_a_named_layout_and_another_account(account, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("Date,Details,Debit,Credit,Balance\n01/09/2017,Bill,512.0,,\n")
    call_command(
        "bulk_load",
        "finance.Transaction",
        str(path),
        "--layout",
        "bank_of_ireland",
        "--set",
        "account=A1",
        stdout=io.StringIO(),
        stderr=io.StringIO(),
    )
    assert Transaction.objects.get().account == account
    with pytest.raises(CommandError, match="Did you mean 'bank_of_ireland'"):
        call_command(
            "bulk_load",
            "finance.Transaction",
            str(path),
            "--layout",
            "bank_of_irland",
            stdout=io.StringIO(),
            stderr=io.StringIO(),
        )


def test_a_parent_without_a_required_field_is_not_made():
    owner = {"constant": "owner", "lookup": "username", "create": {}}
    said = FieldLayout(column="Konto", lookup=("number",), create={"user": owner})
    layout = german(fields={**FIELDS, "account": said})
    [reject] = german_load("31.12.2024;A1;1;x", layout=layout, on_error="reject").rejects
    assert "name: This field cannot be blank." in reject.reason
    assert not Account.objects.exists()


@pytest.mark.parametrize("column", ["Betrag", 1])
def test_map_feeds_a_field_from_a_column(column, tmp_path):
    account = AccountFactory()
    path = tmp_path / "f.csv"
    path.write_text(f"Betrag,Konto,tx_date\n1.50,{account.number},2026-01-31\n")
    result = load(
        Transaction,
        path,
        map={"amount": column, "account__number": "Konto"},
        set={"user": account.user},
    )
    assert result.rows == 1
    assert Transaction.objects.get().amount == Decimal("1.50")


@pytest.mark.parametrize("column", [None, True, "", 0, 1.5])
def test_map_takes_names_and_positions_only(column):
    with pytest.raises(ConfigurationError) as caught:
        load(Transaction, [{"a": 1}], map={"amount": column})
    assert str(caught.value).startswith(
        f"map: amount is fed by {column!r}: give a source column's name, or its position from 1."
    )

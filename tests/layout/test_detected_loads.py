"""What --detect prints loads every record, or names those that it leaves out or guesses."""

from __future__ import annotations

import csv
import re
from decimal import Decimal

import pytest

from finance.models import Transaction
from ingest import load
from ingest.layout import FieldLayout, Layout
from ingest.layout.drafting import draft
from ingest.sources.detection import detect
from tests.end_to_end.contract.models.numbers import Coercion
from tests.factories import AccountFactory
from tests.sampling import IS_LONG
from tests.sources.bank_statements import statements

STATEMENTS = 500 if IS_LONG else 40

pytestmark = pytest.mark.django_db


def load_as_detected(path, **fields):
    """Load a file by the layout that was detected, completed by what a person would fill in."""
    account = AccountFactory()
    found = draft(detect(path), Transaction)
    layout = Layout(
        source=found.layout.source,
        read=found.layout.read,
        fields={
            **fields,
            **found.layout.fields,
            "user": FieldLayout(constant=account.user_id),
            "account": FieldLayout(constant=account.pk),
        },
    )
    return found, load(Transaction, path, layout=layout, on_error="reject")


def write(folder, text):
    path = folder / "file.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def amounts():
    return list(map(str, Transaction.objects.order_by("pk").values_list("amount", flat=True)))


@pytest.mark.parametrize(
    "statement", list(statements(STATEMENTS, seed=11)), ids=lambda made: str(made.seed)
)
def test_generated_statements(tmp_path, statement):
    path = tmp_path / "statement.csv"
    path.write_bytes(statement.content())
    _, rows = statement.table()
    found, result = load_as_detected(
        path, amount=FieldLayout(constant="1"), tx_date=FieldLayout(constant="2026-01-01")
    )
    assert (result.rows, result.rejected, result.skipped) == (len(rows), 0, int(statement.trailer))
    said = str(found.to_toml())
    assert ("The table begins after" in said) == bool(found.layout.source.get("skip_records"))
    assert ("The table ends before" in said) == statement.trailer
    assert "amount" in found.layout.fields
    cents = [re.sub(r"[^\d-]", "", row[2]) for row in rows]
    assert sorted(amounts(), key=Decimal) == sorted(
        (str(Decimal(cent).scaleb(-2)) for cent in cents), key=Decimal
    )


@pytest.mark.parametrize(
    ("text", "want", "rejected"),
    [
        ('text,amount\n"Doe, Jane",1.00\n"Roe, Rick",2.00\n"Poe, Ann",3.50\n', "1.00 2.00 3.50", 0),
        ("tx_date,text,amount\n2025-01-01,a,1\n2025-01-02,b,2\n,pending,3\n", "1.00 2.00", 1),
        ("tx_date,text,amount\n2025-01-01,a,1\n2025-01-02,b,2\npending,c,3\n", "1.00 2.00", 1),
        ("tx_date,text,amount\n,pending,3\n2025-01-01,a,1\n2025-01-02,b,2\n", "1.00 2.00", 1),
        ("tx_date,text,amount\n,pending,\n2025-01-01,a,1\n2025-01-02,b,2\n", "1.00 2.00", 1),
        (
            "tx_date;text;amount\n2025-01-01;a;1\n2025-01-02;b;2;x;y\n2025-01-03;c;3;x;y\n",
            "1.00",
            2,
        ),
        (
            "Account 1\t\t\n\t\t\n2025-01-01\ta\t1.00\n2025-01-02\tb\t2.00\n2025-01-03\tc\t3.00\n",
            "1.00 2.00 3.00",
            0,
        ),
        (
            '"Account";"123"\n""\n"tx_date";"text";"amount"\n"2025-01-01";"a";"1,00"\n',
            "1.00",
            0,
        ),
        ("   \ntx_date,amount\n2025-01-01,1\n2025-01-02,2\n", "1.00 2.00", 0),
        ("tx_date;amount\n2025-01-31;12.50-\n2025-02-01;1'250.00\n", "-12.50 1250.00", 0),
    ],
    ids=[
        "a delimiter in every quoted cell",
        "no date in the last record",
        "a word for the date in the last record",
        "no date in the first record",
        "neither date nor amount in the first record",
        "a header narrower than the records",
        "a preamble of blanks",
        "a preamble with an empty quoted cell",
        "a preamble of a blank",
        "a sign behind",
    ],
)
def test_no_record_is_lost_without_a_word(tmp_path, text, want, rejected):
    _, result = load_as_detected(write(tmp_path, text), tx_date=FieldLayout(constant="2026-01-01"))
    assert amounts() == want.split()
    assert (result.rejected, result.skipped) == (rejected, 0)


def test_a_record_without_a_date_is_named(tmp_path):
    path = write(tmp_path, "day,text,amount\n2025-01-01,a,1\n2025-01-02,b,2\n,pending,3\n")
    assert (
        "The last 1 record of the table, 'pending 3', lacks the date that the others have. It is "
        "read as a record. If it is none, leave it out with trailer_records = 1."
    ) in detect(path).findings


def test_a_header_narrower_than_the_records_is_named(tmp_path):
    path = write(tmp_path, "a;b\n2025-01-01;1;x\n2025-01-02;2;y\n2025-01-03;3;z\n")
    assert (
        "The header has 2 cells, but most records have 3: a load refuses these. Complete the "
        "header, so that it names every column."
    ) in detect(path).findings


def test_a_small_statement_with_balances_as_wide_as_the_table(tmp_path):
    text = (
        'Bal,,,"1,00"\nDate,Text,Debit,Credit\n01/04/20,a,"-5,00",\n02/04/20,b,,"7,00"\n'
        'Bal,,,"3,00"\n'
    )
    amount = FieldLayout(debit="Debit", credit="Credit", debit_is_negative=True)
    found, result = load_as_detected(write(tmp_path, text), amount=amount)
    assert found.layout.source == {"skip_records": 1, "trailer_pattern": "^Bal"}
    assert found.proposals["amount"].layout == amount
    assert (result.rows, result.rejected, result.skipped) == (2, 0, 1)
    assert amounts() == ["-5.00", "7.00"]
    said = found.to_toml()
    assert 'tx_date = {column = "Date", formats = ["%d/%m/%y"]}  # a guess: or formats' in said
    assert "(trailer_records = 1): 'Bal 3,00'" in said
    assert (
        '# amount = {debit = "Debit", credit = "Credit", debit_is_negative = true}'
        "  # the debits have a minus\n"
    ) in said


@pytest.mark.parametrize(
    ("last", "pattern", "records"),
    [
        ("Total,,3\n", "^Total", 1),
        ("Summe;Rest\n", '^"?Summe', 1),
        (",total,3\n", None, 1),
        ("12345,,3\n", None, 0),
    ],
)
def test_a_trailer_is_found_by_its_first_word(tmp_path, last, pattern, records):
    days = [f"2025-01-0{day},text,{day}" for day in range(1, 6)]
    path = write(tmp_path, "\n".join(["day,text,amount", *days, last.replace(";", ",")]))
    found, result = load_as_detected(path)
    assert found.layout.source.get("trailer_pattern") == pattern
    assert (result.rows, result.skipped) == (5, records)
    if pattern is not None:  # the next file is longer, and so is its trailer
        text = "\n".join(["day,text,amount", *days, "2025-01-09,x,9", last, ",,", "end,,"])
        path.write_text(text.replace(";", ","))
        next_one = load(
            Transaction,
            path,
            layout=Layout(
                source=found.layout.source,
                fields={
                    **found.layout.fields,
                    "user": FieldLayout(copy="account.user"),
                    "account": FieldLayout(
                        constant=Transaction.objects.values_list("account__number", flat=True)[0],
                        lookup=("number",),
                    ),
                },
            ),
        )
        assert (next_one.rows, next_one.skipped) == (6, 3)


@pytest.mark.parametrize(
    ("header", "row", "last", "pattern"),
    [
        ("no,tx_date,amount", "{0},2025-01-0{0},{0}", "Total,,15", "^Total"),
        ("text,tx_date,amount", "Totals {0},2025-01-0{0},{0}", "Total,,15", "^Total[^,]*, *(,|$)"),
        (
            "text,code,tx_date,amount",
            "t,x,2025-01-0{0},{0}",
            "Total,, ,15",
            "^Total[^,]*,[^,]*, *(,|$)",
        ),
        ("text,tx_date,amount", "t,2025-01-0{0},{0}", "Total,15", None),
    ],
)
def test_a_trailer_is_found_by_its_empty_date(tmp_path, header, row, last, pattern):
    rows = [row.format(day) for day in range(1, 6)]
    found, result = load_as_detected(write(tmp_path, "\n".join([header, *rows, last])))
    assert found.layout.source == (
        {"trailer_records": 1} if pattern is None else {"trailer_pattern": pattern}
    )
    assert (result.rows, result.rejected, result.skipped) == (5, 0, 1)


@pytest.mark.parametrize(
    ("words", "negative", "positive"),
    [
        ("credit debit", ["debit"], ["credit"]),
        ("C D", ["D"], ["C"]),
        ("Soll Haben", ["Soll"], ["Haben"]),
        ("支出 收入", ["支出"], ["收入"]),
        ("DBIT DBIT", ["DBIT"], []),
    ],
)
def test_a_column_of_signs_is_proposed(tmp_path, words, negative, positive):
    one, two = words.split()
    path = write(
        tmp_path,
        f"tx_date,description,amount,type\n2025-01-30,a,100.00,{one}\n2025-01-31,b,80.00,{two}\n",
    )
    found = draft(detect(path), Transaction)
    assert "amount" not in found.layout.fields
    assert "amount" in [field.name for field in found.missing]
    sign = found.proposals["amount"].layout.sign
    assert (sign.column, list(sign.negative), list(sign.positive)) == ("type", negative, positive)
    assert '\n# amount = {column = "amount", sign = {column = "type", ' in found.to_toml()


def test_a_column_of_signs_is_proposed_with_an_amount_of_another_name(tmp_path):
    text = "Betrag,Nr,S/H,Buchung\n100.00,5,S,2025-01-30\n80.00,7,H,2025-01-31\n"
    found = draft(detect(write(tmp_path, text)), Transaction)
    proposal = found.proposals["amount"].layout
    assert (proposal.column, proposal.sign.column) == ("Betrag", "S/H")
    assert '\n# "S/H": words for money out (S) and in (H)\n' in found.to_toml()


def test_running_numbers_are_no_amounts(tmp_path):
    text = "Nr,Buchung,Menge\n1,2025-01-30,5 kg\n2,2025-01-31,7 kg\n"
    assert "amount" not in draft(detect(write(tmp_path, text)), Transaction).layout.fields
    found = draft(detect(write(tmp_path, text.replace(" kg", ".5"))), Transaction)
    assert found.layout.fields["amount"].column == "Menge"


@pytest.mark.parametrize("amount", ["EUR -5.00", "€-5.00", "-5.00 EUR", "5.00- EUR", "$(5.00)"])
def test_debits_with_a_minus_beside_a_currency(tmp_path, amount):
    text = f"tx_date,Debit,Credit\n2025-01-30,{amount},\n2025-01-31,,EUR 7.00\n"
    path = write(tmp_path, text)
    proposal = draft(detect(path), Transaction).proposals["amount"].layout
    load_as_detected(path, amount=proposal)
    assert amounts() == ["-5.00", "7.00"]


@pytest.mark.parametrize("text", ['5" disk', 'say "hi"', '"hi"', "C:\\dir\\"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_escaped_quotes_beside_empty_cells(tmp_path, text, delimiter):
    cells = [["description", "amount", "tx_date"], ["", "1.00", "2025-01-31"]]
    cells += [["", "2.00", "2025-02-01"], [text, "3.00", "2025-02-02"], ['a "b" c', "4.00", ""]]
    with (tmp_path / "file.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(
            file, delimiter=delimiter, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"
        ).writerows(cells)
    _, result = load_as_detected(tmp_path / "file.csv")
    assert (result.rows, result.rejected) == (3, 1)
    got = Transaction.objects.order_by("pk").values_list("description", flat=True)
    assert list(got) == ["", "", text]


def test_backslashes_that_are_all_doubled_are_told(tmp_path):
    said = "Every backslash is doubled, and is read so."
    path = write(tmp_path, "tx_date,description\n2025-01-30,C:\\\\dir\\\\\n2025-01-31,a\n")
    assert any(finding.startswith(said) for finding in detect(path).findings)
    path = write(tmp_path, "tx_date,description\n2025-01-30,\\\\host\\dir\n2025-01-31,a\n")
    assert not any(finding.startswith(said) for finding in detect(path).findings)


@pytest.mark.parametrize("text", ["-100.00,debit", "(100.00),debit", "100.00,Coffee"])
def test_amounts_with_signs_of_their_own_need_no_column_of_signs(tmp_path, text):
    path = write(tmp_path, f"tx_date,amount,type\n2025-01-30,{text}\n2025-01-31,80.00,credit\n")
    found = draft(detect(path), Transaction)
    assert found.layout.fields["amount"].column == "amount"


def test_a_running_balance_is_no_amount(tmp_path):
    path = write(tmp_path, "tx_date,Saldo\n2025-01-30,100.00\n")
    assert "amount" not in draft(detect(path), Transaction).layout.fields


@pytest.mark.parametrize("name", ["id", "ID", "Id"])
def test_a_column_called_id_is_no_primary_key(tmp_path, name):
    path = write(tmp_path, f"{name},amount,tx_date\n9000000000000000001,1.00,2025-01-31\n")
    found = draft(detect(path), Transaction)
    assert "id" not in found.layout.fields
    assert name in [unused for unused, _ in found.unused]


@pytest.mark.parametrize(
    ("cells", "guess"),
    [
        (["06/04/2016", "06/04/2016"], 'or formats = ["%m/%d/%Y"]'),
        (["01/02/2026", "02/02/2026", "03/02/2026"], 'or formats = ["%m/%d/%Y"]'),
        (["01.02.2026"], None),
        (["31/01/2026", "01/02/2026"], None),
        (["11/11/2026"], None),
        (["31/01/2026", "01/31/2026", "01/02/2026"], 'or formats = ["%m/%d/%Y"]'),
        (["01022026", "02022026", "03022026", "04022026", "05022026"], None),
    ],
)
def test_dates_that_can_be_read_two_ways_are_a_guess(tmp_path, cells, guess):
    path = write(tmp_path, "day,amount\n" + "".join(f"{cell},1\n" for cell in cells))
    assert draft(detect(path), Transaction).guesses.get("tx_date") == guess


@pytest.mark.parametrize(
    ("cells", "guess"),
    [
        (["1,234", "2,500"], 'or decimal = ","'),
        (["1.234"], 'or thousands = ["."]'),
        (["1.234", "1.5"], None),
        (["1,234,567"], None),
        (["12"], None),
    ],
)
def test_numbers_that_can_be_read_two_ways_are_a_guess(tmp_path, cells, guess):
    path = write(tmp_path, "day;amount\n" + "".join(f"2025-01-31;{cell}\n" for cell in cells))
    found = draft(detect(path), Transaction)
    assert found.guesses.get("amount") == guess
    assert ("a guess, since it could be" in "\n".join(found.findings)) == (guess is not None)


@pytest.mark.parametrize(
    ("words", "true", "false"),
    [("Ja Nein", ("Ja",), ("Nein",)), ("Y N", ("Y",), ("N",)), ("True False", None, None)],
)
def test_words_for_booleans_are_proposed(tmp_path, words, true, false):
    one, two = words.split()
    path = write(tmp_path, f"is_true;x\n{one};1\n{two};2\n")
    got = draft(detect(path), Coercion).layout.fields["is_true"]
    assert (got.true, got.false) == (true, false)


def test_comments_are_proposed_as_such(tmp_path):
    text = (
        '# made by a machine, on 2025-02-01\n# it\'s "so"\ntx_date,amount\n2025-01-31,1\n'
        "# half-way, 1\n2025-02-01,2\n# end\n"
    )
    found, result = load_as_detected(write(tmp_path, text))
    assert found.layout.source == {"comment": "#"}
    assert (
        "Lines that begin with '#' are comments, which a load passes over (comment = '#')."
        in found.findings
    )
    assert (result.rows, result.rejected, result.skipped) == (2, 0, 0)


@pytest.mark.parametrize(
    "text",
    ["#,tx_date,amount\n1,2025-01-31,1\n", "no,tx_date,amount\n#1,2025-01-31,1\n#2,2025-02-01,2\n"],
    ids=["a header", "records"],
)
def test_records_that_begin_like_comments_are_none(tmp_path, text):
    found, result = load_as_detected(write(tmp_path, text))
    assert found.layout.source == {}
    assert (result.rows, result.rejected) == (text.count("\n") - 1, 0)


def test_empty_cells_beyond_the_header_are_cut(tmp_path):
    text = "tx_date,amount\n2025-01-31,1,\n2025-02-01,2, \n2025-02-02,3,\n"
    found, result = load_as_detected(write(tmp_path, text))
    assert found.layout.source == {"lenient": ("cut",)}
    assert (
        "3 records of the table, such as '2025-01-31 1', end in empty cells beyond the 2 of the "
        "header. A load cuts them and counts these records (lenient = ['cut'])."
    ) in found.findings
    assert (result.rows, result.cut) == (3, 3)


def test_records_of_another_width_are_named_with_the_cure(tmp_path):
    rows = "".join(f"2025-01-{day:02},{day},x\n" for day in range(1, 9))
    path = write(tmp_path, f"tx_date,amount,text\n{rows}2025-01-09,9\n2025-01-10,10,a,b\n")
    found, result = load_as_detected(path)
    assert found.layout.source == {}
    assert (
        "1 record of the table, such as '2025-01-09 9', has fewer than 3 cells: a load refuses "
        "them. Add lenient = ['pad'] to [source] to fill them with empty cells."
    ) in found.findings
    assert (
        "1 record of the table, such as '2025-01-10 10 a b', has more than 3 cells: a load "
        "refuses them. Add lenient = ['cut'] to [source] to drop the surplus cells."
    ) in found.findings
    assert (result.rows, result.rejected) == (8, 2)


def test_a_load_says_what_preamble_and_trailer_took(tmp_path):
    days = [f"2025-01-0{day},text,{day}" for day in range(1, 6)]
    text = "\n".join(["Account 1", "Period", "day,text,amount", *days, "Total,,15", "end"])
    path = write(tmp_path, text)
    _, result = load_as_detected(path)
    before = f"2 records before the header of {path}, as skip_records says; not counted as read."
    assert [it for it in result.decisions if it.startswith("Left out")] == [
        f"Left out: {before}",
        f"Left out: 2 records at the end of {path}, as trailer_pattern says; counted as skipped.",
    ]
    assert (result.read, result.rows, result.skipped) == (7, 5, 2)

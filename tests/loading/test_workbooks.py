"""Workbooks in tables: what fields make of their cells, rejects, and what is told."""

import datetime as dt
import io
from decimal import Decimal

import pytest
from django.core.management import call_command

from finance.models import Account, Transaction
from ingest import detect, load, preview
from ingest.exceptions import ConfigurationError, RecordsRefused
from ingest.layout import FieldLayout, Layout
from ingest.layout.definition import Condition
from ingest.layout.drafting import draft
from tests.end_to_end.contract.models.moments import Moment
from tests.end_to_end.contract.models.numbers import Fraction
from tests.factories import AccountFactory, UserFactory
from tests.sources.workbooks import As, Formula, make

pytestmark = pytest.mark.django_db

ON_ITS_OWN = pytest.mark.django_db(transaction=True)
DAY = dt.datetime(2024, 2, 29)  # noqa: DTZ001 - a workbook has no time zones
MOMENT = dt.datetime(2024, 2, 29, 10, 5)  # noqa: DTZ001


def accounts(user, *rows):
    return [["user", "number", "name", "opened_on"], *([user.pk, *row] for row in rows)]


def test_a_number_in_a_text_field_is_the_text_that_a_person_sees(tmp_path):
    rows = accounts(UserFactory(), [12, 1.5, As(DAY, "date")], ["007", True, None])
    load(Account, make(tmp_path / "rows.xlsx", rows))
    got = list(Account.objects.order_by("pk").values_list("number", "name", "opened_on"))
    assert got == [("12", "1.5", DAY.date()), ("007", "True", None)]


def test_midnight_is_a_date_or_a_moment_by_the_field(tmp_path):
    rows = [
        ["day", "moment", "hour", "length"],
        [As(DAY, "moment"), As(DAY, "date"), As(dt.time(10, 5), "time"), As(1.25, "length")],
    ]
    load(Moment, make(tmp_path / "rows.xlsx", rows))
    [got] = Moment.objects.values_list("day", "moment", "hour", "length")
    zone = dt.UTC
    assert got == (
        DAY.date(),
        DAY.replace(tzinfo=zone),
        dt.time(10, 5),
        dt.timedelta(days=1, hours=6),
    )


@pytest.mark.parametrize(
    ("column", "cell"),
    [("whole", 1.5), ("whole", True), ("tiny", As(DAY, "date")), ("whole", As(DAY, "date"))],
)
def test_a_cell_is_not_cut_to_fit_a_field(tmp_path, column, cell):
    whole = {"binary": 1, "price": 1, "tiny": 0.5, "huge": 1, "whole": 1}
    values = {**whole, column: cell}
    path = make(tmp_path / "rows.xlsx", [list(values), list(whole.values()), list(values.values())])
    result = load(Fraction, path, on_error="reject")
    assert (result.rows, [(it.record, it.field) for it in result.rejects]) == (1, [(2, column)])


def test_a_moment_is_no_day(tmp_path):
    rows = accounts(UserFactory(), ["1", "a", As(DAY, "date")], ["2", "b", As(MOMENT, "moment")])
    result = load(Account, make(tmp_path / "rows.xlsx", rows), on_error="reject")
    [reject] = result.rejects
    assert (reject.record, reject.line, reject.field) == (2, 3, "opened_on")


def test_a_cell_in_error_is_a_reject_unless_its_column_is_left_out(tmp_path):
    rows = accounts(
        UserFactory(),
        ["1", "a", None, "x"],
        ["2", Formula("=NA()", "#N/A"), None, "y"],
        ["3", "c", None, Formula("=1/0", "#DIV/0!")],
    )
    rows[0].append("note")
    path = make(tmp_path / "rows.xlsx", rows)
    with pytest.raises(RecordsRefused, match="'#N/A': the cell C3 is in error"):
        load(Account, path, ignore_columns="note")
    result = load(Account, path, ignore_columns="note", on_error="reject")
    assert (result.read, result.rows, result.rejected) == (3, 2, 1)
    [reject] = result.rejects
    assert (reject.record, reject.line, reject.column, reject.value) == (2, 3, "name", "#N/A")
    got = preview(Account, path, ignore_columns="note")
    assert (got.records, [it.record for it in got.rejects]) == ((1, 3), [2])


def test_an_error_in_a_record_that_is_skipped_is_none(tmp_path):
    rows = accounts(UserFactory(), ["1", "a"], ["Total", Formula("=NA()", "#N/A")])
    layout = Layout(others="match", skip=(Condition(column="number", equals=("Total",)),))
    result = load(Account, make(tmp_path / "rows.xlsx", rows), layout=layout)
    assert (result.read, result.rows, result.skipped) == (2, 1, 1)


@pytest.mark.parametrize("name", ["rejects.xlsx", "rejects.csv"])
def test_the_reject_file_can_be_fixed_and_loaded(tmp_path, name):
    user = UserFactory()
    rows = [
        ["Export of 2024"],
        *accounts(
            user,
            ["1", "a", As(DAY, "date")],
            ["2", '=HYPERLINK("http://a")', "no day"],
            ["3", "c", Formula("=NA()", "#N/A")],
            ["4", "d", As(DAY, "date"), "surplus"],
            ["5", "e", As(MOMENT, "moment")],
        ),
        ["Total"],
    ]
    path, rejects = make(tmp_path / "rows.xlsx", ("one", []), ("two", rows)), tmp_path / name
    how = {"on_error": "reject", "skip_records": 1, "trailer_records": 1, "overwrite": True}
    result = load(Account, path, sheet=2, reject_file=rejects, **how)
    assert (result.rows, result.rejected, result.skipped) == (1, 4, 1)
    sheet = {"sheet": 2} if name.endswith(".xlsx") else {}
    again = load(Account, rejects, reject_file=tmp_path / f"again-{name}", **sheet, **how)
    assert (again.rows, again.rejected, again.skipped) == (0, 4, 1)
    first, second = [
        sorted((it.record, it.field) for it in found.rejects if it.field)
        for found in (result, again)
    ]
    assert [field for _, field in first] == ["opened_on", "opened_on"]
    assert {"opened_on"} == {field for _, field in second}
    shown = [str(it.value) for it in again.rejects]
    assert any("#N/A" in it for it in shown)
    assert any("surplus" in it for it in shown)
    if name.endswith(".xlsx"):
        import zipfile

        with zipfile.ZipFile(rejects) as archive:
            xml = archive.read("xl/worksheets/sheet2.xml")
        assert b"<f>" not in xml
        assert b"HYPERLINK" in xml


@ON_ITS_OWN
@pytest.mark.parametrize("name", ["rejects.xlsx", "rejects.csv"])
def test_a_reject_file_without_a_header_can_be_loaded(tmp_path, name):
    user = UserFactory()
    path = make(tmp_path / "rows.xlsx", [[user.pk, "1", "a"], [user.pk, "2", "b" * 500]])
    how = {"columns": ("user", "number", "name"), "on_error": "reject"}
    assert load(Account, path, reject_file=tmp_path / name, **how).rejected == 1
    again = load(Account, tmp_path / name, **how)
    assert (again.read, again.rejected) == (1, 1)
    [reject] = again.rejects
    assert (reject.field, reject.value) == ("name", "b" * 500)


@ON_ITS_OWN
def test_a_reject_file_that_is_a_workbook_has_its_limits(tmp_path):
    path = make(tmp_path / "rows.xlsx", accounts(UserFactory(), ["1", "a"]))
    with pytest.raises(ConfigurationError, match=r"call the file 'rejects\.xlsx'"):
        load(Account, path, on_error="reject", reject_file=tmp_path / "rejects.ods")
    with pytest.raises(ConfigurationError, match=r"this load commits in chunks: call it 'r\.csv'"):
        load(Account, path, on_error="reject", reject_file=tmp_path / "r.xlsx", chunk_rows=1)
    csv = make(tmp_path / "rows.csv", [])
    csv.write_text("number,name\n1,a\n")
    with pytest.raises(ConfigurationError, match=r"call the file 'rejects\.csv'"):
        load(
            Account, csv, set={"user": 1}, on_error="reject", reject_file=tmp_path / "rejects.xlsx"
        )


def test_what_a_workbook_hides_is_told(tmp_path):
    rows = accounts(UserFactory(), [1234567890123456789, "a"])
    result = load(Account, make(tmp_path / "rows.xlsx", rows))
    assert "has numbers of more than 15 digits" in " ".join(result.warnings)


@ON_ITS_OWN
def test_a_workbook_goes_on_after_its_last_chunk(tmp_path):
    user = UserFactory()
    rows = accounts(user, *([str(number), "a"] for number in range(1, 8)))
    result = load(Account, make(tmp_path / "rows.xlsx", rows), chunk_rows=3)
    assert (result.read, result.rows) == (7, 7)


def test_detection_looks_at_a_sheet(tmp_path):
    rows = [
        ["Statement of account 7"],
        [],
        ["Number", "Booked", "Value", "Text"],
        *(
            ["1", As(DAY + dt.timedelta(number), "date"), f"{number}.12.2024", 1.5 + number]
            for number in range(1, 9)
        ),
        ["Total", None, None, 12],
    ]
    rows[2] = ["account", "tx date", "due", "amount"]
    path = make(tmp_path / "rows.xlsx", ("other", [["a"], [1]]), ("data", rows))
    found = detect(path, sheet="data")
    options = found.options
    assert (options.format, options.sheet) == ("workbook", "data")
    assert (options.skip_records, options.header, options.trailer_records) == (1, True, 1)
    assert [column.name for column in found.columns] == ["account", "tx date", "due", "amount"]
    assert found.columns[2].date_formats == ("%d.%m.%Y",)
    assert found.columns[3].is_number
    assert found.columns[3].decimal_mark is None
    drafted = draft(found, Transaction).layout
    assert drafted.source["sheet"] == "data"
    assert drafted.fields["amount"].column == "amount"
    with pytest.raises(ConfigurationError, match=r"sheet \(--sheet\) has no effect"):
        detect(__file__, sheet=1)


def test_the_command_takes_the_sheet(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a"], [1]], ("two", accounts(UserFactory(), ["1", "a"])))
    out = io.StringIO()
    call_command("bulk_load", "finance.Account", str(path), "--sheet", "2", stdout=out)
    assert Account.objects.get().number == "1"
    layout = tmp_path / "my.toml"
    layout.write_text('model = "finance.Account"\nothers = "match"\n[source]\nsheet = "two"\n')
    Account.objects.all().delete()
    call_command("bulk_load", "finance.Account", str(path), "--layout", str(layout), stdout=out)
    assert Account.objects.count() == 1
    call_command("bulk_load", "finance.Account", str(path), "--sheet=two", "--detect", stdout=out)
    assert 'sheet = "two"' in out.getvalue()


def test_a_layout_reads_typed_cells_and_texts_alike(tmp_path):
    account = AccountFactory()
    rows = [["day", "amount"], [As(DAY, "date"), -1234.5], ["29.02.2024", "-1.234,50"]]
    layout = Layout(
        fields={
            "account": FieldLayout(constant=account.pk),
            "user": FieldLayout(constant=account.user_id),
            "tx_date": FieldLayout(column="day", formats=("%d.%m.%Y",)),
            "amount": FieldLayout(column="amount", decimal=",", thousands=(".",)),
        }
    )
    load(Transaction, make(tmp_path / "rows.xlsx", rows), layout=layout)
    got = list(Transaction.objects.values_list("tx_date", "amount"))
    assert got == [(DAY.date(), Decimal("-1234.50"))] * 2

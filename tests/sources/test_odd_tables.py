"""Detection tells a file of fixed width, a header that comes again, padded cells, wide headers."""

import pytest

from finance.models import Account, Transaction
from ingest import load
from ingest.exceptions import LayoutError, SourceError
from ingest.layout import FieldLayout
from ingest.layout.drafting import draft
from ingest.sources.detection import detect
from tests.factories import AccountFactory, UserFactory
from tests.sources.workbooks import make

PEOPLE = [("Ann Marie", "1.50", "2024-01-02"), ("Bob", "100.00", "2024-01-03")] * 3


def fixed(*widths, rows=PEOPLE):
    return "".join(
        "".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + "\n"
        for row in rows
    )


FIXED = {
    "with a header": fixed("<12", ">8", ">12", rows=[("name", "amount", "day"), *PEOPLE]),
    "without one": fixed("<12", ">8", ">12"),
    "commas in numbers": fixed("<12", ">8", ">12").replace(".", ","),
    "commas in names": fixed("<12", ">8", ">12").replace("Ann M", "Ann,M"),
    "one blank between": "1000  2 ab\n1001 21 cd\n1002  2 ef\n1003 23 gh\n",
}
NOT_FIXED = {
    "prose": "These are words\nof a letter that\nsomebody wrote in\nlines of equal length\n",
    "one column": "name\nalpha one\nbeta two\ngamma three\ndelta four\n",
    "codes": "code\nAB12\nCD34\nEF56\nGH78\n",
    "padded CSV": "a  ,   b\n1  ,   2\n10 ,  20\n2  ,   3\n",
    "times": "".join(f"2024-01-02 10:00:0{second}\n" for second in range(6)),
    "names": "Anna Lee\nBert Fox\nCarl Ray\nDora May\n",
    "JSON": '{"a": 1}\n{"a": 2}\n{"a": 3}\n{"a": 4}\n',
    "few lines": "ab   1\ncd   2\nef   3\n",
    "bars": " a  | b \n----+---\n 1  | 2 \n 10 | 3 \n 2  | 3 \n",
}


def write(folder, text, name="file.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", FIXED.values(), ids=FIXED)
def test_a_file_of_fixed_width_is_called_so(text, tmp_path):
    with pytest.raises(SourceError, match=r"of fixed width: .* at the characters 1, .*read_fwf"):
        detect(write(tmp_path, text))


@pytest.mark.parametrize("text", NOT_FIXED.values(), ids=NOT_FIXED)
def test_what_is_not_of_fixed_width_is_detected(text, tmp_path):
    detect(write(tmp_path, text))


def test_the_places_of_the_columns(tmp_path):
    with pytest.raises(SourceError, match=r"characters 1, 15 and 23\. "):
        detect(write(tmp_path, FIXED["with a header"]))


def test_that_there_is_no_delimiter_is_said(tmp_path):
    found = detect(write(tmp_path, NOT_FIXED["one column"]))
    assert "No delimiter was found: each line is read as one cell." in str(found)


@pytest.mark.django_db
def test_a_load_of_fixed_width_asks_for_detection(tmp_path):
    with pytest.raises(LayoutError, match=r"one column: is it a file of fixed width\?.*--detect"):
        load(Account, write(tmp_path, FIXED["with a header"]))


HEADER = ["Date", "Text", "Amount"]
ROWS = [["2024-01-02", "a", "1.50"], ["2024-01-03", "b", "-2.00"], ["2024-01-04", "", "3.00"]]


def as_file(kind, records, folder):
    if kind == "workbook":
        return make(folder / "file.xlsx", records)
    mark = {"tabs": "\t", "CSV": ",", "quotes": ";"}[kind]
    quote = '"' if kind == "quotes" else ""
    lines = [mark.join(f"{quote}{cell}{quote}" for cell in record) for record in records]
    return write(folder, "\n".join(lines))


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["CSV", "tabs", "quotes", "workbook"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_header_that_comes_again_is_left_out_and_told(times, kind, tmp_path):
    records = [HEADER, *ROWS] * (times + 1)
    path = as_file(kind, records, tmp_path)
    found = draft(detect(path), Transaction)
    said = "once more" if times == 1 else "2 times more"
    assert f"The header is there {said}, within the table. A load leaves these" in "\n".join(
        found.findings
    )
    assert found.layout.fields["tx_date"].column == "Date"
    assert found.layout.fields["amount"].column == "Amount"
    account = AccountFactory()
    text = found.to_toml().replace(
        "[fields]",
        f"[fields]\nuser = {{constant = {account.user_id}}}\naccount = {{constant = {account.pk}}}",
    )
    layout = write(tmp_path, text, "layout.toml")
    result = load(Transaction, path, layout=layout)
    assert (result.rows, result.skipped, result.rejected) == (3 * (times + 1), times, 0)
    got = Transaction.objects.order_by("pk").values_list("amount", flat=True)
    assert list(map(str, got)) == ["1.50", "-2.00", "3.00"] * (times + 1)


@pytest.mark.parametrize(
    "text",
    ["Date , Text,Amount", '"Date","Text","Amount"', "Date,Text,Amount\nDate,Text,Amount"],
)
def test_a_header_that_is_written_a_little_otherwise(text, tmp_path):
    lines = ["Date,Text,Amount", "2024-01-02,a,1.50", text, "2024-01-03,b,2.00"]
    found = detect(write(tmp_path, "\n".join(lines)))
    assert "within the table" in str(found)
    assert found.columns[0].date_formats == ("%Y-%m-%d",)


def test_records_of_texts_that_come_again_stay_records(tmp_path):
    path = write(tmp_path, "name,number\na,b\nname,number\nc,d\n")
    found = draft(detect(path), Account)
    assert "It is read as records. If it is none" in "\n".join(found.findings)
    assert found.layout.skip == ()


def test_a_record_that_comes_again_is_no_header(tmp_path):
    path = write(tmp_path, "Date,Text\n2024-01-02,a\nsee,below\n2024-01-03,b\nsee,below\n")
    found = detect(path)
    assert "within the table" not in str(found)
    assert [column.name for column in found.columns] == ["Date", "Text"]


def test_a_wide_header_is_shortened(tmp_path):
    names = [f"c{number}" for number in range(2_000)]
    path = write(tmp_path, ",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    found = detect(path)
    [header] = [line for line in found.findings if line.startswith("The header is")]
    assert header.endswith("'c18', 'c19' and 1,980 more.")
    assert len(found.columns) == 2_000


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    [
        "name, number, currency\nAnn, 1, EUR\nBob, 2, CHF\n",
        "name |number|currency\nAnn |1|EUR\nBob |2|CHF\n",
    ],
)
def test_padded_cells_are_stripped_and_told(text, tmp_path):
    path = write(tmp_path, text)
    found = draft(detect(path), Account)
    assert "begin or end with blanks" in "\n".join(found.findings)
    layout = write(
        tmp_path,
        found.to_toml().replace("[fields]", f"[fields]\nuser = {{constant = {UserFactory().pk}}}"),
        "layout.toml",
    )
    load(Account, path, layout=layout)
    got = Account.objects.order_by("pk").values_list("name", "number", "currency")
    assert list(got) == [("Ann", "1", "EUR"), ("Bob", "2", "CHF")]


def test_a_blank_here_and_there_is_no_padding(tmp_path):
    found = draft(detect(write(tmp_path, "name,number\nAnn ,1\nBob,2\nCid,3\n")), Account)
    assert found.layout.read.strip is None
    assert found.layout.fields["name"] == FieldLayout(column="name")

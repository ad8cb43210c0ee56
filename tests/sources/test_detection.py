import json
from pathlib import Path

import pytest

from ingest.exceptions import SourceError
from ingest.sources import detection
from ingest.sources.detection import detect
from ingest.sources.detection.encodings import detect_encoding
from ingest.sources.detection.values import choose_date_formats, choose_marks
from tests.sources.bank_statements import statements
from tests.sources.read_source import read

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BANKS = sorted((SHARED / "banks").glob("*.csv"))


@pytest.mark.parametrize("statement", list(statements(60, seed=7)), ids=lambda made: str(made.seed))
def test_statements_of_every_family(tmp_path, statement):
    path = tmp_path / "statement.csv"
    path.write_bytes(statement.content())
    found = detect(path)
    got = read(path, **vars(found.options))
    names, rows = statement.table()
    assert got.texts == [tuple(row) for row in rows], found
    assert got.columns == (tuple(names) if statement.header else ("1", "2", "3", "4", "5"))
    assert (got.rejects, got.skipped) == ([], int(statement.trailer))
    assert found.columns[0].date_formats == (statement.date_format,)
    assert found.columns[2].decimal_mark == statement.decimal
    assert found.columns[2].thousands_mark in {statement.thousands or None, None}
    assert found.decimal_mark == statement.decimal


@pytest.mark.skipif(not BANKS, reason="The real statements are not here: ../shared/data/banks.")
@pytest.mark.parametrize("path", BANKS, ids=lambda path: path.stem)
def test_real_statements(path):
    want = json.loads(path.with_suffix(".expected.json").read_text())
    found = detect(path)
    assert found.options.delimiter == want["delimiter"]
    assert found.options.encoding == {"ascii": "utf-8"}.get(want["encoding"], want["encoding"])
    assert found.options.skip_records == want["preamble_records"]
    assert found.options.header == (want["header"] is not None)
    assert found.options.trailer_records == want["trailer_records"]
    got = read(path, **vars(found.options))
    assert got.texts == [tuple(record) for record in want["records"]]
    if want["header"]:
        assert got.columns == tuple(name.strip() for name in want["header"])
    if want["date_column"] is not None:
        assert found.columns[want["date_column"]].date_formats[0] == want["date_format"]
    for place, amounts in want["amount_columns"].items():
        column = found.columns[int(place)]
        assert column.is_number
        assert (column.decimal_mark or ".") == ("," if amounts["style"] == "comma" else ".")


def test_the_findings(tmp_path):
    path = tmp_path / "umsatz.csv"
    text = (
        "Konto;DE12 3456\n\nTag;Empfänger;Betrag\n31.01.2026;Müller;-1.234,50\n"
        "01.02.2026;Bäcker;2,00\nSumme;;-1.232,50\n"
    )
    path.write_bytes(text.encode("cp1252"))
    assert str(detect(path)).splitlines() == [
        f"{path} is read with encoding cp1252: its letters fit that best.",
        "The encoding is a guess: look at a few names with accents.",
        "The delimiter is ';': 4 of 5 records then have 3 cells.",
        (
            "The table begins after 1 record, which a load leaves out (skip_records = 1): "
            "'Konto DE12 3456'."
        ),
        "The header is 'Tag', 'Empfänger', 'Betrag'.",
        (
            "The table ends before 1 record, which a load leaves out (trailer_records = 1): "
            "'Summe -1.232,50'."
        ),
        "Column 'Tag' has dates as %d.%m.%Y.",
        "Column 'Betrag' has numbers with decimal mark ',' and thousands mark '.'.",
    ]


WESTERN = ("Müller GmbH", "é", "Straße", "Gebühr", "señor", "à la carte", "Zürich", "Île, où")


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"\xef\xbb\xbfa", "utf-8"),
        ("é".encode("utf-16"), "utf-16"),
        ("é".encode("utf-32"), "utf-32"),
        ("plain words".encode("utf-16-le"), "utf-16-le"),
        ("plain words".encode("utf-16-be"), "utf-16-be"),
        (b"", "utf-8"),
        (b"a\x00b,c", "utf-8"),
        ("Müller".encode() * 30 + b"\xfc", "utf-8"),
        ("Überweisung für Größe".encode("cp850"), "cp850"),
        ("zażółć gęślą jaźń".encode("cp1250"), "cp1250"),
        ("árvíztűrő tükörfúrógép".encode("cp1250"), "cp1250"),
        ("привет мир Оплата".encode("koi8-r"), "koi8-r"),
        ("привет мир Оплата".encode("cp866"), "cp866"),
        ("καλημέρα κόσμε".encode("cp1253"), "cp1253"),
        ("şubat ay\u0131 ödeme ğ".encode("cp1254"), "cp1254"),
        ("口座の残高とカード".encode("euc_jp"), "euc_jp"),
        ("帳戶餘額與信用卡消費".encode("big5"), "big5"),
        ("5年,1月".encode("gb18030"), "gb18030"),
        *((f"{word},1.50\r".encode("cp1252") * 5, "cp1252") for word in WESTERN),
    ],
)
def test_the_encoding_is_detected(content, want):
    assert detect_encoding(content).name == want


def test_a_sample_that_cuts_a_character():
    assert detect_encoding("aé".encode()[:-1], is_whole=False).name == "utf-8"
    assert detect_encoding("aé".encode()[:-1]).name != "utf-8"


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["31/01/2026", "01/02/2026"], ("%d/%m/%Y",)),
        (["01/31/2026", "02/01/2026"], ("%m/%d/%Y",)),
        (["01/02/2026", "02/02/2026", "03/02/2026"], ("%d/%m/%Y",)),
        (["01/02/2026", "01/03/2026", "01/04/2026"], ("%m/%d/%Y",)),
        (["01/02/2026"], ("%d/%m/%Y",)),
        (["2026-01-31T10:00:00Z"], ("%Y-%m-%dT%H:%M:%S%z",)),
        (["2026-01-31 10:00:00.123 +01:00"], ("%Y-%m-%d %H:%M:%S.%f %z",)),
        (["1/31/2026 9:05 PM"], ("%m/%d/%Y %H:%M %p".replace("%H", "%I"),)),
        (["31 January 2026"], ("%d %B %Y",)),
        (["Jan 31, 2026"], ("%b %d, %Y",)),
        (["2026年1月31日"], ("%Y年%m月%d日",)),
        (["930101", "930201", "930301", "930401", "930501"], ("%y%m%d",)),
        (["930101", "930201"], ()),
        (["930101", "930201", "930301", "930401", "931341"], ()),
        (["31.01.2026", "2026-02-01", "02.02.2026"], ("%d.%m.%Y", "%Y-%m-%d")),
        (["31.02.2026"], ()),
        (["31.01.2026", "x", "y"], ()),
        (["12.34.56"], ()),
        (["4月30日"], ()),
    ],
)
def test_the_formats_of_dates_are_detected(cells, want):
    assert choose_date_formats(cells) == want


@pytest.mark.parametrize(
    ("cells", "want"),
    [
        (["1.234,56", "7"], (",", ".")),
        (["1,234.56"], (".", ",")),
        (["12'345.60", "1\u2019000"], (".", "'")),
        (["1 234,5"], (",", " ")),
        (["1,234,567"], (None, ",")),
        (["12"], (None, None)),
        (["1,234"], (None, ",")),
        (["1.234"], (".", None)),
        (["1,234", "1.5"], (".", ",")),
        (["0,123"], (",", None)),
        (["($85.00)", "$.23", "- $21.59"], (".", None)),
        (["\\7,000", "¥12,345"], (None, ",")),
        (["100,00-", "5,00 CR", "EUR 1,50", "R$ 2,00", "3,00 Kč"], (",", None)),
        (["1.2.3"], None),
        (["01.02.2003"], None),
        (["12,34.5"], None),
        (["abc", "5"], None),
        (["INV-0027", "INV-0028"], None),
        (["12 zł", "5 Ft", "\u0440\u0443\u0431. 5", "US$ 5", "₹5"], (None, None)),
    ],
)
def test_the_marks_of_numbers_are_detected(cells, want):
    assert choose_marks(cells, None) == want


def test_a_doubtful_mark_is_decided_by_the_other_columns(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("a;b\n1,5;1.234\n2,25;5.678\n")
    assert [column.thousands_mark for column in detect(path).columns] == [None, "."]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", {"delimiter": ";"}),
        ("a,b\n'x, y',1\n'z',2\n", {"quote": "'"}),
        ('a,b\n"x \\"y\\" z",1\n"q",2\n', {"escape": "\\", "doubled_quotes": False}),
        ("a\n1\n2\n", {"delimiter": ",", "header": True}),
        ("1\n2\n", {"header": False}),
        ("a,b\n", {"header": True}),
        ("1,x\n", {"header": False}),
        ("name,town\nAnn,Ulm\nBob,Bonn\n", {"header": True}),
        ("a|b\n1|2\n", {"delimiter": "|"}),
        ("2026-01-01;5,00\n", {"delimiter": ";"}),
        ("sep=;\na;b\n1,5;2,5\n", {"delimiter": ";", "skip_records": 1}),
        ("day,x,sum\n2026-01-01,a,1\n2026-01-02,b,2\n,total,3\n", {"trailer_records": 1}),
        ("day,x,sum\n2026-01-01,a,1\n,b,2\n,c,3\n", {"trailer_records": 0}),
        (
            ";;\nKonto;1.234,00;\nTag;Wert;x\n01.02.2026;1,0;\n02.02.2026;2,0;\n"
            + "03.02.2026;2,0;\n" * 3,
            {"skip_records": 2},
        ),
    ],
)
def test_the_dialect_is_detected(tmp_path, text, want):
    path = tmp_path / "file.csv"
    path.write_text(text)
    got = vars(detect(path).options)
    assert {name: got[name] for name in want} == want


def test_a_bad_first_record_is_no_header_and_a_cut_off_last_one_no_trailer(tmp_path):
    path = tmp_path / "file.csv"
    days = ["2026-13-01,5", "2026-01-02,6", "2026-01-03,7", "2026-01-04,8", "2026-01-05"]
    path.write_text("\n".join(["day,amount", *days]))
    options = detect(path).options
    assert (options.skip_records, options.header, options.trailer_records) == (0, True, 0)


def test_a_pipe_s_trailer_is_not_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "SAMPLE_BYTES", 64)
    path = tmp_path / "file.csv"
    path.write_text("day,amount\n" + "2026-01-02,6\n" * 20 + "total,120\n")
    assert detect(path).options.trailer_records == 1
    with path.open("rb") as file:
        found = detect(file)
    assert found.options.trailer_records == 0
    assert found.findings[-2] == (
        "The file's end was not looked at: see yourself whether it has totals there."
    )


@pytest.mark.parametrize("content", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
def test_nothing_to_detect(tmp_path, content):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        detect(path)
    assert str(caught.value) == f"{path} is empty: there is nothing to detect."


def test_a_file_that_says_itself_what_it_is(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"a": 1}\n')
    found = detect(path)
    assert [column.name for column in found.columns] == ["a"]
    assert str(found) == f"{path} says itself what it is (jsonl)."


def test_the_currency_of_a_column(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("a;b;c\n1,5 EUR;$5.00;5%\n2,5 EUR;£5.00;6%\n3,5 €;$5.00;7\n")
    columns = detect(path).columns
    assert [column.currency for column in columns] == [("EUR", "€"), ("$", "£"), ()]
    assert [column.is_plain for column in columns] == [False, False, False]


def test_a_euro_sign_beside_a_number_speaks_for_its_encoding():
    text = "Müller;1,50 €\nBäcker;2,00 €\n"
    assert detect_encoding(text.encode("cp1252")).name == "cp1252"


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 4, b"\x7fELF\x02\x01\x01" + b"\0\x05\0" * 99]
)
def test_what_is_no_text(tmp_path, content):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        detect(path)
    assert str(caught.value) == (
        f"{path} is not text: too many of its bytes are control characters."
    )


def test_a_spreadsheet_is_named(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"PK\x03\x04...")
    with pytest.raises(SourceError) as caught:
        detect(path)
    assert str(caught.value) == (
        f"{path} is not text, but a workbook or a zip archive: name it .xlsx, .ods or .zip, or "
        "give its format."
    )

"""Sheets of workbooks: types, heads, errors, and malicious files."""

import datetime as dt
import gzip
import io
import zipfile
from decimal import Decimal

import pyarrow as pa
import pytest
import xlsxwriter
import xlwt

from ingest import detect
from ingest.exceptions import ConfigurationError, SourceError
from ingest.loading.option_checks import check_reading
from ingest.sources import SourceOptions, open_source
from ingest.sources.cell_errors import refuse_errors
from ingest.sources.sheet import sheet_names
from ingest.sources.spreadsheets import SheetFacts
from ingest.sources.spreadsheets.xlsx import _quick_scan
from tests.sources import workbooks
from tests.sources.read_source import Got, Pipe
from tests.sources.workbooks import (
    As,
    Formula,
    make,
    make_ods,
    make_xls,
    make_xlsb,
    ods_cell,
    ods_row,
)


def read(given, **options):
    """Return the names of the columns, the rows, and the source after reading it."""
    with open_source(given, SourceOptions(**options)) as source:
        rows = []
        for batch in source.batches():
            columns = [
                [cell.decode() if isinstance(cell, bytes) else cell for cell in column]
                if isinstance(column, list)
                else [
                    cell.decode() if isinstance(cell, bytes) else cell
                    for cell in column.to_pylist()
                ]
                for column in batch.columns
            ]
            rows += zip(*columns, strict=True)
        return source.columns, rows, source.notes


def refused(given, **options):
    with pytest.raises(SourceError) as caught:
        read(given, **options)
    return str(caught.value)


def rejects(given, used=None, **options):
    with open_source(given, SourceOptions(**options)) as source:
        batches = list(refuse_errors(source.batches(), used))
    return [reject for batch in batches for reject in batch.rejects]


def test_cells_have_their_types(tmp_path):
    day, moment = dt.datetime(2024, 2, 29), dt.datetime(2024, 2, 29, 10, 5, 6)  # noqa: DTZ001
    row = [
        *(7, 1.25, "007", True, As(day, "date"), As(day, "moment"), As(moment, "moment")),
        *(As(dt.time(10, 5), "time"), As(dt.timedelta(hours=30, seconds=5), "length")),
        *(As(0.05, "percent"), -0.1, Formula("=1+1", 2)),
    ]
    path = make(tmp_path / "rows.xlsx", [[f"c{at}" for at in range(len(row))], row])
    _, rows, notes = read(path)
    assert rows == [
        (
            *(7, Decimal("1.25"), "007", True, dt.date(2024, 2, 29), dt.date(2024, 2, 29)),
            *(moment, dt.time(10, 5), dt.timedelta(hours=30, seconds=5)),
            *(Decimal("0.05"), Decimal("-0.1"), 2),
        )
    ]
    assert type(rows[0][0]) is int
    assert notes == ()


def test_the_types_of_an_open_document(tmp_path):
    cells = [
        ("date", 'office:date-value="2024-02-29"', dt.date(2024, 2, 29)),
        ("date", 'office:date-value="2024-02-29T10:05:00"', dt.datetime(2024, 2, 29, 10, 5)),  # noqa: DTZ001
        ("time", 'office:time-value="PT10H05M06S"', dt.time(10, 5, 6)),
        ("time", 'office:time-value="PT10H05M06.25S"', dt.time(10, 5, 6, 250_000)),
        ("time", 'office:time-value="PT30H00M05S"', dt.timedelta(hours=30, seconds=5)),
        ("boolean", 'office:boolean-value="true"', True),
        ("percentage", 'office:value="0.05"', Decimal("0.05")),
        ("currency", 'office:currency="EUR" office:value="12"', 12),
    ]
    row = [f'<table:table-cell office:value-type="{kind}" {value}/>' for kind, value, _ in cells]
    names = [ods_cell(f"c{place}") for place in range(len(cells))]
    path = make_ods(tmp_path / "rows.ods", ods_row(*names), ods_row(*row))
    assert read(path)[1] == [tuple(want for _, _, want in cells)]


def test_dates_are_those_of_the_workbooks_date_system(tmp_path):
    rows = [["day"], [As(dt.date(2024, 2, 29), "date")]]
    for system in (False, True):
        path = make(tmp_path / f"{system}.xlsx", rows, date_1904=system)
        assert read(path)[1] == [(dt.date(2024, 2, 29),)]


def test_preamble_blank_rows_header_and_trailer(tmp_path):
    rows = [
        ["Statement", "2024"],
        [],
        ["name", 2024, " padded "],
        [],
        ["a", 1, "x"],
        [None, None, None],
        ["b", None, ""],
        ["Total", 1],
    ]
    path = make(tmp_path / "rows.xlsx", rows)
    got = Got(path, skip_records=1, trailer_pattern="^Total")
    assert got.columns == ("name", "2024", "padded")
    assert got.records == [1, 2]
    assert got.lines == [5, 7]
    assert got.skipped == 1
    assert read(path, skip_records=1, trailer_records=1)[1] == [("a", 1, "x"), ("b", "", "")]
    with open_source(path, SourceOptions(skip_records=1)) as source:
        assert source.preamble == "Statement,2024"


def test_a_table_may_begin_anywhere(tmp_path):
    with workbooks.xlsxwriter.Workbook(str(tmp_path / "rows.xlsx")) as book:
        workbooks.fill(book, book.add_worksheet(), [["a", "b"], [1, "x"]], row=9, column=3)
    got = Got(tmp_path / "rows.xlsx")
    assert (got.columns, got.lines) == (("a", "b"), [11])


def test_columns_without_a_header(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a", 1], ["b", 2]])
    assert read(path, header=False)[:2] == (("1", "2"), [("a", 1), ("b", 2)])
    assert read(path, columns=("x", "y", "z"))[:2] == (
        ("x", "y", "z"),
        [("a", 1, ""), ("b", 2, "")],
    )
    assert read(path, columns=("x", "y"), header=True)[:2] == (("x", "y"), [("b", 2)])


def test_a_value_beyond_the_header_is_a_reject_or_is_cut(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a", "b"], [1, 2], [3, 4, None, "note"], [5, 6]])
    got = Got(path)
    assert [(it.record, it.line, it.reason) for it in got.rejects] == [
        (
            2,
            3,
            (
                "it has a value in the cell D3, 'note', where no column has a name: name the "
                "column, "
                "or empty the cell"
            ),
        )
    ]
    assert got.records == [1, 3]
    assert read(path, lenient=("cut",))[1] == [(1, 2), (3, 4), (5, 6)]
    with pytest.raises(ConfigurationError, match="lenient='pad'"):
        read(path, lenient=("pad",))


def test_the_sheet_is_the_only_one_with_data_or_must_be_named(tmp_path):
    one, two = [["a"], [1]], [["b"], [2]]
    assert read(make(tmp_path / "1.xlsx", ("empty", []), ("data", one)))[0] == ("a",)
    path = make(tmp_path / "2.xlsx", ("first", one), ("second", two), ("empty", []))
    assert refused(path) == (
        f"{path} has several sheets with data, such as 'first' and 'second', of 'first', 'second', "
        "'empty': choose one with sheet (--sheet), by its name or its number from 1."
    )
    assert read(path, sheet="second")[0] == read(path, sheet=2)[0] == read(path, sheet="2")[0]
    assert read(path, sheet=2)[0] == ("b",)
    assert refused(path, sheet="frist") == (
        f"{path} has no sheet 'frist'. Did you mean 'first'? Its sheets are 'first', 'second', "
        "'empty'."
    )
    assert refused(path, sheet=4) == f"{path} has 3 sheets: there is no sheet 4."
    source = open_source(io.BytesIO(b"a\n1\n"), SourceOptions(sheet=1))
    with pytest.raises(ConfigurationError, match="which is read as delimited"):
        check_reading(source, {"sheet": 1})


def test_hidden_sheets_and_rows_and_merged_cells_are_told(tmp_path):
    with workbooks.xlsxwriter.Workbook(str(tmp_path / "rows.xlsx")) as book:
        sheet = book.add_worksheet("open")
        workbooks.fill(book, sheet, [["a", "b"], [1, 2], [3, 4]])
        sheet.set_row(2, options={"hidden": True})
        sheet.merge_range(3, 0, 3, 1, 5)
        other = book.add_worksheet("secret")
        workbooks.fill(book, other, [["c"], [9]])
        other.hide()
    path = tmp_path / "rows.xlsx"
    columns, rows, notes = read(path)
    assert (columns, rows) == (("a", "b"), [(1, 2), (3, 4), (5, "")])
    assert notes == (
        (
            f"Warning: {path} has hidden sheets, which were not read: 'secret'. Name one with "
            "sheet "
            "(--sheet) to read it."
        ),
        (
            f"Warning: the sheet 'open' of {path} has 1 hidden row, such as 3, which are read "
            "like any "
            "others."
        ),
        (
            f"Warning: the sheet 'open' of {path} has 1 range of merged cells: only the first "
            "cell of "
            "each has its value, and the others are empty."
        ),
    )
    columns, rows, notes = read(path, sheet="secret")
    assert (columns, rows) == (("c",), [(9,)])
    assert notes == (f"Warning: the sheet 'secret' of {path} is hidden.",)


def test_formulas_without_a_value_and_long_numbers_are_told(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a", "card"], [Formula("=1+1"), 1234567890123456789]])
    workbooks.change(
        path, "xl/worksheets/sheet1.xml", lambda xml: xml.replace(b"</f><v>0</v>", b"</f>")
    )
    _, rows, notes = read(path)
    assert rows == [("", 1234567890123457024)]
    assert notes == (
        (
            f"Warning: the sheet 'Sheet1' of {path} has 1 cell with a formula and without its "
            "value, "
            "such as A2: they are read as empty cells. Open it with a spreadsheet program and "
            "save it, "
            "so that they get their values."
        ),
        (
            f"Warning: the sheet 'Sheet1' of {path} has numbers of more than 15 digits, of which a "
            "workbook keeps the first 15: 1234567890123457024 in row 2 may have been another "
            "number. "
            "Format such a column as text before the numbers are typed or pasted."
        ),
    )


ERROR = "the cell {} is in error: fix its formula, or write the value"


def make_with_error(folder, kind):
    path = folder / f"rows.{kind}"
    if kind == "xlsx":
        return make(path, [["a", "b"], [1, "x"], [2, Formula("=NA()", "#N/A")], [3, "z"]])
    if kind == "xlsb":
        return make_xlsb(path, [["a", "b"], [1, "x"], [2, b"\x2a"], [3, "z"]])
    if kind == "xls":
        return make_xls(path)
    error = (
        '<table:table-cell table:formula="of:=NA()" office:value-type="string" '
        'office:string-value="" calcext:value-type="error"><text:p>#N/A</text:p></table:table-cell>'
    )
    return make_ods(
        path,
        ods_row(ods_cell("a"), ods_cell("b")),
        ods_row(ods_cell("1", "float"), ods_cell("x")),
        ods_row(ods_cell("2", "float"), error),
        ods_row(ods_cell("3", "float"), ods_cell("z")),
    )


@pytest.mark.parametrize("kind", ["xlsx", "xlsb", "xls", "ods"])
def test_a_cell_in_error_is_a_reject_where_it_is_used(tmp_path, kind):
    path = make_with_error(tmp_path, kind)
    [reject] = rejects(path)
    assert (reject.record, reject.line, reject.column, reject.value) == (2, 3, "b", "#N/A")
    assert reject.reason == ERROR.format("B3")
    assert rejects(path, used={"a"}) == []
    assert rejects(path, used={"b"}) == [reject]
    assert [row[0] for row in read(path)[1]] == [1, 2, 3]


def test_an_error_is_found_however_the_xml_is_written(tmp_path):
    rows = [["a", "b"], [1, "x"], [2, Formula("=NA()", "#N/A")]]
    for number, (before, after) in enumerate(
        [
            (b't="e"', b"t='e'"),
            (b't="e"', b't = "e"'),
            (b'<c r="B3" t="e">', b'<c t="e">'),
            (b'encoding="UTF-8"', b'encoding="UTF-16"'),
        ]
    ):
        path = make(tmp_path / f"{number}.xlsx", rows)

        def spell(xml, before=before, after=after):
            assert before in xml
            xml = xml.replace(before, after)
            return xml.decode().encode("utf-16") if b"UTF-16" in after else xml

        workbooks.change(path, "xl/worksheets/sheet1.xml", spell)
        try:
            got = rejects(path)
        except SourceError:
            assert b"UTF-16" in after  # calamine does not read it: nothing is loaded
        else:
            assert [(it.line, it.value) for it in got] == [(3, "#N/A")]


def test_a_row_of_nothing_but_an_error_is_a_record(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a"], [Formula("=1/0", "#DIV/0!")], [2]])
    assert [(it.record, it.value) for it in rejects(path)] == [(1, "#DIV/0!")]


def test_hidden_rows_of_other_kinds(tmp_path):
    hidden = "Warning: the sheet 'Table' of {} has 1 hidden row, such as 2, which are read like "
    xlsb = make_xlsb(tmp_path / "rows.xlsb", [["a"], [1.5]], hidden={2})
    ods = make_ods(
        tmp_path / "rows.ods",
        ods_row(ods_cell("a")),
        ods_row(ods_cell("1.5", "float"), attributes='table:visibility="filter"'),
    )
    assert "has 1 hidden row, such as 4" in read(make_xls(tmp_path / "rows.xls"))[2][0]
    for path in (xlsb, ods):
        columns, rows, notes = read(path)
        assert (columns, rows) == (("a",), [(Decimal("1.5"),)])
        assert notes[0].startswith(hidden.format(path))


def with_hidden_columns(folder, kind):
    """Make a workbook of four columns; B, D and all after it are hidden."""
    path, rows = folder / f"rows.{kind}", [["a", "b", "c", "d"], ["1", "2", "3", "4"]]
    if kind == "xlsx":
        with workbooks.xlsxwriter.Workbook(str(path)) as book:
            sheet = book.add_worksheet("Table")
            workbooks.fill(book, sheet, rows)
            sheet.set_column("B:B", options={"hidden": True})
            sheet.set_column("C:C", 30)
            sheet.set_column("D:XFD", options={"hidden": True})
    elif kind == "xlsb":
        make_xlsb(path, rows, hidden_columns=[(1, 1), (3, 16_383)])
    elif kind == "xls":
        book = xlwt.Workbook()
        sheet = book.add_sheet("Table")
        for at, row in enumerate(rows):
            for place, cell in enumerate(row):
                sheet.write(at, place, cell)
        for place in (1, *range(3, 20)):
            sheet.col(place).hidden = True
        book.save(str(path))
    else:
        hidden = '<table:table-column table:visibility="collapse"'
        make_ods(
            path,
            f"<table:table-column/>{hidden}/><table:table-column/>",
            f'{hidden} table:number-columns-repeated="1000"/>',
            *(ods_row(*map(ods_cell, row)) for row in rows),
        )
    return path


@pytest.mark.parametrize("kind", ["xlsx", "xlsb", "xls", "ods"])
def test_hidden_columns_are_told(tmp_path, kind):
    path = with_hidden_columns(tmp_path, kind)
    columns, rows, notes = read(path)
    assert (columns, rows) == (("a", "b", "c", "d"), [("1", "2", "3", "4")])
    assert notes == (
        (
            f"Warning: the sheet 'Table' of {path} has 2 hidden columns, such as B, D, which are "
            "read like any others."
        ),
    )


def test_hidden_columns_are_told_beside_cells_in_error(tmp_path):
    path = tmp_path / "rows.xlsx"
    with workbooks.xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        workbooks.fill(book, sheet, [["a", "b"], [1, Formula("=NA()", "#N/A")]])
        sheet.set_column("A:A", options={"hidden": True})
    assert "has 1 hidden column, such as A" in read(path)[2][0]


def test_a_sheet_whose_dimension_is_wrong_is_read_as_far_as_its_cells_go(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a"], [1]])
    workbooks.change(
        path,
        "xl/worksheets/sheet1.xml",
        lambda xml: xml.replace(b'"A1:A2"', b'"A1:XFD1048576"'),
    )
    assert read(path)[1] == [(1,)]


def far_cell(folder, kind):
    path = folder / f"far.{kind}"
    if kind == "xlsx":
        with workbooks.xlsxwriter.Workbook(str(path)) as book:
            sheet = book.add_worksheet()
            sheet.write(0, 0, "a")
            sheet.write(1_048_575, 16_383, 1)
    elif kind == "xlsb":
        make_xlsb(path, [["a"], [1]])
        far = (1_048_575).to_bytes(4, "little")

        def move(content):
            row = content.rindex(b"\x00\x11")
            cell = content.rindex(b"\x05\x10")
            moved = content[: row + 2] + far + content[row + 6 :]
            column = (16_383).to_bytes(4, "little")
            return moved[: cell + 2] + column + moved[cell + 6 :]

        workbooks.change(path, "xl/worksheets/sheet1.bin", move)
    else:
        repeated = 'table:number-columns-repeated="16384"'
        make_ods(
            path,
            ods_row(ods_cell("a")),
            f'<table:table-row table:number-rows-repeated="1048574"><table:table-cell {repeated}/>'
            "</table:table-row>",
            ods_row(f"<table:table-cell {repeated}/>", ods_cell("b")),
        )
    return path


@pytest.mark.parametrize("kind", ["xlsx", "xlsb", "ods"])
def test_cells_far_apart_do_not_fill_the_memory(tmp_path, kind):
    assert "has 2 cells, spread over 1,048,57" in refused(far_cell(tmp_path, kind))


def test_repeated_cells_do_not_fill_the_memory(tmp_path):
    everywhere = 'table:number-columns-repeated="16384"'
    error = (
        f'<table:table-cell {everywhere} table:formula="of:=NA()" office:value-type="string" '
        'calcext:value-type="error"><text:p>#N/A</text:p></table:table-cell>'
    )
    for cell in (ods_cell("a", attributes=everywhere), error):
        rows = ods_row(cell, attributes='table:number-rows-repeated="1048576"')
        path = make_ods(tmp_path / "rows.ods", rows)
        assert "has 1 cell, spread over 1,048,576 rows" in refused(path)


def bomb(path, member="xl/worksheets/sheet1.xml", size=300 << 20):
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{member}.bak", "w") as file,
    ):
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return path


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = bomb(make(tmp_path / "rows.xlsx", [["a"], [1]]))
    assert "when unpacked" in refused(path)
    assert "times its size" in refused(path)


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a"], ["x" * 100]])
    content = bytearray(path.read_bytes())
    place = content.rindex(b"xl/sharedStrings.xml") - 46 + 24
    content[place : place + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    assert "is truncated or damaged" in refused(path)


def test_entities_are_refused(tmp_path):
    laughs = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
    for member in ("xl/worksheets/sheet1.xml", "xl/workbook.xml"):
        path = make(tmp_path / "rows.xlsx", [["a"], [1]])
        workbooks.change(path, member, lambda xml: xml.replace(b"?>\n", b"?>\n" + laughs, 1))
        assert refused(path) == f"{path} has XML with a document type, which no workbook needs."


def test_damaged_files_are_refused_in_words(tmp_path):
    whole = make(tmp_path / "rows.xlsx", [["a"], [1]]).read_bytes()
    cases = {
        "empty.xlsx": (b"", "is empty"),
        "half.xlsx": (whole[: len(whole) // 2], "is truncated or damaged"),
        "text.xlsx": (b"a,b\n1,2\n", "is not a workbook: it does not begin like one"),
        "half.xls": (make_xls(tmp_path / "rows.xls").read_bytes()[:600], "is truncated or damaged"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert message in refused(path), name
    with zipfile.ZipFile(tmp_path / "other.xlsx", "w") as archive:
        archive.writestr("a.txt", "a")
    assert "is not a workbook, but another zip archive" in refused(tmp_path / "other.xlsx")
    broken = make(tmp_path / "broken.xlsx", [["a"], [1]])
    workbooks.change(broken, "xl/worksheets/sheet1.xml", lambda xml: xml[:-40])
    assert "damaged" in refused(broken)


@pytest.mark.parametrize("name", workbooks.LOCKED)
def test_workbooks_with_a_password_are_refused(tmp_path, name):
    path = workbooks.make_locked(tmp_path / name)
    assert refused(path) == f"{path} is protected by a password: save it without one."
    with pytest.raises(SourceError) as caught:
        detect(path)
    assert str(caught.value) == f"{path} is protected by a password: save it without one."


def test_a_workbook_comes_by_any_way(tmp_path):
    path = make(tmp_path / "rows.xlsx", [["a"], [1], [2]])
    content = path.read_bytes()
    packed = tmp_path / "rows.xlsx.gz"
    packed.write_bytes(gzip.compress(content))
    misnamed = tmp_path / "rows.xls"
    misnamed.write_bytes(content)
    for given in (packed, misnamed, str(path)):
        assert read(given)[1] == [(1,), (2,)]
    for given in (Pipe(content), io.BytesIO(content)):
        assert read(given, format="workbook")[1] == [(1,), (2,)]


def test_batches_and_reading_on(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.sources.workbook.BATCH_ROWS", 4)
    rows = [["a"], *([number] if number % 5 else [] for number in range(1, 40))]
    path = make(tmp_path / "rows.xlsx", rows)
    got = Got(path)
    want = [number for number in range(1, 40) if number % 5]
    assert got.records == list(range(1, len(want) + 1))
    assert got.lines == [number + 1 for number in want]
    assert got.bytes_read == got.bytes_total


@pytest.mark.parametrize("pattern", ["00000", "000-00", "0000"])
def test_numbers_that_are_shown_with_leading_zeros_are_told(tmp_path, pattern):
    path = tmp_path / "codes.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet, zeros = book.add_worksheet("Codes"), book.add_format({"num_format": pattern})
        sheet.write_row(0, 0, ["a", "code", "text", "empty"])
        sheet.write_row(1, 0, ["x"])
        sheet.write_number(1, 1, 123, zeros)
        sheet.write_string(1, 2, "0123", zeros)
        sheet.write_blank(1, 3, None, zeros)
    with open_source(path, SourceOptions()) as source:
        [batch] = source.batches()
        [note] = source.notes
    assert "in column B: they are read without them" in note
    assert [column[0] for column in batch.columns[1:2]] == [pa.scalar(123)]


@pytest.mark.parametrize("pattern", ["0", "0.00", "#,##0", "yyyy-mm-dd", "0%", "General"])
def test_other_formats_are_not(tmp_path, pattern):
    path = tmp_path / "numbers.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["a"])
        sheet.write_number(1, 0, 123, book.add_format({"num_format": pattern}))
    with open_source(path, SourceOptions()) as source:
        assert len(list(source.batches())) == 1
        assert source.notes == ()


def test_a_workbook_on_which_calamine_panics(tmp_path):
    path = make_xls(tmp_path / "rows.xls")
    content = bytearray(path.read_bytes())
    content[514] = 1  # the length of the stream's first record
    path.write_bytes(content)
    assert sheet_names(path) == ()
    assert "is truncated or damaged, and cannot be read as a workbook" in refused(path)


def test_cells_at_the_end_of_a_block_are_counted_once():
    text = b'<sheetData><row r="1"><c r="A1"><v>1</v></c><c r="B1"/></row><c r="XFD1048576"/>'
    for size in (7, 30, 64, 300):
        blocks = (text[at : at + size] for at in range(0, len(text), size))
        with pytest.raises(SourceError, match="has 3 cells, spread over 1,048,576 rows"):
            _quick_scan(blocks, "Table", "rows.xlsx", SheetFacts(), frozenset())


@pytest.mark.parametrize(
    ("content", "read_as"),
    [
        ("<text:p>a<text:tab/>b</text:p>", "a\tb"),
        ("<text:p>a<text:line-break/>b</text:p>", "a\nb"),
        (
            "<text:p>a<text:s text:c='2'/>b<text:tab/></text:p>\n <text:p>c &amp; d</text:p>",
            "a  b\t\nc & d",
        ),
        ("<text:p><text:span>a<text:tab/></text:span>b</text:p>", "a\tb"),
        (
            "<office:annotation><text:p>x<text:tab/>y</text:p></office:annotation><text:p>b</text:p>",
            "b",
        ),
    ],
)
def test_tabs_and_line_breaks_of_ods(content, read_as, tmp_path):
    repeated = 'table:number-columns-repeated="2"'
    cell = f'<table:table-cell office:value-type="string" {repeated}>{content}</table:table-cell>'
    names = ods_row(*map(ods_cell, "abc"))
    path = make_ods(tmp_path / "rows.ods", names, ods_row(ods_cell("1", "float"), cell))
    assert read(path)[1] == [(1, read_as, read_as)]

"""The sample of a large workbook: its first and last rows are the workbook's own."""

import datetime as dt
import io
import time
import zipfile
from contextlib import suppress

import pytest
import python_calamine

from ingest.exceptions import SourceError
from ingest.sources.spreadsheets import sample, xlsx
from tests.sources.workbooks import As, Formula, change, make, make_ods

SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch):
    monkeypatch.setattr(sample, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(sample, "FIRST_ROWS", 4)
    monkeypatch.setattr(sample, "LAST_ROWS", 2)


def rows(count):
    yield ["number", "name", "on", "amount"]
    for at in range(1, count + 1):
        yield [
            at,
            f"Name {at} & <{at}>",
            As(dt.date(2025, 1, at % 28 + 1), "date"),
            Formula("=1", at),
        ]
    yield ["Total", None, None, count]


def take_sample(path):
    target = io.BytesIO()
    with path.open("rb") as file:
        return target if sample.write_sample(file, path.name, target) else None


def read(given, sheet=0):
    if isinstance(given, io.BytesIO):
        given.seek(0)
    book = python_calamine.CalamineWorkbook.from_object(given)
    return book.get_sheet_by_index(sheet).to_python()


def prefixed(content):
    """Add a namespace prefix to every element, as some programs do."""
    return (
        content.replace(b"</", b"</x:")
        .replace(b"<", b"<x:")
        .replace(b"<x:/x:", b"</x:")
        .replace(b"<x:?", b"<?")
        .replace(b"xmlns=", b"xmlns:x=")
    )


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"constant_memory": True}, {}),  # texts are in the sheet itself
        ({}, {SHEET: prefixed, "xl/sharedStrings.xml": prefixed}),
    ],
)
@pytest.mark.parametrize("block", [37, 1 << 20])
def test_the_first_and_the_last_rows_are_those_of_the_workbook(
    tmp_path, options, changes, block, monkeypatch
):
    monkeypatch.setattr("ingest.sources.archive.BLOCK_BYTES", block)
    path = make(tmp_path / "large.xlsx", list(rows(200)), **options)
    for member, function in changes.items():
        change(path, member, function)
    whole = read(path)
    assert read(take_sample(path)) == [*whole[:4], *whole[-2:]]


def test_each_large_sheet_is_cut_and_a_small_one_is_whole(tmp_path):
    small = [["a"], ["b"]]
    path = make(tmp_path / "large.xlsx", ("one", list(rows(200))), ("two", small))
    found = take_sample(path)
    assert len(read(found)) == 6
    assert read(found, 1) == small


def test_a_small_workbook_and_one_of_another_kind_have_no_sample(tmp_path, monkeypatch):
    ods = make_ods(tmp_path / "a.ods", "<table:table-row/>" * 1_000)
    assert take_sample(ods) is None
    path = make(tmp_path / "large.xlsx", list(rows(200)))
    assert take_sample(change(path, SHEET, lambda text: text.decode().encode("utf-16"))) is None
    monkeypatch.setattr(sample, "LARGE_BYTES", 1 << 20)
    assert take_sample(make(tmp_path / "small.xlsx", list(rows(200)))) is None


def test_a_sheet_without_an_end_has_no_sample(tmp_path):
    path = make(tmp_path / "large.xlsx", list(rows(200)))
    assert take_sample(change(path, SHEET, lambda text: text.partition(b"</sheetData>")[0])) is None


def test_a_workbook_that_unpacks_to_too_much_is_refused(tmp_path):
    path = make(tmp_path / "large.xlsx", list(rows(10)))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet2.xml", bytes(80 << 20))
    with pytest.raises(SourceError, match="when unpacked"):
        take_sample(path)


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("xl/sharedStrings.xml", b"<sst>" + b"<si>" * 700_000),
        ("xl/sharedStrings.xml", b"<sst>" + b"<si " * 700_000),
        (SHEET, b"<worksheet><sheetData>" + b"<row hidden " * 200_000 + b"</row>"),
        (SHEET, b"<worksheet><sheetData>" + b"<c r='A" * 400_000 + b"</row>"),
        (SHEET, b"<worksheet><cols>" + b"<col <f " * 300_000 + b"</row>"),
    ],
)
def test_xml_that_was_made_to_take_time_takes_none(tmp_path, member, text):
    path = make(tmp_path / "large.xlsx", list(rows(200)))
    change(path, member, lambda _: text)
    started = time.process_time()
    with path.open("rb") as file, suppress(SourceError):
        sample.write_sample(file, path.name, io.BytesIO())
        xlsx.scan(zipfile.ZipFile(file), "Sheet1", path.name)
    # This takes 0.1 s. It would take minutes if each tag were searched to the end of the text.
    assert time.process_time() - started < 5

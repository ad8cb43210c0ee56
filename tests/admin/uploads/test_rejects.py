"""The refused records of a file: downloaded in a format that is read again, fixed, and loaded."""

import gzip
import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlwt
from django.contrib.auth import get_user_model
from django.urls import reverse

from ingest.models import Load
from tests.admin.uploads.test_way import numbers
from tests.sources.workbooks import make, make_ods, make_xlsb, ods_cell, ods_row

pytestmark = pytest.mark.django_db

NAMES = ["user__username", "number", "name", "currency"]
ROWS = [["root", "DE1", "Giro", "EUR"], ["late", "DE2", "Giro", "EUR"]]
CSV = "".join(",".join(row) + "\n" for row in (NAMES, *ROWS))
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
CHUNKS = {"chunks": "on"}


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


def parquet():
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(RECORDS), target)
    return target.getvalue()


def zipped():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("accounts.csv", CSV)
    return target.getvalue()


def book(path):
    if path.suffix == ".ods":
        make_ods(path, *(ods_row(*map(ods_cell, row)) for row in (NAMES, *ROWS)))
    elif path.suffix == ".xls":
        workbook = xlwt.Workbook()
        sheet = workbook.add_sheet("Table")
        for at, row in enumerate((NAMES, *ROWS)):
            for place, cell in enumerate(row):
                sheet.write(at, place, cell)
        workbook.save(str(path))
    else:
        (make_xlsb if path.suffix == ".xlsb" else make)(path, [NAMES, *ROWS])
    return path.read_bytes()


def content_of(name, folder):
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    known = {
        "a.csv.gz": gzip.compress(CSV.encode()),
        "a.jsonl.gz": gzip.compress(lines),
        "a.jsonl": lines,
        "a.json": json.dumps(RECORDS).encode(),
        "a.parquet": parquet(),
        "a.zip": zipped(),
        "total.csv": f"{CSV}Total,2\n".encode(),
    }
    if name in known:
        return known[name]
    return book(folder / name) if name[-4:] in {"xlsx", ".ods", ".xls", "xlsb"} else CSV.encode()


@pytest.mark.parametrize(
    ("name", "options", "suffix"),
    [
        ("a.csv", {}, "csv"),
        ("a.tsv", {}, "tsv"),
        ("a.dat", {}, "dat"),
        ("a", {}, "csv"),
        ("a.csv.gz", {}, "csv"),
        ("a.zip", {}, "csv"),
        ("total.csv", {}, "csv"),
        ("a.jsonl", {}, "jsonl"),
        ("a.jsonl.gz", CHUNKS, "jsonl"),
        ("a.json", {}, "json"),
        ("a.parquet", CHUNKS, "jsonl"),
        ("a.xlsx", {}, "xlsx"),
        ("a.xlsx", CHUNKS, "csv"),
        ("a.ods", {}, "xlsx"),
        ("a.xls", {}, "xlsx"),
        ("a.xlsb", {}, "xlsx"),
    ],
)
def test_refused_records_come_back_as_a_file_that_can_be_loaded(
    way, tmp_path, name, options, suffix
):
    way.upload(content_of(name, tmp_path), name)
    said = {"on_conflict": "error", **options}
    trailer = {"trailer_records": "1"} if name == "total.csv" else {}
    way.go("confirm", options=said, file=trailer)
    way.post("confirm", rejects="on")
    load = Load.objects.get()
    assert (load.status, load.loaded, load.rejected, load.error) == ("loaded", 1, 1, "")
    page = way.client.get(reverse("admin:ingest_load_change", args=[load.pk]))
    assert "reject-file/" in page.content.decode()
    response = way.client.get(reverse("admin:ingest_load_reject_file", args=[load.pk]))
    content = b"".join(response.streaming_content)
    assert response.headers["Content-Disposition"].endswith(f'-reject-file.{suffix}"')
    get_user_model().objects.create_user("late")
    way.upload(content, f"again.{suffix}")
    way.go("confirm", file=trailer)
    way.post("confirm")
    assert numbers() == ["DE1", "DE2"]


def test_another_workbook_in_its_place_is_not_shown(way, tmp_path):
    way.upload(content_of("a.xlsx", tmp_path), "a.xlsx")
    way.go("confirm")
    way.post("confirm", rejects="on")
    load = Load.objects.get()
    make(tmp_path / "other.xlsx", [["salary"], ["1"]]).replace(load.reject_file)
    address = reverse("admin:ingest_load_reject_file", args=[load.pk])
    assert way.client.get(address).status_code == 404
    (tmp_path / "text").write_text("salary,1\n")
    (tmp_path / "text").replace(load.reject_file)
    assert way.client.get(address).status_code == 404

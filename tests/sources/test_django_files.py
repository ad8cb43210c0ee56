"""Django's files as sources: uploads, fields, and text in memory."""

import io

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, InMemoryStorage
from django.core.files.uploadedfile import (
    InMemoryUploadedFile,
    SimpleUploadedFile,
    TemporaryUploadedFile,
)
from django.db.models.fields.files import FieldFile

from ingest import detect
from ingest.exceptions import SourceError
from ingest.sources import SourceOptions, open_source
from tests.end_to_end.contract.models.texts import Upload
from tests.sources.read_source import Got
from tests.sources.workbooks import make

CONTENT = b"a,b\n1,\xc3\xa9\n"


def temporary(_folder):
    file = TemporaryUploadedFile("rows.csv", "text/csv", len(CONTENT), None)
    file.write(CONTENT)
    file.seek(0)
    return file


def field_file(storage, name="rows.csv"):
    field = Upload._meta.get_field("document")
    given = FieldFile(Upload(), field, storage.save(name, ContentFile(CONTENT)))
    given.storage = storage
    return given


def in_text_mode(folder):
    path = folder / "text.csv"
    path.write_bytes(CONTENT)
    return File(path.open(encoding="utf-8"), name="rows.csv")


FILES = {
    "simple": lambda _folder: SimpleUploadedFile("rows.csv", CONTENT),
    "in memory": lambda _folder: InMemoryUploadedFile(
        io.BytesIO(CONTENT), "file", "rows.csv", "text/csv", len(CONTENT), None
    ),
    "temporary": temporary,
    "bytes": lambda _folder: ContentFile(CONTENT, name="rows.csv"),
    "text": lambda _folder: ContentFile(CONTENT.decode(), name="rows.csv"),
    "text mode": in_text_mode,
    "file": lambda _folder: File(io.BytesIO(CONTENT), name="rows.csv"),
    "local field": lambda folder: field_file(FileSystemStorage(location=folder)),
    "other field": lambda _folder: field_file(InMemoryStorage()),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("is_read", [False, True])
def test_every_kind_of_file_is_read_from_its_beginning(tmp_path, kind, is_read):
    file = FILES[kind](tmp_path)
    if is_read:
        file.read()
    got = Got(file)
    assert (got.columns, got.texts) == (("a", "b"), [("1", "é")])
    assert got.name.endswith("rows.csv")
    assert got.bytes_read == len(CONTENT)
    assert got.bytes_total == (None if kind == "text" else len(CONTENT))
    file.close()


def test_a_closed_field_is_opened_again(tmp_path):
    for storage in (FileSystemStorage(location=tmp_path), InMemoryStorage()):
        file = field_file(storage)
        file.open()
        file.close()
        assert Got(file).texts == [("1", "é")]
        file.close()
    with open_source(field_file(FileSystemStorage(location=tmp_path)), SourceOptions()) as source:
        assert source.paths


def test_a_field_without_a_file_says_so():
    with pytest.raises(SourceError, match="document has no file"):
        open_source(Upload().document)


def test_a_text_in_memory_is_in_any_encoding():
    got = Got(ContentFile("a\né\n", name="rows.csv"), encoding="utf-16")
    assert got.texts == [("é",)]


def test_an_upload_may_be_a_workbook_or_be_detected(tmp_path):
    content = make(tmp_path / "rows.xlsx", [["a"], [1]]).read_bytes()
    assert Got(SimpleUploadedFile("rows.xlsx", content)).rows == [(1,)]
    found = detect(SimpleUploadedFile("rows.csv", b"a;b\n1;2\n3;4\n"))
    assert found.options.delimiter == ";"

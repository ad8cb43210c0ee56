"""Loads of files that are elsewhere: what the ledger keeps of them, and how they go on."""

import io
import logging
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models.fields.files import FieldFile
from pyarrow import csv

from finance.models import Account
from ingest import load, preview, resume
from ingest.exceptions import IngestError, LedgerError, RecordsRefused, SourceError
from ingest.ledger.models import Load
from ingest.ledger.undo import undo
from tests.end_to_end.contract.models.texts import Upload
from tests.factories import UserFactory
from tests.sources.web_server import bucket_address, serve

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ("1.parquet", "2.csv", "3.parquet")
SECRETS = ("pass-word", "signature", "SECRETPART", "AKEY", "someone")


@pytest.fixture
def server():
    with serve() as running:
        yield running


def accounts(user, *names):
    lines = [f"{user.pk},{number},{name}" for number, name in enumerate(names)]
    return "\n".join(["user,number,name", *lines, ""]).encode()


def test_credentials_are_in_no_ledger_and_no_log(server, caplog):
    caplog.set_level(logging.DEBUG)
    content = accounts(UserFactory(), "a", "x" * 500)
    server.files = {"/rows.csv": content, "/bucket/rows.csv": content}
    for address in (
        f"http://someone:pass-word@{server.host}/rows.csv?sig=signature",
        bucket_address(server, "bucket/rows.csv"),
    ):
        result = load(Account, address, on_error="reject")
        assert (result.rows, result.rejected) == (1, 1)
        Account.objects.all().delete()
        with pytest.raises(RecordsRefused) as caught:
            load(Account, address)
        kept = [str(value) for row in Load.objects.values() for value in row.values()]
        kept += [str(it) for it in result.rejects] + [str(caught.value), str(result)]
        kept += [record.getMessage() + str(record.__dict__) for record in caplog.records]
        found = [(secret, text) for text in kept for secret in SECRETS if secret in text]
        assert found == []
    assert "hidden" in str(Load.objects.first().options["given"])


def test_a_load_goes_on_as_long_as_the_file_is_the_same(server):
    user = UserFactory()
    good, bad = accounts(user, *"abcd"), accounts(user, "a", "b", "c", "x" * 500)
    server.files = {"/rows.csv": bad}
    address = f"http://{server.host}/rows.csv"
    with pytest.raises(IngestError):
        load(Account, address, chunk_rows=2, resumable=True)
    number = Load.objects.get().pk
    assert Account.objects.count() == 2
    server.files = {"/rows.csv": good}
    with pytest.raises(LedgerError, match="is no longer the file that was loaded"):
        resume(number)
    server.files = {"/rows.csv": bad}
    with pytest.raises(RecordsRefused, match="record 4"):
        resume(number)
    assert Account.objects.count() == 2


def test_an_address_with_credentials_is_said_again(server):
    server.files = {"/rows.csv": accounts(UserFactory(), "a", "b", "c", "x" * 500)}
    address = f"http://someone:pass-word@{server.host}/rows.csv"
    with pytest.raises(IngestError):
        load(Account, address, chunk_rows=2, resumable=True)
    number = Load.objects.get().pk
    with pytest.raises(LedgerError, match="had credentials, which are not stored"):
        resume(number)
    with pytest.raises(RecordsRefused, match="record 4"):
        resume(number, address)


def test_the_command_takes_an_address(server):
    server.files = {"/rows.csv": accounts(UserFactory(), "a", "b")}
    out = io.StringIO()
    address = f"http://someone:pass-word@{server.host}/rows.csv?sig=signature"
    call_command("bulk_load", "finance.Account", address, stdout=out, stderr=out)
    assert Account.objects.count() == 2
    assert not any(secret in out.getvalue() for secret in SECRETS)


def test_an_upload_and_a_field_can_be_loaded(tmp_path):
    content = accounts(UserFactory(), "a", "b")
    file = SimpleUploadedFile("rows.csv", content)
    assert len(preview(Account, file).rows) == 2
    assert load(Account, file).rows == 2
    Account.objects.all().delete()
    storage = FileSystemStorage(location=tmp_path)
    field = Upload._meta.get_field("document")
    given = FieldFile(Upload(), field, storage.save("in/rows.csv", ContentFile(content)))
    given.storage = storage
    result = load(Account, given)
    assert (result.rows, result.source) == (2, "in/rows.csv")
    assert result.load.options["given"] == str(tmp_path / "in" / "rows.csv")


@pytest.fixture
def bucket(server, monkeypatch):
    """A bucket whose credentials are in the environment, as workers need them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "SECRETPART")
    user, files = UserFactory(), {}
    for number in range(4):
        rows = [
            {"user": user.pk, "number": f"{number}-{it}", "name": "x" * 500 if it == 7 else "a"}
            for it in range(number * 10)
        ]
        if rows:
            content, table = io.BytesIO(), pa.Table.from_pylist(rows)
            if number == 2:
                csv.write_csv(table, content)
            else:
                pq.write_table(table, content, row_group_size=10)
            files[f"/bucket/in/{NAMES[number - 1]}"] = content.getvalue()
    server.files = files
    server.pattern = bucket_address(server, "bucket/in/*", user="")
    return server


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"workers": 2},
        {"workers": 2, "order": "any"},
        {"threads": 2},
        {"threads": 2, "order": "any"},
    ],
    ids=str,
)
def test_files_of_a_bucket_in_chunks(bucket, options, monkeypatch):
    monkeypatch.setattr("ingest.loading.workers.chunk.SMALL_BYTES", 0)
    options = dict(options)
    threads = options.pop("threads", None)
    with ThreadPoolExecutor(threads) as pool:
        executor = {"executor": pool} if threads else {}
        got = load(
            Account, bucket.pattern, on_error="reject", chunk_rows=1_000, **options, **executor
        )
    assert (got.read, got.rows, got.rejected) == (60, 57, 3)
    names = [f"s3://bucket/in/{name}" for name in NAMES]
    assert sorted((reject.source, reject.record) for reject in got.rejects) == [
        (name, 8) for name in names
    ]
    assert got.source == f"3 files from {names[0]} to {names[-1]}"
    if options or executor:
        assert got.load.chunks.count() == 3
    else:
        assert Account.objects.count() == 57
    assert undo(got.load.pk).deleted == 57


def test_a_large_file_of_a_bucket_is_cut(bucket, monkeypatch):
    monkeypatch.setattr("ingest.sources.several.WHOLE_BYTES", 0)
    with ThreadPoolExecutor(2) as pool:
        got = load(Account, bucket.pattern, executor=pool, chunk_rows=10, on_error="reject")
        assert (got.rows, got.load.chunks.count()) == (57, 5)
        Account.objects.all().delete()
        single = bucket_address(bucket, "bucket/in/3.parquet", user="")
        got = load(Account, single, executor=pool, chunk_rows=10, on_error="reject")
    assert (got.rows, got.load.chunks.count()) == (29, 3)


def test_a_file_of_a_bucket_that_changes(bucket):
    """Whoever reads it then does not load it."""
    with ThreadPoolExecutor(1) as pool:

        class Slow(ThreadPoolExecutor):
            def submit(self, *arguments):
                bucket.files["/bucket/in/1.parquet"] = bucket.files["/bucket/in/3.parquet"]
                return pool.submit(*arguments)

        with pytest.raises(SourceError, match="every worker must find the same files"):
            load(Account, bucket.pattern, executor=Slow(1), on_error="reject")
    assert not Account.objects.exists()


def test_credentials_of_an_address_stay_with_this_process(bucket):
    pattern = bucket_address(bucket, "bucket/in/*")
    got = load(Account, pattern, workers=2, on_error="reject")
    assert got.rows == 57
    [said] = [it for it in got.decisions if it.startswith("One worker")]
    assert "has credentials, which only this process knows" in said
    assert not any(secret in str(Load.objects.values()) for secret in SECRETS)


def test_files_of_a_bucket_go_on(bucket):
    with pytest.raises(RecordsRefused):
        load(Account, bucket.pattern, chunk_rows=5, resumable=True)
    assert Account.objects.count() == 5
    number = Load.objects.get().pk
    changed = dict(bucket.files)
    bucket.files["/bucket/in/3.parquet"] = bucket.files["/bucket/in/1.parquet"]
    with pytest.raises(LedgerError, match="no longer"):
        resume(number)
    bucket.files = changed
    with pytest.raises(RecordsRefused, match="record 8"):
        resume(number)
    assert Account.objects.count() == 5

"""Loads of files that are elsewhere: what the ledger keeps of them, and how they go on."""

import io
import logging

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db.models.fields.files import FieldFile

from finance.models import Account
from ingest import load, preview, resume
from ingest.exceptions import IngestError, LedgerError, RecordsRefused
from ingest.ledger.models import Load
from tests.end_to_end.contract.models.texts import Upload
from tests.factories import UserFactory
from tests.sources.web_server import bucket_address, serve

pytestmark = pytest.mark.django_db(transaction=True)
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
    with pytest.raises(LedgerError, match="had credentials, which are not kept"):
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

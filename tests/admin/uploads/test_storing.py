"""Where uploads are kept, and for how long."""

import datetime as dt
import os

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, storages
from django.core.management import CommandError, call_command
from django.utils import timezone

from ingest.models import Load, Upload
from ingest.sources.spreadsheets import sample
from tests.admin.uploads.test_way import ACCOUNTS, REFUSED, numbers, page
from tests.sources.workbooks import change, make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


def kept(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def age(days):
    Upload.objects.update(created_at=timezone.now() - dt.timedelta(days=days))


def test_a_storage_of_the_project_is_used_where_there_is_one(way, folder, settings):
    settings.STORAGES = {
        **settings.STORAGES,
        "ingest": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    way.upload(ACCOUNTS)
    storage = storages["ingest"]
    assert isinstance(storage, InMemoryStorage)
    assert storage.listdir("")[1] == [way.found.storage_name]
    assert kept(folder) == []
    way.go("confirm")
    assert Load.objects.get().options["given"] == f"storage:ingest/{way.found.storage_name}"
    way.post("confirm")
    assert numbers() == ["DE1", "DE2"]
    assert Load.objects.get().source == "statement.csv"
    assert storage.listdir("")[1] == []


def test_memory_that_the_process_of_a_load_cannot_read_is_refused(way, settings):
    settings.INGEST = {**settings.INGEST, "RUNNER": "process"}
    settings.STORAGES = {
        **settings.STORAGES,
        "ingest": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    shown = page(way.upload(ACCOUNTS)).replace("&#x27;", "'")
    assert (
        "STORAGES['ingest'] keeps files in the memory of the web server, and INGEST['RUNNER'] is "
        "'process', which performs loads in another process: use a storage that it can read, too,"
    ) in shown
    assert storages["ingest"].listdir("")[1] == []
    assert not Upload.objects.exists()


def test_a_file_that_is_gone_is_told_of(way, folder):
    way.upload(ACCOUNTS)
    for path in kept(folder):
        path.unlink()
    assert "is not kept any more: upload it again" in page(way.get("file"))


def test_what_nobody_confirmed_is_forgotten_after_some_days(way, folder, capsys):
    way.upload(ACCOUNTS)
    way.go("confirm")
    age(6)
    call_command("forget_uploads")
    assert way.found.has_file
    age(8)
    call_command("forget_uploads")
    assert capsys.readouterr().out.splitlines() == [
        "Deleted 0 uploaded files.",
        "Deleted 1 uploaded file.",
    ]
    assert kept(folder) == []
    assert not Upload.objects.exists()
    assert not Load.objects.exists()


def test_old_files_are_deleted_on_the_way_and_running_loads_keep_theirs(way, folder, settings):
    settings.INGEST = {**settings.INGEST, "RUNNER": "tests.admin.uploads.runners.never"}
    way.upload(ACCOUNTS)
    loads = {}
    for status in ("failed", "running"):
        way.upload(ACCOUNTS)
        load = Load.objects.create(
            model="finance.Account",
            status=status,
            started_at=timezone.now(),
        )
        loads[status] = way.key
        Upload.objects.filter(pk=way.key).update(load=load, state="confirmed")
    age(8)
    way.upload(ACCOUNTS)
    assert {upload.pk for upload in Upload.objects.all() if upload.has_file} == {
        loads["running"],
        way.key,
    }
    assert Upload.objects.filter(pk=loads["failed"]).exists()
    assert len(kept(folder)) == 2


def test_a_reject_file_is_forgotten_as_well(way, folder):
    way.upload(REFUSED)
    way.go("confirm")
    way.post("confirm", rejects="on")
    [path] = kept(folder)
    old = (timezone.now() - dt.timedelta(days=8)).timestamp()
    os.utime(path, (old, old))
    call_command("forget_uploads", verbosity=0)
    assert kept(folder) == []


def test_a_file_goes_with_its_owner(way, folder):
    way.upload(ACCOUNTS)
    get_user_model().objects.get(username="admin").delete()
    assert not Upload.objects.exists()
    assert kept(folder) == []


def test_a_folder_that_may_be_served_is_refused(way, folder, settings):
    settings.MEDIA_ROOT = str(folder.parent)
    assert "below MEDIA_ROOT" in page(way.upload(ACCOUNTS))
    assert kept(folder) == []
    with pytest.raises(CommandError, match="below MEDIA_ROOT"):
        call_command("forget_uploads")


def test_a_storage_whose_files_may_be_served_is_refused(way, folder, settings):
    backend = "django.core.files.storage.FileSystemStorage"
    settings.MEDIA_ROOT = str(folder.parent / "media")
    settings.STORAGES = {**settings.STORAGES, "ingest": {"BACKEND": backend}}
    assert "below MEDIA_ROOT" in page(way.upload(ACCOUNTS))
    assert kept(folder.parent) == []
    elsewhere = {"location": str(folder.parent / "elsewhere")}
    settings.STORAGES = {**settings.STORAGES, "ingest": {"BACKEND": backend, "OPTIONS": elsewhere}}
    assert way.upload(ACCOUNTS).status_code == 302
    assert len(kept(folder.parent / "elsewhere")) == 1


def large_workbook(monkeypatch, tmp_path):
    monkeypatch.setattr(sample, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(sample, "FIRST_ROWS", 50)
    rows = [["root", f"DE{at}", f"Name {at}", "EUR", "2025-01-31"] for at in range(300)]
    header = ["user__username", "number", "name", "currency", "opened_on"]
    return make(tmp_path / "large.xlsx", [header, *rows, ["Total", 300]])


@pytest.mark.parametrize("backend", ["FileSystemStorage", "InMemoryStorage"])
def test_each_step_looks_at_a_sample_of_a_large_workbook(
    way, tmp_path, settings, monkeypatch, backend
):
    place = {"BACKEND": f"django.core.files.storage.{backend}"}
    if backend == "FileSystemStorage":
        place["OPTIONS"] = {"location": str(tmp_path / "kept")}
    settings.STORAGES = {**settings.STORAGES, "ingest": place}
    path = large_workbook(monkeypatch, tmp_path)
    way.upload(path.read_bytes(), "large.xlsx")
    storage = storages["ingest"]
    whole, few = way.found.storage_name, way.found.options["sample"]
    assert {whole, few} == set(storage.listdir("")[1])
    assert "the first and the last rows were looked at" in page(way.get("file"))
    with storage.open(whole) as file:
        content = file.read()
    storage.delete(whole)
    storage.save(whole, ContentFile(b"nothing that could be read"))
    shown = page(way.go("preview"))
    assert "DE19" in shown
    assert "trailer_records = 1" in way.found.layout
    storage.delete(whole)
    storage.save(whole, ContentFile(content))
    way.go("confirm")
    assert way.found.check_result["counts"]["inserted"] == 300
    way.post("confirm")
    assert len(numbers()) == 300
    assert storage.listdir("")[1] == []


@pytest.mark.parametrize("ends", ["forget", "owner"])
def test_a_sample_is_deleted_with_its_upload(way, folder, tmp_path, monkeypatch, ends):
    way.upload(large_workbook(monkeypatch, tmp_path).read_bytes(), "large.xlsx")
    assert len(kept(folder)) == 2
    if ends == "forget":
        way.post("forget")
    else:
        way.found.owner.delete()
    assert kept(folder) == []


def test_nothing_is_kept_of_a_workbook_that_cannot_be_loaded(way, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(sample, "FIRST_ROWS", 50)
    empty = change(
        make(tmp_path / "empty.xlsx", [["a"]] * 300),
        "xl/workbook.xml",
        lambda text: text.replace(b"<sheet ", b'<sheet state="hidden" '),
    )
    assert "no visible sheet" in page(way.upload(empty.read_bytes(), "empty.xlsx"))
    assert kept(folder) == []

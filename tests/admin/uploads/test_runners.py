"""Who performs a load that is started in the admin: a process, a task, or somebody's function."""

import contextlib
import importlib
import tempfile

import pytest
from asgiref.local import Local
from django.conf import settings as project
from django.contrib.admin import site
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from finance.models import Account
from ingest.admin.loads.background import IMMEDIATE_RECORDS, RECORD_BYTES
from ingest.models import Load, Upload
from ingest.uploads import running
from ingest.uploads.running import run_load
from tests.admin.uploads import runners
from tests.admin.uploads.conftest import Way
from tests.admin.uploads.test_way import ACCOUNTS, REFUSED, numbers, page
from tests.patience import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@contextlib.contextmanager
def committed(execute):
    yield


@pytest.fixture
def way():
    users = get_user_model().objects
    users.create_user("root")
    client = Client()
    client.force_login(users.create_superuser("admin"))
    return Way(client, committed)


def runner(settings, name):
    settings.INGEST = {**settings.INGEST, "RUNNER": name}


def go_to_check(way, content=ACCOUNTS):
    way.upload(content)
    way.go("check")


def test_a_process_checks_and_loads(way, settings, monkeypatch, tmp_path):
    # As the processes that are started find the tests' database and the folder of uploads.
    facts = connection.settings_dict
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}&port={facts['PORT']}"
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings.development")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings.INGEST = {"RUNNER": "process"}
    go_to_check(way)
    assert way.found.state == Upload.State.CHECKING
    assert "data-ingest-refresh" in page(way.get("check"))
    wait_until(lambda: way.found.state == Upload.State.CHECKED)
    assert way.found.check_result["counts"]["inserted"] == 2
    assert numbers() == []
    assert way.post("check").url == way.address("confirm")
    way.post("confirm")
    wait_until(lambda: Load.objects.get().status == Load.Status.LOADED)
    assert numbers() == ["DE1", "DE2"]
    wait_until(lambda: way.found.state == Upload.State.FORGOTTEN)
    folder = tmp_path / "home" / "django-ingest" / "uploads"
    assert [path for path in folder.iterdir() if path.is_file()] == []
    assert oct(folder.stat().st_mode)[-2:] == "00"


def test_a_function_gets_the_number_and_may_call_twice_or_late(way, settings):
    runner(settings, "tests.admin.uploads.runners.never")
    go_to_check(way)
    number = Load.objects.get().pk
    assert runners.numbers == [number]
    run_load(number)
    run_load(number)
    assert way.post("check").url == way.address("confirm")
    way.post("confirm")
    assert runners.numbers == [number, number]
    assert Load.objects.get().status == Load.Status.WAITING
    assert "Waiting" in page(way.client.get(reverse("admin:ingest_load_change", args=[number])))
    assert numbers() == []
    run_load(number)
    run_load(number)
    assert numbers() == ["DE1", "DE2"]
    assert Load.objects.get().loaded == 2


def test_a_load_whose_runner_died_is_started_again_from_its_page(way, settings):
    runner(settings, "tests.admin.uploads.runners.never")
    go_to_check(way)
    number = Load.objects.get().pk
    run_load(number)
    way.post("check")
    way.post("confirm")
    Load.objects.update(status=Load.Status.RUNNING)  # and nobody is at it
    runner(settings, "tests.admin.uploads.runners.at_once")
    way.client.post(reverse("admin:ingest_load_resume", args=[number]))
    assert numbers() == ["DE1", "DE2"]


@pytest.mark.parametrize("name", ["runners.away", "runners.unknown", "nothing.at_all"])
def test_a_runner_that_takes_nothing_is_told_of_and_asked_again(way, settings, name):
    runner(settings, "tests.admin.uploads.runners.at_once")
    go_to_check(way)
    way.post("check")
    runner(settings, f"tests.admin.uploads.{name}")
    response = way.client.get(way.post("confirm").url)
    assert "could not be handed over" in page(response)
    load = Load.objects.get()
    assert (load.status, numbers()) == (Load.Status.FAILED, [])
    runner(settings, "tests.admin.uploads.runners.at_once")
    way.client.post(reverse("admin:ingest_load_resume", args=[load.pk]))
    assert numbers() == ["DE1", "DE2"]


def test_a_waiting_load_is_cancelled_for_whoever_comes_late(way, settings):
    runner(settings, "tests.admin.uploads.runners.never")
    go_to_check(way)
    number = Load.objects.get().pk
    run_load(number)
    way.post("check")
    way.post("confirm")
    way.client.post(reverse("admin:ingest_load_cancel", args=[number]))
    assert Load.objects.get().status == Load.Status.INTERRUPTED
    run_load(number)
    assert numbers() == []


def test_a_dry_run_that_is_not_heard_of_is_begun_again(way, settings):
    runner(settings, "tests.admin.uploads.runners.never")
    go_to_check(way)
    Upload.objects.update(seen_at="2025-01-01T00:00Z")
    assert "check that a worker is running" in page(way.get("check"))
    assert "The dry run must be done first" in page(way.post("check"))
    runner(settings, "tests.admin.uploads.runners.at_once")
    way.post("check", action="begin")
    assert way.found.state == Upload.State.CHECKED
    assert Load.objects.count() == 1


def test_what_a_runner_does_is_told_where_it_fails(way, settings):
    runner(settings, "tests.admin.uploads.runners.at_once")
    go_to_check(way)
    Account.objects.create(
        user=get_user_model().objects.get(username="root"), number="DE1", name="x"
    )
    way.post("check")
    way.post("confirm")
    load = Load.objects.get()
    assert (load.status, Account.objects.count()) == (Load.Status.FAILED, 1)
    assert way.found.has_file  # it can be resumed


def test_the_page_shows_how_far_the_dry_run_is(way, settings, monkeypatch):
    shown = []

    def look(result):
        shown.append(page(way.get("check")))
        return tell(result)

    tell = running._facts
    monkeypatch.setattr(running, "_facts", look)
    monkeypatch.setattr(running, "SECONDS_BETWEEN_NOTES", 0)
    runner(settings, "tests.admin.uploads.runners.at_once")
    go_to_check(way, REFUSED)
    [text] = shown
    assert "4 records read, 2 refused" in text
    assert 'value="1.0000"' in text
    assert "data-ingest-refresh" in text
    assert "data-ingest-refresh" not in page(way.get("check"))


@pytest.fixture
def tasks():
    """Set the tasks of the project, as Django 6 and the backport read them anew."""
    package = importlib.import_module(
        "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
    )

    @contextlib.contextmanager
    def use(backend, *apps):
        installed = [*project.INSTALLED_APPS, *apps]
        with override_settings(TASKS={"default": {"BACKEND": backend}}, INSTALLED_APPS=installed):
            forget()
            for model in [model for model in site._registry if model.__module__.startswith(apps)]:
                site.unregister(model)  # its pages are none of this project's
            yield
        forget()

    def forget():
        handler = package.task_backends
        handler.__dict__.pop("settings", None)
        handler._settings = None
        handler._connections = Local()

    return use


def test_a_task_of_a_real_backend_checks_and_loads(way, settings, tasks):
    runner(settings, "tasks")
    with tasks("django_tasks_db.DatabaseBackend", "django_tasks_db"):
        from django_tasks_db.models import DBTaskResult

        with connection.schema_editor() as editor:
            editor.create_model(DBTaskResult)
        try:
            go_to_check(way)
            [task] = DBTaskResult.objects.all()
            number = Load.objects.get().pk
            assert task.args_kwargs == {"args": [number], "kwargs": {}}
            work()
            assert way.post("check").url == way.address("confirm")
            way.post("confirm")
            assert numbers() == []
            work()
            assert numbers() == ["DE1", "DE2"]
            assert {task.status for task in DBTaskResult.objects.all()} == {"SUCCESSFUL"}
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(DBTaskResult)


@pytest.mark.parametrize(
    ("name", "is_refused"), [("backends.immediate.ImmediateBackend", False), ("", True)]
)
def test_files_in_memory_are_for_tasks_of_this_process(way, settings, tasks, name, is_refused):
    package = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
    settings.STORAGES = {
        **settings.STORAGES,
        "ingest": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    runner(settings, "tasks")
    backend = f"{package}.{name}" if name else "django_tasks_db.DatabaseBackend"
    with tasks(backend, *([] if name else ["django_tasks_db"])):
        response = way.upload(ACCOUNTS)
    assert response.status_code == (200 if is_refused else 302)
    assert not is_refused or "in the memory of the web server" in page(response)


def work():
    call_command(
        "db_worker", batch=True, interval=0, startup_delay=False, reload=False, verbosity=0
    )


def test_the_immediate_backend_takes_small_files_only(way, settings, tasks):
    runner(settings, "tasks")
    backend = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
    with tasks(f"{backend}.backends.immediate.ImmediateBackend"):
        go_to_check(way)
        assert way.found.state == Upload.State.CHECKED
        Upload.objects.update(size=IMMEDIATE_RECORDS * RECORD_BYTES + 1)
        assert "performs a load inside the request" in page(way.post("check", action="begin"))

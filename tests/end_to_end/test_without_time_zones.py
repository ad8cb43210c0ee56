"""A project with ``USE_TZ = False``: the ledger's moments have no zone, and everything goes on."""

import datetime as dt
import io

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from finance.models import Account
from ingest.models import Load
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_zones(settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    connection.close()  # the next one knows of it from the start, as a project's does
    yield
    connection.close()


def run(*arguments, **options):
    out = io.StringIO()
    call_command("bulk_load", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def test_a_file_is_loaded_twice_resumed_listed_undone_and_forgotten(tmp_path):
    user = UserFactory()
    path = tmp_path / "accounts.csv"
    path.write_text(f"user,number,name\n{user.pk},DE1,Giro\n{user.pk},DE2,Giro\n")
    again = ("finance.Account", str(path), "--on-conflict", "upsert", "--key", "number")
    run("finance.Account", str(path))
    [first] = Load.objects.all()
    day = first.started_at.date().isoformat()  # as it was there
    assert f"is the file of load {first.pk} of {day}" in run(*again)
    run(*again, "--resumable")
    assert f"{first.started_at:%Y-%m-%d %H:%M}" in run("--list")
    run("--undo", str(first.pk), "--no-input")
    assert not Account.objects.exists()
    Load.objects.update(ended_at=timezone.now() - dt.timedelta(hours=2))
    run("--forget-loads", "--older-than", "1h")
    assert not Load.objects.exists()

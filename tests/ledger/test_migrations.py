"""The migrations of the ledger change what is in the database already."""

import importlib

import pytest
from django.contrib.auth.models import Permission
from django.db import connection

pytestmark = pytest.mark.django_db
NAMES = importlib.import_module("ingest.migrations.0014_permission_names")


def names():
    found = Permission.objects.filter(content_type__app_label="ingest", codename__in=NAMES.NAMES)
    return dict(found.values_list("codename", "name"))


def test_the_permissions_get_their_new_names_and_their_old_ones_back():
    new = {"resume_load": "Can resume a load", "undo_load": "Can undo a load"}
    assert names() == new
    NAMES.rename_back(None, connection.schema_editor())
    assert names() == {
        "resume_load": "Can go on with a load",
        "undo_load": "Can take a load's rows away",
    }
    NAMES.rename(None, connection.schema_editor())
    assert names() == new


def test_a_name_that_the_project_has_changed_is_kept():
    permission = Permission.objects.filter(codename="undo_load", content_type__app_label="ingest")
    permission.update(name="May undo")
    NAMES.rename(None, connection.schema_editor())
    assert names()["undo_load"] == "May undo"

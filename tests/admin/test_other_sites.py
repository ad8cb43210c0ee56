"""A site of the project's own need not have all of the app's pages."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection

from finance.models import Account
from ingest.models import Load, Upload
from tests.admin.clients import clerk
from tests.admin.other_sites import SITES
from tests.end_to_end.contract.models.inheritance import PlaceProxy, Unmanaged
from tests.factories import UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.other_sites")]


@pytest.mark.parametrize("name", SITES)
def test_the_lists_of_a_site_link_only_what_it_has(admin_client, name):
    is_there = name in {"uploads", "both"}
    page = admin_client.get(f"/{name}/finance/account/").content.decode()
    link = f"/{name}/ingest/upload/add/?model=finance.Account"
    assert (link in page, "Load a file" in page) == (is_there, is_there)
    if name in {"loads", "both"}:
        page = admin_client.get(f"/{name}/ingest/load/").content.decode()
        assert (f"/{name}/ingest/upload/add/" in page) == is_there


@pytest.fixture
def go(admin_client, settings, tmp_path, django_capture_on_commit_callbacks):
    """Go the way on a site as far as it goes, and give where it ends and what is said there."""
    settings.INGEST = {
        **settings.INGEST,
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
        "RUNNER": "tests.admin.uploads.runners.at_once",
    }

    def go(site, label, text):
        file = SimpleUploadedFile("rows.csv", text.encode())
        at = admin_client.post(f"/{site}/ingest/upload/add/", {"model": label, "file": file}).url
        for step in ("file", "mapping", "options", "preview", "check", "confirm"):
            assert at == f"/{site}/ingest/upload/{Upload.objects.first().pk}/{step}/"
            response = admin_client.get(at)
            inputs = {
                field.name: field.value()
                for field in response.context.get("form") or ()
                if field.value() not in {None, False}
            }
            for row in response.context.get("rows", ()):
                inputs[f"source-{row.name}"] = row.choice
            with django_capture_on_commit_callbacks(execute=True):
                response = admin_client.post(at, {**inputs, "action": "continue"})
            if response.status_code != 302:
                return at, response.context["error"]
            at = response.url
        return at, ""

    return go


@pytest.mark.parametrize("name", ["uploads", "both"])
def test_the_whole_way_stays_on_its_site(admin_client, name, go):
    user = UserFactory().pk
    text = f"user,number,name\n{user},DE1,Giro\n"
    go(name, "finance.Account", text)
    at, error = go(name, "finance.Account", f"{text}{user},DE2,Giro\n")  # DE1 is refused
    assert (at.endswith("/confirm/"), error[:14]) == (True, "Select the box")
    at, error = go(name, "finance.Account", text)  # and here all records
    assert (at.endswith("/confirm/"), error) == (True, "")
    assert Account.objects.count() == 1
    load = Load.objects.get(status=Load.Status.LOADED)
    page = admin_client.get(f"/{name}/ingest/upload/").content.decode()
    link = f"/{name}/ingest/load/{load.pk}/change/"
    assert (link in page) == (name == "both")


def test_a_proxy_is_loaded_by_whoever_may_add_it(go):
    go("both", PlaceProxy._meta.label, "name\nHere\nThere\n")
    assert Load.objects.get().model == PlaceProxy._meta.label
    assert sorted(PlaceProxy.objects.values_list("name", flat=True)) == ["Here", "There"]
    clerks = clerk("upload_load", "add_place")
    form = clerks.get("/both/ingest/upload/add/").context["form"]
    assert form.fields["model"].choices == []


def test_an_unmanaged_model_is_loaded_and_a_view_is_refused(go):
    go("both", Unmanaged._meta.label, "position,name\n1,a\n2,b\n")
    assert Unmanaged.objects.count() == 2
    with connection.cursor() as cursor:
        table = connection.ops.quote_name(Unmanaged._meta.db_table)
        cursor.execute(f"ALTER TABLE {table} RENAME TO kept")
        cursor.execute(f"CREATE VIEW {table} AS SELECT DISTINCT * FROM kept")
    go("both", Unmanaged._meta.label, "position,name\n3,c\n")
    assert "is a view, to which COPY cannot write" in Upload.objects.first().check_result["error"]

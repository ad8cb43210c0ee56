"""A site of the project's own need not have all of the app's pages."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from finance.models import Account
from ingest.models import Load, Upload
from tests.admin.other_sites import SITES
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


@pytest.mark.parametrize("name", ["uploads", "both"])
def test_the_whole_way_stays_on_its_site(
    admin_client, name, settings, tmp_path, django_capture_on_commit_callbacks
):
    settings.INGEST = {
        **settings.INGEST,
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
        "RUNNER": "tests.admin.uploads.runners.at_once",
    }
    text = f"user,number,name\n{UserFactory().pk},DE1,Giro\n"
    for _ in range(2):  # the second time the first load is told of
        file = SimpleUploadedFile("accounts.csv", text.encode())
        posted = {"model": "finance.Account", "file": file}
        at = admin_client.post(f"/{name}/ingest/upload/add/", posted).url
        for step in ("file", "mapping", "options", "preview", "check", "confirm"):
            assert at == f"/{name}/ingest/upload/{Upload.objects.first().pk}/{step}/"
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
            if response.status_code == 302:
                at = response.url
    assert Account.objects.count() == 1
    load = Load.objects.get(status=Load.Status.LOADED)
    page = admin_client.get(f"/{name}/ingest/upload/").content.decode()
    link = f"/{name}/ingest/load/{load.pk}/change/"
    assert (link in page) == (name == "both")

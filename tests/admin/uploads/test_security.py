"""What somebody may not do on the way, each tried by a forged request."""

import gzip
import io
import zipfile

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from finance.models import Account
from ingest.models import Load, SavedLayout, Upload
from ingest.terminal import safe_line
from ingest.uploads.storing import storage
from tests.admin.clients import clerk
from tests.admin.uploads.conftest import ADD, STEPS
from tests.admin.uploads.test_way import ACCOUNTS, numbers, page

pytestmark = pytest.mark.django_db

NASTY = "<img src=x onerror=alert(1)>\u202e\x1b[31m\"'&"
RIGHTS = ("upload_load", "add_account")


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


@pytest.fixture
def clerks_way(way_of):
    return way_of(clerk(*RIGHTS))


def kept(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def post_file(client, **fields):
    file = SimpleUploadedFile("statement.csv", ACCOUNTS.encode())
    return client.post(ADD, {"model": "finance.Account", "file": file, **fields})


def test_a_clerk_with_both_permissions_goes_the_whole_way(clerks_way):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("confirm")
    clerks_way.post("confirm")
    assert numbers() == ["DE1", "DE2"]
    assert Load.objects.get().who == "clerk"


@pytest.mark.parametrize("rights", [(), ("add_account",), ("upload_load", "view_account")])
def test_an_upload_takes_both_permissions(rights, folder):
    client = clerk(*rights)
    response = post_file(client)
    if "upload_load" in rights:
        assert "Select a valid choice" in page(response)
    else:
        assert response.status_code == 403
        assert client.get(ADD).status_code == 403
    assert not Upload.objects.exists()
    assert kept(folder) == []


def test_who_is_not_logged_in_comes_no_further_than_the_log_in(folder):
    assert post_file(Client()).url.startswith("/admin/login/")
    assert kept(folder) == []


def test_only_models_of_this_admin_can_be_loaded(clerks_way, admin_client, folder):
    for label in ("finance.Transaction", "auth.Permission", "ingest.Load", "sessions.Session"):
        assert "Select a valid choice" in page(post_file(clerks_way.client, model=label))
    for label in ("ingest.Load", "ingest.Upload", "sessions.Session", "nothing"):
        assert "Select a valid choice" in page(post_file(admin_client, model=label))
    assert kept(folder) == []


def test_an_upload_of_somebody_else_is_not_there(way, clerks_way):
    way.upload(ACCOUNTS)
    way.go("confirm")
    clerks_way.key = way.key
    for step in (*STEPS, "change", "forget"):
        assert clerks_way.post(step).status_code == 404, step
        assert clerks_way.get(step).status_code in {404, 405}, step
    assert way.found.state == Upload.State.CHECKED


def test_who_may_view_uploads_of_others_changes_nothing(clerks_way, way_of):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("confirm")
    root = get_user_model().objects.create_superuser("boss")
    client = Client()
    client.force_login(root)
    other = way_of(client)
    other.key = clerks_way.key
    for step in STEPS:
        assert "but not change it" in page(other.get(step))
        assert other.post(step).status_code == 403, step
    assert other.post("forget").status_code == 403
    assert clerks_way.found.state == Upload.State.CHECKED
    assert numbers() == []


@pytest.mark.parametrize("right", RIGHTS)
def test_a_permission_that_is_taken_away_ends_the_way(clerks_way, right):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("confirm")
    user = get_user_model().objects.get(username="clerk")
    user.user_permissions.remove(user.user_permissions.get(codename=right))
    for step in STEPS:
        assert clerks_way.post(step).status_code == 403, step
        assert clerks_way.get(step).status_code == 403, step
    assert numbers() == []


@pytest.mark.parametrize(
    "hidden",
    [
        {"readonly_fields": ["currency"]},
        {"exclude": ["currency"]},
        {"fields": ["user", "number", "name"]},
        {"has_add_permission": lambda _: False},
    ],
)
def test_what_the_model_admin_hides_is_neither_offered_nor_taken(clerks_way, hidden, monkeypatch):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("mapping")
    fields = clerks_way.inputs("mapping")
    assert fields["source-currency"] == "column:4"
    for name, value in hidden.items():
        monkeypatch.setattr(admin.site._registry[Account], name, value, raising=False)
    if "has_add_permission" in hidden:
        assert clerks_way.get("mapping").status_code == 403
    else:
        assert "source-currency" not in page(clerks_way.get("mapping"))
    assert clerks_way.post("mapping", **fields).status_code == 403
    # The layout still feeds it: the other steps refuse it as well.
    for step in ("preview", "check", "confirm"):
        Upload.objects.update(step="confirm", state="checked")
        response = clerks_way.post(step, action="begin")
        assert response.status_code == 403, step
    assert numbers() == []


def test_fields_columns_and_lookups_that_are_not_offered_are_refused(clerks_way):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("mapping")
    before, fields = clerks_way.found.layout, clerks_way.inputs("mapping")
    for forged in (
        {"source-id": "column:1"},
        {"source-pk": "constant", "constant-pk": "7"},
        {"constant-user_id": "1"},
        {"lookup-user": "password"},
        {"source-number": "column:99"},
        {"source-number": "column:0"},
        {"source-number": "file:/etc/passwd"},
        {"source-number": "kept"},
        {"lookup-user": "groups__name"},
    ):
        response = clerks_way.post("mapping", **{**fields, **forged})
        assert response.status_code in {400, 403}, forged
        assert clerks_way.found.layout == before


def test_parents_are_created_by_nobody_who_may_not_add_them(clerks_way):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("confirm")
    layout = clerks_way.found.layout.replace(
        'lookup = ["username"]', 'lookup = ["username"], create = {}'
    )
    assert "create" in layout
    Upload.objects.update(layout=layout)
    assert clerks_way.post("confirm").status_code == 403
    assert clerks_way.post("check", action="begin").status_code == 403
    assert numbers() == []


def test_no_hook_is_run(clerks_way):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("confirm")
    Upload.objects.update(layout=f'hook = "os.abort"\n{clerks_way.found.layout}')
    assert clerks_way.post("confirm").status_code == 403
    assert clerks_way.post("check", action="begin").status_code == 403


def test_each_post_takes_a_token(clerks_way, folder):
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("confirm")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.get(username="clerk"))
    before = kept(folder)
    assert post_file(strict).status_code == 403
    for step in (*STEPS, "forget"):
        assert strict.post(clerks_way.address(step)).status_code == 403, step
    assert kept(folder) == before
    assert numbers() == []


def test_a_token_in_the_form_is_enough(folder):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.create_superuser("boss"))
    token = strict.get(ADD).context["csrf_token"]
    assert post_file(strict, csrfmiddlewaretoken=str(token)).status_code == 302
    assert len(kept(folder)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x.csv",
        "..\\..\\boot.csv",
        "/etc/passwd.csv",
        f"{NASTY}.csv",
        "a" * 400 + ".csv",
        "%2e%2e%2fx.csv",
    ],
)
def test_names_lead_nowhere_and_are_text_on_every_page(way, folder, name):
    way.upload(ACCOUNTS, name)
    [path] = kept(folder)
    assert path.parent == folder
    assert path.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0
    assert path.stem == way.found.storage_name.removesuffix(".csv")
    assert "/" not in way.found.name
    assert "\\" not in way.found.name
    way.go("confirm")
    for step in STEPS:
        shown = page(way.get(step))
        assert "<img" not in shown
        assert "\u202e" not in shown
        assert "\x1b" not in shown
    assert "\u202e" not in page(way.client.get(reverse("admin:ingest_upload_changelist")))
    way.post("confirm")
    number = Load.objects.get().pk
    shown = page(way.client.get(reverse("admin:ingest_load_change", args=[number])))
    assert "<img" not in shown
    assert numbers() == ["DE1", "DE2"]


def test_headers_and_cells_are_text_on_every_page(way):
    cell = f'"{NASTY.replace(chr(34), chr(34) * 2)}"'
    way.upload(f"user__username,number,name,{cell}\nroot,DE1,{cell},{cell}\n{cell},DE2,x,y\n")
    way.go("confirm")
    assert way.found.check_result["counts"]["rejected"] == 1
    for step in STEPS:
        shown = page(way.get(step))
        assert "<img" not in shown, step
        assert "\u202e" not in shown, step
        assert "\x1b" not in shown, step
    assert "\\u202e" in page(way.get("preview"))
    way.post("mapping", **way.inputs("mapping"), name=safe_line(NASTY))
    assert SavedLayout.objects.count() == 1
    way.upload(f"user__username,number,name,{cell}\nroot,DE1,{cell},{cell}\n")
    way.go("mapping")
    assert "<img" not in page(way.get("mapping"))


def test_a_body_that_is_too_large_is_not_read(admin_client, folder, settings):
    settings.INGEST = {**settings.INGEST, "UPLOAD_BYTES": 1_000}

    response = admin_client.generic(
        "POST", ADD, b"", "multipart/form-data; boundary=x", CONTENT_LENGTH=str(5 << 30)
    )
    assert response.status_code == 413
    assert "larger than 1,000 bytes" in response.content.decode()
    assert kept(folder) == []


def test_a_file_that_is_too_large_is_stopped_while_it_arrives(admin_client, folder, settings):
    settings.INGEST = {**settings.INGEST, "UPLOAD_BYTES": 1_000}
    file = SimpleUploadedFile("large.csv", b"x" * 1_001)
    response = admin_client.post(ADD, {"model": "finance.Account", "file": file})
    assert "larger than 1,000 bytes" in page(response)
    assert not Upload.objects.exists()
    assert kept(folder) == []
    assert post_file(admin_client).status_code == 302


def zipped(**members):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return target.getvalue()


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.xlsx", "bomb.zip", "gz-in.zip"])
def test_a_bomb_is_not_unpacked(way, folder, name):
    zeros = bytes(64 << 20)
    if name.endswith(".gz"):
        content = gzip.compress(zeros)
    elif name == "gz-in.zip":
        content = zipped(a_csv_gz=gzip.compress(zeros))
    else:
        content = zipped(a_csv=zeros)
    assert "grows to more than 200 times its size" in page(way.upload(content, name))
    assert kept(folder) == []
    assert not Upload.objects.exists()


def test_a_compressed_file_may_not_hold_more_than_it_may(way, folder, settings):
    settings.INGEST = {**settings.INGEST, "UPLOAD_UNPACKED_BYTES": 50}
    shown = page(way.upload(gzip.compress(ACCOUNTS.encode()), "accounts.csv.gz"))
    assert "holds more than 50 bytes when it is unpacked" in shown
    assert kept(folder) == []


def test_a_saved_layout_of_others_is_not_offered_unless_it_is_shared(way, clerks_way):
    way.upload(ACCOUNTS)
    way.go("mapping")
    way.post("mapping", **way.inputs("mapping"), name="mine")
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("mapping")
    assert "saved: mine" not in page(clerks_way.get("mapping"))
    forged = {"action": "start", "start": "saved:mine"}
    assert clerks_way.post("mapping", **forged).status_code == 403
    SavedLayout.objects.update(is_shared=True)
    clerks_way.upload(ACCOUNTS)
    clerks_way.go("mapping")
    assert "saved: mine" in page(clerks_way.get("mapping"))
    assert clerks_way.post("mapping", **forged).status_code == 302


def test_an_upload_has_no_address(way):
    way.upload(ACCOUNTS)
    with pytest.raises(ValueError, match="not accessible via a URL"):
        storage().url(way.found.storage_name)


@pytest.mark.parametrize(
    ("word", "missing"), [("update", "change"), ("upsert", "change"), ("sync", "delete")]
)
def test_what_becomes_of_rows_that_are_there_takes_its_own_permission(way_of, word, missing):
    rights = {"add", "change", "delete"} - {missing}
    way = way_of(clerk("upload_load", *(f"{right}_account" for right in rights)))
    way.upload(ACCOUNTS)
    way.go("options")
    choices = dict(way.get("options").context["form"].fields["on_conflict"].choices)
    assert word not in choices
    fields = {"on_conflict": word, "scope": "all"}
    assert "Select a valid choice" in page(way.post("options", **fields))
    way.go("confirm")
    Upload.objects.update(options={**way.found.options, "load": fields})
    assert way.post("confirm").status_code == 403
    assert way.post("check", action="begin").status_code == 403

"""A model with so many fields that its forms have more inputs than Django accepts by default."""

from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection, models
from django.test import Client
from django.test.utils import isolate_apps
from django.urls import reverse

from ingest.models import Load, SavedLayout
from tests.admin.uploads.test_way import page

pytestmark = pytest.mark.django_db
FIELDS = [f"field_{at}" for at in range(500)]
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def wide():
    """A model of 500 fields, with a table and in the admin."""
    fields = {name: models.CharField(max_length=9, blank=True) for name in FIELDS}
    meta = type("Meta", (), {"app_label": "finance", "db_table": "wide"})
    with isolate_apps("finance"):
        model = type("Wide", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})
    with connection.schema_editor() as editor:
        editor.create_model(model)
    apps.register_model("finance", model)
    admin.site.register(model)
    yield model
    admin.site.unregister(model)
    del apps.all_models["finance"]["wide"]
    apps.clear_cache()


@pytest.fixture
def wide_way(way, wide):
    header, row = ",".join(FIELDS), ",".join(map(str, range(500)))
    import cProfile
    import pstats

    pr = cProfile.Profile()
    pr.enable()
    assert way.upload(f"{header}\n{row}\n", model="finance.Wide").status_code == 302
    pr.disable()
    pstats.Stats(pr).sort_stats("cumtime").print_stats(45)
    return way


def inputs_of_all():
    """Return what the form of the columns and fields posts as it is."""
    inputs = {f"source-{name}": f"column:{at}" for at, name in enumerate(FIELDS, 1)}
    return inputs | {f"constant-{name}": "" for name in FIELDS}


def encoded(fields):
    return urlencode({"action": "continue", **fields})


def test_all_fields_are_mapped_loaded_and_saved_for_the_next_file(wide, wide_way):
    shown = page(wide_way.go("mapping"))
    assert all(f'name="{name}"' in shown for name in inputs_of_all())
    inputs = inputs_of_all() | {"name": "Wide", "source-field_0": ""}
    inputs |= {"source-field_499": "constant", "constant-field_499": "ß&=+"}
    assert len(inputs) > settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
    address = wide_way.address("mapping")
    response = wide_way.client.post(address, encoded(inputs), content_type=FORM)
    assert response.url == wide_way.address("options")
    wide_way.go("confirm", start="options")
    wide_way.post("confirm")
    assert Load.objects.get().status == "loaded"
    row = wide.objects.get()
    assert [row.field_0, row.field_1, row.field_498, row.field_499] == ["", "1", "498", "ß&=+"]

    saved = SavedLayout.objects.get()
    address = reverse("admin:ingest_savedlayout_change", args=[saved.pk])
    assert "field_498" in page(wide_way.client.get(address))
    inputs = {**inputs, "name": "Wider", "delimiter": ",", "quote": '"', "header": "on"}
    assert wide_way.client.post(address, encoded(inputs), content_type=FORM).url == address
    saved.refresh_from_db()
    assert (saved.name, saved.layout.count("\nfield_")) == ("Wider", 499)


def test_a_wide_form_takes_a_token_too(wide_way):
    wide_way.go("mapping")
    before = wide_way.found.layout
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(get_user_model().objects.get(username="admin"))
    inputs = {**inputs_of_all(), "csrfmiddlewaretoken": "not the token"}
    address = wide_way.address("mapping")
    assert strict.post(address, encoded(inputs), content_type=FORM).status_code == 403
    assert wide_way.found.layout == before


def test_a_form_that_no_page_has_is_refused(wide_way):
    wide_way.go("mapping")
    body = "&".join(["a=1"] * 10_001)
    response = wide_way.client.post(wide_way.address("mapping"), body, content_type=FORM)
    assert response.status_code == 400

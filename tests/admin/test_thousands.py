"""The number of a load is a name: it has no mark between its thousands."""

import pytest
from django.urls import reverse

from finance.models import Account
from ingest.models import Load, Upload
from tests.ledger.recorded_loads import record_load

NUMBER = 12_345


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["en", "de"])
def test_the_script_and_the_reader_find_a_load_by_its_number(
    admin_client, admin_user, settings, language
):
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = language
    load = record_load(Account, id=NUMBER, status=Load.Status.WAITING, fingerprint="same")
    page = admin_client.get(reverse("admin:ingest_load_change", args=[load.pk])).content.decode()
    assert f'data-ingest-load="{NUMBER}"' in page
    assert f'data-ingest-reload="{NUMBER}"' in page
    Load.objects.update(status=Load.Status.LOADED)
    upload = Upload.objects.create(
        owner=admin_user, model="finance.Account", name="a.csv", size=1, digest="same"
    )
    page = admin_client.get(reverse("admin:ingest_upload_file", args=[upload.key])).content.decode()
    assert f">load {NUMBER}</a>" in page or f">Ladevorgang {NUMBER}</a>" in page

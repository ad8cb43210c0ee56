"""A body of gigabytes, made while it is sent, at a real web server."""

import tracemalloc

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from ingest.models import Upload
from ingest.uploads.receiving import FORM_BYTES
from tests.admin.uploads.conftest import ADD
from tests.performance.large_body import post

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 8 << 20


@pytest.mark.parametrize(
    ("size", "taken", "status"),
    [(5 << 30, 16 << 20, "413"), (LIMIT + (FORM_BYTES >> 1), None, "200")],
)
def test_a_body_that_is_too_large_is_refused_while_it_arrives(
    live_server, settings, folder, size, taken, status
):
    settings.INGEST = {**settings.INGEST, "UPLOAD_BYTES": LIMIT}
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("boss"))
    token = client.get(ADD).context["csrf_token"]
    cookies = {name: found.value for name, found in client.cookies.items()}
    port = int(live_server.url.rpartition(":")[2])
    tracemalloc.start()
    sent, said = post(cookies, token, size, port)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The answer may be lost where the client goes on sending: the connection is closed.
    assert said == "the connection was reset" or (status in said and "too large" in said)
    assert sent <= (taken or size)
    assert peak < LIMIT
    assert not Upload.objects.exists()
    assert [path for path in folder.rglob("*") if path.is_file()] == []

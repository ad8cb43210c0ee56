"""What a load imports: the product, and nothing of its benchmark."""

import os
import subprocess
import sys

import pytest
from django.db import connection

LOAD = """
import sys
import django
django.setup()
import ingest.loading.api
from django.contrib.auth.models import Group
from ingest import load
print(load(Group, [{"name": "writers"}], dry_run=True, method=sys.argv[1]).rows)
print([name for name in sys.modules if name.startswith("ingest.benchmark")])
"""


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["copy", "direct"])
def test_a_load_imports_nothing_of_the_benchmark(method):
    facts = connection.settings_dict
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}&port={facts['PORT']}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "settings.development",
    }
    started = subprocess.run(
        [sys.executable, "-c", LOAD, method],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (started.stderr, started.stdout) == ("", "1\n[]\n")

"""What ingest's admin costs a project at every start, and one that has no admin."""

import subprocess
import sys

import pytest

START = """
import sys
import django
from django.conf import settings
apps = {apps}
settings.configure(
    INSTALLED_APPS=[*(f"django.contrib.{{name}}" for name in apps), "ingest"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "none"}}}},
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}],
)
django.setup()
from django.template import engines
assert "ingest_admin" in engines["django"].engine.template_libraries
print(sorted({{"asyncpg", "pgpq", "pyarrow", "ingest.admin"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("apps", "want"),
    [
        (["auth", "contenttypes", "postgres"], []),
        (["admin", "auth", "contenttypes", "messages", "postgres", "sessions"], ["ingest.admin"]),
    ],
)
def test_a_start_imports_neither_arrow_nor_an_admin_that_is_not_there(apps, want):
    started = subprocess.run(
        [sys.executable, "-c", START.format(apps=apps)], capture_output=True, text=True, check=False
    )
    assert (started.stderr, started.stdout.strip()) == ("", str(want))

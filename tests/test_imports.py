"""A load imports only what it needs, and nothing of the benchmark."""

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

COMMAND = """
import sys
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "bulk_load", "auth.Group", sys.argv[1], "--dry-run"])
print("IMPORTED", *sorted(set(sys.argv[2:]) & set(sys.modules)))
"""
UNUSED = [
    *("pandas", "pyarrow.dataset", "pyarrow.parquet", "pyarrow.fs", "rich", "chardet", "tomllib"),
    *("ingest.benchmark", "ingest.layout.transform", "ingest.ledger.undo", "ingest.loading.verify"),
    *("ingest.loading.workers.coordinator", "ingest.sources.detection", "ingest.writing.bad_rows"),
]


def environment():
    facts = connection.settings_dict
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}&port={facts['PORT']}"
    return {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "settings.development"}


@pytest.mark.django_db
def test_a_load_of_a_csv_file_imports_only_what_it_uses(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("name\nwriters\nreaders\n")
    started = subprocess.run(
        [sys.executable, "-c", COMMAND, file, *UNUSED],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (started.returncode, started.stderr) == (0, "")
    assert "Would have loaded 2 rows" in started.stdout
    assert started.stdout.splitlines()[-1] == "IMPORTED"


PANDAS = """
import sys
{first}
import pyarrow
from ingest.loading.own_process import prepare_arrow
prepare_arrow()
print(pyarrow.default_memory_pool().backend_name)
import pandas
print(pyarrow.array([pandas.NA, 1], from_pandas=True).null_count)
"""


def run(text):
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


def test_arrow_knows_pandas_where_the_project_has_imported_it():
    started = run(PANDAS.format(first="import pandas"))
    assert (started.stderr, started.stdout) == ("", "system\n1\n")


def test_who_imports_pandas_after_arrow_is_warned():
    started = run(PANDAS.format(first=""))
    assert "RuntimeWarning: pandas was imported after Arrow" in started.stderr
    assert "did not recognize Python value type" in started.stderr


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["copy", "direct"])
def test_a_load_imports_nothing_of_the_benchmark(method):
    started = subprocess.run(
        [sys.executable, "-c", LOAD, method],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (started.stderr, started.stdout) == ("", "1\n[]\n")

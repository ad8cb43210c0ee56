"""django-tenants: each load goes into the schema of the tenant that is set, and stays there."""

import json
import os
import subprocess
import sys

import pytest
from django.db import connection

T1 = '"t1"."finance_transaction"'
T2 = '"t2"."finance_transaction"'


@pytest.fixture
def database(django_db_blocker):
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        pytest.skip("it is made on the embedded server")
    name = f"test_ingest_{os.getpid()}_tenants"
    other = connection.copy()
    other.settings_dict["NAME"] = "postgres"
    with django_db_blocker.unblock(), other.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
        yield name
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    other.close()


@pytest.mark.parametrize("ledger", ["shared", "tenant"])
def test_tenants(database, ledger, tmp_path):
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.end_to_end.tenants.settings",
        "TENANTS_DATABASE": database,
        "TENANTS_LEDGER": ledger,
        "PYTHONPATH": os.pathsep.join(filter(None, ["", *sys.path])),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.tenants.scenario", str(tmp_path), ledger],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    here = "t2" if ledger == "shared" else "t1"
    want = {
        "plain": [T1, "t1", {"t1": 30, "t2": 0}],
        "verified": T1,
        "undone": {"t1": 0, "t2": 0},
        "atomic": [T1, "psycopg", {"t1": 30, "t2": 0}],
        "workers": [T1, got["workers"][1], {"t1": 30, "t2": 0}],
        "second": [T2, {"t1": 10, "t2": 30}],
        "resumed by the admin": [here, {"t1": 30, "t2": 30}],
        "undone from there": [here, {"t1": 0, "t2": 30}],
    }
    if ledger == "shared":
        want["undone from the public schema"] = ["public", {"t1": 0, "t2": 30}]
    assert got == want

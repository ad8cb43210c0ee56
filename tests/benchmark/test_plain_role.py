"""``--role``: direct once more, as a role that may not do everything."""

import os

import pytest
from django.db import connection, connections

from finance.models import Transaction
from ingest.benchmark import BenchmarkOptions, run_benchmark
from ingest.exceptions import ConfigurationError
from tests.benchmark.marks import committing

pytestmark = committing
ROLE = f'plain "{os.getpid()}'


@pytest.fixture
def role(transactional_db, few_rows_too):
    quoted = connection.ops.quote_name(ROLE.replace('"', '""'))
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {quoted}")
    yield ROLE
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


def benchmark(**options):
    asked = BenchmarkOptions(
        model=Transaction, rows=(40,), repeat=1, methods=("copy", "direct"), **options
    )
    return run_benchmark(asked)


def test_the_role_is_told_what_would_help_it(role):
    got = {item.method: item for item in benchmark(role=role).results}
    assert list(got) == ["copy", "direct", f"direct as {role}"]
    assert all(item.verified for item in got.values())
    assert got["direct"].decisions[1] == "References: 2 foreign keys checked as a set."
    quoted = '"' + role.replace('"', '""') + '"'
    assert got[f"direct as {role}"].decisions == (
        "Indexes: 5 built after the rows.",
        (
            "References: checked row by row by PostgreSQL, because the role may not set "
            "session_replication_role: "
            f"GRANT SET ON PARAMETER session_replication_role TO {quoted}."
        ),
    )
    assert got[f"direct as {role}"].is_yardstick
    assert list(connections.databases) == ["default"]


@pytest.mark.parametrize("name", ["nobody", "postgres"])
def test_a_role_that_is_none_or_may_do_everything(name):
    with pytest.raises(ConfigurationError) as caught:
        benchmark(role=name)
    assert str(caught.value) == (
        f"--role {name}: there is no such role, or it is a superuser: "
        f'CREATE ROLE "{name}", and try again.'
    )


def test_no_role_for_the_parts():
    with pytest.raises(ConfigurationError) as caught:
        BenchmarkOptions(model=Transaction, explain=True, role="plain")
    assert str(caught.value) == "--role measures a method and --explain none: leave out one."

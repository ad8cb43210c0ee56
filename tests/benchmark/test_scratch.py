import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from finance.models import Account, Transaction
from ingest.benchmark.scratch import PREFIX, clear_leftovers, open_scratch
from ingest.exceptions import BenchmarkError
from tests.benchmark.marks import committing
from tests.factories import TransactionFactory
from tests.patience import PATIENCE_SECONDS, wait_until

pytestmark = committing


def schemas():
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", [PREFIX])
        return sorted(name for (name,) in cursor.fetchall())


def start(code):
    """Run code in another process that uses the test's database."""
    setup = f"""
        from django.conf import settings
        settings.DATABASES["default"]["NAME"] = {connection.settings_dict["NAME"]!r}
        import django
        django.setup()
    """
    # A background process of a shell without job control ignores Ctrl-C; ours must not.
    setup += """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(setup) + textwrap.dedent(code)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings.testing"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(code):
    process = start(code)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


HOLD = """
    from ingest.benchmark.scratch import open_scratch
    with open_scratch("default") as scratch:
        scratch.schema_for("public")
        print("ready", flush=True)
        import time
        time.sleep(60)
"""
BENCHMARK = """
    import sys
    sys.argv = ["manage.py", "bulk_load", "--benchmark", "--model", "finance.Transaction",
                "--rows", "1000", "--methods", "insert", "save", "--repeat", "1000"]
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""


def real_rows():
    return [
        list(model.objects.order_by("pk").values())
        for model in (get_user_model(), Account, Transaction)
    ]


def test_the_schemas_are_gone_afterwards_also_after_an_error():
    with open_scratch("default") as scratch:
        first = scratch.schema_for("public")
        assert scratch.schema_for("public") == first != scratch.schema_for("other")
        assert schemas() == sorted(scratch.schemas)
    assert schemas() == []
    with pytest.raises(KeyboardInterrupt), open_scratch("default") as scratch:  # noqa: PT012
        scratch.schema_for("public")
        raise KeyboardInterrupt
    assert schemas() == []


def test_a_live_run_is_left_alone_and_a_killed_one_is_cleared():
    with running(HOLD) as process:
        assert process.stdout.readline() == "ready\n"
        [theirs] = schemas()
        assert clear_leftovers("default") == 0
        with open_scratch("default") as scratch:
            scratch.schema_for("public")
            assert theirs in schemas()
        assert schemas() == [theirs]
        process.kill()
        process.wait()
        # The server notices that the connection is gone; until then it is a live run to us.
        wait_until(lambda: clear_leftovers("default") == 1)
    assert schemas() == []


def test_a_schema_of_somebody_else_with_our_prefix_is_left_alone():
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {PREFIX}mine_0")
    try:
        clear_leftovers("default")
        assert schemas() == [f"{PREFIX}mine_0"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {PREFIX}mine_0")


def test_dropping_does_not_wait_for_a_connection_that_was_left_open():
    other = connection.copy()
    try:
        with open_scratch("default") as scratch:
            name = scratch.schema_for("public")
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE TABLE {name}.held (id integer)")
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute(f"INSERT INTO {name}.held VALUES (1)")
        assert schemas() == []
    finally:
        other.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_behind(number):
    TransactionFactory()
    before = real_rows()
    with running(BENCHMARK) as process:
        for line in process.stderr:
            if "run 1 of" in line:
                break
        assert len(schemas()) == 2
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(PATIENCE_SECONDS) == 130, rest
    assert rest.splitlines()[-1] == (
        "CommandError: Interrupted: the scratch schema is gone, and no real row was touched."
    )
    assert "Traceback" not in rest
    assert schemas() == []
    assert real_rows() == before


def test_what_a_killed_benchmark_left_is_cleared_by_the_next():
    TransactionFactory()
    before = real_rows()
    with running(BENCHMARK) as process:
        for line in process.stderr:
            if "run 1 of" in line:
                break
        process.kill()
        process.wait()
    left = schemas()
    assert len(left) == 2

    def is_cleared():
        with open_scratch("default"):
            return not set(left) & set(schemas())

    wait_until(is_cleared)
    assert schemas() == []
    assert real_rows() == before


def test_inside_a_transaction_it_is_refused():
    with (
        transaction.atomic(),
        pytest.raises(BenchmarkError) as caught,
        open_scratch("default"),
    ):
        pass
    assert str(caught.value) == (
        "A benchmark commits, so it cannot run inside transaction.atomic(): call it outside."
    )


def test_a_role_that_may_not_create_schemas_is_told():
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE ingest_nobody")
        cursor.execute("SET ROLE ingest_nobody")
        try:
            with pytest.raises(BenchmarkError) as caught, open_scratch("default"):
                pass
        finally:
            cursor.execute("RESET ROLE")
            cursor.execute("DROP ROLE ingest_nobody")
    assert str(caught.value) == (
        f"The role 'ingest_nobody' may not create the scratch schema in the database {name!r}: "
        f'GRANT CREATE ON DATABASE "{name}" TO "ingest_nobody".'
    )

"""bulk_load as it is typed: what it prints, its exit codes, and real bank data."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import connection, transaction
from django.db.models import Count, Sum

from finance.models import Account, Transaction
from ingest.benchmark.methods import method_names
from ingest.ledger.undo import undo
from ingest.management.safe_output import SafeOutput
from tests import sql
from tests.factories import AccountFactory, TransactionFactory
from tests.ledger.recorded_loads import record_load
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.signals import answer_to_signals

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]
BERKA = ROOT.parent / "shared" / "data" / "berka" / "plain"
HEADER = "user,account,amount,tx_date\n"
ASK_FOR_POOL = """
import atexit, django, pyarrow
django.setup()
from ingest.management.commands.bulk_load import Command
atexit.register(lambda: print(pyarrow.default_memory_pool().backend_name))
Command().run_from_argv(["manage.py", "bulk_load", "--help"])
"""


def run(*arguments, **options):
    out = io.StringIO()
    call_command("bulk_load", *arguments, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def refused(*arguments):
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return caught.value.returncode, str(caught.value)


@pytest.fixture
def process():
    """Start manage.py on the tests' own database."""
    running = []

    def start(*arguments, streams=None, **options):
        facts = connection.settings_dict
        url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}"
        environment = {
            **os.environ,
            "DATABASE_URL": f"{url}&port={facts['PORT']}",
            "DJANGO_SETTINGS_MODULE": "settings.development",
        }
        command = [sys.executable, str(ROOT / "manage.py"), "bulk_load", *arguments]
        running.append(
            subprocess.Popen(
                command,
                env=environment,
                **{
                    **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
                    **(streams or {}),
                },
                preexec_fn=answer_to_signals,
                **options,
            )
        )
        return running[-1]

    yield start
    for started in running:
        started.kill()
        started.communicate()


@pytest.fixture
def rows(tmp_path):
    """A file of good rows."""

    def write(count):
        account = AccountFactory()
        path = tmp_path / "rows.csv"
        line = f"{account.user_id},{account.pk},1.00,2025-01-01\n"
        path.write_text(HEADER + line * count)
        return path

    return write


def test_the_last_line_says_rows_seconds_speed_and_table(rows):
    got = run("finance.Transaction", str(rows(3))).splitlines()[-1]
    assert got.startswith('Loaded 3 rows into "public"."finance_transaction" in ')
    assert got.endswith(" rows/s).")
    assert Transaction.objects.count() == 3


def test_verbosity_tells_what_was_decided(rows):
    got = run("finance.Transaction", str(rows(3)), verbosity=2)
    assert "Plain COPY: so few rows load no faster by any other way." in got


def test_standard_input(process, rows):
    started = process("finance.Transaction", "-")
    out, err = started.communicate(rows(2).read_bytes(), timeout=PATIENCE_SECONDS)
    assert (started.returncode, err) == (0, b"")
    assert b"\nLoaded 2 rows" in out
    assert Transaction.objects.count() == 2


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ((), "Give a model and a file: bulk_load app.Model FILE, or bulk_load --benchmark."),
        (("finance.Transaction",), "Give a file"),
        (("finance.Transactoin", "x.csv"), "Did you mean 'finance.Transaction'"),
        (("transaction", "x.csv"), "Write it as app.Model, and check that the app is"),
        (("finance.Transaction", __file__, "--database", "other"), "no DATABASES['other']"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(arguments, want, monkeypatch):
    code, message = refused(*arguments)
    assert code == 2
    assert want in message


def test_a_missing_file_is_exit_code_1(tmp_path):
    code, message = refused("finance.Transaction", str(tmp_path / "nothing.csv"))
    assert code == 1
    assert message.startswith("There is no file ")


def test_a_bad_value_is_told_in_one_line(process, rows):
    path = rows(1)
    path.write_text(path.read_text() + path.read_text().splitlines()[1].replace("1.00", "1,00x"))
    path.write_text(path.read_text().replace("1,00x", "1.239"))
    started = process("finance.Transaction", path.name, cwd=path.parent)
    out, err = started.communicate(timeout=PATIENCE_SECONDS)
    assert (started.returncode, out) == (1, b"")
    assert err.decode() == (
        "CommandError: rows.csv, record 2 (line 3), column 'amount': '1.239': "
        "Ensure that there are no more than 2 decimal places.\nNothing was loaded.\n"
        'To see every refused record, load with on_error="reject", dry_run=True, or in the '
        "command with --on-error reject --dry-run.\n"
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_rows_are_still_coming(process, rows, how):
    path = rows(600_000)  # several blocks: some are parsed ahead
    started = process("finance.Transaction", "-", "--method", "copy")
    started.stdin.write(path.read_bytes())
    started.stdin.flush()
    copies = (
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database() AND query LIKE 'COPY%'"
    )
    wait_until(lambda: sql.run(copies)[0][0], "no COPY began")
    started.send_signal(how)
    _, err = started.communicate(timeout=PATIENCE_SECONDS)
    if how is signal.SIGINT:
        assert started.returncode == 130, err
        assert err.decode().splitlines()[-1] == "CommandError: Interrupted: nothing was loaded."
    assert Transaction.objects.count() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_undo_is_interrupted(process, how):
    load = record_load(Transaction, [TransactionFactory()])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE finance_transaction IN SHARE MODE")
        started = process("--undo", str(load.pk), "--no-input")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and started.poll() is None:
            cursor.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone() is not None:
                break
            time.sleep(0.05)
        started.send_signal(how)
        _, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert err.decode() == "CommandError: Interrupted: nothing was undone.\n"
    assert Transaction.objects.count() == 1


def test_an_undo_is_interrupted_after_its_commit(monkeypatch):
    load = record_load(Transaction, [TransactionFactory()])

    def undo_and_stop(*arguments, **options):
        undo(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("ingest.ledger.undo.undo", undo_and_stop)
    got = refused("--undo", str(load.pk), "--no-input")
    assert got == (130, f"Interrupted: load {load.pk} is undone.")


def test_rejects_are_shown_written_down_and_exit_code_3(process, rows, tmp_path):
    path = rows(3)
    path.write_text(path.read_text().replace("1.00", "oops", 1))
    log = tmp_path / "rejects.jsonl"
    started = process(
        "finance.Transaction", str(path), "--on-error", "reject", "--reject-log", str(log)
    )
    out, err = started.communicate(timeout=PATIENCE_SECONDS)
    assert started.returncode == 3
    assert b"record 1 (line 2), column 'amount': 'oops'" in err
    assert b"Read 3 records = 2 loaded + 1 rejected.\nLoaded 2 rows into" in out
    assert len(log.read_text().splitlines()) == 1
    assert Transaction.objects.count() == 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_does_not_end_the_load(process, rows, stream):
    """As in ``bulk_load … | head``: the exit code is the load's."""
    path = rows(3)
    path.write_text(path.read_text().replace("1.00", "oops", 1))
    started = process("finance.Transaction", str(path), "--on-error", "reject")
    getattr(started, stream).close()
    setattr(started, stream, None)
    out, err = started.communicate(timeout=PATIENCE_SECONDS)
    assert started.returncode == 3
    assert b"Error" not in (out or b"") + (err or b"")
    assert Transaction.objects.count() == 2


def test_standard_output_on_a_full_disk(process, rows):
    """The exit code after a load is the load's; what only prints has failed."""
    path = str(rows(3))
    with Path("/dev/full").open("wb") as full:
        load = process("finance.Transaction", path, streams={"stdout": full})
        preview = process("finance.Transaction", path, "--preview", streams={"stdout": full})
        detect = process("finance.Transaction", path, "--detect", streams={"stdout": full})
        listed = process("--list", streams={"stdout": full})
    lost = "Standard output cannot be written: No space left on device."
    for started, code, want in [
        (load, 0, lost),
        (preview, 1, f"CommandError: {lost}"),
        (detect, 1, f"CommandError: {lost}"),
        (listed, 1, f"CommandError: {lost}"),
    ]:
        _, err = started.communicate(timeout=PATIENCE_SECONDS)
        assert (started.returncode, err.decode().splitlines()) == (code, [want])
    assert Transaction.objects.count() == 3


def test_standard_error_on_a_full_disk(process, rows):
    path = rows(3)
    path.write_text(path.read_text().replace("1.00", "oops", 1))
    with Path("/dev/full").open("wb") as full:
        given = ("finance.Transaction", str(path), "--on-error", "reject")
        started = process(*given, streams={"stderr": full})
    out, _ = started.communicate(timeout=PATIENCE_SECONDS)
    assert started.returncode == 3
    assert b"\nLoaded 2 rows" in out


def test_a_standard_stream_that_the_shell_has_closed():
    output = SafeOutput.of(OutputWrapper(None))
    output.write("Loaded 3 rows.")
    output.flush()
    assert not output.isatty()


def test_a_dry_run_says_what_would_have_been(rows):
    got = run("finance.Transaction", str(rows(3)), "--dry-run")
    assert "\nWould have loaded 3 rows into " in got
    assert Transaction.objects.count() == 0


def test_a_dry_run_has_the_exit_code_of_the_load(rows):
    path = rows(3)
    path.write_text(path.read_text().replace("1.00", "oops", 1))
    for more in ([], ["--dry-run"]):
        with pytest.raises(SystemExit) as ended:
            run("finance.Transaction", str(path), "--on-error", "reject", *more)
        assert ended.value.code == 3
    assert refused("finance.Transaction", str(path), "--dry-run")[0] == 1
    assert Transaction.objects.count() == 2  # those of the load without --dry-run


def test_every_method_is_in_the_help_of_the_benchmark(capsys):
    with pytest.raises(SystemExit):
        call_command("bulk_load", "--benchmark", "--help")
    shown = capsys.readouterr().out
    for name in method_names():
        assert name in shown


@pytest.mark.skipif(not BERKA.is_dir(), reason="The Berka bank is not here: ../shared/data/berka.")
def test_the_berka_bank():
    run("auth.User", str(BERKA / "users.csv"), "--set", "password=!")
    run("finance.Account", str(BERKA / "accounts.csv"))
    run("finance.Transaction", str(BERKA / "transactions.csv"))
    assert get_user_model().objects.count() == 4500
    assert Account.objects.count() == 4500
    got = Transaction.objects.aggregate(sum=Sum("amount"), count=Count("pk"))
    assert got == {"sum": Decimal("39246142.80"), "count": 49102}


def test_the_process_of_the_command_gives_memory_back():
    """Arrow keeps what is freed. A program that calls the command chooses for itself."""
    before = pa.default_memory_pool().backend_name
    with pytest.raises(CommandError, match="Give a model and a file"):
        call_command("bulk_load")
    assert pa.default_memory_pool().backend_name == before
    done = subprocess.run(
        [sys.executable, "-c", ASK_FOR_POOL], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "system"


def test_readers_of_an_empty_table_while_standard_input_is_waited_for(process, rows):
    """Nobody is locked out before there is something to load; a slow pipe is told of it."""
    header, *lines = rows(600_000).read_bytes().splitlines(keepends=True)
    started = process("finance.Transaction", "-", "--progress", "none", bufsize=0)

    def wait_for(question):
        wait_until(lambda: sql.run(question)[0][0], question)

    def others_can_read():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '300ms'")
            cursor.execute("SELECT count(*) FROM finance_transaction")
            return cursor.fetchone() == (0,)

    started.stdin.write(header)
    wait_for("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'client_connection_check'")
    assert others_can_read()
    started.stdin.write(b"".join(lines[:100]))
    time.sleep(0.5)
    assert others_can_read()
    started.stdin.write(b"".join(lines[100:]))
    wait_for(
        "SELECT count(*) FROM pg_locks WHERE relation = 'finance_transaction'::regclass "
        "AND mode = 'AccessExclusiveLock' AND granted"
    )
    assert "--indexes keep" in started.stderr.readline().decode()  # while the pipe stays open
    out, err = started.communicate(timeout=PATIENCE_SECONDS)
    assert (started.returncode, err) == (0, b"")
    assert b"Loaded 600,000 rows" in out


@pytest.mark.parametrize("given", ["NO_COLOR", "--no-color", "--force-color", None])
def test_colours_on_a_terminal(given, monkeypatch):
    """Neither errors nor tables are coloured if that is not wanted."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if given == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    arguments = [given] if given in {"--no-color", "--force-color"} else []
    record_load(Transaction)
    terminal = Terminal()
    call_command("bulk_load", "--list", *arguments, stdout=terminal)
    assert "finance." in terminal.getvalue()  # the rest may be on the next line
    assert ("\x1b[" in terminal.getvalue()) == (given not in {"NO_COLOR", "--no-color"})


class Terminal(io.StringIO):
    def isatty(self):
        return True

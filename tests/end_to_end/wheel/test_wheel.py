"""The built wheel in another Django project: nothing of this repository is needed there."""

import json
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DATABASES = ("--database", "default", "--database", "warehouse")


def files_of(folder):
    """Return every file of the repository's folder that is not made by running it."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def probe(project, python):
    """Return what one of the project's probes found, where it used the wheel and nothing else."""

    def probe(name):
        got = json.loads(project("manage.py", "probe", name).stdout)
        assert Path(got.pop("ingest")).is_relative_to(python.parent.parent)
        assert got.pop("strangers") == []
        return got

    return probe


def test_the_wheel_has_every_file_of_the_app_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    assert names - about == files_of("ingest")
    assert "ingest/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in about)


def test_the_sdist_has_the_app_and_its_documentation(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    top = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert names == files_of("ingest") | files_of("docs") | top


def test_checks_and_migrations_have_nothing_to_say(project):
    got = project("manage.py", "check", "--fail-level", "WARNING", *DATABASES)
    assert got.stdout == "System check identified no issues (0 silenced).\n"
    assert project("manage.py", "makemigrations", "--check").stdout == "No changes detected\n"


def test_the_ledgers_tables_are_on_both_databases(probe):
    assert probe("ledger") == {"default": True, "warehouse": True}


@pytest.fixture
def csv(project):
    """Return a file of three items, whose supplier is loaded."""

    def make(name):
        key = "00000000-0000-4000-8000-0000000000" + name.encode().hex()[:2]
        suppliers = project.folder / f"{name}-suppliers.csv"
        suppliers.write_text(f"key,name\n{key},{name}\n")
        project("manage.py", "bulk_load", "wares.Supplier", suppliers)
        items = project.folder / f"{name}-items.csv"
        lines = "".join(f'{key},{name}{n},"{n}.25"\n' for n in range(3))
        items.write_text(f"supplier,code,price\n{lines}")
        return items

    return make


def test_the_command_loads_where_the_router_says(project, csv):
    items = csv("a")
    for options in ([], ["--database", "warehouse", "--dry-run"]):
        rows = project("manage.py", "bulk_load", "wares.Item", items, *options, "--method=copy")
        verb = "Would have loaded" if options else "Loaded"
        last = rows.stdout.splitlines()[-1]
        assert last.startswith(f'{verb} 3 rows into "public"."stock list" in ')
        items.write_text(items.read_text().replace(",a", ",b"))


def test_the_command_measures_on_the_routers_database(project):
    options = ["--rows=20", "--repeat=1", "--methods", "bulk_create", "copy", "direct"]
    got = project("manage.py", "bulk_load", "--benchmark", *options, "--json=-")
    results = json.loads(got.stdout)["results"]
    assert [(each["method"], each["verified"]) for each in results] == [
        ("bulk_create", True),
        ("copy", True),
        ("direct", True),
    ]


def test_loads_from_python_on_both_databases(probe):
    got = probe("loads")
    refusal = got.pop("refusal")
    assert refusal.startswith("list, record 1, column 'code': 'xxxxx")
    assert got == {
        "recorded": [
            ["wares.Item", "warehouse", 5],
            ["people.Member", "default", 1],
            ["people.Member", "default", 1],
        ],
        "drivers": ["asyncpg", "asyncpg", "psycopg", "psycopg"],
        "items": 5,
        "inside": False,
        "members": ["ada", "grace"],
        "keys": True,
        "told": [
            ["wares.Item", "warehouse", 5, None],
            ["people.Member", "default", 1, None],
            ["wares.Item", "warehouse", 1, None],
            ["people.Member", "default", 1, None],
            ["wares.Item", "warehouse", None, refusal],
        ],
    }


def test_the_admin_shows_the_loaded_rows(probe):
    got = probe("pages")
    assert got.pop("has_the_row")
    assert got.pop("Item") == 200
    assert set(got.values()) <= {200}

"""Imports never turn back: this reads them all and says where one does.

Only imports that run are counted, those in functions as well; what stands under `if TYPE_CHECKING`
serves the type checker and cannot make a circle.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up: a module may import its own layer and those above it in this list. A folder
# stands for all of its modules.
LAYERS = [
    [
        "exceptions",
        "rejects",
        "reasons",
        "findings",
        "signals",
        "stages",
        "ranges",
        "marked_file",
        "output_files",
        "terminal",
    ],
    [
        "conf",
        "models",
        "ownership",
        "catalog_queries",
        "table",
        "layout",
        "sources",
        "encoding",
        "refusals",
    ],
    ["results", "fingerprints", "connection", "session", "conversion"],
    ["references", "indexes", "plain_indexes", "guards", "duplicates", "audit"],
    ["staging", "attempts", "doubts", "isolation", "sending", "reject_log", "reject_file"],
    ["slow_source"],
    ["aftermath", "announcing", "sequences", "keys", "lookups", "known_parents", "ordering"],
    ["arrangement"],
    ["methods"],
    ["options", "job", "ledger", "failures", "reporting", "pipeline"],
    ["resuming", "tries", "chunk_loader"],
    ["running", "workers"],
    ["loading"],
    ["previewing", "managers"],
    ["benchmark"],
    ["referring"],
    ["undoing"],
    ["admin"],
    ["apps", "checks", "management", "migrations", "templatetags"],
]
PUBLIC_NAMES = "ingest"
"""The package itself, which nothing in it may import."""

TALKING = {
    *(
        "connection",
        "session",
        "table",
        "references",
        "indexes",
        "plain_indexes",
        "guards",
        "duplicates",
        "audit",
    ),
    *(
        "staging",
        "isolation",
        "doubts",
        "aftermath",
        "lookups",
        "keys",
        "sequences",
        "ledger",
        "ownership",
        "workers",
    ),
    *("methods", "loading", "benchmark", "checks", "referring", "undoing", "admin"),
}
"""Who may talk to PostgreSQL."""
ADAPTING = {"encoding", "conversion", "refusals", "failures"}
"""Who may import a driver to know its values, types and errors, and runs no SQL."""
WHO_TALKS = f"only {', '.join(sorted(TALKING))} talk to PostgreSQL."
DRIVERS = {
    "asyncpg",
    "psycopg",
    "django.db.connection",
    "django.db.connections",
    "django.db.transaction",
}
STRANGERS = {"finance", "tests", "settings"}


def modules_of(root):
    """Give the path of every module under ingest/, by its dotted name."""
    found = {}
    for path in sorted((root / "ingest").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_by(tree):
    """Give the dotted names that a module imports when it runs: `from a import b` is `a.b`."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test).endswith("TYPE_CHECKING"):
        nodes = tree.orelse
    else:
        nodes = ast.iter_child_nodes(tree)
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        source = "." * tree.level + (f"{tree.module}." if tree.module else "")
        yield from (f"{source}{alias.name}" for alias in tree.names)
    for node in nodes:
        yield from imported_by(node)


def read_imports(root):
    return {
        name: set(imported_by(ast.parse(path.read_text())))
        for name, path in modules_of(root).items()
    }


def graph_of(imports):
    """Give the modules of ingest that each module imports."""
    return {
        module: {
            name if name in imports else name.rpartition(".")[0]
            for name in names
            if name.partition(".")[0] == "ingest"
        }
        - {module}
        for module, names in imports.items()
    }


def unit(module):
    """Give the file or folder of ingest/ that a module belongs to."""
    return module.split(".")[1] if "." in module else PUBLIC_NAMES


def layer(module):
    for height, units in enumerate(LAYERS):
        if unit(module) in units:
            return height
    return len(LAYERS)


def unknown_units(imports):
    known = {PUBLIC_NAMES, *(name for units in LAYERS for name in units)}
    return [
        f"{module} stands in no layer: add {unit(module)!r} to LAYERS in tests/test_layering.py."
        for module in imports
        if unit(module) not in known
    ]


def turned_back(imports):
    return [
        f"{module} imports {target}, which stands above it."
        for module, targets in graph_of(imports).items()
        for target in sorted(targets)
        if layer(target) > layer(module)
    ]


def circles(imports):
    try:
        TopologicalSorter(graph_of(imports)).prepare()
    except CycleError as error:
        return [" -> ".join(reversed(error.args[1]))]
    return []


def strangers(imports):
    return [
        f"{module} imports {name}: ingest has never heard of it."
        for module, names in imports.items()
        for name in sorted(names)
        if name.partition(".")[0] in STRANGERS
    ]


def relative(imports):
    return [
        f"{module} imports {name}: write the whole name."
        for module, names in imports.items()
        for name in sorted(names)
        if name.startswith(".")
    ]


def drivers(imports):
    return [
        f"{module} imports {name}: {WHO_TALKS}"
        for module, names in imports.items()
        for name in sorted(names)
        if (name in DRIVERS or name.partition(".")[0] in DRIVERS)
        and unit(module) not in TALKING | ADAPTING
    ]


RULES = [unknown_units, turned_back, circles, strangers, relative, drivers]


@pytest.mark.parametrize("rule", RULES)
def test_ingest_keeps_the_rule(rule):
    assert rule(read_imports(ROOT)) == []


@pytest.mark.parametrize(
    ("rule", "source", "want"),
    [
        (
            unknown_units,
            {"novelty": ""},
            "ingest.novelty stands in no layer: add 'novelty' to LAYERS in tests/test_layering.py.",
        ),
        (
            turned_back,
            {"table": "def f():\n    from ingest.loading import load", "loading": ""},
            "ingest.table imports ingest.loading, which stands above it.",
        ),
        (
            turned_back,
            {"table": "import ingest"},
            "ingest.table imports ingest, which stands above it.",
        ),
        (
            circles,
            {"table": "from ingest import layout", "layout": "import ingest.table"},
            "ingest.table -> ingest.layout -> ingest.table",
        ),
        (
            strangers,
            {"checks": "from finance.models import Account"},
            "ingest.checks imports finance.models.Account: ingest has never heard of it.",
        ),
        (
            relative,
            {"table": "from . import layout"},
            "ingest.table imports .layout: write the whole name.",
        ),
        (
            drivers,
            {"layout": "from django.db import connections, models"},
            f"ingest.layout imports django.db.connections: {WHO_TALKS}",
        ),
    ],
)
def test_the_rule_finds_what_breaks_it(tmp_path, rule, source, want):
    (tmp_path / "ingest").mkdir()
    for name, text in {"__init__": "", **source}.items():
        (tmp_path / "ingest" / f"{name}.py").write_text(text)
    got = rule(read_imports(tmp_path))
    assert len(got) == 1
    # A circle may be told from any of its modules.
    assert set(got[0].split(" -> ")) == set(want.split(" -> "))


def test_imports_for_the_type_checker_do_not_count(tmp_path):
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "__init__.py").write_text("")
    (tmp_path / "ingest" / "table.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import ingest.session\nelse:\n    import ingest.layout\n"
    )
    assert read_imports(tmp_path)["ingest.table"] == {"typing.TYPE_CHECKING", "ingest.layout"}

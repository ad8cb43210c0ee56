"""`ingest.__all__` matches the names that the package has."""

import ast
from pathlib import Path

import ingest

TREE = ast.parse(Path(ingest.__file__).read_text())


def test_every_public_name_is_there():
    assert [name for name in ingest.__all__ if not hasattr(ingest, name)] == []
    assert ingest.__all__ == sorted(ingest.__all__)


def test_the_type_checker_knows_the_same_names():
    known = {
        alias.name
        for node in ast.walk(TREE)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ingest.")
        for alias in node.names
    }
    assert known == set(ingest.__all__)


def test_each_name_comes_from_where_it_is_made():
    for name in ingest.__all__:
        assert getattr(ingest, name).__name__ == name

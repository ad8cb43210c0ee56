"""What pyproject.toml asks for: all that ingest imports, no more, in versions that are tested."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.test_layering import read_imports

ROOT = Path(__file__).parents[3]
FACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = FACTS["project"]
BUILDING = [Requirement(text) for text in FACTS["build-system"]["requires"]]
NEEDED = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRA = [Requirement(text) for texts in PROJECT["optional-dependencies"].values() for text in texts]
PINNED = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if re.match(r"\w", line)
]


def imported_from():
    """Return the modules of ingest that import each package from elsewhere."""
    users = {}
    for module, names in read_imports(ROOT).items():
        for package in {name.partition(".")[0] for name in names}:
            if package not in sys.stdlib_module_names | {"ingest"}:
                users.setdefault(package, set()).add(module)
    return users


def test_everything_that_is_imported_is_asked_for_and_nothing_else():
    assert set(imported_from()) == {asked.name for asked in NEEDED + EXTRA}


def test_what_is_optional_is_imported_in_the_benchmark_alone():
    users = imported_from()
    for asked in EXTRA:
        assert all(module.startswith("ingest.benchmark.") for module in users[asked.name])


@pytest.mark.parametrize("asked", NEEDED + EXTRA + BUILDING, ids=str)
def test_the_pinned_versions_lie_in_the_ranges(asked):
    pins = [pin for pin in PINNED if pin.name.lower() == asked.name]
    assert pins
    for pin in pins:
        [version] = [each.version for each in pin.specifier]
        assert asked.specifier.contains(version), f"{pin} is not in {asked}"

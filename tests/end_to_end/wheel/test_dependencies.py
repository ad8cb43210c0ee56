"""The versions that pyproject.toml allows are tested; deptry compares them with the imports."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


@pytest.mark.parametrize("asked", NEEDED + EXTRA + BUILDING, ids=str)
def test_the_pinned_versions_lie_in_the_ranges(asked):
    pins = [pin for pin in PINNED if pin.name.lower() == asked.name]
    assert pins
    for pin in pins:
        [version] = [each.version for each in pin.specifier]
        assert asked.specifier.contains(version), f"{pin} is not in {asked}"

"""The docs name the signal, log records, checks and functions that the code has."""

import ast
import pydoc
import re
from pathlib import Path

from django.core.checks import registry

from ingest import checks
from ingest.loading import events
from ingest.results import DETAILS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "other-apps.md").read_text(encoding="utf-8")


def calls_of(function, module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function
    ]


def test_every_check_is_listed():
    numbers = {call.args[0].value for call in calls_of("_warn", checks)}
    assert re.findall(r"^\| `ingest\.W(\d+)` ", PAGE, re.MULTILINE) == [
        f"{number:03}" for number in sorted(numbers)
    ]


def test_the_checks_are_registered():
    registered = registry.registry.get_checks(include_deployment_checks=True)
    mine = {check.__name__ for check in registered if check.__module__ == checks.__name__}
    assert mine == {name for name in vars(checks) if name.startswith("check_")}


def test_every_argument_of_the_signal_is_listed():
    [call] = calls_of("send_robust", events)
    listed = re.findall(r"^\| `(\w+)` ", PAGE.partition("## Logging")[0], re.MULTILINE)
    assert sorted(listed) == sorted(word.arg for word in call.keywords)


def test_every_log_record_is_listed_with_its_attributes():
    want = {}
    for call in calls_of("_log", events):
        names = {word.arg for word in call.keywords if word.arg is not None}
        if any("_facts_of" in ast.unparse(word.value) for word in call.keywords):
            names |= {"error", "sqlstate"}
        if any("_counts_of" in ast.unparse(word.value) for word in call.keywords):
            names |= {*DETAILS, "rejected", "skipped"}
        for event in re.findall(r"'([a-z ]+)'", ast.unparse(call.args[1])):
            want[event] = names
    rows = re.findall(r"^\| `([a-z ]+)` \| (?:INFO|WARNING|ERROR) \| (.+) \|", PAGE, re.MULTILINE)
    assert {event: set(re.findall(r"`(\w+)`", names)) for event, names in rows} == want


def test_every_function_that_the_docs_call_by_its_module_exists():
    found = {
        name
        for page in (ROOT / "docs").rglob("*.md")
        for name in re.findall(r"`(ingest(?:\.\w+)+)\(", page.read_text(encoding="utf-8"))
    }
    assert {name for name in found if not callable(pydoc.locate(name))} == set()

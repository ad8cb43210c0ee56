"""docs/options.md has every option of the command and every argument of ``load()``."""

import argparse
import dataclasses
import inspect
import re
from pathlib import Path

from django.core.management import BaseCommand, load_command_class

from ingest import load
from ingest.loading.options import LoadOptions
from ingest.sources import SourceOptions

PAGE = Path(__file__).parents[2] / "docs" / "options.md"
ROWS = re.findall(r"^\| (.+?) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_option_of_the_command_is_listed_once():
    djangos = BaseCommand().create_parser("manage.py", "other")
    ours = load_command_class("ingest", "bulk_load").create_parser("manage.py", "bulk_load")
    known = {name for action in djangos._actions for name in action.option_strings}
    shown = [action for action in ours._actions if action.help is not argparse.SUPPRESS]
    want = {name for action in shown for name in action.option_strings} - known
    got = [name for options, _ in ROWS for name in re.findall(r"`(--[a-z-]+)`", options)]
    assert sorted(got) == sorted(want)


def test_every_argument_of_load_is_listed():
    fields = [*dataclasses.fields(SourceOptions), *dataclasses.fields(LoadOptions)]
    keywords = [
        name
        for name, parameter in inspect.signature(load).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    got = {name for _, argument in ROWS for name in re.findall(r"`(\w+)(?:=\w+)?`", argument)}
    assert got == {field.name for field in fields} | set(keywords)

"""Every option of the command in every mode: it has an effect, or is an error that names it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, load_command_class
from django.core.management.base import BaseCommand

from ingest.management import measuring, parsers
from ingest.management.modes import USED_IN, Mode, check, mode_of

ROOT = Path(__file__).parents[2]
CALLS = {
    Mode.LOAD: ["finance.Account", "rows.csv"],
    Mode.RESUME: ["--resume", "1"],
    Mode.UNDO: ["--undo", "1"],
    Mode.LIST: ["--list"],
    Mode.FORGET: ["--forget-loads", "--older-than", "90d"],
    Mode.DETECT: ["finance.Account", "rows.csv", "--detect"],
    Mode.PREVIEW: ["finance.Account", "rows.csv", "--preview"],
    Mode.VERIFY: ["finance.Account", "--verify"],
}
"""The shortest call of each mode."""
BENCHMARK = ["finance.Account", "--benchmark"]
IMPORTS = """
import sys
import django
from django.core.management import call_command
django.setup()
try:
    call_command("bulk_load", "finance.Account", "rows.csv", "--on-error", "reject")
except Exception as error:
    assert "rows.csv" in str(error), error
print([name for name in sys.modules if name.startswith("ingest.benchmark")])
"""


def loads_parser():
    return load_command_class("ingest", "bulk_load").create_parser("manage.py", "bulk_load")


def own_actions(parser):
    """Return the options of the face itself: neither Django's nor those of the other face."""
    djangos = BaseCommand().create_parser("manage.py", "other")._option_string_actions
    return [
        action
        for action in parser._actions
        if action.option_strings
        and action.option_strings[0] not in djangos
        and not isinstance(action, parsers._Elsewhere)
    ]


LOADS = own_actions(loads_parser())
MEASURES = own_actions(measuring.create_parser("manage.py", "bulk_load", loads_parser()))


def given(action, *, name=None):
    """Return arguments that give the option a value which is not its default."""
    name = name or action.option_strings[0]
    if action.nargs == 0:
        return [name]
    if action.choices:
        value = next(iter(action.choices))
    elif action.metavar == "AGE":
        value = "30d"
    elif "=" in str(action.metavar):
        value = "name=x"
    else:
        value = "1"
    return [name, value]


def refusal(arguments):
    with pytest.raises(CommandError) as caught:
        call_command("bulk_load", *arguments, stdout=io.StringIO(), stderr=io.StringIO())
    return caught.value.returncode, str(caught.value)


def test_every_option_says_where_it_has_an_effect():
    named = {next(iter({*action.option_strings} & {*USED_IN}), action) for action in LOADS}
    assert named - {action for action in LOADS if parsers.BENCHMARK in action.option_strings} == {
        *USED_IN
    }, "each option of the command needs a line in ingest.management.modes.USED_IN"


def test_no_option_has_a_default_that_can_be_said():
    for action in (*LOADS, *MEASURES):
        assert action.default in (None, [], False, True), action.option_strings
        if action.default is True or action.default is False:
            assert action.nargs == 0, action.option_strings


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.name.lower())
def test_an_option_has_an_effect_or_is_an_error(mode):
    wrong = []
    for action in LOADS:
        name = next((each for each in action.option_strings if each in USED_IN), None)
        if name is None:  # --benchmark is another face
            continue
        for option in {*action.option_strings} - {*CALLS[mode]}:
            arguments = [*CALLS[mode], *given(action, name=option)]
            options = vars(loads_parser().parse_args(arguments)) if mode is Mode.LOAD else {}
            chosen = mode_of(options, "app.Model", ["FILE"]) if options else mode
            if mode in USED_IN[name]:
                options = vars(loads_parser().parse_args(arguments))
                check(mode, LOADS, options)
            elif chosen is mode:
                code, message = refusal(arguments)
                wrong += [] if code == 2 and option in message else [(option, message)]
            else:
                assert chosen in USED_IN[name]
    assert wrong == []


def test_a_load_refuses_what_measures():
    for action in MEASURES:
        if action.option_strings[0] in parsers.SHARED:
            continue
        code, message = refusal([*CALLS[Mode.LOAD], *given(action)])
        assert (code, message) == (
            2,
            (
                f"Error: {action.option_strings[0]} belongs to the benchmark, which loads nothing "
                "(bulk_load --benchmark): leave it out of a load."
            ),
        )


def test_the_benchmark_refuses_what_loads():
    known = {name for action in MEASURES for name in action.option_strings}
    for action in LOADS:
        for name in {*action.option_strings} - known:
            code, message = refusal([*BENCHMARK, *given(action, name=name)])
            assert (code, message) == (
                2,
                (
                    f"Error: {name} belongs to a load (bulk_load app.Model FILE): leave it out "
                    "of a benchmark."
                ),
            )


def test_the_names_of_the_options_that_measure_are_those_of_the_benchmark():
    own = {action.option_strings[0]: action.dest for action in MEASURES}
    assert {
        name: dest for name, dest in own.items() if name not in parsers.SHARED
    } == parsers.MEASURING


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"rows": [3]}, "--rows belongs to the benchmark"),
        ({"chunk_rows": 3, "benchmark": True}, "--chunk-rows belongs to a load"),
        ({"chunk_rows": 3, "list": 20}, "leave out --chunk-rows"),
        ({"interactive": False}, "--no-input belongs to --undo LOAD"),
    ],
)
def test_options_of_call_command(options, want):
    with pytest.raises(CommandError, match=want):
        call_command("bulk_load", "finance.Account", "rows.csv", **options)


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (["--undo", "1", "--resume", "2"], "--resume takes the model, the file and all options"),
        (["--undo", "1", "finance.Account"], "from the ledger: leave out finance.Account."),
        (["--list", "2", "finance.Account", "x.csv"], "leave out finance.Account x.csv."),
        (["--forget-loads"], "--forget-loads needs an age: add --older-than, such as"),
        (
            ["--forget-loads", "--older-than", "90d", "finance.Account"],
            "leave out finance.Account.",
        ),
        (["--forget-loads", "--older-than", "90"], "'90' is not an age: write a whole number"),
        (["--forget-loads", "--older-than", "-1d"], "--older-than: '-1d' is not an age: write"),
        (
            ["finance.Account", "x.csv", "--null", "-n/a"],
            "'-n/a' begins like an option: write --null=-n/a",
        ),
        (
            ["finance.Account", "x.csv", "--null", "--dry-run"],
            "--null: expected one argument",
        ),
        (["--benchmark", "--json", "-j"], "'-j' begins like an option: write --json=-j"),
        (["--forget-loads", "--older-than", "999999w"], "no load is that old. Give less, such as"),
        (["--older-than", "90d"], "--older-than belongs to --forget-loads: leave it out."),
        (["--list", "none"], "argument --list: 'none' is not a number of loads"),
        (["--bench", "--workers", "2"], "--workers belongs to a load"),
        (["finance.Account", "x.csv", "--no-header", "--detect"], "leave out --no-header."),
        (["--benchmark", "a.B", "--model", "a.C"], "--model names a.C, and the first argument a.B"),
        (["--benchmark", "finance.Account", "--psql", "psql"], "--psql names the program that"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(arguments, want):
    code, message = refusal(arguments)
    assert code == 2
    assert want in message


def help_of(*arguments):
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "bulk_load", *arguments, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return done.stdout


def test_each_face_has_its_own_help():
    loads, measures = help_of(), help_of("--benchmark")
    for name in parsers.MEASURING:
        assert f"{name} " not in loads
        assert f"{name} " in measures
    for name in USED_IN:
        assert f"{name} " in loads.replace(",", " ").replace("\n", " ")
        assert (f"{name} " in measures) == (name in parsers.SHARED)
    assert "bulk_load --benchmark --help" in " ".join(loads.split())


def test_a_load_imports_nothing_of_the_benchmark():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], check=True, capture_output=True, text=True, cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings.development"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"

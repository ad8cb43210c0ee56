import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import CommandParser
from django.test import override_settings

from ingest.benchmark import add_arguments
from tests.benchmark.marks import committing

DOCS = Path(__file__).parents[2] / "docs" / "benchmark.md"


def test_every_option_is_documented():
    parser = CommandParser()
    add_arguments(parser)
    want = {name for action in parser._actions for name in action.option_strings}
    text = DOCS.read_text(encoding="utf-8")
    missing = {name for name in want - {"-h", "--help"} if name not in text}
    assert missing == set()


def run(*arguments, **options):
    out, err = io.StringIO(), io.StringIO()
    call_command("bulk_load", "--benchmark", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (
            ["finance.Transction"],
            (
                "There is no model 'finance.Transction'. "
                "Did you mean 'finance.Transaction' or 'finance.Account'? "
                "Write it as app.Model, and check that the app is in INSTALLED_APPS."
            ),
        ),
        (
            ["finance.Account", "--rows", "0"],
            "A benchmark writes at least one row: --rows 1 or more.",
        ),
        (
            ["finance.Account", "--repeat", "0"],
            "A benchmark keeps at least one sample: --repeat 1 or more.",
        ),
        (
            ["finance.Account", "--rows", "many"],
            "Error: argument --rows: 'many' is not a whole number",
        ),
        (
            ["finance.Account", "--database", "defalt"],
            "There is no database 'defalt' in DATABASES. Did you mean 'default'?",
        ),
        (
            ["finance.Account", "--json", "/nowhere/at/all.json"],
            "--json /nowhere/at/all.json: the folder /nowhere/at does not exist.",
        ),
        (["finance.Account", "--json", "/"], "--json /: that is a folder."),
        (
            ["finance.Account", "--plot", "plot.gif"],
            "--plot plot.gif: the name must end in .png, .svg, .pdf.",
        ),
        (
            ["finance.Account", "--baseline", "psq"],
            "There is no baseline 'psq'. Did you mean 'psql'? The baselines are psql, floor.",
        ),
        (
            ["finance.Account", "--existing", "9", "--explain"],
            "--explain begins with an empty table: leave out --existing.",
        ),
        (
            ["finance.Account", "--overlap", "50%"],
            (
                "--overlap is the share of the rows whose keys the table holds already: give "
                "the number of its rows with --existing N."
            ),
        ),
        (
            ["finance.Account", "--existing", "9", "--overlap", "150%"],
            "--overlap is a share of the rows, from 0% to 100%.",
        ),
        (
            ["finance.Account", "--existing", "9", "--overlap", "0.5", "--methods", "copy"],
            (
                "--overlap measures upserts and not the methods: leave out --methods, --role and "
                "--baseline floor."
            ),
        ),
        (["finance.Account", "--existing", "-1"], "--existing is a number of rows: 0 or more."),
        (
            ["finance.Account", "--explain", "--methods", "copy"],
            (
                "--explain measures the table's parts and not the methods: leave out --methods, "
                "--baseline and --from-file."
            ),
        ),
        (
            ["finance.Account", "rows.csv"],
            "To measure with the rows of a file, use --source rows.csv.",
        ),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_measured(arguments, want):
    # No database is allowed in this test: nothing was asked of it.
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert str(caught.value) == want
    assert caught.value.returncode in (1, 2)


def test_an_unknown_method_is_told_with_the_nearest():
    with pytest.raises(CommandError, match=r"^There is no method 'copyy'\. Did you mean 'copy'\?"):
        run("finance.Account", "--methods", "copyy")


@override_settings(INGEST={})
def test_without_a_model_it_says_how_to_name_one():
    with pytest.raises(CommandError) as caught:
        run()
    assert str(caught.value) == (
        "Name the model whose table is to be measured: --model app.Model, "
        'or set INGEST = {"BENCHMARK_MODEL": "app.Model"}.'
    )


def test_without_matplotlib_the_plot_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    with pytest.raises(CommandError) as caught:
        run("finance.Account", "--plot", "plot.png")
    assert str(caught.value) == "--plot needs matplotlib: pip install 'django-ingest[benchmark]'."


SMALL = ["--rows", "5", "20", "--repeat", "1", "--methods", "bulk_create", "copy"]


@committing
@override_settings(INGEST={"BENCHMARK_MODEL": "finance.Transaction"})
def test_the_command_reports_and_writes_json_and_plot(tmp_path):
    out, err = run(*SMALL, f"--json={tmp_path / 'b.json'}", f"--plot={tmp_path / 'b.svg'}")
    assert "finance.Transaction" in out
    assert "bulk_create" in out
    assert out.rstrip().endswith((".", ". "))
    assert "Benchmark:   0% " in err
    assert err.endswith("Benchmark: 100% done\n")
    got = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert [item["verified"] for item in got["results"]] == [True] * 4
    assert (tmp_path / "b.svg").read_text(encoding="utf-8").startswith("<?xml")


@committing
def test_json_on_standard_output_stands_alone():
    out, err = run("finance.Account", *SMALL, "--json", "-")
    assert json.loads(out)["table"]["model"] == "finance.Account"
    assert "finance.Account" in err


@committing
def test_progress_as_json_is_a_line_for_each_step():
    _, err = run("finance.Account", *SMALL, "--progress", "json", "--json", "-")
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert lines[-1] == {"message": "done", "rows": 100, "rows_total": 100}

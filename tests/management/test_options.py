"""The command's options: what each says to the source, how they go together, wrong usage."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command, load_command_class

from finance.models import Account, Transaction
from ingest.layout import Layout
from ingest.management import source_options
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
DOCS = Path(__file__).parents[2] / "docs"


def run(*arguments, **options):
    out, err = io.StringIO(), io.StringIO()
    call_command("bulk_load", *map(str, arguments), stdout=out, stderr=err, **options)
    return out.getvalue()


def refused(*arguments):
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return str(caught.value)


def parser():
    return load_command_class("ingest", "bulk_load").create_parser("manage.py", "bulk_load")


def write(folder, text, name="rows.csv"):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def names():
    return sorted(Account.objects.values_list("number", "name"))


def test_every_option_is_documented():
    djangos = call_command.__globals__["BaseCommand"]().create_parser("manage.py", "other")
    known = {name for action in djangos._actions for name in action.option_strings}
    ours = {name for action in parser()._actions for name in action.option_strings}
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    missing = {name for name in ours - known if not re.search(rf"{re.escape(name)}\b", text)}
    assert missing == set()


def test_every_option_of_a_source_is_one_of_the_command():
    from ingest.sources import SourceOptions

    assert set(source_options.OPTIONS) == set(vars(SourceOptions()))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("{user}|'A|B'|x\n", ["--delimiter", "|", "--quote", "'", "--no-header"]),
        ("{user}\tA|B\tx\n", ["--delimiter", r"\t", "--no-header"]),
        ("{user};A|B;x\n", ["--delimiter", ";", "--quote", "", "--no-header"]),
        ("{user},A\\|B,x\n", ["--escape", "\\", "--no-header"]),
        ("preamble\n\n{user},A|B,x\n", ["--skip-records", "1", "--no-header"]),
        ("{user},A|B,x\ntotal,,\n", ["--trailer-records", "1", "--no-header"]),
        ("{user},A|B,x\nend of it\nmore\n", ["--trailer-pattern", "^end", "--no-header"]),
        ("u,n,m\n{user},A|B,x\n", ["--header"]),
    ],
)
def test_the_dialect(tmp_path, text, options):
    path = write(tmp_path, text.format(user=UserFactory().pk))
    run("finance.Account", path, *options, "--columns", "user", "number", "name")
    assert names() == [("A|B", "x")]


def test_quotes_that_are_not_doubled(tmp_path):
    path = write(tmp_path, f'user,number,name\n{UserFactory().pk},"A ""B",x\n')
    run("finance.Account", path)
    assert names() == [('A "B', "x")]
    Account.objects.all().delete()
    with pytest.raises(CommandError, match="closing quote"):
        run("finance.Account", path, "--no-doubled-quotes")
    assert names() == []


def test_the_format(tmp_path):
    user = UserFactory().pk
    path = write(tmp_path, f'{{"user": {user}, "number": "A", "name": "x"}}\n', "rows.txt")
    run("finance.Account", path, "--format", "jsonl")
    assert names() == [("A", "x")]


def test_what_is_said_comes_before_the_layout(tmp_path):
    path = write(tmp_path, f"user;number;name\n{UserFactory().pk};A;x\n")
    layout = Layout(source={"delimiter": "|", "skip_records": 2}, others="match")
    write(tmp_path, layout.to_toml(), "my.toml")
    options = ["--layout", tmp_path / "my.toml", "--delimiter", ";", "--skip-records", "0"]
    run("finance.Account", path, *options)
    assert names() == [("A", "x")]


def test_several_files_and_patterns(tmp_path):
    user = UserFactory().pk
    for name in ("a1.csv", "a2.csv", "b.csv"):
        write(tmp_path, f"user,number,name\n{user},{name},x\n", name)
    got = run("finance.Account", tmp_path / "b.csv", "--dry-run", tmp_path / "a*.csv")
    assert "Would have loaded 3 rows" in got
    run("finance.Account", tmp_path / "a1.csv", tmp_path / "a2.csv")
    assert names() == [("a1.csv", "x"), ("a2.csv", "x")]


def test_options_may_stand_between_the_model_and_the_file(tmp_path):
    path = write(tmp_path, f"user,number,name\n{UserFactory().pk},A,x\n")
    assert "Loaded 1 row " in run("finance.Account", "--on-error", "reject", path)


def test_detect_prints_a_layout_that_loads(tmp_path):
    account = AccountFactory(number="DE1")
    path = write(tmp_path, f"User;Account;Tag;Amount\n{account.user_id};DE1;31.01.2026;1.234,50\n")
    write(tmp_path, run("finance.Transaction", path, "--detect"), "my.toml")
    run("finance.Transaction", path, "--layout", tmp_path / "my.toml")
    assert str(Transaction.objects.get().amount) == "1234.50"


def test_detect_with_what_is_known(tmp_path):
    path = write(tmp_path, "a,b;c\n1,5;2\n")
    got = run("finance.Account", "--detect", path, "--delimiter", ",", "--encoding", "cp850")
    assert f"# {path} is read with encoding cp850: you said so." in got.splitlines()
    assert "# The header is 'a', 'b;c'." in got.splitlines()


def test_a_preview_shows_a_line_for_each_column(tmp_path):
    user = UserFactory().pk
    text = (
        f"user,number,name\n{user},A,first\n{user},{'B' * 40},x\n{user},C,\n{user},D,{'n' * 60}\n"
    )
    path = write(tmp_path, text)
    got = run("finance.Account", path, "--preview", "2").splitlines()
    assert got == [
        "finance.Account  record 1  record 4",
        f"user_id          {user:<8}  {user}",
        "number           A         D",
        f"name             first     {'n' * 39}…",
        "currency         EUR       EUR",
        "opened_on        NULL      NULL",
        (
            f"Refused: {path}, record 2 (line 3), column 'number': '{'B' * 38}…: Ensure this value "
            "has at most 34 characters (it has 40)."
        ),
        f"Refused: {path}, record 3 (line 4), column 'name': '': This field cannot be blank.",
    ]
    assert names() == []


def test_a_preview_of_a_sync_takes_its_scope_and_shows_an_upsert(tmp_path):
    account = AccountFactory(number="A", name="old")
    AccountFactory(user=account.user, number="gone", name="x")
    path = write(tmp_path, f"user,number,name\n{account.user_id},A,new\n{account.user_id},B,y\n")
    options = ["--on-conflict", "sync", "--key", "number", "--scope", "currency=EUR"]
    got = run("finance.Account", path, *options, "--preview").splitlines()
    assert [line.split() for line in got[:4]] == [
        ["finance.Account", "record", "1", "record", "2"],
        ["what", "happens", "update", "insert"],
        ["user_id", str(account.user_id), str(account.user_id)],
        ["number", "A", "B"],
    ]
    assert "old → new" in got[4]
    assert names() == [("A", "old"), ("gone", "x")]
    with pytest.raises(CommandError, match="nothing"):
        run("finance.Account", path, *options[:-1], "nothing=1", "--preview")


@pytest.mark.parametrize("option", ["--undo", "--resume"])
def test_a_number_that_no_load_can_have(option):
    with pytest.raises(CommandError, match=f"There is no load {10**25} in the ledger"):
        run(option, str(10**25))


def test_a_list_of_more_loads_than_there_can_be():
    assert run("--list", str(10**25)) == "The ledger of 'default' has no loads.\n"


def test_a_preview_of_nothing(tmp_path):
    path = write(tmp_path, "user,number,name\n")
    assert run("finance.Account", path, "--preview") == (
        f"{path} has no record that could be loaded.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (["--quote", "''x"], "The quote \"''x\" cannot be used: it must be one ASCII character."),
        (["--delimiter", ";", "--quote", ";"], "The delimiter ';' has two meanings."),
        (["--skip-records", "-1"], "argument --skip-records: '-1' is not a whole number from 0 on"),
        (["--on-errors", "reject"], "there is no option --on-errors. Did you mean '--on-error'"),
        (["--databse=x"], "there is no option --databse. Did you mean '--database'"),
        (["--qqqqqqq"], "Error: there is no option --qqqqqqq."),
        (["--format", "xlsx"], "argument --format: invalid choice: 'xlsx'"),
        (["--trailer-pattern", "("], "The trailer's pattern cannot be used: "),
        (
            ["--preview", "rows.csv"],
            (
                "argument --preview: 'rows.csv' is not a number of rows: name the file before "
                "--preview, or after --preview N"
            ),
        ),
        (["--preview", "0"], "argument --preview: '0' is not a number of rows"),
        (["--detect", "--preview"], "argument --preview: not allowed with argument --detect"),
        (
            ["--detect", "--skip-records", "1"],
            (
                "--detect finds out by itself how the file is read: leave out --skip-records. "
                "It accepts only what you know already: --encoding, --delimiter and --sheet."
            ),
        ),
        (["--detect", "--layout", "akb"], "leave out --layout."),
        (
            ["--reject-file", "r.csv"],
            (
                "reject_file (--reject-file) has no effect without on_error='reject' "
                "(--on-error reject): add that, or leave it out."
            ),
        ),
        (["--on-error", "reject", "--reject-file", "r.jsonl"], "call the file 'r.csv'."),
    ],
)
def test_wrong_usage(tmp_path, arguments, want):
    path = write(tmp_path, "user,number,name\n1,2,3\n")
    assert want in refused("finance.Account", path, *arguments)


def test_wrong_usage_is_exit_code_2(tmp_path):
    path = write(tmp_path, "user,number,name\n1,2,3\n")
    for arguments in (["--quote", "ab"], ["--detect", "--quote", "'"]):
        with pytest.raises(CommandError) as caught:
            run("finance.Account", path, *arguments)
        assert caught.value.returncode == 2


def test_rejects_are_mended_and_loaded_by_the_same_command(tmp_path):
    user = UserFactory().pk
    path = write(tmp_path, f"{user};A;x\n{user};A;y\n{user};B\n")
    rejects = tmp_path / "rejects.csv"
    options = ["--delimiter", ";", "--columns", "user", "number", "name"]
    with pytest.raises(SystemExit) as caught:
        run("finance.Account", path, "--on-error", "reject", "--reject-file", rejects, *options)
    assert caught.value.code == 3
    rejects.write_text(rejects.read_text().replace(";A;y", ";C;y").replace(";B;", ";B;z;", 1))
    run("finance.Account", rejects, *options)
    assert names() == [("A", "x"), ("B", "z"), ("C", "y")]


def test_a_file_whose_delimiter_is_another(tmp_path):
    path = write(tmp_path, "user;number;name\n1;2;3\n")
    assert refused("finance.Account", path) == (
        f"{path} has a column 'user;number;name', but finance.Account has no such field. It is the "
        "only one: is the delimiter ';'? `bulk_load app.Model FILE --detect` shows what a file is "
        "like."
    )


def test_a_column_that_names_no_field(tmp_path):
    path = write(tmp_path, "user,number,nmae\n1,2,3\n")
    assert refused("finance.Account", path) == (
        f"{path} has a column 'nmae', but finance.Account has no such field. Did you mean 'name' "
        "or 'number'? Rename the column, leave it out with --ignore-columns, or map the "
        "columns in a layout."
    )

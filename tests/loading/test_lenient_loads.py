"""Loads that pad and cut records, pass over comments and skip records of another width."""

import io

import pytest
from django.core.management import call_command

from finance.models import Account
from ingest import ConstraintRefused, LayoutError, load, preview, resume
from ingest.layout import Condition, Layout
from ingest.models import Load
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
HEADER = "user,number,name,opened_on\n"


@pytest.fixture
def user():
    return UserFactory()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "accounts.csv"


def stored():
    return [
        (account.number, account.name, str(account.opened_on or ""))
        for account in Account.objects.order_by("number")
    ]


def write(path, user, *, other=None):
    lines = [f"{user.pk},N{number:02},x,2020-01-31" for number in range(12)]
    lines[1] = f"{user.pk},N01,x"
    lines[5] = f"{user.pk},N05,y,2020-01-31,surplus"
    lines[7] = f"{other or user.pk},N07" + (",x" if other else "")
    lines.insert(6, "# a comment, with more")
    path.write_text(HEADER + "\n".join(lines) + "\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_counts_of_chunks_and_workers(user, path, tmp_path, workers):
    write(path, user)
    rejected = tmp_path / "rejected.csv"
    options = {"lenient": "pad,cut", "comment": "#", "on_error": "reject"}
    got = load(Account, path, chunk_rows=4, workers=workers, reject_file=rejected, **options)
    assert (got.read, got.rows, got.rejected, got.padded, got.cut) == (12, 11, 1, 2, 1)
    assert [(it.record, it.line) for it in got.rejects] == [(8, 10)]
    assert stored()[1] == ("N01", "x", "")
    assert stored()[5] == ("N05", "y", "2020-01-31")
    saved = Load.objects.get()
    assert (saved.padded, saved.cut) == (2, 1)
    assert list(saved.chunks.values_list("padded", "cut")) == [(1, 0), (1, 1), (0, 0)]
    again = load(Account, rejected, **options)
    assert (again.rejected, again.padded) == (1, 0)
    rejected.write_text(rejected.read_text().replace("N07,,", "N07,x,"))
    assert load(Account, rejected, **options).rows == 1


def test_a_resumed_load_counts_all_of_its_records(user, path):
    write(path, user, other=user.pk + 1)
    options = {"lenient": ["cut", "pad"], "comment": "#", "chunk_rows": 3, "resumable": True}
    with pytest.raises(ConstraintRefused):
        load(Account, path, **options)
    assert Account.objects.count() == 6
    UserFactory(pk=user.pk + 1)
    [begun] = Load.objects.all()
    assert begun.options["reading"] == {"comment": "#", "lenient": ["pad", "cut"]}
    got = resume(begun.pk)
    assert (got.rows, got.padded, got.cut) == (12, 2, 1)


def test_the_command_says_how_many(user, path):
    write(path, user)
    out = io.StringIO()
    options = ["--lenient", "pad,cut", "--comment", "#", "--progress", "none"]
    with pytest.raises(SystemExit):  # one record is rejected
        call_command(
            "bulk_load", "finance.Account", str(path), "--on-error", "reject", *options, stdout=out
        )
    assert "2 records were padded with empty cells, as --lenient asks." in out.getvalue()
    assert "1 record was cut, as --lenient asks." in out.getvalue()


def test_missing_keys_of_json_lines_load_as_empty_cells(user, path, tmp_path):
    path, too_long = tmp_path / "accounts.jsonl", "C" * 35
    path.write_text(
        f'{{"user": {user.pk}, "number": "A", "name": "x", "opened_on": "2020-01-31"}}\n'
        f'{{"user": {user.pk}, "number": "B", "name": "y", "more": 1}}\n'
        f'{{"user": {user.pk}, "number": "{"C" * 35}", "name": "z"}}\n'
    )
    rejected = tmp_path / "rejected.jsonl"
    options = {"lenient": "pad,cut", "on_error": "reject"}
    got = load(Account, path, reject_file=rejected, **options)
    assert (got.rows, got.rejected, got.padded, got.cut) == (2, 1, 2, 1)
    assert stored() == [("A", "x", "2020-01-31"), ("B", "y", "")]
    rejected.write_text(rejected.read_text().replace(too_long, "C"))
    assert load(Account, rejected, **options).padded == 1
    assert stored()[2] == ("C", "z", "")


def layout(*rules):
    fields = {name: {"column": name} for name in ("user", "number", "name", "opened_on")}
    document = Layout.from_document({"fields": fields}, None)
    return Layout(fields=document.fields, skip=rules)


def footer(user):
    return f"{HEADER}{user.pk},A,x,2020-01-31\nTotal,1\nTotal,B,y,2020-01-31,more,cells\n"


def test_skip_takes_records_of_any_width(user, path):
    path.write_text(footer(user))
    rule = Condition(column="user", equals=("Total",))
    got = load(Account, path, layout=layout(rule))
    assert (got.read, got.rows, got.skipped, got.rejected) == (3, 1, 2, 0)
    assert preview(Account, path, layout=layout(rule)).rejects == ()
    Account.objects.all().delete()
    got = load(Account, path, layout=layout(rule), lenient="pad,cut")
    assert (got.rows, got.skipped, got.padded, got.cut) == (1, 2, 0, 0)


def test_all_conditions_of_a_rule_must_hold(user, path):
    path.write_text(footer(user))
    total = Condition(column="user", equals=("Total",))
    short = Condition(column="opened_on", empty=True)
    got = load(Account, path, layout=layout(Condition(when=(total, short))), on_error="reject")
    assert (got.rows, got.skipped, got.rejected) == (1, 1, 1)
    assert [reject.record for reject in got.rejects] == [3]
    Account.objects.all().delete()
    named = Condition(column="name", matches="^y")
    rules = Condition(when=(total, short)), Condition(when=(total, named))
    assert load(Account, path, layout=layout(*rules)).skipped == 2


def test_rules_are_read_from_toml_and_written(tmp_path):
    path = tmp_path / "l.toml"
    path.write_text(
        '[[skip]]\nwhen = [{column = "a", equals = ["x"]}, {column = 2, empty = true}]\n'
    )
    got = Layout.from_toml(path)
    assert [it.column for it in got.skip[0].when] == ["a", 2]
    again = tmp_path / "again.toml"
    again.write_text(got.to_toml())
    assert Layout.from_toml(again) == got


@pytest.mark.parametrize(
    "text",
    [
        '[[skip]]\nequals = ["x"]\n',
        '[[skip]]\ncolumn = "a"\nwhen = [{column = "b", empty = true}]\n',
        "[[skip]]\nwhen = [{empty = true}]\n",
        '[continuation]\nwhen = [{empty = true}]\nappend = ["a"]\n',
    ],
)
def test_rules_that_cannot_be(tmp_path, text):
    path = tmp_path / "l.toml"
    path.write_text(text)
    with pytest.raises(LayoutError, match=r"lacks the key 'column'|put all of them into 'when'"):
        Layout.from_toml(path)

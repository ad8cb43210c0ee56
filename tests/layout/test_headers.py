"""Headers that are like fields, that name a parent's field, and that are left out."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet
import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import models
from django.test.utils import isolate_apps

from finance.models import Account, Transaction
from ingest import aload, load, preview, resume
from ingest.exceptions import (
    ConfigurationError,
    ConstraintRefused,
    LayoutError,
    RecordsRefused,
)
from ingest.layout import FieldLayout, Layout
from ingest.layout.matching import match_columns
from ingest.models import Load
from tests.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db
COMMITTED = pytest.mark.django_db(transaction=True)


def write(folder, text, name="rows.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def as_source(kind, rows, folder):
    names = list(rows[0])
    if kind == "csv":
        lines = [names, *([str(row[name]) for name in names] for row in rows)]
        return write(folder, "".join(",".join(line) + "\n" for line in lines))
    if kind == "jsonl":
        return write(folder, "".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    if kind == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
        return folder / "rows.parquet"
    return rows


KINDS = ("csv", "jsonl", "parquet", "dicts")


@pytest.fixture
def shop():
    """A model whose fields have other names beside their own."""
    with isolate_apps("finance"):

        class Shop(models.Model):
            name = models.TextField()
            title = models.TextField(verbose_name="Name of shop", db_column="ttl")
            label = models.TextField(verbose_name="title 2", db_column="tag_1")
            owner = models.ForeignKey(Account, models.CASCADE, related_name="+")
            other = models.TextField(verbose_name="TAG-1")

            class Meta:
                app_label = "finance"

            def __str__(self):
                return self.name

        yield Shop


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ("name", "name"),
        (" NAME ", "name"),
        ("name of\u00a0shop", "title"),
        ("TTL", "title"),
        ("Title-2", "label"),
        ("Owner ID", "owner"),
        ("OWNER", "owner"),
        ("owner__number", "owner__number"),
        ("Owner__Opened On", "owner__opened_on"),
        ("owner__pk", "owner__id"),
    ],
)
def test_a_header_that_is_like_one_field_feeds_it(shop, header, want):
    [got] = match_columns(shop, [header], "a.csv")
    assert got.target == want


def test_a_header_that_may_be_two_fields(shop):
    with pytest.raises(LayoutError) as got:
        match_columns(shop, ["Tag 1"], "a.csv")
    assert str(got.value) == (
        "a.csv has a column 'Tag 1', which may be finance.Shop.label or finance.Shop.other: "
        "rename it, use --map FIELD=COLUMN, or use --match loose, which goes by field names first."
    )
    [found] = match_columns(shop, ["Tag 1"], "a.csv", "loose")
    assert found.target == "label"  # a db_column comes before a verbose_name


@pytest.mark.parametrize("match", [None, "loose"])
def test_two_headers_for_one_field(shop, match):
    message = "two columns, 'Name Of Shop' and 'ttl', for the field finance.Shop.title: keep one"
    with pytest.raises(LayoutError, match=message):
        match_columns(shop, ["Name Of Shop", "ttl"], "a.csv", match)


@pytest.mark.parametrize("headers", [["owner", "owner__number"], ["owner__number", "Owner Id"]])
def test_a_parent_by_its_key_and_by_another_field(shop, headers):
    with pytest.raises(LayoutError, match=r"for the field finance\.Shop\.owner: keep one"):
        match_columns(shop, headers, "a.csv")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("owner__nubmer", r"finance\.Account has no 'nubmer'\. Did you mean 'number'"),
        ("owner__user__username", "goes too far"),
        ("name__number", "no such field"),
        ("__", "no such field"),
        ("-", "no such field"),
        ("", "no such field"),
        ("1", "no such field"),
    ],
)
@pytest.mark.parametrize("match", [None, "loose", "exact"])
def test_a_header_that_names_nothing(shop, header, message, match):
    with pytest.raises(LayoutError, match=message):
        match_columns(shop, [header], "a.csv", match)


def test_the_tables_own_key_is_fed_only_when_asked(shop):
    with pytest.raises(LayoutError, match="a column 'ID', but"):
        match_columns(shop, ["ID"], "a.csv")
    assert match_columns(shop, ["ID"], "a.csv", "loose")[0].field is shop._meta.pk


def test_a_loose_match_is_said_and_can_be_turned_off(tmp_path):
    user = UserFactory()
    path = write(tmp_path, f"User,NUMBER,Opened-On,name\n{user.pk},A1,2024-01-31,x\n")
    with pytest.raises(LayoutError, match="a column 'User', but"):
        load(Account, path, match="exact")
    result = load(Account, path)
    assert (
        "Columns: 'User' feeds user, 'NUMBER' feeds number, 'Opened-On' feeds opened_on, by names "
        'that are alike. --match exact (match="exact") turns this off.'
    ) in result.decisions
    assert str(Account.objects.get().opened_on) == "2024-01-31"


@pytest.mark.parametrize("kind", KINDS)
def test_a_parent_is_looked_up_by_a_header(kind, tmp_path):
    account = AccountFactory(number="A1")
    rows = [
        {"account__number": number, "user__username": account.user.username, "amount": 1}
        | {"description": "x", "tx_date": "2024-01-31"}
        for number in ("A1", "none", "A1")
    ]
    source = as_source(kind, rows, tmp_path)
    result = load(Transaction, source, on_error="reject")
    assert (result.rows, result.rejected) == (2, 1)
    assert set(Transaction.objects.values_list("account", "user")) == {
        (account.pk, account.user_id)
    }
    [reject] = result.rejects
    assert (reject.record, reject.column, reject.value, reject.kind) == (
        *(2, "account__number", "none"),
        "reference",
    )
    assert reject.reason == "There is no account with number 'none'."


def test_a_parent_is_looked_up_by_several_headers(tmp_path):
    user = UserFactory()
    AccountFactory(number="A1", currency="EUR", name="Main")
    wanted = AccountFactory(number="A2", currency="CHF", name="Main")
    path = write(
        tmp_path,
        "account__name,account__currency,user,amount,description,tx_date\n"
        f"Main,CHF,{user.pk},1,x,2024-01-31\n",
    )
    assert preview(Transaction, path).rejects == ()
    load(Transaction, path)
    assert Transaction.objects.get().account == wanted


@pytest.mark.parametrize("pair", ["account__number=Konto", "Konto=account__number"])
def test_a_parent_is_mapped_by_its_natural_key(pair, tmp_path):
    account = AccountFactory(number="A1")
    path = write(
        tmp_path,
        f"Konto,user,amount,description,tx_date\nA1,{account.user_id},1,x,2024-01-31\n",
    )
    call_command("bulk_load", "finance.Transaction", path, map=[pair], verbosity=0)
    assert Transaction.objects.get().account == account


def test_a_mapped_parent_and_a_header_are_one_look_up(tmp_path):
    AccountFactory(number="A1", currency="EUR", name="Main")
    wanted = AccountFactory(number="A2", currency="CHF", name="Main")
    path = write(
        tmp_path,
        "Konto,account__currency,amount,description,tx_date\nMain,CHF,1,x,2024-01-31\n",
    )
    layout = Layout(
        others="match",
        fields={
            "account__name": FieldLayout(column="Konto"),
            "user__username": FieldLayout(constant=wanted.user.username),
        },
    )
    load(Transaction, path, layout=layout)
    assert Transaction.objects.get().account == wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"account": FieldLayout(column="a"), "account__number": FieldLayout(column="b")},
        {"account__number": FieldLayout(column="a", lookup=("name",))},
        {"account__number": FieldLayout(copy="user.id")},
        {
            "account__number": FieldLayout(column="a", strip=True),
            "account__name": FieldLayout(column="b"),
        },
    ],
)
def test_a_look_up_that_is_said_twice(fields):
    with pytest.raises(LayoutError, match="account"):
        load(Transaction, [{"a": "1", "b": "2"}], layout=Layout(fields=fields))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ignored", [["Saldo", "Notiz"], ["rest"]])
def test_columns_are_left_out_on_purpose(kind, ignored, tmp_path):
    user = UserFactory()
    rows = [{"user": user.pk, "number": "A1", "name": "x", "Saldo": "1", "Notiz": "-"}]
    source = as_source(kind, rows, tmp_path)
    with pytest.raises(LayoutError, match="a column 'Saldo', but"):
        load(Account, source)
    assert load(Account, source, ignore_columns=ignored).rows == 1
    assert Account.objects.get().name == "x"


@pytest.mark.parametrize(
    ("ignored", "message"),
    [
        (
            ["Sadlo"],
            r"no column 'Sadlo' to be left out \(--ignore-columns\)\. Did you mean 'Saldo'",
        ),
        (["Saldo"], r"a column 'Notiz', but"),
        (["user", "number", "name", "Saldo", "Notiz"], "all columns of .* are to be left out"),
        ([], "must be one text or several"),
        ([1], "must be one text or several"),
    ],
)
def test_columns_that_cannot_be_left_out(ignored, message):
    rows = [{"user": 1, "number": "A1", "name": "x", "Saldo": "1", "Notiz": "-"}]
    with pytest.raises(ConfigurationError, match=message):
        load(Account, rows, ignore_columns=ignored)


def test_a_column_that_is_called_rest_is_meant_by_its_name():
    rows = [{"user": 1, "number": "A1", "name": "x", "rest": "1", "Notiz": "-"}]
    with pytest.raises(LayoutError, match="a column 'Notiz', but"):
        load(Account, rows, ignore_columns="rest")


def test_a_wrong_look_up_is_not_among_the_rest():
    rows = [{"user__usrname": "u", "number": "A1", "name": "x"}]
    with pytest.raises(LayoutError, match="has no 'usrname'"):
        load(Account, rows, ignore_columns="rest")


@pytest.mark.parametrize("option", [{"ignore_columns": "rest"}, {"match": "loose"}])
def test_a_layout_that_leaves_out_the_others_by_itself(option):
    layout = Layout(fields={"number": FieldLayout(column="number")})
    with pytest.raises(
        ConfigurationError, match="has no effect: the layout leaves out the columns"
    ):
        load(Account, [{"number": "A1"}], layout=layout, **option)


def test_a_layout_says_the_same(tmp_path):
    path = write(
        tmp_path,
        'others = "match"\nmatch = "loose"\nignore_columns = ["Saldo"]\n\n[fields]\n'
        'user__username = "Kunde"\n',
        "l.toml",
    )
    user = UserFactory(username="u")
    rows = [{"Kunde": "u", "Number": "A1", "Name": "x", "Saldo": 1}]
    load(Account, rows, layout=path)
    assert Account.objects.get().user == user
    layout = Layout.from_toml(path)
    assert Layout.from_toml(write(tmp_path, layout.to_toml(), "copy.toml")) == layout


def test_what_the_layout_feeds_comes_before_a_header():
    user = UserFactory()
    rows = [{"User": 99, "number": "A1", "name": "x"}]
    result = load(Account, rows, set={"user": user})
    assert Account.objects.get().user == user
    assert "Columns: 'User' feeds nothing, because the layout feeds user." in result.decisions


def test_match_that_is_none_of_the_words():
    with pytest.raises(ConfigurationError, match="match is 'fuzzy': use 'loose' or 'exact'"):
        load(Account, [{"number": "A1"}], match="fuzzy")


@COMMITTED
def test_a_resumed_load_has_the_same_options(tmp_path):
    user = UserFactory()
    path = write(tmp_path, f"User,number,name,Saldo\n{user.pk},A1,x,1\n99999,A2,y,1\n")
    layout = write(tmp_path, 'others = "match"\n', "l.toml")
    how = {"ignore_columns": ["Saldo"], "match": "loose", "layout": layout}
    with pytest.raises(ConstraintRefused, match="99999"):
        load(Account, path, chunk_rows=1, resumable=True, **how)
    assert Account.objects.count() == 1
    UserFactory(pk=99999)
    assert resume(Load.objects.get().pk).rows == 2
    assert Account.objects.count() == 2


@COMMITTED
def test_aload_and_the_command_take_the_options(tmp_path):
    user = UserFactory()
    path = write(tmp_path, f"User,number,name,Saldo\n{user.pk},A1,x,1\n")
    async_to_sync(aload)(Account, path, ignore_columns="rest", match="loose")
    Account.objects.all().delete()
    command = ["bulk_load", "finance.Account", str(path), "--ignore-columns", "Saldo"]
    with pytest.raises(CommandError, match="a column 'User'"):
        call_command(*command, "--match", "exact", verbosity=0)
    call_command(*command, "--match", "loose", verbosity=0)
    assert Account.objects.get().user == user


def test_a_record_is_refused_as_without_a_look_up():
    with pytest.raises(RecordsRefused, match="There is no user with username 'nobody'"):
        load(Account, [{"user__username": "nobody", "number": "A1", "name": "x"}])


def test_a_rest_of_no_columns_is_told():
    row = {"user": UserFactory().pk, "number": "A", "name": "x"}
    said = "Columns: each feeds a field, and ignore_columns='rest' left out none."
    assert said in load(Account, [row], ignore_columns="rest").decisions
    row |= {"number": "B", "zz": 1}
    assert said not in load(Account, [row], ignore_columns="rest").decisions


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        ("number,name,\n1,a,\n", r"Name it, or leave it out with --ignore-columns ''\."),
        ("number,name, \n1,a,\n", r"Name it, or leave it out with --ignore-columns ''\."),
        ("sep=,\nnumber,name\n1,a\n", r"leave it out with --skip-records 1\. Give the delimiter"),
        (
            "sep=;\nnumber;name\n1;a\n",
            r"--skip-records 1\. It is the only one: .* ';'\?",
        ),
    ],
)
def test_what_is_no_name_is_called_so(content, cure, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(LayoutError, match=cure):
        load(Account, path)


def test_a_layout_is_no_dict():
    with pytest.raises(LayoutError, match=r"the path of a \.toml file or a Layout, not dict"):
        load(Account, [{"number": "1"}], layout={"fields": {}})


def test_a_value_for_all_records_is_valid_text():
    with pytest.raises(ConfigurationError, match=r"set: name is .*ud800', which is not valid"):
        load(Account, [{"number": "1"}], set={"name": "\ud800"})

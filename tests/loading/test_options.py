"""Options of ``load`` that would have no effect are errors that name them."""

from __future__ import annotations

import dataclasses
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from finance.models import Account, Transaction
from ingest import ConfigurationError, Layout, LoadOptions, SourceOptions, load, preview
from ingest.sources import Source
from ingest.sources.base import OF_DELIMITED_TEXT, OF_FILES, OF_WORKBOOKS
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)
SAID = {
    "encoding": "latin-1",
    "delimiter": ";",
    "quote": "'",
    "doubled_quotes": False,
    "escape": "\\",
    "header": False,
    "skip_records": 1,
    "trailer_records": 1,
    "trailer_pattern": "^end",
    "comment": "#",
    "lenient": ("pad",),
    "sheet": 1,
}
"""A value for each option that says nothing to some kind of source."""


@pytest.fixture
def row():
    return {"user": UserFactory().pk, "number": "A", "name": "x"}


@pytest.fixture
def sources(row, tmp_path):
    """The same row from each kind of source that is no delimited text."""
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    (tmp_path / "rows.jsonl").write_text(f'{{"user": {row["user"]}, "number": "A", "name": "x"}}\n')
    return {
        "jsonl": str(tmp_path / "rows.jsonl"),
        "parquet": str(tmp_path / "rows.parquet"),
        "several": [str(tmp_path / "rows.parquet")] * 2,
        "arrow": pa.Table.from_pylist([row]),
        "records": [row],
    }


def refused(source, model=Account, **options):
    with pytest.raises(ConfigurationError) as caught:
        load(model, source, **options)
    return str(caught.value)


def run(*arguments):
    call_command("bulk_load", *map(str, arguments), stdout=io.StringIO(), stderr=io.StringIO())


def test_every_option_of_a_source_is_one_of_some_kind():
    ignored = {name for kind in Source.registry for name in kind.ignores}
    assert ignored == set(SAID)
    assert ignored <= {field.name for field in dataclasses.fields(SourceOptions)}


@pytest.mark.parametrize(
    ("kind", "ignored"),
    [
        ("jsonl", OF_DELIMITED_TEXT | OF_WORKBOOKS),
        ("parquet", OF_FILES),
        ("arrow", OF_FILES),
        ("records", OF_FILES),
        ("several", OF_FILES),
    ],
)
def test_an_option_of_another_kind_of_source(sources, kind, ignored):
    for name in sorted(ignored):
        got = refused(sources[kind], **{name: SAID[name]})
        no = "no-" if SAID[name] is False else ""
        assert got.startswith(f"{name} (--{no}{name.replace('_', '-')}) has no effect on "), got
    assert Account.objects.count() == 0
    # The usual value is as good as none, and a layout may be for several kinds.
    load(Account, sources[kind] if kind != "several" else sources["records"], delimiter=",",
         layout=Layout(source={"quote": "'"}, others="match"))  # fmt: skip
    assert Account.objects.count() == 1


def test_an_option_that_would_change_what_postgresql_wrote(tmp_path, row):
    path = tmp_path / "rows.csv"
    path.write_text(f"user,number,name\n{row['user']},#A,C:\\x\n")
    for name in ("escape", "doubled_quotes", "comment", "lenient", "sheet"):
        got = refused(str(path), format="postgres-csv", **{name: SAID[name]})
        assert f"has no effect on {path}, which is read as postgres-csv: leave it out." in got
    layout = Layout(source={"escape": "\\", "comment": "#"}, others="match")  # for other kinds
    load(Account, str(path), format="postgres-csv", layout=layout)
    assert Account.objects.get().name == "C:\\x"


def test_surplus_keys_are_not_cut_where_columns_choose(sources):
    got = refused(sources["jsonl"], columns=("user", "number", "name"), lenient="cut")
    assert got.startswith("lenient='cut' (--lenient cut) has no effect beside columns, ")


@pytest.mark.parametrize("name", ["true", "false"])
def test_words_for_booleans_need_a_boolean(row, name):
    got = refused([row], **{name: ["Ja"]})
    assert f"{name} (--{name})" in got


def test_an_option_that_one_of_several_files_needs(sources, tmp_path):
    other = tmp_path / "rows.csv"
    other.write_text(f"user;number;name\n{UserFactory().pk};B;y\n")
    load(Account, [sources["parquet"], str(other)], delimiter=";")
    assert Account.objects.count() == 2


def test_a_preview_and_detection_refuse_them_too(sources):
    with pytest.raises(ConfigurationError, match="delimiter \\(--delimiter\\) has no effect on"):
        preview(Account, sources["parquet"], delimiter=";")
    with pytest.raises(CommandError, match="encoding \\(--encoding\\) has no effect on"):
        run("finance.Account", sources["jsonl"], "--detect", "--encoding", "latin-1")


@pytest.mark.parametrize(
    ("options", "want"),
    [
        (
            {"reject_limit": 3},
            "reject_limit (--reject-limit) has no effect without on_error='reject'",
        ),
        ({"reject_log": "r.jsonl"}, "reject_log (--reject-log) has no effect without"),
        ({"reject_file": "r.csv"}, "reject_file (--reject-file) has no effect without"),
        ({"method": "copy", "references": "set"}, "references (--references) has no effect with"),
        ({"method": "copy", "indexes": "keep"}, "indexes (--indexes) has no effect with"),
        ({"overwrite": True}, "overwrite is for a reject log or a reject file"),
    ],
)
def test_options_that_need_another(options, want):
    with pytest.raises(ConfigurationError) as caught:
        LoadOptions(**options)
    assert want in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"chunk_rows": 10}, "chunk_rows"), ({"resumable": True}, "resumable"),
     ({"workers": 2}, "workers"), ({"retries": 2}, "retries")],
)  # fmt: skip
def test_chunks_and_retries_inside_atomic(row, options, name):
    with transaction.atomic():
        got = refused([row], **options)
    assert f"{name} (--{name.replace('_', '-')}) has no effect inside transaction.atomic()" in got
    assert Account.objects.count() == 0


def test_retries_of_what_can_be_read_only_once(row):
    assert "retries (--retries) has no effect on list" in refused([row], retries=2)
    assert load(Account, [row], retries=0).rows == 1


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--decimal", ","), "a number"),
        (("--thousands", "."), "a number"),
        (("--date-format", "%d.%m.%Y"), "a date or a time as it says"),
    ],
)
def test_how_values_are_written_where_no_field_has_such_values(row, tmp_path, option, word):
    path = tmp_path / "rows.csv"
    path.write_text(f"user,number,name\n{row['user']},A,x\n")
    with pytest.raises(CommandError) as caught:
        run("finance.Account", path, *option)
    assert caught.value.returncode == 2
    assert str(caught.value) == (
        f"{option[0]} has no effect: {path} feeds no field that is {word}. Leave it out."
    )
    assert Account.objects.count() == 0
    # Where a field has them the option is welcome, also if a layout says what feeds it.
    account = Account.objects.create(user_id=row["user"], number="A", name="x")
    path.write_text(f"user,account,n,d\n{row['user']},{account.pk},1.0,2026-01-31\n")
    option = {"--decimal": ("--decimal", "."), "--date-format": ("--date-format", "%Y-%m-%d")}.get(
        option[0], ("--thousands", ",")
    )
    run("finance.Transaction", path, "--map", "amount=n", "--map", "tx_date=d", *option)
    assert Transaction.objects.count() == 1


@pytest.mark.parametrize("name", ["chunk_rows", "workers", "retries"])
def test_a_number_that_is_too_great_is_refused(sources, name):
    with pytest.raises(
        ConfigurationError, match=f"{name} is {10**25}: it must be 2,147,483,647 or"
    ):
        load(Account, sources["parquet"], **{name: 10**25})


@pytest.mark.parametrize(
    "limit", ["nan", "inf", "-1", "1e400", "nan%", "inf%", "-1%", "1e400%", "", "%", True, 1.5]
)
def test_a_limit_that_is_no_number_of_records_is_refused(sources, limit):
    with pytest.raises(ConfigurationError, match=r"reject limit .* give one such as 100 or 2.5%"):
        load(Account, sources["parquet"], on_error="reject", reject_limit=limit)

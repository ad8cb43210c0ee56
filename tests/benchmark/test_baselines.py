import json
import shlex
import stat
from contextlib import contextmanager

import pytest
from django.apps import apps
from django.db import connection

from finance.models import Transaction
from ingest.benchmark import BenchmarkOptions, run_benchmark
from ingest.benchmark.candidates import FloorBaseline
from ingest.benchmark.methods import Method, get_method, method_names
from ingest.benchmark.prepare import prepare
from ingest.benchmark.psql import connection_environment, find_psql
from ingest.benchmark.scratch.parts import BARE_SCHEMA
from ingest.exceptions import ConfigurationError
from tests.benchmark.catalog import describe
from tests.benchmark.marks import committing
from tests.end_to_end.contract.cases import CASES

pytestmark = committing


def asked(model=Transaction, **options):
    defaults = {"rows": (40,), "repeat": 1, "methods": ("copy",)}
    return BenchmarkOptions(model=model, **(defaults | options))


def benchmark(model=Transaction, **options):
    return run_benchmark(asked(model, **options))


def outcomes(result):
    return [(item.rows, item.method, item.verified, item.note) for item in result.results]


@contextmanager
def spying(look):
    """Lend the benchmark a copy method that looks around before it writes."""

    class Spy(get_method("copy")):
        name = "spy"
        place = 99

        def write_checked(self, rows):
            look(self.target)
            return super().write_checked(rows)

        def write_file(self, path):
            look(self.target)
            return super().write_file(path)

    Method._registry["spy"] = Spy
    try:
        yield
    finally:
        del Method._registry["spy"]


def test_psql_and_floor_write_the_same_rows_beside_the_methods():
    result = benchmark(rows=(3, 40), methods=("copy", "direct"), baselines=("psql", "floor"))
    assert outcomes(result) == [
        (rows, name, True, "") for rows in (3, 40) for name in ("copy", "direct", "psql", "floor")
    ]
    assert [item.is_yardstick for item in result.results] == [False, False, True, True] * 2
    assert result.environment["psql"].startswith("psql (PostgreSQL) ")
    assert result.table["from_file"] is True
    psql = result.results[2]
    assert all(0 < sample.seconds < 60 for sample in psql.samples)
    assert all(sample.peak_memory_bytes is None for sample in psql.samples)


def test_floor_alone_leaves_the_clock_at_rows_in_memory():
    result = benchmark(baselines=("floor",))
    assert result.table["from_file"] is False
    assert outcomes(result) == [(40, "copy", True, ""), (40, "floor", True, "")]


@pytest.mark.parametrize("is_sorted", [True, False])
def test_floor_of_a_table_that_holds_rows(is_sorted, monkeypatch):
    monkeypatch.setattr("ingest.writing.row_order.LEAST_INDEX_BYTES", 0 if is_sorted else 2**40)
    result = benchmark(existing=30, baselines=("floor",))
    assert outcomes(result) == [(40, "copy", True, ""), (40, "floor", True, "")]


def test_the_floor_beside_rows_names_the_grant_it_lacks():
    with prepare(asked(existing=30), lambda _: None) as material:
        floor = FloorBaseline(material)
        assert floor.refusals() == []
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE floor_plain; SET ROLE floor_plain")
            try:
                [said] = floor.refusals()
            finally:
                cursor.execute("RESET ROLE; DROP ROLE floor_plain")
    assert "GRANT SET ON PARAMETER session_replication_role TO" in said
    assert "floor_plain" in said


def test_every_method_can_start_at_the_file():
    result = benchmark(methods=(), from_file=True)
    assert outcomes(result) == [(40, name, True, "") for name in method_names()]


@pytest.mark.parametrize(
    "name",
    ["Link", "UniversalKey", "NaturalKey", "CompositeKey", "Quoted", "Text", "Initial"],
)
def test_contract_models_can_be_measured_beside_the_yardsticks(name):
    result = benchmark(apps.get_model("contract", name), baselines=("psql", "floor"))
    assert [(item.verified, item.note) for item in result.results] == [(True, "")] * 3


@pytest.mark.parametrize("name", ["Span", "Blob", "Document", "Flag", "Text", "Literal"])
def test_every_type_can_start_at_the_file(name):
    result = benchmark(apps.get_model("contract", name), methods=(), from_file=True)
    assert outcomes(result) == [(40, name, True, "") for name in method_names()]


def test_arrays_of_every_kind_can_start_at_the_file():
    [case] = [case for case in CASES if str(case) == "Array"]
    rows = [dict(zip([it.attname for it in case.fields], row, strict=True)) for row in case.rows]
    result = benchmark(case.model, source=rows, methods=(), from_file=True)
    want = [(len(rows), name, True, "") for name in method_names()]
    assert outcomes(result) == want


def test_what_the_orm_fills_is_a_default_only_while_psql_runs():
    defaults = []

    def look(target):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_attrdef WHERE adrelid = %s::regclass",
                [target.table.qualified_name],
            )
            defaults.extend(cursor.fetchone())

    with spying(look):
        result = benchmark(methods=("spy",), baselines=("psql",), repeat=3)
    assert [item.note for item in result.results] == ["", ""]
    assert set(defaults) == {0}


def test_the_floor_ends_with_the_very_table():
    with prepare(asked(), lambda _: None) as material:
        floor = FloorBaseline(material)
        with floor.open(40) as write:
            write()
        scratch = material.tables.scratch
        schemas = {"public": scratch.schema_for("")}
        want = describe(material.tables.name, schemas)
        got = describe(floor._bare, {"public": scratch.schema_for(BARE_SCHEMA)} | schemas)
        for what in ("indexes", "constraints", "triggers", "internal triggers"):
            assert len(got[what]) == len(want[what]), what
            if what != "indexes":
                assert got[what] == want[what], what
        assert floor.problem(40) is None


def test_a_trigger_leaves_no_floor():
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT ON finance_transaction "
            "FOR EACH ROW EXECUTE FUNCTION quiet()"
        )
    try:
        result = benchmark(baselines=("floor",))
        explained = benchmark(methods=(), explain=True)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER t ON finance_transaction; DROP FUNCTION quiet")
    assert outcomes(result)[1] == (
        40,
        "floor",
        None,
        "The trigger 't' must see every row: there is no floor below it.",
    )
    last = explained.explanation.parts[-1]
    assert (last.kind, last.name) == ("trigger", "t")


def test_tables_that_refer_to_each_other_and_have_a_trigger():
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE finance_account ADD last bigint REFERENCES finance_transaction;"
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.description = upper(NEW.description); RETURN NEW; END $$;"
            "CREATE TRIGGER t BEFORE INSERT ON finance_transaction "
            "FOR EACH ROW EXECUTE FUNCTION shout()"
        )
    try:
        result = benchmark(methods=("direct",))
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE finance_account DROP last; DROP TRIGGER t ON finance_transaction;"
                "DROP FUNCTION shout"
            )
    assert outcomes(result) == [(40, "direct", True, "")]
    assert not [note for note in result.notes if "trigger" in note]


@pytest.fixture
def recording_psql(tmp_path):
    """Put a program before the real psql that writes down how it was called."""
    program, record = tmp_path / "psql", tmp_path / "record"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> {shlex.quote(str(record))}\n'
        f'exec {shlex.quote(find_psql("default", None))} "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program, record


def test_psql_is_told_by_its_environment_where_to_go(recording_psql, monkeypatch):
    program, record = recording_psql
    monkeypatch.setitem(connection.settings_dict, "PASSWORD", "open sesame")
    result = benchmark(baselines=("psql",), psql=str(program))
    assert [item.note for item in result.results] == ["", ""]
    said = record.read_text()
    params = connection.get_connection_params()
    assert "sesame" not in said
    assert params["host"] not in said
    assert params["dbname"] not in said
    got = connection_environment("default")
    assert got["PGPASSWORD"] == "open sesame"
    assert (got["PGHOST"], got["PGDATABASE"]) == (params["host"], params["dbname"])
    assert got["PGTZ"] == "UTC"


def test_an_option_that_the_environment_cannot_carry_is_named(monkeypatch):
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "sslpassword", "secret")
    with pytest.raises(ConfigurationError) as caught:
        connection_environment("default")
    assert str(caught.value) == (
        "--baseline psql cannot make the connection of 'default': the option 'sslpassword' has no "
        "environment variable."
    )


def test_psql_that_is_not_there_is_told_before_anything_is_made():
    with pytest.raises(ConfigurationError) as caught:
        benchmark(baselines=("psql",), psql="/nowhere/psql")
    assert str(caught.value) == (
        "--baseline psql needs PostgreSQL's program psql, but there is no '/nowhere/psql': install "
        "PostgreSQL's client programs, or give its path with --psql PATH."
    )


def test_what_psql_cannot_do_is_a_line_of_the_report(tmp_path):
    program = tmp_path / "psql"
    real = shlex.quote(find_psql("default", None))
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] || export PGDATABASE=nowhere\nexec {real} "$@"\n'
    )
    program.chmod(0o700)
    result = benchmark(baselines=("psql",), psql=str(program))
    copy, psql = result.results
    assert copy.verified is True
    assert psql.verified is False
    assert psql.note.startswith("failed: ")
    assert 'database "nowhere" does not exist' in psql.note


def test_the_table_holds_the_existing_rows_before_every_run():
    seen, catalogs = [], []

    def look(target):
        name = target.table.qualified_name
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*), max(id) FROM {name}")
            seen.append(cursor.fetchone())
        catalogs.append(describe(name, {}))

    with spying(look):
        result = benchmark(
            rows=(3, 40), methods=("spy", "direct"), baselines=("psql",), existing=25, repeat=2
        )
    assert outcomes(result) == [
        (rows, name, True, "") for rows in (3, 40) for name in ("direct", "spy", "psql")
    ]
    assert set(seen) == {(25, 25)}
    assert len(seen) == 6
    assert all(catalog == catalogs[0] for catalog in catalogs)
    assert result.table["existing"] == 25


@pytest.mark.parametrize(
    ("spoil", "want"),
    [
        ("DELETE FROM {0} WHERE id = 1", "wrong: it stored 64 rows instead of 65"),
        ("UPDATE {0} SET amount = amount + 1 WHERE id = 1", "wrong: it stored other values"),
    ],
)
def test_a_method_that_touches_existing_rows_is_wrong(spoil, want):
    def look(target):
        with connection.cursor() as cursor:
            cursor.execute(spoil.format(target.table.qualified_name))

    with spying(look):
        [item] = benchmark(methods=("spy",), existing=25).results
    assert item.note.startswith(want)


def test_direct_says_in_the_result_what_it_decided():
    result = benchmark(rows=(40, 6_000), methods=("copy", "direct"))
    copy, small, _, large = result.results
    assert copy.decisions == ()
    assert small.decisions == ("Plain COPY: so few rows load no faster by any other way.",)
    assert "References: 2 foreign keys checked as a set." in large.decisions
    assert {"read", "convert", "encode", "send", "build indexes"} <= set(large.costs.stages)
    assert 0 < sum(large.costs.stages.values()) <= large.costs.seconds
    assert set(large.costs.fields) >= {"user", "account", "amount"}
    assert json.loads(result.as_json())["results"][3]["decisions"] == list(large.decisions)


def test_an_explanation_names_every_part_of_the_table():
    result = benchmark(methods=(), explain=True, repeat=2)
    assert result.results == ()
    got = result.explanation
    assert [(part.kind, part.name) for part in got.parts] == [
        ("table", "the rows themselves"),
        ("primary key", "finance_transaction_pkey"),
        ("unique index", "transaction_account_reference"),
        *[("index", name) for name in _names(_PLAIN_INDEXES)],
        *[("foreign key", name) for name in _names(_FOREIGN_KEYS)],
    ]
    assert (got.rows, got.rounds) == (40, 2)
    assert got.parts[0].microseconds > 0
    assert got.copy_microseconds > 0
    assert got.decisions
    document = json.loads(result.as_json())["explain"]
    assert [part["name"] for part in document["parts"]] == [part.name for part in got.parts]


_PLAIN_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE NOT indisunique AND indrelid = 'finance_transaction'::regclass ORDER BY indexrelid
"""
_FOREIGN_KEYS = """
SELECT conname::text FROM pg_constraint
WHERE contype = 'f' AND conrelid = 'finance_transaction'::regclass ORDER BY oid
"""


def _names(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize(
    "name", ["Foreign", "CompositeKey", "Quoted", "Branch", "Moment", "Unmanaged"]
)
def test_any_model_can_be_explained(name):
    model = apps.get_model("contract", name)
    result = benchmark(model, methods=(), explain=True)
    assert result.explanation.parts[0].kind == "table"

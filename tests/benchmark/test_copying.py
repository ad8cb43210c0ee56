import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from finance.models import Account, Transaction
from ingest.benchmark.scratch import open_scratch
from ingest.benchmark.scratch.copying import TableCopier
from ingest.exceptions import BenchmarkError
from tests.benchmark import difficult_tables
from tests.benchmark.catalog import describe
from tests.benchmark.marks import committing
from tests.sql import run

pytestmark = committing


def oid_of(name):
    [(oid,)] = run(f"SELECT '{name.replace(chr(39), chr(39) * 2)}'::regclass::oid")
    return oid


@pytest.fixture
def ugly_tables():
    run(difficult_tables.CREATE)
    yield
    run(difficult_tables.DROP)


def copy(scratch, name):
    copier = TableCopier(scratch, oid_of(name))
    with transaction.atomic():
        copier.copy_tables()
        copier.copy_foreign_keys()
        copier.copy_triggers()
    return copier


def assert_same(item, schemas):
    got, want = describe(item.name, schemas), describe(item.original, {})
    for what in want:
        assert got[what] == want[what]


def test_the_finance_tables_are_copied_to_the_letter():
    with open_scratch("default") as scratch:
        copier = copy(scratch, Transaction._meta.db_table)
        schemas = {"public": scratch.schema_for("public")}
        assert next(iter(copier.copies.values())).original == "public.finance_transaction"
        assert len(copier.copies) == 3
        for item in copier.copies.values():
            assert_same(item, schemas)
        for model in (Account, get_user_model()):
            assert oid_of(model._meta.db_table) in copier.copies


def test_ugly_tables_are_copied_to_the_letter(ugly_tables):
    with open_scratch("default") as scratch:
        copier = copy(scratch, difficult_tables.ODD)
        schemas = {
            '"Ugly ""one"""': scratch.schema_for('Ugly "one"'),
            "ugly_two": scratch.schema_for("ugly_two"),
        }
        assert len(scratch.schemas) == 2
        assert len(copier.copies) == 5
        for item in copier.copies.values():
            assert_same(item, schemas)
        want = describe(difficult_tables.ODD, {})
        assert [len(want[what]) for what in ("indexes", "triggers")] == [6, 5]
        assert scratch.notes == []


def test_a_copy_does_not_advance_the_real_sequences(ugly_tables):
    with open_scratch("default") as scratch:
        copy(scratch, difficult_tables.ODD)
        before = run('SELECT last_value, is_called FROM "Ugly ""one"""."my seq"')
        schema = scratch.schema_for('Ugly "one"')
        name = f"{schema}.{difficult_tables.ODD.partition('.')[2]}"
        run(f"INSERT INTO {name} (during) VALUES ('empty')")
        [(number, serial)] = run(f"SELECT number, serial_number FROM {name}")
        assert (number, serial) == (7, 1)
        assert run('SELECT last_value, is_called FROM "Ugly ""one"""."my seq"') == before


@pytest.mark.parametrize(
    ("sql", "want"),
    [
        (
            "CREATE TABLE odd_one (id integer) PARTITION BY RANGE (id)",
            "The table public.odd_one is partitioned, which a benchmark cannot copy.",
        ),
        (
            "CREATE TABLE odd_base (id integer); CREATE TABLE odd_one () INHERITS (odd_base)",
            (
                "The table public.odd_one inherits from or to another table, "
                "which a benchmark cannot copy."
            ),
        ),
        (
            "CREATE VIEW odd_one AS SELECT 1",
            "The table public.odd_one is not an ordinary table, which a benchmark cannot copy.",
        ),
        (
            (
                "CREATE TABLE odd_one (id integer);"
                "CREATE RULE nothing AS ON INSERT TO odd_one DO INSTEAD NOTHING"
            ),
            "The table public.odd_one has rewrite rules, which a benchmark cannot copy.",
        ),
    ],
)
def test_what_cannot_be_copied_is_refused(sql, want):
    run(sql)
    try:
        with open_scratch("default") as scratch, pytest.raises(BenchmarkError) as caught:
            copy(scratch, "odd_one")
        assert str(caught.value) == want
    finally:
        run("DROP VIEW odd_one" if "VIEW" in sql else "DROP TABLE odd_one")
        run("DROP TABLE IF EXISTS odd_base")

import json
import re
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models.signals import post_save

from finance.models import Account, Transaction
from ingest.benchmark import BenchmarkOptions, run_benchmark
from ingest.benchmark.methods import Method, get_method, method_names
from ingest.exceptions import BenchmarkError, RecordsRefused
from tests.benchmark.marks import committing
from tests.factories import AccountFactory, TransactionFactory, UserFactory

pytestmark = committing

MODELS = (get_user_model(), Account, Transaction)


def benchmark(model=Transaction, **options):
    defaults = {"rows": (3, 30), "repeat": 1, "methods": ("bulk_create", "copy")}
    return run_benchmark(BenchmarkOptions(model=model, **(defaults | options)))


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def real_rows():
    return [list(model.objects.order_by("pk").values()) for model in MODELS]


@contextmanager
def registered(method):
    """Lend a method of the test's own to the benchmark."""
    Method._registry[method.name] = method
    try:
        yield
    finally:
        del Method._registry[method.name]


def test_every_method_writes_the_rows_and_no_real_row_is_touched():
    TransactionFactory()
    before = real_rows()
    tables = [model._meta.db_table for model in MODELS]
    seen = []
    options = BenchmarkOptions(model=Transaction, rows=(3, 40), repeat=2)
    result = run_benchmark(options, progress=seen.append)
    assert real_rows() == before
    assert [model._meta.db_table for model in MODELS] == tables
    assert [(item.rows, item.method) for item in result.results] == [
        (rows, name) for rows in (3, 40) for name in method_names()
    ]
    for item in result.results:
        assert (item.verified, item.note, len(item.samples)) == (True, "", 2)
        assert all(sample.wal_bytes > 0 for sample in item.samples)
        assert all(sample.seconds > 0 for sample in item.samples)
    assert seen[-1].done == seen[-1].total == (3 + 40) * 3 * len(method_names())
    assert result.notes == ()


def test_the_real_sequences_do_not_advance():
    TransactionFactory()
    benchmark(methods=("save", "copy"))
    assert TransactionFactory().pk - TransactionFactory().pk == -1
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM finance_transaction_id_seq")
        assert cursor.fetchone() == (Transaction.objects.order_by("pk").last().pk,)


def test_the_json_is_as_documented():
    got = json.loads(benchmark(repeat=2).as_json())
    assert list(got) == ["format", "environment", "table", "results", "explain", "notes"]
    assert got["format"] == 1
    assert got["table"]["model"] == "finance.Transaction"
    assert got["table"]["name"] == "public.finance_transaction"
    assert len(got["table"]["indexes"]) == 5
    assert len(got["table"]["foreign_keys"]) == 2
    assert {
        "postgresql",
        "django",
        "python",
        "asyncpg",
        "psycopg",
        "cpu",
        "fsync",
        "synchronous_commit",
        "bulk_create_uses_unnest",
    } <= set(got["environment"])
    for item in got["results"]:
        assert list(item) == [
            "method",
            "rows",
            "seconds",
            "median_seconds",
            "spread_seconds",
            "rows_per_second",
            "stable",
            "verified",
            "wal_bytes",
            "client_cpu_seconds",
            "peak_memory_bytes",
            "note",
            "decisions",
            "yardstick",
        ]
        assert item["rows_per_second"] == item["rows"] / item["median_seconds"]


def test_two_runs_measure_with_the_same_rows():
    stored = []

    class Spy(get_method("copy")):
        name = "spy"
        place = 99

        def write(self, rows):
            stored.append(list(rows))
            return super().write(rows)

    with registered(Spy):
        for _ in range(2):
            benchmark(methods=("spy",), rows=(30,))
    warm_up, kept, warm_up_again, kept_again = stored
    assert warm_up == kept == warm_up_again == kept_again


@pytest.mark.parametrize(
    ("spoil", "want"),
    [
        (lambda rows: rows[1:], r"wrong: it stored 29 rows instead of 30"),
        (lambda rows: [*rows[1:], rows[1]], None),
        (
            lambda rows: [
                (user, account, amount + Decimal("0.01"), *rest)
                for user, account, amount, *rest in rows
            ],
            r"wrong: it stored other values than given, for one: \(\d+,\d+,.*\)",
        ),
    ],
)
def test_a_method_that_stores_something_else_is_wrong_not_fast(spoil, want):
    class Spoiling(get_method("copy")):
        name = "spoiling"
        place = 99

        def write(self, rows):
            return super().write(spoil(list(rows)))

    with registered(Spoiling):
        result = benchmark(methods=("copy", "spoiling"), rows=(30,))
    good, bad = result.results
    assert (good.verified, good.is_ranked) == (True, True)
    assert (bad.verified, bad.is_ranked) == (False, False)
    assert re.fullmatch(want or ".*", bad.note)


def test_a_method_that_fills_columns_otherwise_is_wrong():
    class Emptying(get_method("copy")):
        name = "emptying"
        place = 99

        def write(self, rows):
            count = super().write(rows)
            with connection.cursor() as cursor:
                table = self.target.table.qualified_name
                cursor.execute(f"ALTER TABLE {table} ALTER created_at DROP NOT NULL")
                cursor.execute(f"UPDATE {table} SET created_at = NULL")
            return count

    with registered(Emptying):
        [item] = benchmark(methods=("emptying",), rows=(3,)).results
    assert item.note == "wrong: it left 'created_at' as NULL where the ORM would fill it"


def test_a_method_that_fails_is_a_line_of_the_report():
    class Failing(get_method("copy")):
        name = "failing"
        place = 99

        def write(self, rows):  # noqa: ARG002
            raise RuntimeError("no luck\nat all")

    with registered(Failing):
        result = benchmark(methods=("copy", "failing"), rows=(3,))
    assert [(item.verified, item.note) for item in result.results] == [
        (True, ""),
        (False, "failed: no luck"),
    ]


def test_a_cap_is_shown_and_nothing_is_extrapolated():
    class Slow(get_method("copy")):
        name = "slow"
        place = 99
        benchmark_row_cap = 10

    with registered(Slow):
        result = benchmark(methods=("slow",))
    assert [(item.rows, len(item.samples), item.note) for item in result.results] == [
        (3, 1, ""),
        (30, 0, "capped at 10 rows"),
    ]
    assert result.results[1].as_json()["median_seconds"] is None


def test_parents_are_copied_from_the_real_tables():
    accounts = AccountFactory.create_batch(5)
    UserFactory()
    seen = set()

    class Spy(get_method("bulk_create")):
        name = "spy"
        place = 99

        def write(self, rows):
            rows = list(rows)
            seen.update(row[1] for row in rows)
            assert Account._base_manager.count() == 5
            assert get_user_model()._base_manager.count() == 6
            return super().write(rows)

    with registered(Spy):
        result = benchmark(methods=("spy",), rows=(50,))
    assert seen == {account.pk for account in accounts}
    assert result.notes == ()
    assert result.results[0].note == ""


def test_parents_are_made_where_there_are_none():
    result = benchmark()
    assert result.notes == (
        "1,000 rows of auth.User were made up.",
        "1,000 rows of finance.Account were made up.",
    )
    assert Account.objects.count() == 0


def test_a_table_that_does_not_exist_yet_is_made_from_the_model():
    execute("ALTER TABLE finance_transaction RENAME TO hidden_away")
    try:
        result = benchmark()
    finally:
        execute("ALTER TABLE hidden_away RENAME TO finance_transaction")
    assert result.notes[0] == (
        "finance_transaction does not exist yet: measured on the table that the model describes."
    )
    want = [index.name for index in Transaction._meta.indexes]
    assert set(want) < set(result.table["indexes"])
    assert all(item.verified for item in result.results)


@pytest.fixture
def trigger():
    execute(
        """
        CREATE TABLE audit (amount numeric);
        CREATE FUNCTION audit_it() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO audit VALUES (NEW.amount); RETURN NEW; END $$;
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.description := upper(NEW.description); RETURN NEW; END $$;
        """
    )
    yield "CREATE TRIGGER t BEFORE INSERT ON finance_transaction FOR EACH ROW EXECUTE FUNCTION "
    execute(
        "DROP TRIGGER t ON finance_transaction; DROP FUNCTION audit_it, shout; DROP TABLE audit"
    )


def test_triggers_that_write_to_real_tables_are_left_out(trigger):
    execute(f"{trigger} audit_it()")
    result = benchmark()
    assert "The triggers are left out: they write to public.audit, which is real." in result.notes
    assert result.table["triggers"] == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit")
        assert cursor.fetchone() == (0,)
    assert all(item.verified for item in result.results)


def test_triggers_that_change_the_rows_are_kept(trigger):
    execute(f"{trigger} shout()")
    result = benchmark()
    assert result.table["triggers"] == ["t"]
    assert [item.note for item in result.results] == [""] * 4


def test_a_signal_that_writes_to_a_real_table_keeps_save_out(trigger):
    execute(f"{trigger} shout()")

    def receiver(sender, instance, **_):
        execute(f"INSERT INTO audit VALUES ({instance.amount})")

    post_save.connect(receiver, sender=Transaction)
    try:
        result = benchmark(methods=("save", "copy"), rows=(3,))
    finally:
        post_save.disconnect(receiver, sender=Transaction)
    assert [item.note for item in result.results] == [
        (
            "left out: it writes to public.audit too, which is real; "
            "a signal's receiver or a save() of the model's own does that"
        ),
        "",
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM audit")
        assert cursor.fetchone() == (0,)


def test_unnest_is_found_out():
    got = benchmark(rows=(3,)).environment["bulk_create_uses_unnest"]
    assert got is True  # since Django 5.2, and no field of Transaction forbids it
    arrays = apps.get_model("contract.Array")
    assert arrays  # with array fields Django sends VALUES: see the README of the benchmark
    assert benchmark(rows=(1,)).environment["bulk_create_uses_unnest"] is None


def test_a_source_is_measured_over_the_parents_it_refers_to(tmp_path):
    accounts = AccountFactory.create_batch(3)
    source = tmp_path / "rows.csv"
    lines = [f"{accounts[0].pk},{accounts[0].user_id},{n}.50,2025-01-31" for n in range(20)]
    source.write_text("\n".join(["account_id,user_id,amount,tx_date", *lines]) + "\n")
    seen = []

    class Spy(get_method("copy")):
        name = "spy"
        place = 99

        def write(self, rows):
            seen.append(Account._base_manager.count())
            return super().write(rows)

    with registered(Spy):
        result = benchmark(methods=("bulk_create", "spy"), rows=(10, 1_000), source=str(source))
    assert [item.rows for item in result.results] == [10, 10, 20, 20]
    assert [item.note for item in result.results] == [""] * 4
    assert set(seen) == {1}
    assert result.notes == (f"{source} has 20 rows: more were not measured.",)
    assert result.table["source"] == str(source)
    assert Transaction.objects.count() == 0


def test_a_source_may_name_its_parents_by_a_field_of_theirs(tmp_path):
    account = AccountFactory(number="DE1")
    source = tmp_path / "rows.csv"
    rows = [f"DE1,{account.user_id},{n}.50,2025-01-31" for n in range(20)]
    header = "account__number,user,amount,tx_date"
    source.write_text("\n".join([header, *rows]) + "\n")
    result = benchmark(methods=("bulk_create", "direct"), rows=(20,), source=str(source))
    assert [(item.rows, item.note) for item in result.results] == [(20, "")] * 2
    source.write_text(f"{header}\nDE2,{account.user_id},1.50,2025-01-31\n")
    with pytest.raises(RecordsRefused, match="There is no account with number 'DE2'"):
        benchmark(source=str(source))


def test_a_source_that_refers_to_nothing_is_told(tmp_path):
    account = AccountFactory()
    source = tmp_path / "rows.csv"
    source.write_text(f"account,user,amount,tx_date\n77,{account.user_id},1.50,2025-01-31\n")
    with pytest.raises(BenchmarkError) as caught:
        benchmark(source=str(source))
    assert str(caught.value) == (
        "The source refers to account_id = 77, which is not in public.finance_account: "
        "load those rows first."
    )


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("Link", True),
        ("Branch", False),
        ("UniversalKey", False),
        ("NaturalKey", False),
        ("CompositeKey", False),
        ("Foreign", True),
        ("Oddity", False),
        ("Quoted", False),
        ("Preset", False),
        ("Text", False),
        ("Moment", False),
        ("Document", False),
        ("Span", False),
        ("Shout", False),
        ("Initial", False),
        ("Unmanaged", False),
    ],
)
def test_contract_models_can_be_measured(name, notes):
    model = apps.get_model("contract", name)
    result = benchmark(model, rows=(12,), methods=("save", "bulk_create", "copy"))
    for item in result.results:
        refusals = get_method(item.method).refusals(model)
        assert (item.verified, item.note) == (
            (None, " ".join(refusals)) if refusals else (True, "")
        )
    assert bool(result.notes) == notes


@pytest.mark.parametrize(
    ("name", "want"),
    [
        (
            "Restaurant",
            (
                "contract.Restaurant has fields in more than one table (multi-table inheritance), "
                "but a benchmark measures one: choose a model that inherits from no other."
            ),
        ),
        (
            "Partitioned",
            (
                "The table public.contract_partitioned is partitioned, "
                "which a benchmark cannot copy."
            ),
        ),
    ],
)
def test_models_that_cannot_be_measured_are_told(name, want):
    with pytest.raises(BenchmarkError) as caught:
        benchmark(apps.get_model("contract", name))
    assert str(caught.value) == want

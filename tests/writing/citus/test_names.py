"""What a shard of Citus says, in the table's own names. The messages are those of Citus 15."""

import pytest
from django.db import connection, transaction

from finance.models import Transaction
from ingest.postgres.catalog import read_model_table, read_table
from ingest.postgres.errors import RowError
from ingest.postgres.session import DjangoSession

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNT = "finance_transaction_account_id_fb4d3f0f_fk_finance_account_id"
UNIQUE = "transaction_account_reference"


@pytest.fixture
def distribution(distribute):
    distribute("finance_transaction", "account_id")
    with transaction.atomic():
        return read_model_table(DjangoSession("default"), Transaction).distribution


def refusal(message, detail="", state="XX000", constraint=""):
    return RowError(state, 3, message, detail, constraint)


@pytest.mark.parametrize(
    "message",
    [
        'duplicate key value violates unique constraint "{}"',
        "doppelter Schlüsselwert verletzt Unique-Constraint »{}«",
        "повторяющееся значение ключа нарушает ограничение уникальности «{}»",
        "重複したキー値は一意性制約{}違反となります",
    ],
)
def test_a_refused_copy(distribution, message):
    detail = "Key (account_id, reference)=(101, r500) already exists."
    got = distribution.own(refusal(message.format(f"{UNIQUE}_102021"), detail))
    assert got == RowError("23505", 3, message.format(UNIQUE), detail, UNIQUE)


def test_a_name_that_is_too_long_for_the_number(distribution):
    said = refusal(
        'insert or update on table "finance_transaction_102022" violates foreign key constraint '
        '"finance_transaction_account_id_fb4d3f0f_fk_fina_b900ca19_102022"',
        'Key (account_id)=(999999) is not present in table "finance_account_102016".',
        "23503",
        "finance_transaction_account_id_fb4d3f0f_fk_fina_b900ca19_102022",
    )
    assert distribution.own(said) == RowError(
        "23503",
        3,
        'insert or update on table "finance_transaction" violates foreign key constraint '
        f'"{ACCOUNT}"',
        'Key (account_id)=(999999) is not present in table "finance_account".',
        ACCOUNT,
    )


def test_what_is_no_shards_is_left(distribution):
    for said in (
        refusal("could not connect to node 127.0.0.1:9702"),
        refusal("division by zero", state="22012"),
        refusal("a trigger says other_102021"),
        refusal('null value in column "tx_date" violates not-null constraint', "x_102021", "23502"),
    ):
        assert distribution.own(said) == said


def test_a_value_like_a_name_is_left(distribution):
    detail = f"Key (account_id, reference)=(101, {UNIQUE}_102021) already exists."
    said = refusal(f'duplicate key value violates unique constraint "{UNIQUE}_102021"', detail)
    assert distribution.own(said).detail == detail


def test_a_name_that_ends_in_a_number(distribute):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE finance_transaction ADD CONSTRAINT c_102008 CHECK (true)")
    try:
        distribute("finance_transaction", "account_id")
        with transaction.atomic():
            own = read_model_table(DjangoSession("default"), Transaction).distribution
        said = refusal(
            'new row for relation "finance_transaction_102019" violates "c_102008_102019"'
        )
        assert own.own(said)[:3] == (
            "23514",
            3,
            'new row for relation "finance_transaction" violates "c_102008"',
        )
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE finance_transaction DROP CONSTRAINT c_102008")


def test_names_of_partitions(distribute):
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE part_of (id bigint PRIMARY KEY) PARTITION BY RANGE (id); "
            "CREATE TABLE part_of_low PARTITION OF part_of FOR VALUES FROM (0) TO (9)"
        )
    try:
        distribute("part_of", "id")
        with transaction.atomic():
            session = DjangoSession("default")
            [(oid,)] = session.fetch("SELECT 'part_of'::regclass::oid::bigint")
            own = read_table(session, oid).distribution
        said = refusal('duplicate key value violates unique constraint "part_of_low_pkey_102040"')
        assert own.own(said).constraint == "part_of_low_pkey"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE part_of")

"""verify: by the command, by itself and after a load, and from Python."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import NotSupportedError, connection, models, transaction
from django.test.utils import isolate_apps

from finance.models import Account, Transaction
from ingest import ConfigurationError, load, verify
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)
SOUND = '"public"."finance_transaction": 18 of 18 constraints and indexes hold.\n'
ORPHAN = (
    "foreign key 'finance_transaction_account_id_fb4d3f0f_fk_finance_account_id': "
    '1 row has no row in "public"."finance_account".'
)


@pytest.fixture
def rows():
    account = AccountFactory()
    return [
        {"user": account.user_id, "account": account.pk, "amount": "1.50", "tx_date": "2026-01-02"}
    ] * 3


@pytest.fixture
def file(rows, tmp_path):
    path = tmp_path / "rows.csv"
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture
def orphan(rows):
    """Leave a transaction whose account is gone, as triggers that were off leave one."""
    load(Transaction, rows[:1])
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica; DELETE FROM finance_account; "
                       "RESET session_replication_role")  # fmt: skip
    yield
    Transaction.objects.all().delete()


def run(*arguments):
    """Return the exit code and what was printed."""
    out, code = io.StringIO(), 0
    try:
        call_command("bulk_load", *arguments, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        code = end.code
    return code, out.getvalue()


def test_an_audit_alone(rows):
    load(Transaction, rows)
    code, said = run("finance.Transaction", "--verify")
    assert (code, said.splitlines(keepends=True)[0]) == (0, SOUND)
    assert said.count("holds.") == 12
    assert Transaction.objects.count() == 3


def test_an_audit_alone_that_finds_something(orphan):
    code, said = run("finance.Transaction", "--verify")
    assert code == 1
    assert said.startswith('"public"."finance_transaction": 17 of 18 constraints and indexes hold.')
    assert f"  {ORPHAN}\n" in said


def test_after_a_load(file):
    code, said = run("finance.Transaction", file, "--verify")
    assert code == 0
    assert "\nLoaded 3 rows" in said
    assert SOUND in said


def test_after_a_load_that_others_have_left_an_orphan_before(orphan, rows):
    rows = [{**row, "account": AccountFactory().pk} for row in rows]
    got = load(Transaction, rows, verify=True)
    assert [str(item) for item in got.audit.problems] == [ORPHAN]
    assert Transaction.objects.count() == 4


def test_the_command_after_such_a_load(orphan, tmp_path):
    account = AccountFactory()
    path = tmp_path / "one.csv"
    path.write_text(f"user,account,amount,tx_date\n{account.user_id},{account.pk},1,2026-01-02\n")
    code, said = run("finance.Transaction", str(path), "--verify")
    assert code == 1
    assert "\nLoaded 1 row " in said
    assert ORPHAN in said


def test_nothing_is_asked_unless_it_is_said(rows):
    assert load(Transaction, rows).audit is None


def test_inside_a_callers_transaction(rows):
    with transaction.atomic():
        got = load(Transaction, rows, verify=True)
        assert not got.audit.problems
        assert not verify(Account).problems
        with connection.cursor() as cursor:
            cursor.execute("SHOW row_security")
            assert cursor.fetchone() == ("on",)


def test_a_dry_run_has_no_table_to_look_at(rows, file):
    want = (
        "verify looks at the table after the commit, and a dry run has none: "
        "leave out verify or dry_run."
    )
    with pytest.raises(ConfigurationError) as caught:
        load(Transaction, rows, verify=True, dry_run=True)
    assert str(caught.value) == want
    with pytest.raises(CommandError) as caught:
        call_command("bulk_load", "finance.Transaction", file, "--verify", "--dry-run")
    assert (caught.value.returncode, str(caught.value)) == (2, want)


def test_a_table_that_is_not_there(rows):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE finance_transaction RENAME TO elsewhere")
    try:
        with pytest.raises(CommandError, match="finance_transaction") as caught:
            call_command("bulk_load", "finance.Transaction", "--verify")
        assert caught.value.returncode == 2
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO finance_transaction")


@pytest.fixture
def collated():
    """Yield a function that makes the table of a model whose text may have any collation."""
    with isolate_apps("finance"), connection.cursor() as cursor:

        class Word(models.Model):  # noqa: DJ008
            word = models.TextField()

            class Meta:
                app_label = "finance"
                db_table = "collated_word"

        def make(sql):
            cursor.execute(sql)
            return Word

        yield make
        cursor.execute("DROP TABLE IF EXISTS collated_word, collated_parent")


@pytest.fixture
def ignores_case(collated):
    """Make a collation that ignores case."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(
                "CREATE COLLATION same "
                "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        except NotSupportedError:
            pytest.skip("This PostgreSQL is built without ICU.")
        yield collated
        cursor.execute("DROP TABLE collated_word; DROP COLLATION same")


def unique_key(model):
    [found] = [it for it in verify(model).findings if it.name == "collated_key"][:1]
    assert found.kind == "unique"
    return found


LEAVE_OUT = "UPDATE pg_index SET indisready = %s WHERE indexrelid = 'collated_key'::regclass"


def repeat(value):
    """Insert a row that the index does not get, as a damaged one lacks rows."""
    with connection.cursor() as cursor:
        cursor.execute(LEAVE_OUT, [False])
        cursor.execute("INSERT INTO collated_word VALUES (3, %s)", [value])
        cursor.execute(LEAVE_OUT, [True])


@pytest.mark.parametrize(
    ("column", "index", "repeated"),
    [
        ("text COLLATE same", 'word COLLATE "C"', 0),
        ("text COLLATE same", "word", 1),
        ("text", "word COLLATE same", 1),
        ("text", "word", 0),
        ("text", "(word || '') COLLATE same, word", 0),
        ("text", "(word || '') COLLATE same, (lower(word)) COLLATE \"C\"", 1),
    ],
)
def test_a_unique_index_is_verified_with_its_own_collation(ignores_case, column, index, repeated):
    model = ignores_case(
        f"CREATE TABLE collated_word (id bigint PRIMARY KEY, word {column});"
        f"CREATE UNIQUE INDEX collated_key ON collated_word ({index});"
        "INSERT INTO collated_word VALUES (1, 'a'), (2, 'b')"
    )
    repeat("A")
    found = unique_key(model)
    assert (found.rows, found.note) == (repeated, None)


@pytest.mark.parametrize(("value", "repeated"), [("a", 1), ("A", 0), (None, 0)])
def test_keys_of_several_collations(collated, value, repeated):
    model = collated(
        "CREATE TABLE collated_word (id bigint PRIMARY KEY, word text);"
        'CREATE UNIQUE INDEX collated_key ON collated_word (word COLLATE "C", '
        "(word || '') COLLATE \"POSIX\", (length(word)));"
        "INSERT INTO collated_word VALUES (1, 'a'), (2, 'b'), (4, NULL)"
    )
    repeat(value)
    found = unique_key(model)
    assert (found.rows, found.problem) == (
        repeated,
        "1 row has a key that another row has." if repeated else None,
    )


@pytest.mark.parametrize(("word", "orphans"), [("a", 0), ("A", 1)])
def test_a_foreign_key_between_columns_of_two_collations(collated, word, orphans):
    model = collated(
        'CREATE TABLE collated_parent (word text COLLATE "C" PRIMARY KEY);'
        'CREATE TABLE collated_word (id bigint PRIMARY KEY, word text COLLATE "POSIX" '
        "REFERENCES collated_parent);"
        "INSERT INTO collated_parent VALUES ('a'); SET session_replication_role = replica;"
        f"INSERT INTO collated_word VALUES (1, '{word}'); RESET session_replication_role"
    )
    [found] = [it for it in verify(model).findings if it.kind == "foreign key"]
    assert (found.rows, found.problem is None) == (orphans, not orphans)

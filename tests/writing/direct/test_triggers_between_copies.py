"""Between two COPYs PostgreSQL is as it was: triggers, foreign keys and settings, for whoever asks.

What runs there in the load's transaction: the caller's generator, callable defaults, progress
callbacks and receivers of signals inside ``atomic()``, and what a layout creates.
"""

from contextlib import contextmanager

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, connection, models, transaction

from finance.models import Account, Transaction
from ingest import ConstraintRefused, Layout, load
from ingest.layout import FieldLayout
from ingest.signals import load_ended
from tests.factories import AccountFactory, UserFactory
from tests.writing.direct.tables import ask, make_model, run

COLUMNS = ["parent_id", "note"]
SET = "References: 1 foreign key checked as a set."
NOTES = """
CREATE TABLE noted (what text, role text);
CREATE FUNCTION take_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO direct_test.noted
    VALUES (TG_NAME, pg_catalog.current_setting('session_replication_role'));
    RETURN NULL;
END $$;
"""


@pytest.fixture(autouse=True)
def one_row_each(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 1)


@pytest.fixture
def noted(tables):
    run(NOTES)
    run(
        "CREATE TRIGGER parents AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION take_note(); "
        "CREATE TRIGGER accounts AFTER INSERT ON finance_account FOR EACH ROW "
        "EXECUTE FUNCTION take_note()"
    )
    yield
    run("DROP TRIGGER accounts ON finance_account")


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def role():
    [[found]] = execute("SHOW session_replication_role")
    return found


@contextmanager
def other_session():
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as session:
        session.execute("SET lock_timeout = '300ms'")
        yield session


def orphans():
    return ask(
        "SELECT parent_id FROM direct_test.child c WHERE NOT EXISTS "
        "(SELECT FROM direct_test.parent p WHERE p.id = c.parent_id)"
    )


@pytest.mark.parametrize("on_error", ["abort", "reject"])
@pytest.mark.parametrize("before", ["origin", "local"])
def test_a_generator_sees_the_callers_own_setting(tables, before, on_error):
    run("CREATE UNIQUE INDEX ON child (note)")
    seen = []

    def rows():
        for number in range(1, 7):
            seen.append(role())
            # A key given twice is found row by row, by statements in the server.
            note = "same" if on_error == "reject" and number % 2 else str(number)
            yield (number, note)
        seen.append(role())

    with transaction.atomic():
        execute(f"SET LOCAL session_replication_role = {before}")
        got = load(make_model(), rows(), columns=COLUMNS, on_error=on_error)
        assert SET in got.decisions
        assert (got.rows, got.rejected) == ((4, 2) if on_error == "reject" else (6, 0))
        assert role() == before
    assert seen == [before] * 7
    assert role() == "origin"


def test_a_setting_that_the_generator_changes_stays_changed(tables):
    seen = []

    def rows():
        for number, setting in enumerate(["local", "origin", "replica", "local", "origin"], 1):
            execute(f"SET LOCAL session_replication_role = {setting}")
            yield (number, "a")
            seen.append((setting, role()))

    with transaction.atomic():
        load(make_model(), rows(), columns=COLUMNS)
        assert role() == "origin"
    assert all(want == got for want, got in seen)
    assert len(seen) == 5


@transaction.atomic
def load_and_roll_back():
    load(make_model(), [(1, "a"), (2, "b"), (3, "c")], columns=COLUMNS)
    transaction.set_rollback(True)


def test_a_setting_of_the_session_is_there_after_the_transaction(tables):
    execute("SET session_replication_role = local")
    try:
        with transaction.atomic():
            load(make_model(), [(1, "a"), (2, "b"), (3, "c")], columns=COLUMNS)
            assert role() == "local"
        assert role() == "local"
        load_and_roll_back()
        assert role() == "local"
    finally:
        execute("RESET session_replication_role")


def test_triggers_and_foreign_keys_of_what_a_generator_writes(noted):
    def rows(bad):
        for number in range(100, 106):
            execute(f"INSERT INTO direct_test.parent VALUES ({number})")
            yield (number, "a")
        if bad:
            execute("INSERT INTO direct_test.child (parent_id) VALUES (999)")
            execute("SET CONSTRAINTS ALL IMMEDIATE")
            yield (1, "a")

    with transaction.atomic():
        load(make_model(), rows(bad=False), columns=COLUMNS)
    assert ask("SELECT what, role, count(*) FROM direct_test.noted GROUP BY 1, 2") == [
        ("parents", "origin", 6)
    ]
    run("DELETE FROM child; DELETE FROM parent WHERE id > 9")
    with pytest.raises(ConstraintRefused, match="999"), transaction.atomic():
        load(make_model(), rows(bad=True), columns=COLUMNS)
    assert not ask("SELECT * FROM direct_test.child")


@pytest.mark.parametrize("savepoint", [True, False])
def test_an_error_that_the_generator_catches(tables, savepoint):
    """Its own savepoint is rolled back; the load goes on under the setting that was before."""

    def rows():
        for number in range(1, 6):
            if savepoint:
                with pytest.raises(IntegrityError), transaction.atomic():
                    execute("INSERT INTO direct_test.parent VALUES (1)")
            assert role() == "origin"
            yield (number, "a")

    with transaction.atomic():
        assert load(make_model(), rows(), columns=COLUMNS).rows == 5
        assert role() == "origin"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_between_two_copies(tables, error):
    def rows():
        yield from [(1, "a"), (2, "b"), (3, "c")]
        raise error

    with transaction.atomic():
        execute("SET LOCAL session_replication_role = local")
        with pytest.raises(error):
            load(make_model(), rows(), columns=COLUMNS)
        assert role() == "local"
        execute("INSERT INTO direct_test.child (parent_id, note) VALUES (1, 'after')")
    assert ask("SELECT note FROM direct_test.child") == [("after",)]


def test_an_interruption_while_a_copy_runs(tables, monkeypatch):
    """Ctrl-C is caught where the driver waits: the data is cut off, the connection usable."""
    import ingest.postgres.django_session as module

    class Interrupted(module.LibpqWriter):
        def write(self, data):
            super().write(data[: len(data) // 2])
            raise KeyboardInterrupt

    with transaction.atomic():
        with monkeypatch.context() as patch:
            patch.setattr(module, "LibpqWriter", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                load(make_model(), [(1, "a"), (2, "b")], columns=COLUMNS)
        assert role() == "origin"
        assert load(make_model(), [(1, "a"), (2, "b")], columns=COLUMNS).rows == 2
    assert len(ask("SELECT * FROM direct_test.child")) == 2


def test_a_row_that_a_copy_without_triggers_refuses(tables):
    run("ALTER TABLE child ADD CHECK (note <> 'bad')")
    rows = [(1, "a"), (2, "b"), (3, "bad"), (4, "c")]
    with transaction.atomic():
        with pytest.raises(ConstraintRefused, match="record 3"):
            load(make_model(), rows, columns=COLUMNS)
        assert role() == "origin"
        got = load(make_model(), rows, columns=COLUMNS, on_error="reject")
        assert (got.rows, [item.record for item in got.rejects]) == (3, [3])
        assert role() == "origin"


def test_a_callable_default_a_callback_and_a_receiver(tables):
    seen = []

    def see(*_args, **_kwargs):
        seen.append(role())
        return "made"

    model = make_model(
        parent_id=models.BigIntegerField(null=True, blank=True),
        note=models.TextField(default=see),
    )
    load_ended.connect(see)
    try:
        with transaction.atomic():
            load(model, [(1,), (2,), (3,), (4,)], columns=["parent_id"], progress=see)
    finally:
        load_ended.disconnect(see)
    assert ask("SELECT DISTINCT note FROM direct_test.child") == [("made",)]
    assert len(seen) >= 9
    assert set(seen) == {"origin"}


@pytest.mark.parametrize("on_error", ["abort", "reject"])
@pytest.mark.parametrize(
    "deed",
    [
        "DELETE FROM direct_test.parent WHERE id = 5",
        "UPDATE direct_test.parent SET id = 55 WHERE id = 5",
        "ROLLBACK TO SAVEPOINT callers; DELETE FROM direct_test.parent WHERE id = 5",
        "SAVEPOINT more; DELETE FROM direct_test.parent WHERE id = 5; RELEASE SAVEPOINT more",
    ],
)
def test_a_parent_that_the_generator_takes_away_again(tables, deed, on_error):
    run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT DEFERRABLE")

    def rows():
        yield (1, "a")
        yield (2, "b")
        execute("SAVEPOINT callers")
        yield (5, "c")
        yield (6, "d")
        execute("DELETE FROM direct_test.child WHERE parent_id = 5")
        execute(deed)
        yield (5, "e")
        yield (7, "f")

    with transaction.atomic():
        if on_error == "abort":
            with pytest.raises(ConstraintRefused, match="record 5"):
                load(make_model(), rows(), columns=COLUMNS)
        else:
            got = load(make_model(), rows(), columns=COLUMNS, on_error="reject")
            assert [(item.record, item.kind) for item in got.rejects] == [(5, "reference")]
    assert not orphans()


def test_locks_that_a_rollback_to_a_savepoint_gave_back(tables):
    """What was locked after the savepoint is free for others then, and locked again before use."""
    run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT DEFERRABLE")
    with other_session() as other:

        def rows():
            yield (1, "a")
            yield (2, "b")
            execute("SAVEPOINT callers")
            yield (5, "c")
            yield (6, "d")
            execute("ROLLBACK TO SAVEPOINT callers")
            other.execute("DELETE FROM direct_test.parent WHERE id = 6")
            yield (5, "e")
            yield (7, "f")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("DELETE FROM direct_test.parent WHERE id = 5")
            yield (6, "g")

        with transaction.atomic(), pytest.raises(ConstraintRefused, match=r"record 7.*\(6\)"):
            load(make_model(), rows(), columns=COLUMNS)
    assert not orphans()


def test_without_counts_of_deleted_rows_each_batch_is_asked_for(tables):
    run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT DEFERRABLE")

    def rows():
        yield from [(1, "a"), (5, "b"), (6, "c")]
        execute("DELETE FROM direct_test.child; DELETE FROM direct_test.parent WHERE id = 5")
        yield (5, "d")

    with transaction.atomic():
        execute("SET LOCAL track_counts = off")
        with pytest.raises(ConstraintRefused, match="record 4"):
            load(make_model(), rows(), columns=COLUMNS)


def test_constraints_stay_deferred_for_the_generator(tables):
    """A load that may refuse rows checks its own at once, and nobody else's."""

    def rows():
        yield from [(1, "a"), (88, "b"), (2, "c")]
        execute("INSERT INTO direct_test.child (parent_id, note) VALUES (77, 'own')")
        execute("INSERT INTO direct_test.parent VALUES (77)")
        yield (3, "d")

    with transaction.atomic():
        got = load(make_model(), rows(), columns=COLUMNS, on_error="reject", references="trigger")
        assert [item.record for item in got.rejects] == [2]
        execute("INSERT INTO direct_test.child (parent_id, note) VALUES (78, 'own')")
        execute("INSERT INTO direct_test.parent VALUES (78)")
    assert len(ask("SELECT * FROM direct_test.child")) == 5


CREATING = {
    "account": FieldLayout(
        column="account",
        lookup=("number",),
        create={"name": "New", "user": {"constant": "holder", "lookup": "username"}},
    ),
    "user": FieldLayout(constant="u1", lookup=("username",)),
    "amount": FieldLayout(column="amount"),
    "tx_date": FieldLayout(column="day"),
    "description": FieldLayout(column="text"),
}


def transactions(count):
    for number in range(count):
        day = f"2025-01-{number % 28 + 1:02}"
        yield {"account": f"N{number // 2}", "amount": "1", "day": day, "text": str(number)}


def load_creating(rows, **options):
    return load(Transaction, rows, layout=Layout(fields=CREATING), **options)


@pytest.fixture
def users():
    return UserFactory(username="u1"), UserFactory(username="holder")


@pytest.mark.parametrize("on_error", ["abort", "reject"])
@pytest.mark.parametrize("is_atomic", [True, False])
def test_parents_that_a_layout_creates_fire_triggers(noted, users, is_atomic, on_error):
    def work():
        got = load_creating(transactions(20), on_error=on_error)
        assert "References: 2 foreign keys checked as a set." in got.decisions
        assert (got.rows, Account.objects.count()) == (20, 10)

    if is_atomic:
        with transaction.atomic():
            work()
    else:
        work()
    assert ask("SELECT what, role, count(*) FROM direct_test.noted GROUP BY 1, 2") == [
        ("accounts", "origin", 10)
    ]


@pytest.mark.parametrize(
    ("enabled", "want"), [("REPLICA", []), ("ALWAYS", [("accounts", "origin", 10)])]
)
def test_triggers_of_a_replica_on_parents(noted, users, enabled, want):
    run(f"ALTER TABLE finance_account ENABLE {enabled} TRIGGER accounts")
    load_creating(transactions(20))
    assert ask("SELECT what, role, count(*) FROM direct_test.noted GROUP BY 1, 2") == want


def test_what_a_created_parent_refers_to_cannot_be_deleted(tables, users):
    """The load has locked it, as the triggers of the parent's own foreign keys do."""
    _, holder = users
    refused = []

    def rows():
        for number, row in enumerate(transactions(12)):
            if number > 6:
                # Not the load's connection, which is its own outside atomic().
                with pytest.raises(psycopg.errors.LockNotAvailable), other_session() as other:
                    other.execute("DELETE FROM auth_user WHERE id = %s", [holder.pk])
                refused.append(number)
            yield row

    assert load_creating(rows()).rows == 12
    assert len(refused) == 5
    assert get_user_model().objects.filter(pk=holder.pk).exists()
    assert set(Account.objects.values_list("user_id", flat=True)) == {holder.pk}


def test_a_trigger_on_created_parents_that_deletes_a_known_one(tables, users):
    """A key that was locked is asked for again when a trigger may have deleted its row."""
    gone = AccountFactory(number="gone", user=users[0])
    run(
        "CREATE FUNCTION purge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"DELETE FROM public.finance_transaction WHERE account_id = {gone.pk}; "
        f"DELETE FROM public.finance_account WHERE id = {gone.pk}; RETURN NULL; END $$; "
        "CREATE TRIGGER purge AFTER INSERT ON finance_account FOR EACH ROW "
        "WHEN (NEW.number = 'N5') EXECUTE FUNCTION purge()"
    )
    known = {"account": "gone", "amount": "1", "day": "2025-01-01", "text": "x"}
    try:
        with pytest.raises(ConstraintRefused, match="record 18"):
            load_creating([*transactions(4), known, *transactions(12), known])
    finally:
        run("DROP TRIGGER purge ON finance_account")
    assert Transaction.objects.count() == 0
    assert Account.objects.filter(pk=gone.pk).exists()


def test_indexes_are_there_for_functions_that_run_meanwhile(noted, users):
    got = load_creating(transactions(20))
    assert got.decisions[0] == (
        "Indexes: maintained row by row, because functions that run for the rows that the layout "
        "makes could look for them."
    )
    run("DROP TRIGGER accounts ON finance_account")
    Transaction.objects.all().delete()
    got = load_creating(transactions(20))
    assert "built after the rows" in got.decisions[0]
    run(
        "CREATE TRIGGER accounts AFTER INSERT ON finance_account FOR EACH ROW "
        "EXECUTE FUNCTION take_note()"
    )

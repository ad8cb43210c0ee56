"""Inside a caller's transaction: what PostgreSQL asks for at its end may still come until then."""

import pytest
from django.db import IntegrityError, connection, transaction

from ingest import ConstraintRefused, load
from tests.writing.direct.tables import ask, make_model, run

LEFT = (
    "References: rows whose parents are not there yet are left to PostgreSQL, which asks for them "
    "when the caller's transaction ends."
)
KEPT = (
    "Indexes: maintained row by row, because the exclusive lock would be held until the end of the "
    "caller's transaction."
)
SET = "References: 1 foreign key checked as a set."
COLUMNS = ["parent_id", "note"]


@pytest.fixture(autouse=True)
def one_row_each(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 1)


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


@transaction.atomic
def load_and(sql, rows):
    load(make_model(), rows, columns=COLUMNS, references="defer")
    execute(sql)


def test_a_parent_that_comes_after_the_load(tables):
    with transaction.atomic():
        rows = [(1, "a"), (77, "b"), (2, "c"), (78, "d")]
        got = load(make_model(), rows, columns=COLUMNS, references="defer")
        assert got.decisions == (KEPT, SET, LEFT)
        assert execute("SHOW session_replication_role") == [("origin",)]
        execute("INSERT INTO direct_test.parent VALUES (77), (78)")
    assert ask("SELECT parent_id FROM direct_test.child ORDER BY 1") == [(1,), (2,), (77,), (78,)]


def test_a_parent_that_never_comes(tables):
    rows = [(77, "b"), (2, "c"), (78, "d")]
    with pytest.raises(IntegrityError, match=r"Key \(parent_id\)=\(78\) is not present"):
        load_and("INSERT INTO direct_test.parent VALUES (77)", rows)
    assert not ask("SELECT * FROM direct_test.child")


def test_a_parent_that_came_before_the_load_in_the_same_transaction(tables):
    with transaction.atomic():
        execute("INSERT INTO direct_test.parent VALUES (77)")
        got = load(make_model(), [(77, "b")], columns=COLUMNS)
        assert got.decisions == (KEPT, SET)
    assert ask("SELECT parent_id FROM direct_test.child") == [(77,)]


@pytest.mark.parametrize("is_set", [False, True])
def test_a_key_that_is_asked_for_at_once(tables, is_set):
    if not is_set:
        run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT DEFERRABLE")
    with transaction.atomic():
        if is_set:
            execute("SET CONSTRAINTS ALL IMMEDIATE")
        with pytest.raises(ConstraintRefused, match=r"record 2|Key \(parent_id\)=\(77\)"):
            load(make_model(), [(1, "a"), (77, "b")], columns=COLUMNS)
        assert execute("SHOW session_replication_role") == [("origin",)]
        load(make_model(), [(1, "a")], columns=COLUMNS)
    assert ask("SELECT note FROM direct_test.child") == [("a",)]


def test_a_parent_that_the_caller_deletes_afterwards(tables):
    with pytest.raises(IntegrityError, match="child_parent"):
        load_and("DELETE FROM direct_test.parent WHERE id = 1", [(1, "a")])
    assert not ask("SELECT * FROM direct_test.child")


def test_settings_of_the_caller_are_kept(tables):
    with transaction.atomic():
        execute("SET LOCAL session_replication_role = local")
        load(make_model(), [(1, "a"), (2, "b")], columns=COLUMNS)
        assert execute("SHOW session_replication_role") == [("local",)]
    assert execute("SHOW session_replication_role") == [("origin",)]


def test_no_exclusive_lock_outlives_the_load(tables):
    with transaction.atomic():
        load(make_model(), [(1, "a"), (2, "b")], columns=COLUMNS)
        modes = execute("SELECT mode FROM pg_locks WHERE relation = 'direct_test.child'::regclass")
    assert ("AccessExclusiveLock",) not in modes


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_snapshot_that_does_not_move(tables, isolation):
    with transaction.atomic():
        execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        got = load(make_model(), [(1, "a")], columns=COLUMNS)
    reason = (
        f"because the transaction is {isolation}: it does not see what others have just changed "
        "in the catalog."
    )
    assert got.decisions == (
        f"Indexes: maintained row by row, {reason}",
        f"References: checked row by row by PostgreSQL, {reason}",
    )

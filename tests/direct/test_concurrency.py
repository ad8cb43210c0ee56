"""Other sessions beside a load, in every order of steps: the end is one that PostgreSQL allows."""

import itertools

import pytest

from ingest import ConstraintRefused
from tests.direct.interleaving import Load, Other, interleave
from tests.direct.tables import ask, make_model, run

ROWS = [(1, "a"), (3, "b"), (5, "c")]
PLACES = range(len(ROWS) + 1)

SCENARIOS = {
    "the parent is deleted": ["BEGIN; DELETE FROM parent WHERE id = 3", "COMMIT"],
    "the parent is deleted after all not": ["BEGIN; DELETE FROM parent WHERE id = 5", "ROLLBACK"],
    "two parents are deleted": [
        "BEGIN; DELETE FROM parent WHERE id = 5",
        "DELETE FROM parent WHERE id = 1",
        "COMMIT",
    ],
    "the parent's key is changed": ["BEGIN; UPDATE parent SET id = 33 WHERE id = 3", "COMMIT"],
    "another column is changed": ["BEGIN; UPDATE parent SET name = 'x' WHERE id = 3", "COMMIT"],
    "the parent comes": [
        "DELETE FROM parent WHERE id = 5",
        "BEGIN; INSERT INTO parent VALUES (5)",
        "COMMIT",
    ],
    "a writer": ["BEGIN; INSERT INTO child (parent_id) VALUES (3)", "COMMIT"],
    "a writer that locks the parent first": [
        "BEGIN; SELECT FROM parent WHERE id = 3 FOR UPDATE",
        "INSERT INTO child (parent_id) VALUES (3)",
        "COMMIT",
    ],
    "a reader that locks the parent first": [
        "BEGIN; SELECT FROM parent WHERE id = 5 FOR UPDATE",
        "SELECT count(*) FROM child",
        "COMMIT",
    ],
    "a reader": ["BEGIN; SELECT count(*) FROM child", "SELECT count(*) FROM child; COMMIT"],
    "vacuum": ["VACUUM child", "VACUUM parent"],
    "a second key": [
        (
            "BEGIN; ALTER TABLE child ADD CONSTRAINT second FOREIGN KEY (parent_id) "
            "REFERENCES few (id)"
        ),
        "COMMIT",
    ],
    "a trigger": [
        "BEGIN; CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION refuse()",
        "COMMIT",
    ],
}
MORE = """
CREATE TABLE few (id bigint PRIMARY KEY); INSERT INTO few VALUES (1), (3);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
"""


@pytest.fixture(autouse=True)
def one_row_each(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 1)
    monkeypatch.setattr("ingest.references.PATIENCE_SECONDS", 0.3)


@pytest.fixture
def more_tables(tables):
    run(MORE)


def reset(*, is_empty):
    run("DROP TRIGGER IF EXISTS t ON child; ALTER TABLE child DROP CONSTRAINT IF EXISTS second")
    run("TRUNCATE parent, child; INSERT INTO parent SELECT generate_series(1, 9)")
    if not is_empty:
        run("INSERT INTO child (parent_id, note) VALUES (1, 'old')")


def check(running, other):
    orphans = ask("""SELECT c.* FROM direct_test.child c WHERE parent_id IS NOT NULL AND NOT EXISTS
                     (SELECT FROM direct_test.parent p WHERE p.id = c.parent_id)""")
    assert not orphans
    second = ask("SELECT 1 FROM pg_constraint WHERE conname = 'second'")
    if second:
        assert not ask("""SELECT * FROM direct_test.child c WHERE NOT EXISTS
                          (SELECT FROM direct_test.few p WHERE p.id = c.parent_id)""")
    [(loaded,)] = ask("SELECT count(*) FROM direct_test.child WHERE note IN ('a', 'b', 'c')")
    assert loaded == (0 if running.error else len(ROWS))
    assert ask("SELECT count(*) FROM pg_indexes WHERE schemaname = 'direct_test' "
               "AND tablename = 'child'") == [(2,)]  # fmt: skip


def has_deadlock(running, other):
    return any("deadlock detected" in str(error) for error in [running.error, *other.errors])


def has_deadlock_row_by_row(steps, places):
    """Say whether PostgreSQL's own checks, statement by statement, end in one too."""
    reset(is_empty=False)
    run("ALTER TABLE child ALTER CONSTRAINT child_parent NOT DEFERRABLE")
    running, other = Load(make_model(), ROWS, method="copy"), Other()
    interleave(running, other, steps, places)
    other.close()
    run("ALTER TABLE child ALTER CONSTRAINT child_parent DEFERRABLE INITIALLY DEFERRED")
    return has_deadlock(running, other)


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "occupied"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_order(more_tables, scenario, is_empty):
    steps = SCENARIOS[scenario]
    for places in itertools.combinations_with_replacement(PLACES, len(steps)):
        reset(is_empty=is_empty)
        running, other = Load(make_model(), ROWS), Other()
        try:
            interleave(running, other, steps, places)
            check(running, other)
            if has_deadlock(running, other):
                assert not is_empty
                assert has_deadlock_row_by_row(steps, places)
            if scenario in {"a reader", "another column is changed", "vacuum", "a writer"}:
                assert running.error is None
                assert not other.errors
        except BaseException as error:
            error.add_note(f"{scenario}: steps before rows {places}; {running.error!r}")
            raise
        finally:
            running.finish()
            other.close()


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize(
    "scenario", ["the parent is deleted", "the parent's key is changed", "a second key", "a writer"]
)
def test_inside_a_callers_transaction(more_tables, scenario, isolation):
    steps = SCENARIOS[scenario]
    for places in itertools.combinations_with_replacement(PLACES, len(steps)):
        reset(is_empty=True)
        running, other = Load(make_model(), ROWS, isolation=isolation), Other()
        try:
            interleave(running, other, steps, places)
            check(running, other)
        except BaseException as error:
            error.add_note(f"{scenario}: steps before rows {places}; {running.error!r}")
            raise
        finally:
            running.finish()
            other.close()


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "occupied"])
def test_two_loads_at_once(tables, is_empty):
    """Their rows refer to the same parents, in opposite orders."""
    for order in sorted(set(itertools.permutations([0, 0, 0, 0, 1, 1, 1, 1])))[::7]:
        run("TRUNCATE child")
        if not is_empty:
            run("INSERT INTO child (parent_id) VALUES (1)")
        loads = [Load(make_model(), ROWS), Load(make_model(), ROWS[::-1])]
        at = [0, 0]
        for which in order:
            loads[which].reach(at[which])
            loads[which].go_on(at[which])
            at[which] += 1
        for running in loads:
            running.finish()
            if running.error is not None:
                raise running.error
        [(count,)] = ask("SELECT count(*) FROM direct_test.child")
        assert count == 2 * len(ROWS) + (not is_empty)


@pytest.mark.parametrize("place", PLACES)
def test_readers_of_an_occupied_table_never_wait(tables, place):
    run("INSERT INTO child (parent_id) VALUES (1)")
    running, other = Load(make_model(), ROWS), Other()
    for at in range(place + 1):
        running.reach(at)
        if at < place:
            running.go_on(at)
    other.take("SELECT count(*) FROM child")
    assert not other.is_waiting
    running.finish()
    other.close()
    assert running.error is None


def test_a_parent_locked_for_long_ends_the_load_and_not_the_other(tables):
    other = Other()
    other.take("BEGIN; SELECT FROM parent WHERE id = 3 FOR UPDATE")
    running = Load(make_model(), ROWS)
    for place in PLACES:
        running.reach(place)
        running.go_on(place)
    other.take("INSERT INTO child (parent_id) VALUES (3)")
    running.finish()
    other.take("COMMIT")
    other.close()
    assert str(running.error) == (
        'Others have held locks on rows of "direct_test"."parent" that the records refer to, for '
        "longer than 0.3 s. To wait for them while the load has the table for itself could end in "
        "a deadlock: load again, or keep the indexes, and the load waits its turn. "
        "Nothing was loaded."
    )
    assert not other.errors
    assert ask("SELECT parent_id FROM direct_test.child") == [(3,)]


def test_a_missing_parent_is_refused_at_once(tables):
    running = Load(make_model(), [(1, "a"), (77, "b"), (2, "c")])
    running.finish()
    assert isinstance(running.error, ConstraintRefused)
    assert "record 2: Key (parent_id)=(77)" in str(running.error)

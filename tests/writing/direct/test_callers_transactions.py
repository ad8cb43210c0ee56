"""Loads inside callers' transactions of each isolation level, and three sessions at once."""

import itertools

import pytest

from tests.writing.direct.interleaving import Load, Other, every_order, interleave, interleave_all
from tests.writing.direct.scenarios import SCENARIOS, check, has_deadlock, reset
from tests.writing.direct.tables import ask, make_model, run

pytestmark = pytest.mark.usefixtures("one_row_each")
ROWS = [(3, "a"), (5, "b")]
PLACES = range(len(ROWS) + 1)
LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]


@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_inside_a_callers_transaction(more_tables, scenario, isolation):
    steps = SCENARIOS[scenario]
    for places in itertools.combinations_with_replacement(PLACES, len(steps)):
        reset(is_empty=True)
        running, other = Load(make_model(), ROWS, isolation=isolation), Other()
        try:
            interleave(running, other, steps, places)
            check(running)
            assert not has_deadlock(running, other)
            if scenario in {"a reader", "another column is changed", "vacuum", "a writer"}:
                assert running.error is None
                assert not other.errors
        except BaseException as error:
            error.add_note(f"{scenario}: steps before rows {places}; {running.error!r}")
            raise
        finally:
            running.finish()
            other.close()


@pytest.mark.parametrize("isolation", [None, *LEVELS])
@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "occupied"])
def test_two_loads_at_once(tables, is_empty, isolation):
    """Their rows refer to the same parents, in opposite orders."""
    stops = len(ROWS) + 1
    for order in sorted(set(itertools.permutations([0] * stops + [1] * stops))):
        run("TRUNCATE child")
        if not is_empty:
            run("INSERT INTO child (parent_id) VALUES (1)")
        loads = [Load(make_model(), rows, isolation=isolation) for rows in (ROWS, ROWS[::-1])]
        at = [0, 0]
        for which in order:
            loads[which].reach(at[which])
            loads[which].go_on(at[which])
            at[which] += 1
        for running in loads:
            running.finish()
        errors = [running.error for running in loads if running.error is not None]
        for error in errors:
            # As PostgreSQL may say of any two transactions of this level.
            if isolation != "SERIALIZABLE":
                raise error
            assert "could not serialize" in str(error)
        [(count,)] = ask("SELECT count(*) FROM direct_test.child")
        assert count == (2 - len(errors)) * len(ROWS) + (not is_empty)


THREE = {
    "a deletion and a writer": (
        ["BEGIN; DELETE FROM parent WHERE id = 3", "COMMIT"],
        ["INSERT INTO child (parent_id) VALUES (3)"],
    ),
    "a change of key and a deletion": (
        ["BEGIN; UPDATE parent SET id = 33 WHERE id = 3", "COMMIT"],
        ["DELETE FROM parent WHERE id = 5"],
    ),
    "a parent that comes and a reader that stays": (
        ["DELETE FROM parent WHERE id = 5; BEGIN; INSERT INTO parent VALUES (5)", "COMMIT"],
        ["SELECT count(*) FROM child"],
    ),
}


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "occupied"])
@pytest.mark.parametrize("scenario", THREE)
def test_three_sessions(more_tables, scenario, is_empty):
    first, second = THREE[scenario]
    merged = every_order([(0, step) for step in first], [(1, step) for step in second])
    for steps in merged:
        for places in itertools.combinations_with_replacement(PLACES, len(steps)):
            reset(is_empty=is_empty)
            running, others = Load(make_model(), ROWS), [Other(), Other()]
            try:
                interleave_all(running, [(others[who], step) for who, step in steps], places)
                check(running)
                assert not has_deadlock(running, *others)
            except BaseException as error:
                error.add_note(f"{steps} before rows {places}; {running.error!r}")
                raise
            finally:
                running.finish()
                for other in others:
                    other.close()

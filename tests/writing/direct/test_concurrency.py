"""Other sessions beside a load, in every order of steps: the end is one that PostgreSQL allows."""

import itertools

import pytest

from ingest import ConstraintRefused
from tests.writing.direct.interleaving import Load, Other, interleave
from tests.writing.direct.scenarios import (
    PLACES,
    ROWS,
    SCENARIOS,
    check,
    has_deadlock,
    has_deadlock_row_by_row,
    reset,
)
from tests.writing.direct.tables import ask, make_model, run

pytestmark = pytest.mark.usefixtures("one_row_each")


@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "occupied"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_order(more_tables, scenario, is_empty):
    steps = SCENARIOS[scenario]
    for places in itertools.combinations_with_replacement(PLACES, len(steps)):
        reset(is_empty=is_empty)
        running, other = Load(make_model(), ROWS), Other()
        try:
            interleave(running, other, steps, places)
            check(running)
            if has_deadlock(running, other):
                assert not is_empty
                # Which of the two waits first is up to the server's processes.
                assert any(has_deadlock_row_by_row(steps, places) for _ in range(5))
            if scenario in {"a reader", "another column is changed", "vacuum", "a writer"}:
                assert running.error is None
                assert not other.errors
        except BaseException as error:
            error.add_note(f"{scenario}: steps before rows {places}; {running.error!r}")
            raise
        finally:
            running.finish()
            other.close()


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
    assert "record 2, column 'parent_id': 77: Key (parent_id)=(77)" in str(running.error)

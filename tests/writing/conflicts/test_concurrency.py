"""Other sessions beside a load, in every order of steps, against PostgreSQL's own ON CONFLICT."""

import itertools
import time

import pytest
from django.db import models

from tests.writing.conflicts.tables import SCHEMA, ask, make_model, run
from tests.writing.sessions import OtherSession, RunningLoad

ROWS = [("a1", "new"), ("n1", "new"), ("a2", "old")]
"""A row that changes, one that is new, and one that has the values of the table's already."""
PLACES = range(len(ROWS) + 1)
SCENARIOS = {
    "update": ["UPDATE item SET note = 'theirs' WHERE number <> 'a3'", "COMMIT"],
    "update, rolled back": ["UPDATE item SET note = 'theirs'", "ROLLBACK"],
    "delete": ["DELETE FROM item WHERE number <> 'a3'", "COMMIT"],
    "delete, rolled back": ["DELETE FROM item", "ROLLBACK"],
    "insert": ["INSERT INTO item VALUES ('n1', 'theirs')", "COMMIT"],
    "insert, rolled back": ["INSERT INTO item VALUES ('n1', 'theirs')", "ROLLBACK"],
    "another key": ["UPDATE item SET number = 'n1' WHERE number = 'a1'", "COMMIT"],
    "delete and insert": [
        "DELETE FROM item WHERE number = 'a1'; INSERT INTO item VALUES ('a1', 'theirs')",
        "COMMIT",
    ],
}
ON_CONFLICT = "INSERT INTO item VALUES (%s, %s) ON CONFLICT (number) DO UPDATE SET note = %s"


@pytest.fixture
def model(schema, monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 1)
    run("CREATE TABLE item (number text PRIMARY KEY, note text)")
    return make_model(
        number=models.TextField(primary_key=True), note=models.TextField(null=True, blank=True)
    )


def reset():
    run("TRUNCATE item; INSERT INTO item VALUES ('a1', 'old'), ('a2', 'old'), ('a3', 'old')")


def rows():
    return ask("SELECT number, note FROM item ORDER BY number")


class Other(OtherSession):
    schema = SCHEMA


class Running(RunningLoad):
    columns = ("number", "note")
    read_first = f"{SCHEMA}.item"

    def __init__(self, model, records, isolation=None):
        super().__init__(model, records, isolation, on_conflict="upsert", analyze=False)


def interleave(take_row, other, steps, places):
    """Take each of the other's steps before the row of its place."""
    for row in PLACES:
        for step, place in zip(["BEGIN; " + steps[0], *steps[1:]], places, strict=True):
            if place == row:
                other.take(step)
        take_row(row)


def as_postgresql_does(steps, places):
    """Give the rows that are left where the load is one INSERT … ON CONFLICT for each record."""
    reset()
    ours, other = Other(), Other()
    ours.take("BEGIN")

    def take_row(place):
        if place < len(ROWS):
            ours.take(ON_CONFLICT, (*ROWS[place], ROWS[place][1]))
        else:
            ours.take("COMMIT")

    interleave(take_row, other, steps, places)
    ours.close()
    other.close()
    assert not ours.errors
    return rows(), bool(other.errors)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_order(model, scenario):
    """What is left is what PostgreSQL leaves, in one of the orders of these steps."""
    steps = SCENARIOS[scenario]
    orders = list(itertools.combinations_with_replacement(PLACES, len(steps)))
    want = [as_postgresql_does(steps, places) for places in orders]
    for places in orders:
        reset()
        running, other = Running(model, ROWS), Other()
        interleave(running.take, other, steps, places)
        running.finish()
        other.close()
        assert running.error is None, places
        assert (rows(), bool(other.errors)) in want, places


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("scenario", ["update", "delete", "insert", "another key"])
def test_stricter_isolation_levels(model, scenario, isolation):
    """The load fails, or the end is that of one after the other."""
    steps = SCENARIOS[scenario]
    serial = [as_postgresql_does(steps, (at, at))[0] for at in (0, len(ROWS))]
    for places in [(0, 0), (0, 1), (1, 2), (1, 3), (3, 3)]:
        reset()
        running, other = Running(model, ROWS, isolation), Other()
        interleave(running.take, other, steps, places)
        running.finish()
        other.close()
        if running.error is not None:
            assert "could not serialize access" in str(running.error)
        elif not other.errors:
            assert rows() in serial, places


def test_two_loads_in_opposite_order(model):
    """They take turns: no deadlock, and the end is that of one after the other."""
    records = [("a1", "x"), ("n1", "x"), ("n2", "x"), ("a2", "x")]
    others = [(number, "y") for number, _ in reversed(records)]
    for places in itertools.combinations(range(5), 2):
        reset()
        first, second = Running(model, records), Running(model, others)
        for place in range(5):
            for running in (first, second) if place in places else (second, first):
                running.take(place)
        first.finish()
        second.finish()
        assert (first.error, second.error) == (None, None)
        assert len({note for number, note in rows() if number != "a3"}) == 1


MANY = [("a1", "new"), ("n1", "new"), ("n2", "new"), ("a2", "new"), ("n3", "new"), ("a3", "old")]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_batch_that_waits_for_another_session(model, monkeypatch, scenario, end):
    """All its rows are written again where one of them is found otherwise than it was seen."""
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", len(MANY))
    reset()
    other = Other()
    other.take("BEGIN; " + SCENARIOS[scenario][0])
    running = Running(model, MANY)
    for place in range(len(MANY) + 1):
        running.take(place)
    wait_for_lock()
    other.take(end)
    running.finish()
    other.close()
    assert (running.error, other.errors) == (None, [])
    assert dict(rows()) == dict(MANY)


def wait_for_lock():
    """Wait until a session of this database waits for another one."""
    for _ in range(1_000):
        if ask(
            "SELECT FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            return
        time.sleep(0.01)
    raise AssertionError("Nobody waits for a lock.")

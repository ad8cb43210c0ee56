"""A table that is locked for its indexes: from when, and what is said of a slow source."""

import logging
import re
import time

import pytest
from django.db import connection

from ingest import load
from ingest.writing import slow_source
from tests.patience import wait_until
from tests.writing.direct.tables import ask, make_model, run

COLUMNS = ["parent_id", "note"]
BUILT = "Indexes: 2 built after the rows."
LOCKS = """
SELECT mode FROM pg_locks WHERE relation = 'direct_test.child'::regclass AND mode ~ 'Exclusive'
AND mode <> 'RowExclusiveLock'
"""


@pytest.fixture(autouse=True)
def one_row_each(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 1)
    monkeypatch.setattr(slow_source, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(slow_source, "PAUSE_SECONDS", 0.02)


@pytest.fixture
def warnings(caplog):
    """What is said of this file's model: a load of another test may end its wait just now."""
    caplog.set_level(logging.WARNING, "ingest")
    return lambda: [
        each.getMessage()
        for each in caplog.records
        if hasattr(each, "event") and "direct_test.Row" in each.getMessage()
    ]


def test_the_lock_is_taken_when_the_first_batches_are_ready(tables):
    seen = []

    def rows():
        for number in range(1, 5):
            seen.append(ask(LOCKS))
            yield (number, "a")

    got = load(make_model(), rows(), columns=COLUMNS)
    assert got.decisions[0] == BUILT
    assert seen == [[], [], [("AccessExclusiveLock",)], [("AccessExclusiveLock",)]]


def test_a_source_that_is_slow_is_told_so_while_it_is_waited_for(tables, warnings):
    heard = []

    def rows():
        for number in range(1, 5):
            yield (number, "a")
        wait_until(warnings)
        heard.extend(warnings())
        yield (5, "b")
        time.sleep(0.5)

    got = load(make_model(), rows(), columns=COLUMNS)
    assert heard == warnings()
    [warning] = heard
    assert re.fullmatch(
        "The load into direct_test.Row on default has the table for itself until it commits, and "
        r"has waited \d+\.\d s for its source. With --indexes keep \(indexes='keep'\) others can "
        "read the table meanwhile.",
        warning,
    )
    assert got.decisions[0] == BUILT
    assert got.decisions[-1].startswith("Indexes: nobody else could read the table, and for ")
    assert "--indexes keep (indexes='keep')" in got.decisions[-1]
    assert got.rows == 5


def test_many_short_waits_add_up(tables, warnings):
    def rows():
        for number in range(1, 10):
            time.sleep(0.07)
            yield (number, "a")

    got = load(make_model(), rows(), columns=COLUMNS)
    assert len(warnings()) == 1
    assert "waited for the source" in got.decisions[-1]


def test_a_source_that_is_slow_without_a_lock(tables, warnings):
    def rows():
        for number in range(1, 5):
            yield (number, "a")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
            cursor.execute("SELECT count(*) FROM direct_test.child")
            cursor.execute("RESET lock_timeout")
        time.sleep(0.5)

    got = load(make_model(), rows(), columns=COLUMNS, indexes="keep")
    assert got.decisions[0] == "Indexes: maintained row by row, as asked."
    assert not any("waited for the source" in decision for decision in got.decisions)
    assert not warnings()


def test_a_server_that_is_slow_is_not_the_sources_fault(tables, warnings, monkeypatch):
    # A process that waits for the processor seems to be slow, too: the server takes a second.
    monkeypatch.setattr(slow_source, "PATIENCE_SECONDS", 0.8)
    run(
        "CREATE FUNCTION wait(text) RETURNS bool LANGUAGE sql IMMUTABLE AS "
        "$$ SELECT pg_catalog.pg_sleep(0.2) IS NOT NULL $$; "
        "ALTER TABLE child ADD CHECK (wait(note))"
    )
    got = load(make_model(), [(number, "a") for number in range(1, 6)], columns=COLUMNS)
    assert got.decisions[0] == BUILT
    assert not any("waited for the source" in decision for decision in got.decisions)
    assert not warnings()

"""A partitioned table, and a partition that has partitions itself."""

import pytest
from django.db.models import BigAutoField, IntegerField, TextField

from ingest import load
from tests.writing.conflicts.tables import ask, counts, make_model, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def place(schema, few_rows_too):
    run("""
        CREATE TABLE whose (number integer PRIMARY KEY);
        INSERT INTO whose SELECT generate_series(0, 99);
        CREATE TABLE place (
            id bigserial, area text NOT NULL, number integer NOT NULL REFERENCES whose, note text,
            CONSTRAINT place_key UNIQUE (area, number)
        ) PARTITION BY LIST (area);
        CREATE TABLE place_near PARTITION OF place FOR VALUES IN ('near');
        ALTER TABLE place_near ADD CONSTRAINT near_number CHECK (number <> 66);
        CREATE TABLE place_far PARTITION OF place FOR VALUES IN ('far')
            PARTITION BY RANGE (number);
        CREATE TABLE place_far_low PARTITION OF place_far FOR VALUES FROM (0) TO (50);
        CREATE TABLE place_far_high PARTITION OF place_far FOR VALUES FROM (50) TO (90);
    """)
    return make_model(
        "place",
        id=BigAutoField(primary_key=True),
        area=TextField(),
        number=IntegerField(),
        note=TextField(null=True, blank=True),
    )


def record(number, area=None, note="x"):
    return {"area": area or ("far" if number % 2 else "near"), "number": number, "note": note}


def stored():
    return dict(ask("SELECT tableoid::regclass::text, count(*) FROM place GROUP BY 1"))


def test_rows_go_to_their_partitions(place):
    got = load(place, map(record, range(60)), verify=True)
    assert stored() == {"place_near": 30, "place_far_low": 25, "place_far_high": 5}
    because = 'because "conflicts_test"."place" is not an ordinary table.'
    assert got.decisions == (
        f"Indexes: maintained row by row, {because}",
        f"References: checked row by row by PostgreSQL, {because}",
    )


def test_records_are_refused_alone(place):
    load(place, map(record, [2, 3, 53]))
    records = [*map(record, range(60)), record(7), record(1, "none"), record(91)]
    records += [record(66), record(200), record(62)]
    got = load(place, records, on_error="reject")
    assert {reject.record: (reject.kind, reject.constraint) for reject in got.rejects} == {
        3: ("duplicate", "place_key"),
        4: ("duplicate", "place_key"),
        54: ("duplicate", "place_key"),
        61: ("duplicate", "place_key"),
        62: ("constraint", None),
        63: ("constraint", None),
        64: ("constraint", "near_number"),
        65: ("reference", "place_number_fkey"),
    }
    assert "The source has this key in an earlier record too." in [*got.rejects][3].reason
    assert stored() == {"place_near": 31, "place_far_low": 25, "place_far_high": 5}


def test_an_upsert_into_partitions_counts_each_record(place):
    load(place, map(record, range(60)))
    records = [record(number, note="x" if number % 3 else "y") for number in range(50, 64)]
    got = load(place, records, on_conflict="upsert", key=["area", "number"])
    assert counts(got) == {"updated": 3, "unchanged": 7, "inserted": 4}
    assert ask("SELECT count(*) FROM place WHERE note = 'y'") == [(5,)]

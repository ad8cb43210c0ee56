"""Instances of which only some leave a column to PostgreSQL: each gets what ``save()`` stores."""

import pytest
from django.utils import timezone

from ingest import load
from tests.end_to_end.contract.models.defaults import Preset

pytestmark = pytest.mark.django_db


def make(**fields):
    return Preset(items=[1], document={"a": 1}, **fields)


def test_cells_that_are_left_to_postgresql_get_the_default_of_their_column():
    before = timezone.now()
    given = [
        make(name="a", from_database=5, text_from_database="x"),
        make(name="b", moment_from_database=before, added_at=before),
        make(name="c", text_from_database="y"),
    ]
    assert load(Preset, given).rows == 3
    rows = {row.name: row for row in Preset.objects.all()}
    assert {name: row.from_database for name, row in rows.items()} == {"a": 5, "b": 42, "c": 42}
    texts = {name: row.text_from_database for name, row in rows.items()}
    assert texts == {"a": "x", "b": "it's \\ %s", "c": "y"}
    assert rows["b"].moment_from_database == before
    assert rows["c"].moment_from_database is not None


def test_keys_that_instances_do_not_have_are_drawn_from_the_sequence():
    given = [make(pk=2_000_000_000, name="given"), make(name="first"), make(name="second")]
    assert load(Preset, given).rows == 3
    keys = dict(Preset.objects.values_list("name", "pk"))
    assert keys["given"] == 2_000_000_000
    assert 0 < keys["first"] < keys["second"] < 2_000_000_000

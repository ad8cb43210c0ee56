"""A `clean()` or a field may change a JSON value or a list in place: only its own record's."""

import json

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.test.utils import isolate_apps

from ingest import load, preview

pytestmark = pytest.mark.django_db
TIMES = 3


class Counting(models.JSONField):
    """It changes the value in place while it prepares it for PostgreSQL."""

    def get_db_prep_save(self, value, connection):
        value["n"] = value.get("n", 0) + 1
        return super().get_db_prep_save(value, connection)


class Changed:
    def clean(self):
        self.document["inner"]["n"] += 1
        self.numbers.append(len(self.numbers))
        self.kept.append(self.name)


@pytest.fixture
def model():
    with isolate_apps("tests.end_to_end.contract"):

        class Made(Changed, models.Model):  # noqa: DJ008
            name = models.CharField(max_length=5)
            document = models.JSONField()
            numbers = ArrayField(models.IntegerField())
            counted = Counting()
            kept = models.JSONField(default=[], blank=True)

            class Meta:
                app_label = "contract"

        with connection.schema_editor() as editor:
            editor.create_model(Made)
        yield Made


def as_file(tmp_path):
    path = tmp_path / "rows.csv"
    cells = [json.dumps(value).replace('"', '""') for value in ({"inner": {"n": 0}}, [7], {"x": 1})]
    line = ",".join(f'"{cell}"' for cell in cells)
    path.write_text("name,document,numbers,counted\n" + "".join(f"{n},{line}\n" for n in "abc"))
    return path


def as_records(_):
    shared = {"document": {"inner": {"n": 0}}, "numbers": [7]}
    return [{"name": name, **shared, "counted": {"x": 1}} for name in "abc"]


@pytest.mark.parametrize("give", [as_file, as_records])
def test_equal_values_are_changed_one_by_one(model, tmp_path, give):
    source = give(tmp_path)
    load(model, source, clean=True)
    stored = model.objects.order_by("pk").values_list("document", "numbers", "kept")
    assert list(stored) == [({"inner": {"n": 1}}, [7, 1], [name]) for name in "abc"]
    assert model._meta.get_field("kept").default == []
    if give is as_records:
        assert [row["document"] for row in source] == [{"inner": {"n": 0}}] * TIMES
        assert source[0]["numbers"] == [7]


def test_a_preview_shows_what_a_load_stores(model, tmp_path):
    shown = preview(model, as_file(tmp_path), clean=True)
    rows = [dict(zip(shown.columns, row, strict=True)) for row in shown.rows]
    assert [row["numbers"] for row in rows] == [[7, 1]] * TIMES


def test_a_field_prepares_the_value_of_its_own_record(model, tmp_path):
    load(model, as_file(tmp_path))
    stored = model.objects.order_by("pk").values_list("counted", "document")
    assert list(stored) == [({"x": 1, "n": 1}, {"inner": {"n": 0}})] * TIMES

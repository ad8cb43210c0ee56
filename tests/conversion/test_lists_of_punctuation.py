"""Lists of texts of marks that JSON also uses are what json.loads reads."""

import itertools
import json
from random import Random

import pyarrow as pa
import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.test.utils import isolate_apps

from ingest import load

pytestmark = pytest.mark.django_db
ITEMS = ["", ",", ", ", " ,", '"', '","', '", "', "\\", '\\"', "[", "]", "x", " ", "\\u002c"]
SEPARATORS = [(",", ":"), (", ", ":")]


@pytest.fixture
def model():
    with isolate_apps("tests.end_to_end.contract"):

        class Marked(models.Model):  # noqa: DJ008
            texts = ArrayField(models.TextField(blank=True))
            names = ArrayField(models.CharField(max_length=9, blank=True))

            class Meta:
                app_label = "contract"

        with connection.schema_editor() as editor:
            editor.create_model(Marked)
        yield Marked


def written(items, random):
    """Return JSON with a separator drawn anew for each gap."""
    parts = [json.dumps(item) for item in items]
    gaps = [random.choice([",", ", "]) for _ in parts[1:]]
    return "[" + "".join(map("".join, zip(parts, [*gaps, ""], strict=True))) + "]"


@pytest.mark.parametrize("kind", ["texts", "CSV"])
def test_lists_of_punctuation(model, tmp_path, kind):
    random = Random(7)
    lists = [list(items) for items in itertools.product(ITEMS, repeat=2)]
    lists += [random.choices(ITEMS, k=random.randint(1, 6)) for _ in range(800)]
    texts = [written(items, random) for items in lists]
    texts += [json.dumps(items, separators=said) for items in lists for said in SEPARATORS]
    source = pa.table({"texts": texts, "names": texts})
    if kind == "CSV":
        source = tmp_path / "lists.csv"
        lines = ['"' + text.replace('"', '""') + '"' for text in texts]
        source.write_text("texts,names\n" + "".join(f"{line},{line}\n" for line in lines))
    load(model, source, on_repeat="warn")
    want = [json.loads(text) for text in texts]
    got = list(model.objects.order_by("pk").values_list("texts", "names"))
    assert got == [(items, items) for items in want]


@pytest.mark.parametrize(
    "text", ['["x",", ","y"]', '["x", ",", "y"]', '[","]', '[", "]', '["a",",","b", ", "]']
)
def test_an_item_that_is_a_comma(model, text):
    load(model, [{"texts": text, "names": text}])
    assert list(model.objects.values_list("texts", "names")) == [(json.loads(text),) * 2]

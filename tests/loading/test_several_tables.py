"""A multi-table child and its parents in one load: both rows or none."""

import random
from contextlib import nullcontext

import pytest
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from ingest import (
    ConstraintRefused,
    LayoutError,
    UnsupportedModelError,
    load,
    preview,
    verify,
)
from ingest.exceptions import LedgerError
from ingest.ledger.undo import undo
from ingest.models import Load
from tests.end_to_end.contract.models.inheritance import Place, Restaurant
from tests.end_to_end.contract.writing import rows_removed
from tests.sql import run

pytestmark = pytest.mark.django_db(transaction=True)
TWO = [{"name": "a", "stars": 1}, {"name": "b", "stars": 2}]


@pytest.fixture(autouse=True)
def empty():
    with rows_removed(Restaurant, Place):
        yield
    Load.objects.all().delete()


def rows():
    return list(Restaurant.objects.order_by("pk").values_list("name", "stars"))


@pytest.fixture
def chain():
    """Three tables: a unique name, a check and a deferred foreign key, and a default."""
    with isolate_apps("tests.end_to_end.contract"):

        class Thing(models.Model):
            name = models.CharField(max_length=20, unique=True)
            made = models.DateTimeField(auto_now_add=True)

            class Meta:
                app_label = "contract"
                db_table = "chain_thing"

            def __str__(self):
                return self.name

        class Tool(Thing):
            weight = models.IntegerField(db_default=7)
            spare = models.ForeignKey("self", models.CASCADE, null=True, blank=True)

            class Meta:
                app_label = "contract"
                db_table = "chain_tool"
                constraints = (
                    models.CheckConstraint(condition=models.Q(weight__lt=1000), name="light"),
                )

        class Saw(Tool):
            teeth = models.IntegerField(unique=True)

            class Meta:
                app_label = "contract"
                db_table = "chain_saw"

        class Other(models.Model):
            other_key = models.AutoField(primary_key=True)

            class Meta:
                app_label = "contract"
                db_table = "chain_other"

            def __str__(self):
                return str(self.pk)

        class Mixed(Thing, Other):
            class Meta:
                app_label = "contract"
                db_table = "chain_mixed"

        made = (Thing, Tool, Saw, Other, Mixed)
        with connection.schema_editor() as editor:
            for model in made:
                editor.create_model(model)
        yield Thing, Tool, Saw, Mixed
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)


@pytest.mark.parametrize("where", [nullcontext, transaction.atomic])
def test_both_rows_are_in_and_have_one_key(where, tmp_path):
    file = tmp_path / "r.csv"
    file.write_text("name,stars\na,1\nb,2\n")
    for source in (file, TWO, [Restaurant(**row) for row in TWO]):
        Restaurant.objects.all().delete()
        with where():
            result = load(Restaurant, source, verify=True)
        assert not result.audit.problems
        assert (result.read, result.rows, rows()) == (2, 2, [("a", 1), ("b", 2)])
        assert Place.objects.count() == 2
        assert result.decisions == (
            "Plain COPY: a record is a row of several tables, and each refers to the one before.",
        )
    assert Restaurant.objects.create(name="c", stars=3).name == "c"
    shown = preview(Restaurant, TWO)
    assert (shown.columns, shown.rows) == (("name", "stars"), (("a", 1), ("b", 2)))


def test_keys_that_are_given_move_the_sequence():
    load(Restaurant, [{"id": 90, "name": "a", "stars": 1}])
    later = Restaurant.objects.create(name="b", stars=1)
    assert later.pk > 90


def test_a_parent_that_is_there_gets_its_child():
    place = Place.objects.create(name="there")
    for column in ("place_ptr", "place_ptr_id", "pk"):
        result = load(Restaurant, [{column: place.pk, "stars": 4}])
        assert (result.rows, rows(), Place.objects.count()) == (1, [("there", 4)], 1)
        Restaurant.objects.get().delete(keep_parents=True)
    with pytest.raises(LayoutError) as caught:
        load(Restaurant, [{"place_ptr": place.pk, "name": "x", "stars": 4}])
    assert str(caught.value) == (
        "contract.Restaurant.place_ptr is given, the key of a parent's row that is there already, "
        "and so is contract.Place.name, of a parent's row that is made with the load: leave one of "
        "them out."
    )
    with pytest.raises(ConstraintRefused, match="place_ptr"):
        load(Restaurant, [{"place_ptr": place.pk + 1000, "stars": 4}])


def test_a_record_that_one_of_the_tables_refuses_is_in_none(chain):
    thing, tool, saw, _ = chain
    thing.objects.create(name="n5")
    taken = saw.objects.create(name="there", teeth=33)
    bad = {5: "duplicate", 17: "constraint", 33: "duplicate", 50: "reference", 51: "duplicate"}
    given = [
        {
            "name": f"n{number}",
            "weight": 5000 if number == 17 else number,
            "spare": 999_999 if number == 50 else taken.pk,
            "teeth": 7 if number == 51 else number,
        }
        for number in range(100)
    ]
    for where in (nullcontext, transaction.atomic):
        with where():
            result = load(saw, given, on_error="reject")
        assert {reject.record - 1: reject.kind for reject in result.rejects} == bad
        assert (result.read, result.rows, result.rejected) == (100, 95, 5)
        assert saw.objects.count() == tool.objects.count() == 96
        assert thing.objects.count() == 97
        saw.objects.exclude(pk=taken.pk).delete()
    [first, *_] = result.rejects
    assert (first.column, first.value, first.constraint[:18]) == (
        "name",
        "n5",
        "chain_thing_name_k",
    )


def test_it_is_as_if_each_record_came_alone(chain):
    thing, _, saw, _ = chain
    chance = random.Random(7)
    for _ in range(8):
        given = [
            {"name": f"n{chance.randrange(60)}", "teeth": chance.randrange(60)} for _ in range(50)
        ]
        names, teeth, want = set(), set(), []
        for number, row in enumerate(given, 1):
            if row["name"] in names or row["teeth"] in teeth:
                want.append(number)
            else:
                names.add(row["name"])
                teeth.add(row["teeth"])
        result = load(saw, given, on_error="reject")
        assert [reject.record for reject in result.rejects] == want
        assert saw.objects.count() == thing.objects.count() == 50 - len(want)
        assert set(saw.objects.values_list("weight", flat=True)) == {7}  # PostgreSQL's default
        thing.objects.all().delete()


def test_in_abort_mode_the_record_is_named_and_no_row_is_in(chain):
    thing, _, saw, _ = chain
    cases = [
        ([{"name": "a", "teeth": 1}, {"name": "a", "teeth": 2}], "record 2, column 'name': 'a'"),
        ([{"name": "a", "teeth": 1}, {"name": "b", "teeth": 1}], "record 2, column 'teeth': 1"),
        ([{"name": "a", "teeth": 1, "spare": 99}], "record 1, column 'spare'"),
    ]
    for given, want in cases:
        for where in (nullcontext, transaction.atomic):
            with pytest.raises(ConstraintRefused) as caught, where():
                load(saw, given)
            assert want in str(caught.value)
            assert not thing.objects.exists()


def test_a_model_that_has_several_parents_names_the_way(chain):
    thing, _, _, mixed = chain
    with pytest.raises(UnsupportedModelError) as caught:
        load(mixed, [{"name": "a"}])
    assert str(caught.value).startswith(
        "contract.Mixed cannot be loaded with its parents: contract.Mixed has several parents with "
        "tables: load these first, then give other_ptr and thing_ptr."
    )
    first = thing.objects.create(name="a")
    second = mixed._meta.get_field("other_ptr").remote_field.model.objects.create()
    given = {"thing_ptr": first.pk, "other_ptr": second.pk}
    assert load(mixed, [given]).rows == 1
    assert mixed.objects.get().name == "a"


def test_in_chunks_and_in_a_dry_run():
    many = [{"name": f"n{number}", "stars": number} for number in range(25)]
    result = load(Restaurant, many, dry_run=True)
    assert (result.rows, rows()) == (25, [])
    result = load(Restaurant, iter(many), chunk_rows=10, on_error="reject")
    assert (result.rows, len(rows()), result.load.chunks.count()) == (25, 25, 3)
    assert {row.stars for row in result.load.rows()} == set(range(25))
    assert undo(result.load.pk).deleted == 25
    assert not Place.objects.exists()


def test_undo_deletes_child_and_parent():
    Place.objects.create(name="before")
    result = load(Restaurant, TWO)
    there = load(Restaurant, [{"place_ptr": Place.objects.get(name="before").pk, "stars": 9}])
    assert str(undo(result.load.pk)).endswith("2 rows deleted.")
    assert rows() == [("before", 9)]
    undo(there.load.pk)  # which has made no parent
    assert [place.name for place in Place.objects.all()] == ["before"]


def test_undo_keeps_a_row_whose_parent_was_changed():
    result = load(Restaurant, TWO)
    Place.objects.filter(name="b").update(name="changed")
    with pytest.raises(LedgerError, match="1 row with its keys is not as it inserted it"):
        undo(result.load.pk)
    assert len(rows()) == 2
    got = undo(result.load.pk, keep_changed=True)
    assert (got.deleted, got.kept, rows()) == (1, 1, [("changed", 2)])
    assert Place.objects.count() == 1


def test_verify_asks_all_tables():
    asked = {finding.name for finding in verify(Restaurant).findings}
    assert {"contract_place_pkey", "contract_restaurant_pkey"} <= asked


def test_conflicts_are_settled_one_table_at_a_time():
    """As the message says: the parents first, then the children, which look their parents up."""
    load(Restaurant, TWO)
    records = [{"name": "a", "stars": 5}, {"name": "c", "stars": 3}]
    options = {"on_conflict": "upsert", "key": ["name"]}
    for ask in (load, preview):
        with pytest.raises(UnsupportedModelError, match=r"twice: .* a column place_ptr__FIELD"):
            ask(Restaurant, records, **options)
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_name ON contract_place (name)")
    try:
        for model, name, field in ((Place, "name", None), (Restaurant, "place_ptr__name", "stars")):
            fields = {name: "name", **({field: field} if field else {})}
            part = [{to: record[of] for to, of in fields.items()} for record in records]
            result = load(model, part, on_conflict="upsert")
            want = (1, 0, 1) if model is Place else (1, 1, 0)
            assert (result.inserted, result.updated, result.unchanged) == want
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX one_name")
    assert rows() == [("a", 5), ("b", 2), ("c", 3)]


@pytest.fixture
def trap():
    """Return a function that makes a trigger, which refuses one record and keeps out another."""

    def make(at, table):
        run(f"CREATE TRIGGER trap {at} INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION trap()")

    run(
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF pg_catalog.to_jsonb(NEW) @> '{\"name\": \"b\"}' THEN RAISE 'unlucky'; END IF; "
        "IF pg_catalog.to_jsonb(NEW) @> '{\"stars\": 3}' THEN RETURN NULL; END IF; "
        "RETURN NEW; END $$"
    )
    yield make
    run("DROP FUNCTION trap() CASCADE")


@pytest.mark.parametrize("at", ["BEFORE", "AFTER"])
@pytest.mark.parametrize("around", [nullcontext, transaction.atomic])
def test_triggers_refuse_records_alone(trap, at, around):
    trap(at, "contract_place")
    trap("BEFORE", "contract_restaurant")
    records = [*TWO, {"name": "c", "stars": 3}, {"name": "d", "stars": 4}]
    with pytest.raises(ConstraintRefused, match="list, record 2: unlucky"), around():
        load(Restaurant, records)
    with pytest.raises(ConstraintRefused, match=r"record 2: .* kept it out"), around():
        load(Restaurant, records[::2])
    assert not Place.objects.exists()
    with around():
        result = load(Restaurant, records, on_error="reject")
    assert [reject.record for reject in result.rejects] == [2, 3]
    assert rows() == [("a", 1), ("d", 4)]
    assert Place.objects.count() == 2
    undo(result.load.pk)
    assert not Place.objects.exists()

"""Parents that a layout looks up or makes: for which records, by how many statements, in a tree."""

from random import Random

import pyarrow as pa
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.test.utils import isolate_apps

from ingest import LayoutError, load, preview
from ingest.layout import FieldLayout, Layout

pytestmark = pytest.mark.django_db(transaction=True)

with isolate_apps("tests.layout"):

    class Region(models.Model):  # noqa: DJ008
        code = models.CharField(max_length=10, unique=True)

        class Meta:
            app_label = "layout"

    class Vendor(models.Model):  # noqa: DJ008
        code = models.CharField(max_length=5, unique=True)
        region = models.ForeignKey(Region, models.CASCADE, null=True, blank=True)
        rank = models.IntegerField(default=1)

        class Meta:
            app_label = "layout"
            constraints = [  # noqa: RUF012
                models.CheckConstraint(name="not_bad", condition=~models.Q(code="bad")),
            ]

    class VendorProxy(Vendor):  # noqa: DJ008
        class Meta:
            proxy = True
            app_label = "layout"

    class Importer(Vendor):  # noqa: DJ008
        port = models.CharField(max_length=10)

        class Meta:
            app_label = "layout"

    class Item(models.Model):  # noqa: DJ008
        vendor = models.ForeignKey(VendorProxy, models.CASCADE, related_name="+")
        seller = models.ForeignKey(Vendor, models.CASCADE, null=True, blank=True, related_name="+")
        importer = models.ForeignKey(Importer, models.CASCADE, null=True, blank=True)
        qty = models.IntegerField(unique=True)
        tags = models.ManyToManyField(Region)

        class Meta:
            app_label = "layout"
            constraints = [  # noqa: RUF012
                models.CheckConstraint(name="positive", condition=models.Q(qty__gt=0)),
            ]

        def clean(self):
            if self.qty == 13:
                raise ValidationError({"qty": f"Vendor {self.vendor.code} has no 13."})

    class Node(models.Model):  # noqa: DJ008
        name = models.CharField(max_length=10, unique=True)
        parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)
        size = models.IntegerField(default=1)

        class Meta:
            app_label = "layout"


MODELS = (Region, Vendor, Importer, Item, Node)
VENDOR = FieldLayout(column="vendor", lookup=("code",), create={})


@pytest.fixture(scope="module")
def tables(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        with connection.schema_editor() as editor:
            for model in MODELS:
                editor.create_model(model)
        yield
        with connection.schema_editor() as editor:
            for model in reversed(MODELS):
                editor.delete_model(model)


@pytest.fixture(autouse=True)
def empty_tables(tables, transactional_db):
    yield
    names = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in MODELS)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {names} CASCADE")


def load_items(*rows, fields=None, **options):
    layout = Layout(fields={"vendor": VENDOR, "qty": FieldLayout(column="qty"), **(fields or {})})
    records = [dict(zip(("vendor", "qty", "seller"), row, strict=False)) for row in rows]
    return load(Item, records, layout=layout, **{"on_error": "reject", **options})


def codes(model=Vendor):
    return sorted(model.objects.values_list("code", flat=True))


@pytest.mark.parametrize("method", ["copy", "direct"])
def test_no_parent_is_made_for_a_record_that_its_other_fields_refuse(method):
    got = load_items(("A", "1"), ("B", "x"), ("C", "x"), ("C", "2"), method=method)
    assert [reject.record for reject in got.rejects] == [2, 3]
    assert {reject.field for reject in got.rejects} == {"qty"}
    assert codes() == ["A", "C"]


def test_a_parent_that_was_taken_back_is_made_again_for_the_next_batch():
    records = [{"vendor": "A", "qty": "-1"}, *({"vendor": "A", "qty": str(n)} for n in (1, 2))]
    batches = iter([pa.RecordBatch.from_pylist([record]) for record in records])
    reader = pa.RecordBatchReader.from_batches(
        pa.schema([("vendor", pa.string()), ("qty", pa.string())]), batches
    )
    layout = Layout(fields={"vendor": VENDOR, "qty": FieldLayout(column="qty")})
    assert load(Item, reader, layout=layout, on_error="reject").rows == 2
    assert set(Item.objects.values_list("vendor__code", flat=True)) == {"A"}
    assert codes() == ["A"]


@pytest.mark.parametrize("method", ["copy", "direct"])
def test_no_parent_is_left_of_records_that_postgresql_refuses(method):
    got = load_items(("A", "1"), ("B", "1"), ("C", "-1"), ("C", "2"), ("D", "-4"), method=method)
    assert [reject.record for reject in got.rejects] == [2, 3, 5]
    assert codes() == ["A", "C"]
    assert load_items(("B", "7"), ("D", "8")).rows == 2
    assert codes() == ["A", "B", "C", "D"]


def test_a_parent_that_was_taken_back_is_made_again_for_a_later_record():
    Vendor.objects.create(code="old")
    got = load_items(("A", "-1"), ("old", "2"), ("A", "3"), chunk_rows=1)
    assert (got.rows, got.rejected) == (2, 1)
    assert codes() == ["A", "old"]


def test_no_parent_is_left_of_a_record_that_clean_refuses():
    with transaction.atomic():  # clean() asks for the vendor over Django's connection
        got = load_items(("A", "13"), ("B", "2"), clean=True)
    [reject] = got.rejects
    assert "Vendor A has no 13" in reject.reason
    assert codes() == ["B"]


def test_a_parent_stays_that_another_foreign_key_uses():
    seller = FieldLayout(column="seller", lookup=("code",))
    load_items(("S", "1", None), fields={"seller": seller})
    Vendor.objects.all().update(code="T")
    fields = {"seller": FieldLayout(column="seller", lookup=("code",), create={})}
    got = load_items(("X", "-1", "X"), ("A", "2", "X"), ("Y", "-2", "Y"), fields=fields)
    assert [reject.record for reject in got.rejects] == [1, 3]
    assert codes() == ["A", "T", "X"]
    assert Item.objects.get(qty=2).seller.code == "X"


def test_a_parent_is_not_made_when_another_parent_cannot_be():
    fields = {"seller": FieldLayout(column="seller", lookup=("code",), create={})}
    got = load_items(("A", "1", "too long"), ("B", "2", "bad"), ("C", "3", "D"), fields=fields)
    assert [reject.record for reject in got.rejects] == [1, 2]
    assert all("it cannot make a vendor" in reject.reason.lower() for reject in got.rejects)
    assert codes() == ["C", "D"]


def test_what_a_parent_refers_to_is_made_only_with_it():
    region = {"constant": "north", "lookup": "code", "create": {}}
    fields = {"vendor": FieldLayout(column="vendor", lookup=("code",), create={"region": region})}
    load_items(("A", "x"), fields=fields)
    load_items(("A", "-1"), fields=fields)
    assert (codes(), codes(Region)) == ([], [])
    load_items(("A", "-1"), ("B", "1"), fields=fields)
    assert (codes(), codes(Region)) == (["B"], ["north"])


@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_the_parents_of_a_batch_are_made_by_one_statement(on_error):
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE made (rows bigint);
            CREATE FUNCTION note_made() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO made SELECT count(*) FROM new_rows; RETURN NULL; END $$;
            CREATE TRIGGER made AFTER INSERT ON layout_vendor
              REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION note_made()
            """
        )
        try:
            rows = [(f"V{place}", place + 1) for place in range(300)]
            assert load_items(*rows, on_error=on_error).rows == 300
            cursor.execute("SELECT rows FROM made")
            assert cursor.fetchall() == [(300,)]
        finally:
            cursor.execute("DROP TABLE made; DROP FUNCTION note_made CASCADE")


def test_a_parent_that_something_else_refers_to_is_kept():
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE followed (vendor bigint REFERENCES layout_vendor ON DELETE CASCADE);
            CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO followed VALUES (NEW.id); RETURN NULL; END $$;
            CREATE TRIGGER follow AFTER INSERT ON layout_vendor
              FOR EACH ROW EXECUTE FUNCTION follow()
            """
        )
        try:
            load_items(("A", "-1"), ("B", "1"))
            assert codes() == ["A", "B"]
        finally:
            cursor.execute("DROP TABLE followed; DROP FUNCTION follow CASCADE")


def test_a_parent_that_postgresql_will_not_delete_is_kept_and_named():
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'vendors stay'; END $$;
            CREATE TRIGGER keep BEFORE DELETE ON layout_vendor
              FOR EACH ROW EXECUTE FUNCTION keep()
            """
        )
        try:
            got = load_items(("A", "-1"), ("B", "1"))
            assert (got.rows, codes()) == (1, ["A", "B"])
            assert (
                "Parents: rows of layout.VendorProxy that were made for refused records are kept, "
                "because PostgreSQL refuses to delete them: vendors stay." in got.decisions
            )
        finally:
            cursor.execute("DROP FUNCTION keep CASCADE")


@pytest.mark.parametrize("seed", range(4))
def test_the_parents_are_those_of_the_rows_that_are_in(seed):
    random = Random(seed)
    Vendor.objects.bulk_create(Vendor(code=f"V{number}") for number in range(0, 9, 4))
    before = set(codes())
    keys = [f"V{number}" for number in range(9)] + ["bad", "too long", ""]
    rows = [
        (random.choice(keys), random.choice(["x", "-1", *map(str, range(1, 20))]), seller)
        for seller in random.choices([*keys, None], k=40)
    ]
    got = load_items(
        *rows,
        fields={"seller": FieldLayout(column="seller", lookup=("code",), create={})},
        chunk_rows=random.choice([None, 1, 3, 7]),
        method=random.choice(["copy", "direct"]),
    )
    used = set(Item.objects.values_list("vendor__code", flat=True))
    used |= set(Item.objects.exclude(seller=None).values_list("seller__code", flat=True))
    assert got.rejected
    assert set(codes()) == before | used
    refused = {reject.record for reject in got.rejects}
    taken = set()
    for record, (vendor, qty, seller) in enumerate(rows, 1):
        is_good = (
            qty.isdigit()
            and qty not in taken
            and vendor.startswith("V")
            and (not seller or seller.startswith("V"))
        )
        taken |= {qty} if is_good else set()
        assert (record not in refused) == is_good, record


def test_a_multi_table_parent_is_looked_up_by_what_it_inherits():
    importer = Importer.objects.create(code="I1", port="Oslo")
    fields = {"importer": FieldLayout(column="seller", lookup=("code",))}
    got = load_items(("A", "1", "I1"), ("A", "2", "A"), fields=fields)
    assert Item.objects.get().importer == importer
    [reject] = got.rejects  # a vendor, and no importer
    assert reject.reason == "There is no importer with code 'A'."


def test_a_multi_table_parent_is_not_made():
    fields = {"importer": FieldLayout(column="seller", lookup=("code",), create={"port": "Oslo"})}
    with pytest.raises(LayoutError, match=r"fields in the table of layout\.Vendor: take 'create'"):
        load_items(("A", "1", "I1"), fields=fields)


def test_many_to_many_names_the_model_that_takes_the_rows():
    with pytest.raises(LayoutError, match=r"a many-to-many field.* and load layout\.Item_tags"):
        load(Item, [{"vendor_id": 1, "qty": 1, "tags": "a"}])


def load_tree(*rows, create=None, model=Node, **options):
    parent = FieldLayout(column="parent", lookup=("name",), create=create)
    layout = Layout(fields={"name": FieldLayout(column="name"), "parent": parent})
    records = [dict(zip(("name", "parent"), row, strict=True)) for row in rows]
    return load(model, records, layout=layout, **options)


def tree():
    return dict(Node.objects.values_list("name", "parent__name"))


@pytest.mark.parametrize("method", ["copy", "direct"])
@pytest.mark.parametrize("on_error", ["abort", "reject"])
def test_a_parent_is_an_earlier_record_of_the_same_file(method, on_error):
    rows = [("root", ""), ("kid", "root"), ("baby", "kid"), ("other", ""), ("two", "root")]
    got = load_tree(*rows, method=method, on_error=on_error)
    assert (got.read, got.rows) == (5, 5)
    assert tree() == {name: parent or None for name, parent in rows}


def test_a_chain_and_chunks_of_a_tree():
    rows = [("n0", ""), *((f"n{at}", f"n{at - 1}") for at in range(1, 30))]
    assert load_tree(*rows, chunk_rows=7).rows == 30
    assert tree() == {name: parent or None for name, parent in rows}


def test_a_parent_that_comes_later_is_refused_with_the_cure():
    got = load_tree(("kid", "root"), ("root", ""), ("baby", "kid"), on_error="reject")
    assert [(reject.record, reject.kind) for reject in got.rejects] == [
        (1, "reference"),
        (3, "reference"),
    ]
    assert next(iter(got.rejects)).reason == (
        "There is no node with name 'root'. Neither the table nor an earlier record has it: "
        "put parents first."
    )
    assert tree() == {"root": None}


def test_children_of_a_refused_record_are_refused():
    Node.objects.create(name="old")
    got = load_tree(
        ("much too long a name", "old"),
        ("a", "much too long a name"),
        ("old", ""),
        ("b", "old"),
        on_error="reject",
    )
    assert [reject.record for reject in got.rejects] == [1, 2, 3]
    assert tree() == {"old": None, "b": "old"}


def test_missing_parents_of_a_tree_are_made():
    got = load_tree(("a", "made"), ("b", "a"), ("c", "made"), ("d", "b"), create={})
    assert got.rows == 4
    assert tree() == {"made": None, "a": "made", "b": "a", "c": "made", "d": "b"}


def test_a_preview_does_not_refuse_children_of_earlier_records():
    parent = FieldLayout(column="parent", lookup=("name",))
    layout = Layout(fields={"name": FieldLayout(column="name"), "parent": parent})
    records = [{"name": "root", "parent": ""}, {"name": "kid", "parent": "root"}]
    got = preview(Node, records, layout=layout)
    assert (got.records, got.rejects) == ((1, 2), ())

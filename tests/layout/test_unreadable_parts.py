"""Values that a layout cannot read or look up are refused, with the column and the value named."""

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from ingest import RecordsRefused, load
from ingest.layout import FieldLayout, Layout, Sign

pytestmark = pytest.mark.django_db(transaction=True)
BAD = b"\xff"
WHY = "Byte 0xFF is not valid in the source's encoding: specify the file's encoding"


@pytest.fixture
def made():
    """A parent with keys of several types, and a child."""
    with isolate_apps("tests.layout"):

        class Held(models.Model):  # noqa: DJ008
            small = models.SmallIntegerField(default=1)
            number = models.IntegerField(default=1)
            big = models.BigIntegerField(default=1)
            real = models.FloatField(default=1)
            exact = models.DecimalField(max_digits=9, decimal_places=2, default=1)
            day = models.DateField(default="2024-01-01")
            key = models.UUIDField(default="0f8fad5b-d9cb-469f-a165-70867728950e")
            text = models.TextField(default="a")
            odd = models.CharField(max_length=40, default="1")

            class Meta:
                app_label = "layout"

        class Holder(models.Model):  # noqa: DJ008
            par = models.ForeignKey(Held, models.CASCADE, null=True, blank=True)
            name = models.TextField(blank=True)
            amount = models.DecimalField(max_digits=9, decimal_places=2, default=0)

            class Meta:
                app_label = "layout"

        with connection.schema_editor() as editor:
            editor.create_model(Held)
            editor.create_model(Holder)
            editor.execute(
                f'ALTER TABLE "{Held._meta.db_table}" ALTER odd TYPE smallint USING odd::smallint'
            )
        yield Held, Holder
        with connection.schema_editor() as editor:
            editor.delete_model(Holder)
            editor.delete_model(Held)


def rejects(got):
    return [(item.record, item.field, item.reason.rstrip(".")) for item in got.rejects]


def load_bytes(model, folder, lines, **options):
    path = folder / "rows.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return load(model, path, encoding="utf-8", on_error="reject", **options)


def test_bytes_of_a_natural_key(made, tmp_path):
    held, holder = made
    held.objects.create(text="a", number=1)
    got = load_bytes(holder, tmp_path, [b"par__text", b"a", BAD, b"a"])
    assert (got.rows, rejects(got)) == (2, [(2, "par", WHY)])
    assert [item.column for item in got.rejects] == ["par__text"]
    for create in (None, {}):
        said = FieldLayout(columns=("a", "b"), lookup=("text", "number"), create=create)
        lines = [b"a,b", b"a,1", BAD + b",1", b"a," + BAD]
        got = load_bytes(holder, tmp_path, lines, layout=Layout(fields={"par": said}))
        assert (got.rows, rejects(got)) == (1, [(2, "par", WHY), (3, "par", WHY)])
    assert (held.objects.count(), holder.objects.filter(par=None).count()) == (1, 0)


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"name": FieldLayout(columns=("a", "b"))}, "name"),
        ({"name": FieldLayout(column="a", pattern="(.+)", strip=True)}, "name"),
        ({"amount": FieldLayout(debit="a", credit="b")}, "amount"),
        ({"amount": FieldLayout(debit="b", credit="a")}, "amount"),
        ({"amount": FieldLayout(debit="a", default="3")}, "amount"),
        ({"amount": FieldLayout(column="b", sign=Sign(column="a", negative=("1",)))}, "amount"),
        ({"amount": FieldLayout(column="a", decimal=",")}, "amount"),
    ],
)
def test_bytes_of_other_fields(made, tmp_path, fields, want):
    _, holder = made
    lines = [b"a,b", b"1,", BAD + b",5"]
    if fields.get("amount") and fields["amount"].sign:
        lines[1] = b"1,2"
    got = load_bytes(holder, tmp_path, lines, layout=Layout(fields=fields))
    assert (got.rows, rejects(got)) == (1, [(2, want, WHY)])


def test_half_surrogate_pairs(made):
    held, holder = made
    held.objects.create(text="a")
    records = [{"par__text": "a"}, {"par__text": "\udc80"}]
    got = load(holder, records, on_error="reject")
    assert (got.rows, [item.record for item in got.rejects]) == (1, [2])
    [reject] = got.rejects
    assert "a lone surrogate" in reject.reason.lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("small", 40_000),
        ("number", 99_999_999_999),
        ("number", -(2**31) - 1),
        ("big", 2**63),
        ("exact", "1E+200000"),
        ("real", "1e999"),
        ("day", "2024-02-30"),
        ("key", "x"),
        ("text", "\0"),
        ("odd", "40000"),
        ("odd", "x"),
    ],
)
def test_natural_keys_that_the_column_cannot_hold(made, name, value):
    held, holder = made
    parent = held.objects.create()
    good = str(getattr(held.objects.get(), name))
    records = [{f"par__{name}": good}, {f"par__{name}": str(value)}, {f"par__{name}": good}]
    got = load(holder, records, on_error="reject")
    assert [item.record for item in got.rejects] == [2]
    assert list(holder.objects.values_list("par", flat=True)) == [parent.pk] * 2
    [reject] = got.rejects
    assert (reject.column, reject.value) == (f"par__{name}", str(value))
    assert reject.reason.startswith("There is no held with")
    with pytest.raises(RecordsRefused, match=f"(?s)2.*par__{name}"):
        load(holder, records, on_repeat="warn")


def test_several_columns_that_cannot_hold_their_values(made):
    held, holder = made
    held.objects.create()
    said = FieldLayout(columns=("a", "b"), lookup=("number", "odd"))
    rows = [("1", "1"), ("1", "70000"), ("99999999999", "1"), ("1", "x"), ("1", "1")]
    records = [{"a": a, "b": b} for a, b in rows]
    got = load(holder, records, layout=Layout(fields={"par": said}), on_error="reject")
    assert (got.rows, [item.record for item in got.rejects]) == (2, [2, 3, 4])


@pytest.mark.parametrize("text", ["\x1f", "a\x1fb", "\x1b", "\x1bs", "\x1be\x1f", "\x1f\x1b\x1f"])
def test_separators_within_natural_keys(made, text):
    held, holder = made
    one, other = held.objects.create(text=text), held.objects.create(text="a", number=2)
    load(holder, [{"par__text": text}, {"par__text": "a"}])
    said = FieldLayout(columns=("a", "b"), lookup=("text", "number"))
    records = [{"a": text, "b": "1"}, {"a": "a", "b": "2"}]
    load(holder, records, layout=Layout(fields={"par": said}))
    pks = holder.objects.order_by("pk").values_list("par", flat=True)
    assert list(pks) == [one.pk, other.pk] * 2
    got = load(holder, [{"par__text": text + "\x1fz"}], on_error="reject")
    assert got.rejected == 1

"""Every method stores, for every model, what the ORM's `save()` stores."""

import datetime as dt
import math
import re

import pytest
from django.apps import apps
from django.contrib.postgres import fields as postgres
from django.contrib.postgres import search
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, models
from django.utils import timezone

from ingest.benchmark.methods import method_names
from ingest.exceptions import ConfigurationError, ConstraintRefused, IngestError
from ingest.plurals import counted
from tests.end_to_end.contract.cases import CASES, Case
from tests.end_to_end.contract.models import (
    defaults,
    inheritance,
    keys,
    moments,
    names,
    numbers,
    texts,
)
from tests.end_to_end.contract.models.base import Sample
from tests.end_to_end.contract.refused import REFUSED
from tests.end_to_end.contract.writing import (
    differences,
    has_table,
    is_same,
    rows_removed,
    saved,
    stored,
    stored_by_save,
    written,
)

BAD = (IngestError, DatabaseError, ValueError, TypeError, ValidationError)


# With no app available Django empties no table after a test (0.2 s each): each empties its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("few_rows_too")]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_save_stores_what_it_is_given(case):
    if not has_table(case.model):
        pytest.skip("This PostgreSQL has no hstore.")
    parents = case.parents()
    with rows_removed(case.model, *{type(parent) for parent in parents}):
        values, _ = stored_by_save(case)
        assert len(values) == len(case.rows)
        for place, field in enumerate(case.fields):
            if field.name in case.altered:
                continue
            left = [row[place] for row in values]
            for row in case.rows:
                match = next((got for got in left if is_same(row[place], got)), left)
                assert match is not left, f"{field.name}: {row[place]!r} is not in {left!r}"


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", method_names())
def test_method_stores_what_save_stores(name, case):
    if not has_table(case.model):
        pytest.skip("This PostgreSQL has no hstore.")
    if name in REFUSED.get(str(case), {}):
        pytest.skip("It refuses the model: see the next test.")
    parents = case.parents()
    with rows_removed(case.model, *{type(parent) for parent in parents}):
        want_values, want_text = stored_by_save(case)
        assert written(name, case.model, case.fields, iter(case.rows)) == len(case.rows)
        got_values, got_text = stored(case.model, case.fields)
        assert differences(case.fields, got_text, want_text) == []
        # repr() tells apart what == does not: 1.50 and 1.5, 0.0 and -0.0, True and 1.
        assert differences(case.fields, got_values, want_values, repr) == []


@pytest.mark.parametrize(
    ("name", "label"), [(name, label) for label, names in REFUSED.items() for name in names]
)
def test_method_says_which_model_it_cannot_write(name, label):
    [case] = [case for case in CASES if str(case) == label]
    with rows_removed(case.model), pytest.raises(ConfigurationError) as caught:
        written(name, case.model, case.fields, unread())
    assert str(caught.value) == REFUSED[label][name].format(name=name)


def unread():
    pytest.fail("A row was read.")
    yield


@pytest.mark.parametrize("name", method_names())
def test_columns_not_given_get_what_the_orm_gives(name):
    model = defaults.Preset
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    rows = [("Ä",), ("b",), ("C",)]
    with rows_removed(model):
        start, first_ticket = timezone.now(), next(defaults.tickets)
        saved(model, [model._meta.get_field("name")], rows)
        want, end = list(model.objects.order_by("pk")), timezone.now()
        model.objects.all().delete()
        assert written(name, model, [model._meta.get_field("name")], iter(rows)) == len(rows)
        got, later = list(model.objects.order_by("pk")), timezone.now()
    moving = {"ticket", "token", "added_at", "changed_at", "changed_time", "moment_from_database"}
    for got_row, want_row in zip(got, want, strict=True):
        for field in fields:
            if field.name not in moving:
                assert getattr(got_row, field.name) == getattr(want_row, field.name), field.name
    assert [row.ticket - first_ticket for row in [*want, *got]] == [1, 2, 3, 4, 5, 6]
    assert len({row.token for row in [*want, *got]}) == 6
    for instances, least, most in ((want, start, end), (got, end, later)):
        for row in instances:
            assert least <= row.added_at <= most
            assert least <= row.changed_at <= most
            assert least <= row.moment_from_database <= most
            if least.date() == most.date():
                assert least.time() <= row.changed_time <= most.time()


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize(
    "model", [keys.UniversalKey, keys.NormalKey], ids=lambda model: model.__name__
)
def test_a_key_that_is_not_given_is_made(name, model):
    with rows_removed(model):
        assert written(name, model, [model._meta.get_field("name")], [("a",), ("b",)]) == 2
        assert sorted(model.objects.values_list("name", flat=True)) == ["a", "b"]
        assert len(set(model.objects.values_list("pk", flat=True))) == 2


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize("made", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_no_rows_are_nothing_to_write(name, made):
    model = texts.Text
    assert written(name, model, model._meta.concrete_fields, made(())) == 0
    assert model.objects.count() == 0


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize("row", [("b",), ("b", 1, 2), ()], ids=len)
def test_a_row_of_the_wrong_length_is_named(name, row):
    model = inheritance.Unmanaged
    fields = [model._meta.get_field("name"), model._meta.get_field("position")]
    with rows_removed(model):
        with pytest.raises(
            ValueError,
            match=re.escape(
                f"Row 2 has {counted(len(row), 'value')} for 2 fields: name, position."
            ),
        ):
            written(name, model, fields, iter([("a", 1), row, ("c", 3)]))
        assert model.objects.count() == 0


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize(
    ("position", "text"),
    [
        ("five", "b"),
        (2**31, "b"),
        (-(2**31) - 1, "b"),
        (1.5j, "b"),
        (None, "b"),
        (1, "b"),
        (2, "nul\0"),
        (2, "half a pair \ud800"),
    ],
    ids=ascii,
)
def test_a_bad_value_leaves_nothing_written(name, position, text):
    model = inheritance.Unmanaged
    fields = [model._meta.get_field("position"), model._meta.get_field("name")]
    with rows_removed(model):
        with pytest.raises(BAD):
            written(name, model, fields, iter([(1, "a"), (position, text), (3, "c")]))
        assert model.objects.count() == 0


@pytest.mark.parametrize("name", method_names())
def test_a_missing_parent_leaves_nothing_written(name):
    model = names.Foreign
    fields = [model._meta.get_field("name"), model._meta.get_field("reserved")]
    with rows_removed(model):
        with pytest.raises((ConstraintRefused, IntegrityError)):
            written(name, model, fields, [("a", None), ("b", 404)])
        assert model.objects.count() == 0


@pytest.mark.parametrize("name", method_names())
@pytest.mark.parametrize("zone", [None, dt.UTC], ids=["naive", "aware"])
def test_moments_are_in_the_settings_time_zone(name, zone, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    settings.USE_TZ = False
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=zone)
    case = Case(model=moments.Instant, values={"moment": [moment, moment], "old_moment": [moment]})
    with rows_removed(case.model):
        want = stored_by_save(case)
        assert written(name, case.model, case.fields, case.rows) == 2
        assert stored(case.model, case.fields) == want


@pytest.mark.parametrize("name", ["insert", "executemany", "copy"])
def test_negative_zero_keeps_its_sign(name):
    """But not by `save()`: there PostgreSQL reads -0.0 as a numeric, which has no such zero."""
    model = numbers.Zero
    with rows_removed(model):
        written(name, model, [model._meta.get_field("binary")], [(-0.0,)])
        assert math.copysign(1, model.objects.get().binary) == -1


NOT_COLUMNS = {
    *(models.Field, models.ForeignObject, models.ManyToManyField),
    *(models.IPAddressField, models.NullBooleanField, models.CommaSeparatedIntegerField),
    *(postgres.RangeField, postgres.JSONField),
    *(postgres.CICharField, postgres.CIEmailField, postgres.CITextField),
    *(search.SearchQueryField, search._Float4Field),
}
"""Bases, fields without a column, outputs of functions, and what Django has done away with."""


def test_every_field_is_in_some_model():
    used = {type(field) for model in concrete(Sample) for field in model._meta.local_fields}
    known = {
        kind
        for module in (models, postgres, search)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, models.Field)
    }
    assert known - used - NOT_COLUMNS == set()


def concrete(base):
    """Yield the models of the app; other tests have some of their own, in isolated registries."""
    for model in base.__subclasses__():
        if model._meta.apps is apps:
            yield model
        yield from concrete(model)


def test_every_model_has_a_case():
    without_rows = {"Dated", "Instant", "Zero"}
    want = {model.__name__ for model in concrete(Sample)} - without_rows
    assert {str(case) for case in CASES} == want

"""Who refers to rows: every kind of relation that a model can have."""

import pytest
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test.utils import isolate_apps

from ingest.exceptions import LedgerError
from ingest.ledger.ownership import ROW, RowSet
from ingest.ledger.referrers import find_referrers
from ingest.ledger.undo import undo
from tests.end_to_end.contract.models.inheritance import Place, PlaceProxy, Restaurant
from tests.end_to_end.contract.models.relations import Branch, Link, Owner
from tests.ledger.recorded_loads import record_load

pytestmark = pytest.mark.django_db


def told(model, *keys):
    column = model._meta.pk.column
    rows = RowSet(
        model=model,
        using="default",
        table=f'"{model._meta.db_table}"',
        where=f'{ROW}."{column}"::text = ANY (%s::text[])',
        parameters=([str(key) for key in keys],),
    )
    return [str(found) for found in find_referrers(rows)]


def test_a_row_without_referrers_has_none():
    owner = Owner.objects.create(code="a")
    assert told(Owner, owner.pk) == []
    assert told(Owner) == []


def test_each_relation_is_named_even_without_a_constraint_or_a_name_of_its_own():
    owners = [Owner.objects.create(code=code) for code in "abcde"]
    link = Link.objects.create(
        owner=owners[0], owner_or_null=None, by_code=owners[1], only=owners[2], loose=owners[3]
    )
    for owner, by in zip(owners, ("owner", "by_code", "only", "loose"), strict=False):
        want = f"1 of contract.Link by {by} (it is contract.Link {link.pk})"
        assert told(Owner, owner.pk) == [want]
    assert told(Owner, owners[4].pk) == []


def test_a_tree_may_refer_to_itself_but_not_from_outside():
    root = Branch.objects.create(number=1)
    leaf = Branch.objects.create(number=2, parent=root)
    assert told(Branch, root.pk, leaf.pk) == []
    want = [f"1 of contract.Branch by parent (it is contract.Branch {leaf.pk})"]
    assert told(Branch, root.pk) == want
    undo(record_load(Branch, [root, leaf], as_list=True).pk)
    assert not Branch.objects.exists()


def test_the_row_of_a_child_refers_to_its_parents():
    place = Restaurant.objects.create(stars=1)
    want = [f"1 of contract.Restaurant by place_ptr (it is contract.Restaurant {place.pk})"]
    assert told(Place, place.pk) == want
    assert told(PlaceProxy, place.pk) == want
    assert told(Restaurant, place.pk) == []


@pytest.fixture
def no_content_types():
    """Forget those of other tests, and those of models that only this test has."""
    ContentType.objects.clear_cache()
    yield
    ContentType.objects.clear_cache()


@pytest.mark.parametrize("kind", [models.IntegerField, models.TextField])
@isolate_apps("tests.end_to_end.contract")
def test_a_generic_relation_refers_to_the_row_of_its_kind_and_key(no_content_types, kind):
    class Note(models.Model):
        content_type = models.ForeignKey(ContentType, models.CASCADE, related_name="+")
        object_id = kind()
        about = GenericForeignKey()

        class Meta:
            app_label = "contract"

        def __str__(self):
            return str(self.pk)

    class Noted(models.Model):
        notes = GenericRelation(Note)

        class Meta:
            app_label = "contract"

        def __str__(self):
            return str(self.pk)

    with connection.schema_editor() as editor:
        editor.create_model(Note)
        editor.create_model(Noted)
    first, second = Noted.objects.create(), Noted.objects.create()
    note = Note.objects.create(about=second)
    Note.objects.create(content_type=ContentType.objects.get_for_model(Owner), object_id=first.pk)
    assert told(Noted, first.pk) == []
    want = [f"1 of contract.Note by object_id (it is contract.Note {note.pk})"]
    assert told(Noted, second.pk) == want


def test_only_the_childs_own_table_is_undone():
    restaurant = Restaurant.objects.create(stars=1)
    load = record_load(Restaurant, [restaurant], as_list=True)
    assert undo(load.pk).deleted == 1
    assert Place.objects.count() == 1
    with pytest.raises(LedgerError, match="undone already"):
        undo(load.pk)

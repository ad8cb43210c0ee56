"""For every model, a preview shows what the ORM reads of the rows that `save()` stored."""

import pytest

from ingest import preview
from tests.end_to_end.contract.cases import CASES
from tests.end_to_end.contract.writing import has_table, is_same, rows_removed, stored_by_save

pytestmark = pytest.mark.django_db(transaction=True)

OTHER_FORM = {
    *("Vector", "Array", "Exotic", "Span", "Shout", "Custom", "Contact", "Literal"),
    *("PlaceProxy", "Quoted", "Station", "Restaurant"),
}
"""Values that PostgreSQL brings into another form, or the ORM when it reads them; and models of
several tables, of no field's own name, or with an order of their rows."""
SAME_FORM = [case for case in CASES if str(case) not in OTHER_FORM]


@pytest.mark.parametrize("case", SAME_FORM, ids=str)
def test_every_type_is_shown_as_it_is_stored(case):
    if not has_table(case.model):
        pytest.skip("This PostgreSQL has no hstore.")
    parents = case.parents()
    local = [field for field in case.fields if field in case.model._meta.local_concrete_fields]
    with rows_removed(case.model, *{type(parent) for parent in parents}):
        stored, _ = stored_by_save(case)
        rows = [
            tuple(value for field, value in zip(case.fields, row, strict=True) if field in local)
            for row in case.rows
        ]
        names = [field.attname for field in local]
        shown = preview(case.model, rows, columns=names, rows=len(rows))
    assert shown.rejects == ()
    for field in local:
        place = shown.columns.index(field.column)
        left = [row[case.fields.index(field)] for row in stored]
        for row in shown.rows:
            match = next((value for value in left if is_same(row[place], value)), left)
            assert match is not left, f"{field.name}: {row[place]!r} is not in {left!r}"

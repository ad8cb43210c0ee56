"""The conversion accepts, stores and says what the ORM does, for every field and kind of input."""

import pytest
from django.contrib.postgres.fields import HStoreField
from django.db import connection
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from tests.conversion.cells import cells_for
from tests.conversion.conftest import COUNTS
from tests.conversion.families import FAMILIES
from tests.conversion.paired_tables import Twins

# With no app available Django empties no table after a test.
pytestmark = pytest.mark.django_db(transaction=True)
JUDGED_BY_POSTGRESQL = {"custom type", "search vector"}


def has_type(field):
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regtype(%s)", [field.db_type(connection).partition("(")[0]])
        return cursor.fetchone()[0] is not None


# Hypothesis warns of its own long lists of borders where it has to describe them.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_conversion_is_what_the_orm_does(family, temporary_tables):
    if isinstance(next(iter(family.fields.values())), HStoreField) and not has_type(HStoreField()):
        pytest.skip("This PostgreSQL has no hstore.")
    with override_settings(**family.settings):
        twins = [Twins(model, family.name in JUDGED_BY_POSTGRESQL) for model in family.models]

        @given(st.sampled_from(twins), cells_for(family))
        def compare(twin, cells):
            COUNTS["examples"] += 1
            COUNTS["cells"] += len(cells.column)
            assert twin.compare(cells) == []

        compare()

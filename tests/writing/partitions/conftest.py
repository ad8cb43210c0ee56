import pytest

from tests.writing.conflicts.tables import SCHEMA
from tests.writing.schemas import fresh_schema


@pytest.fixture
def schema(transactional_db):
    with fresh_schema(SCHEMA):
        yield

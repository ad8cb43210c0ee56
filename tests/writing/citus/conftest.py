import pytest

from tests.citus_catalog import citus_catalog


@pytest.fixture
def distribute(transactional_db):
    with citus_catalog() as distribute:
        yield distribute

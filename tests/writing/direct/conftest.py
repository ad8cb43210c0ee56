import pytest

from tests.writing.direct.scenarios import MORE
from tests.writing.direct.tables import PARENT_AND_CHILD, ROLE, SCHEMA, run
from tests.writing.schemas import fresh_schema


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/writing/direct/" in str(item.path):
            item.add_marker(pytest.mark.django_db(transaction=True))


@pytest.fixture(autouse=True)
def always_few_rows_too(few_rows_too):
    pass


@pytest.fixture
def schema(transactional_db):
    with fresh_schema(SCHEMA):
        yield


@pytest.fixture
def tables(schema):
    run(PARENT_AND_CHILD)


@pytest.fixture
def role(tables):
    run(f"CREATE ROLE {ROLE}; GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {ROLE}")
    yield ROLE
    run(f"REASSIGN OWNED BY {ROLE} TO CURRENT_USER; DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


@pytest.fixture
def database_wide(tables):
    """For what belongs to the whole database, and not to the test's schema."""
    yield
    run("DROP FOREIGN DATA WRAPPER IF EXISTS far CASCADE; DROP PUBLICATION IF EXISTS direct_test")


@pytest.fixture
def one_row_each(monkeypatch):
    monkeypatch.setattr("ingest.sources.records.BATCH_ROWS", 1)
    monkeypatch.setattr("ingest.writing.foreign_keys.PATIENCE_SECONDS", 0.3)


@pytest.fixture
def more_tables(tables):
    run(MORE)

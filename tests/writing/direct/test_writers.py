"""What a writer yields, and when."""

from contextlib import closing

import pytest

from ingest import ConstraintRefused
from ingest.benchmark.methods.copying import CopyMethod, DirectMethod
from ingest.postgres.session import open_session
from ingest.sources import SourceOptions, open_source
from ingest.writing.primary_keys import PrimaryKeys
from tests.writing.direct.tables import ask, make_model, run, target_of

pytestmark = pytest.mark.usefixtures("tables", "one_row_each")


def write(method, rows, *, looks_back=False, meanwhile=None):
    """Write a row to a batch; give what happens, in order."""
    target, events = method.target, []
    columns = tuple(field.attname for field in target.fields)
    converter = target.converter()

    def batches(source):
        for number, batch in enumerate(source.batches(), 1):
            events.append(f"make {number}")
            if meanwhile is not None:
                meanwhile(session)
            yield converter.convert(batch)

    with (
        open_session("default") as session,
        open_source(rows, SourceOptions(columns=columns)) as source,
        session.transaction(),
    ):
        session.looks_back = looks_back
        keys = PrimaryKeys(session, target.table, target.model, converter.encoding, purpose="none")
        with closing(method.make_writer().write(session, keys, batches(source))) as results:
            for result in results:
                # The connection is free.
                [(count,)] = session.fetch(f"SELECT count(*) FROM {target.table.qualified_name}")
                events.append(
                    f"{result.inserted} row of {list(result.batch.records)}, {count} in all"
                )
    return events


@pytest.mark.parametrize("method", [CopyMethod, DirectMethod])
@pytest.mark.parametrize(
    ("looks_back", "want"),
    [
        (
            False,
            [
                *("make 1", "make 2", "1 row of [1], 1 in all"),
                *("make 3", "1 row of [2], 2 in all", "1 row of [3], 3 in all"),
            ],
        ),
        (
            True,
            [
                *("make 1", "1 row of [1], 1 in all", "make 2", "1 row of [2], 2 in all"),
                *("make 3", "1 row of [3], 3 in all"),
            ],
        ),
    ],
)
def test_one_result_for_each_batch_in_order(method, looks_back, want):
    rows = [(1, "a"), (2, "b"), (3, "c")]
    got = write(method(target_of(make_model())), rows, looks_back=looks_back)
    assert got == want
    assert ask("SELECT parent_id, note FROM direct_test.child ORDER BY id") == rows


def test_who_waits_for_a_copy_hears_which_record_was_refused():
    run("CREATE UNIQUE INDEX ON direct_test.child (note)")
    method = CopyMethod(target_of(make_model()))
    with pytest.raises(
        ConstraintRefused,
        match=r"^PostgreSQL refused list, record 2, column 'note': 'a': duplicate key",
    ):
        write(method, [(1, "a"), (2, "a"), (3, "b")], meanwhile=lambda session: session.settle())
    assert ask("SELECT count(*) FROM direct_test.child") == [(0,)]

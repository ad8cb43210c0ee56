"""A refusal is told, and nothing of its batch is kept until the garbage is collected."""

import gc
import weakref

import pytest
from django.db import transaction

from finance.models import Transaction
from ingest.conversion import Converter
from ingest.postgres.session import open_session
from ingest.sources import Batch
from tests.whole_table import whole_table


class Cells(list):
    """A list that can be watched."""


@pytest.fixture
def converter(db):
    with transaction.atomic(), open_session("default") as session:
        table = whole_table(session, Transaction)
    names = ("user", "account", "amount", "tx_date")
    fields = [Transaction._meta.get_field(name) for name in names]
    return Converter(table=table, fields=fields, alias="default", context=None)


@pytest.mark.parametrize("bad", ["x", None, "12345678901", "NaN"])
def test_a_refused_batch_is_let_go_of(converter, bad):
    converter.convert(batch_of("1"))  # what is made once is made
    gc.collect()
    gc.disable()
    try:
        cells = batch_of(bad)
        watched = weakref.ref(cells.columns[0])
        typed = converter.convert(cells)
        assert [reject.field for reject in typed.rejects] == ["amount"]
        del cells, typed
        assert watched() is None
    finally:
        gc.enable()


def batch_of(amount):
    columns = ([1], [1], [amount], ["2025-01-01"])
    return Batch(source="rows", records=range(1, 2), columns=tuple(map(Cells, columns)))

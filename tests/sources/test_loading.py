"""Sources are loaded into a real table."""

import asyncio
import gzip
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest

from finance.models import Transaction
from ingest import RecordsRefused, aload, load
from tests.factories import AccountFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def account():
    return AccountFactory()


def rows(account, *amounts):
    return [
        {
            "user_id": account.user_id,
            "account_id": account.pk,
            "amount": amount,
            "description": "x",
            "tx_date": "2026-01-02",
        }
        for amount in amounts
    ]


def stored():
    return list(Transaction.objects.order_by("pk").values_list("amount", flat=True))


def test_json_lines_keep_their_digits(account, tmp_path):
    path = tmp_path / "file.jsonl.gz"
    line = str(rows(account, "AMOUNT")[0]).replace("'AMOUNT'", "%s").replace("'", '"')
    path.write_bytes(gzip.compress(f"{line % '9999999999.99'}\n{line % '0.10'}\n".encode()))
    load(Transaction, path)
    assert stored() == [Decimal("9999999999.99"), Decimal("0.10")]


def test_a_parquet_file_is_loaded(account, tmp_path):
    path = tmp_path / "file.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows(account, Decimal("1.50"))), path)
    assert load(Transaction, path).rows == 1
    assert stored() == [Decimal("1.50")]


def test_several_files(account, tmp_path):
    for name, amounts in (("a", [1, 2]), ("b", [3])):
        lines = [",".join(map(str, row.values())) for row in rows(account, *amounts)]
        (tmp_path / f"{name}.csv").write_text("\n".join([",".join(rows(account, 0)[0]), *lines]))
    assert load(Transaction, str(tmp_path / "*.csv")).rows == 3
    assert stored() == [1, 2, 3]


async def _generate(account, amounts):
    for row in rows(account, *amounts):
        await asyncio.sleep(0)
        yield row


def test_an_asynchronous_generator(account):
    assert asyncio.run(aload(Transaction, _generate(account, [1, 2]))).rows == 2
    assert load(Transaction, _generate(account, [3])).rows == 1
    assert stored() == [1, 2, 3]


def test_misfits_and_refused_values_in_one_load(account):
    bad = rows(account, 1, "x", 2)
    bad[2].pop("amount")
    with pytest.raises(RecordsRefused) as caught:
        load(Transaction, bad)
    assert [(reject.record, reject.kind) for reject in caught.value.rejects] == [
        (2, "value"),
        (3, "parse"),
    ]
    assert stored() == []

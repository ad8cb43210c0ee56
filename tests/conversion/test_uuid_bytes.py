"""UUIDs that come as their 16 bytes, as polars and Arrow without its extension type have them."""

import uuid

import polars as pl
import pyarrow as pa
import pytest

from ingest import load
from tests.end_to_end.contract.models.arrays import Array
from tests.end_to_end.contract.models.structures import Identifier

pytestmark = pytest.mark.django_db
KEYS = [uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e"), uuid.UUID(int=5)]
RAW = [key.bytes for key in KEYS]


@pytest.mark.parametrize(
    "given",
    [
        [{"number": RAW[0], "number_or_null": None}, {"number": RAW[1], "number_or_null": RAW[0]}],
        [
            {"number": KEYS[0], "number_or_null": None},
            {"number": bytearray(RAW[1]), "number_or_null": memoryview(RAW[0])},
        ],
        pl.DataFrame({"number": RAW, "number_or_null": [None, RAW[0]]}),
        pa.table({"number": pa.array(RAW, pa.binary(16)), "number_or_null": [None, RAW[0]]}),
        pa.table(
            {
                "number": pa.array(RAW, pa.binary(16)).cast(pa.uuid()),
                "number_or_null": [None, RAW[0]],
            }
        ),
    ],
    ids=["dicts", "dicts of several types", "polars", "bytes of Arrow", "UUIDs of Arrow"],
)
def test_they_are_stored(given):
    load(Identifier, given)
    stored = Identifier.objects.order_by("id").values_list("number", "number_or_null")
    assert list(stored) == [(KEYS[0], None), (KEYS[1], KEYS[0])]


def test_they_are_stored_in_lists():
    names = ["integers", "bigs", "floats", "flags", "texts", "labels", "prices", "days", "moments"]
    names += ["lengths", "contents", "addresses", "documents", "spans", "amounts", "board", "cube"]
    others: dict[str, list] = {name: [] for name in names}
    load(Array, [{**others, "numbers": given} for given in (RAW, tuple(RAW))])
    assert list(Array.objects.values_list("numbers", flat=True)) == [KEYS, KEYS]


def test_another_number_of_bytes_is_refused():
    given = [{"number": RAW[0]}, {"number": b"abc"}]
    result = load(Identifier, given, on_error="reject")
    [reject] = result.rejects
    assert (reject.record, reject.column) == (2, "number")
    assert reject.reason == "A UUID has 16 bytes, and not 3."
    assert Identifier.objects.get().number == KEYS[0]

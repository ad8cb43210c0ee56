import asyncio
import dataclasses
import sqlite3
import threading
from collections import defaultdict, namedtuple
from contextlib import closing
from types import MappingProxyType

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Value
from django.db.models.functions import Lower

from finance.models import Account
from ingest import load
from ingest.exceptions import IngestError, SourceError
from ingest.sources import SourceOptions, open_source, records
from tests.sources.read_source import read

Pair = namedtuple("Pair", "a b")  # noqa: PYI024 - the plain kind


@dataclasses.dataclass
class Point:
    a: int
    b: int


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(records, "BATCH_ROWS", 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: {"a": number, "b": -number},
        lambda number: Pair(number, -number),
        lambda number: Point(number, -number),
    ],
)
@pytest.mark.parametrize("gather", [list, tuple, iter, lambda rows: (row for row in rows)])
def test_records_of_each_kind(make, gather):
    got = read(gather([make(number) for number in range(10)]))
    assert got.columns == ("a", "b")
    assert got.rows == [(number, -number) for number in range(10)]
    assert got.records == list(range(1, 11))


def test_tuples_with_columns():
    assert read([(1, 2), [3, 4]], columns=("a", "b")).rows == [(1, 2), (3, 4)]


def test_model_instances():
    got = read([User(username="ann"), User(username="bob")])
    assert "id" not in got.columns
    assert [row[got.columns.index("username")] for row in got.rows] == ["ann", "bob"]


def test_chosen_keys():
    assert read([{"a": 1, "b": 2}, {"a": 3}], columns=("a",)).rows == [(1,), (3,)]


@pytest.mark.parametrize(
    ("rows", "want"),
    [
        ([{"a": 1}, {"b": 1}], "it has no key 'a', which the first record has"),
        (
            [{"ab": 1}, {"ab": 1, "abc": 2}],
            "it has a key 'abc', which the first record does not have. Did you mean 'ab'?",
        ),
        ([{"a": 1}, (1,)], "it is a tuple, but the first record is a mapping"),
        ([{"a": 1}, 7], "it is a int, but the first record is a mapping"),
        ([Pair(1, 2), (1,)], "it has 1 cell, but the first record has 2 columns"),
        ([Pair(1, 2), {"a": 1, "b": 2}], "it is a dict, but the first record is a tuple"),
        ([Point(1, 2), None], "it is a NoneType, but the first record is a Point"),
    ],
)  # fmt: skip
def test_a_record_unlike_the_first_is_rejected(rows, want):
    got = read([rows[0]] * 4 + [rows[1], rows[0]])
    assert got.reasons == {5: want}
    assert got.records == [1, 2, 3, 4, 6]
    assert got.read == 6


Turned = namedtuple("Turned", "b a")  # noqa: PYI024
Triple = namedtuple("Triple", "a b c")  # noqa: PYI024


@dataclasses.dataclass
class Point3(Point):
    c: int = 0


class Keyed:
    """A row with keys that is neither a mapping nor has a length."""

    def __init__(self, **cells):
        self._cells = cells

    def keys(self):
        return iter(self._cells)

    def __getitem__(self, name):
        return self._cells[name]


def _row(**cells):
    """Return a row of SQLite with these names."""
    with closing(sqlite3.connect(":memory:")) as other:
        other.row_factory = sqlite3.Row
        names = ", ".join(f"? AS {name}" for name in cells)
        return other.execute(f"SELECT {names}", tuple(cells.values())).fetchone()


def _short_point():
    point = Point(1, 2)
    del point.b
    return point


def _counts(**cells):
    return defaultdict(pytest.fail, cells)  # reading a record must not add a key


KINDS = {
    "dict": (lambda **cells: cells, "key"),
    "mapping": (lambda **cells: MappingProxyType(cells), "key"),
    "defaultdict": (_counts, "key"),
    "keyed": (Keyed, "key"),
    "sqlite3.Row": (_row, "key"),
    "named tuple": (lambda **cells: namedtuple("Made", cells)(**cells), "field"),  # noqa: PYI024
    "dataclass": (lambda **cells: dataclasses.make_dataclass("Made", cells)(**cells), "attribute"),
}


@pytest.mark.parametrize(("make", "noun"), KINDS.values(), ids=list(KINDS))
def test_a_chosen_column_that_records_lack(make, noun):
    rows = [make(user=1, name=2)] * 4
    got = read(rows, columns=("user", "nam"))
    want = f"it has no {noun} 'nam', which columns names"
    hint = "" if noun == "attribute" else ". Did you mean 'name'?"  # an object has many attributes
    assert got.reasons == dict.fromkeys(range(1, 5), want + hint)
    assert got.rows == []
    assert read(rows, columns=("name", "user")).rows == [(2, 1)] * 4
    assert read(rows, columns=("name",)).rows == [(2,)] * 4


@pytest.mark.parametrize("make", [it for it, noun in KINDS.values() if noun == "key"])
def test_rows_with_keys_that_differ(make):
    got = read([make(a=1, b=2), make(a=3, c=4), make(b=6, a=5), make(a=7, b=8, c=9), make(a=10)])
    assert got.reasons == {
        2: "it has no key 'b', which the first record has",
        4: "it has a key 'c', which the first record does not have.",
        5: "it has no key 'b', which the first record has",
    }
    assert got.rows == [(1, 2), (5, 6)]


@pytest.mark.parametrize(
    ("columns", "record", "want"),
    [
        (None, Turned(b=4, a=3), (3, 4)),
        (None, Triple(3, 4, 5), "it has a field 'c', which the first record does not have."),
        (None, namedtuple("Made", "a d")(3, 4), "it has no field 'b', which the first record has"),  # noqa: PYI024
        (None, (3, 4), (3, 4)),
        (("b", "a"), Turned(b=4, a=3), (4, 3)),
        (("b", "a"), Triple(3, 4, 5), (4, 3)),
        (("b", "a"), (3, 4), (4, 3)),
        (("b",), (3, 4, 5), "it has 3 cells, but the first record has 2 columns"),
    ],
)
def test_named_tuples_of_several_types(columns, record, want):
    got = read([Pair(1, 2), record], **({} if columns is None else {"columns": columns}))
    if isinstance(want, str):
        assert got.reasons == {2: want}
    else:
        assert got.rows[1] == want


@pytest.mark.parametrize(
    ("columns", "record", "want"),
    [
        (None, Point3(3, 4), "it has a field 'c', which the first record does not have."),
        (("b",), Point3(3, 4), None),
        (None, _short_point(), "it has no attribute 'b', which the first record has"),
        (("b",), _short_point(), "it has no attribute 'b', which columns names"),
    ],
)
def test_dataclasses_that_differ(columns, record, want):
    got = read([Point(1, 2), record], **({} if columns is None else {"columns": columns}))
    assert got.reasons == ({} if want is None else {2: want})


@pytest.mark.parametrize(
    ("columns", "record", "want"),
    [
        (("pk", "nam"), Account(name="x"), "it has no attribute 'nam', which columns names"),
        (("pk", "user"), Account(name="x"), "it has no attribute 'user', which columns names"),
    ],
)
def test_instances_without_a_chosen_attribute(columns, record, want):
    assert read([record] * 4, columns=columns).reasons == dict.fromkeys(range(1, 5), want)


@pytest.mark.parametrize("given", [[], iter(()), (number for number in ())])
def test_an_empty_iterable_has_no_columns(given):
    got = read(given)
    assert (got.columns, got.rows) == ((), [])


def test_tuples_without_columns():
    with pytest.raises(SourceError, match="Tuples have no column names"):
        read([(1, 2)])


@pytest.mark.parametrize("given", [7, None, b"a,b", {"a": 1}])
def test_what_is_no_source(given):
    with pytest.raises(TypeError, match="is not a source: give a path or several"):
        open_source(given)


class Walked:
    """An asynchronous generator that records its event loops and threads."""

    def __init__(self, count, error=None):
        self.count, self.error = count, error
        self.loops, self.threads, self.is_closed = set(), set(), False

    async def __aiter__(self):
        try:
            for number in range(self.count):
                self.loops.add(asyncio.get_running_loop())
                self.threads.add(threading.get_ident())
                await asyncio.sleep(0)
                yield {"a": number}
            if self.error:
                raise self.error
        finally:
            await asyncio.sleep(0)
            self.is_closed = True


def test_an_asynchronous_generator_without_a_loop():
    walked = Walked(10)
    assert read(walked).rows == [(number,) for number in range(10)]
    assert len(walked.loops) == 1
    assert walked.is_closed


async def _under_a_loop(walked):
    got = await sync_to_async(read)(walked)
    return got, asyncio.get_running_loop()


async def _identity(made):
    return await made


@pytest.mark.parametrize("run", [asyncio.run, async_to_sync(_identity)])
def test_an_asynchronous_generator_is_pulled_on_the_callers_loop(run):
    walked = Walked(10)
    got, loop = run(_under_a_loop(walked))
    assert got.rows == [(number,) for number in range(10)]
    assert walked.loops == {loop}
    assert walked.is_closed


def test_an_asynchronous_iterator_that_is_no_generator():
    class Counting:
        left = 5

        def __aiter__(self):
            return self

        async def __anext__(self):
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return Pair(self.left, 0)

    assert [row[0] for row in read(Counting()).rows] == [4, 3, 2, 1, 0]


def test_an_empty_asynchronous_generator():
    assert read(Walked(0)).rows == []


@pytest.mark.parametrize("count", [2, 5])
def test_an_error_in_an_asynchronous_generator(count):
    walked = Walked(count, ConnectionError("the line is dead"))
    with pytest.raises(ConnectionError, match="the line is dead"):
        read(walked)
    assert walked.is_closed


def test_a_generator_that_is_not_read_to_its_end_is_closed():
    walked = Walked(10)
    with open_source(walked):
        pass
    assert walked.is_closed


@pytest.mark.parametrize(
    "given",
    [
        [{"a": 1, "b": 2}, {"b": 4, "a": 3}],
        [Pair(1, 2), Pair(3, 4)],
        [Point(1, 2), Point(3, 4)],
    ],
)
def test_records_of_one_kind_are_read_column_by_column_as_each_alone(given):
    for rows in (given, [*given, {"a": 5, "c": 6}]):
        with open_source(rows, SourceOptions()) as source:
            [batch] = source.batches()
        assert (batch.records, batch.columns) == ([1, 2], ([1, 3], [2, 4]))
        assert [reject.record for reject in batch.rejects] == list(range(3, len(rows) + 1))


@pytest.mark.parametrize(
    ("changed", "is_whole"),
    [
        ({}, True),
        ({"name": None, "opened_on": None}, True),
        ({"name": Lower(Value("X"))}, True),
        ({"pk": 7}, False),
    ],
)
def test_instances_are_read_column_by_column_as_each_alone(changed, is_whole):
    rows = [Account(user_id=1, number=str(place), name="x") for place in range(3)]
    for name, value in changed.items():
        setattr(rows[2], name, value)
    with open_source(rows, SourceOptions()) as source:
        assert (source._columns_of(rows) is not None) == is_whole
        want = source._batch_by_record(rows, 1)
        [got] = source.batches()
    assert (got.records, got.columns) == (want.records, want.columns)
    assert got.leaves_cells == want.leaves_cells


@pytest.mark.django_db
def test_a_cursor_names_the_columns_of_its_tuples():
    with connection.cursor() as cursor:
        cursor.execute("SELECT g AS a, -g AS b FROM pg_catalog.generate_series(1, 4) g")
        got = read(cursor)
        assert (got.columns, got.rows) == (("a", "b"), [(n, -n) for n in range(1, 5)])
        cursor.execute("SELECT 1 AS a, 2 AS b")
        assert read(cursor, columns=("x", "y")).columns == ("x", "y")
        cursor.execute("SELECT 1 AS a WHERE false")
        assert read(cursor).rows == []
        cursor.execute("SELECT 'ann' AS username, 'secret' AS password, 1 AS extra")
        with pytest.raises(IngestError, match="extra"):
            load(User, cursor)
    with closing(sqlite3.connect(":memory:")) as other:
        got = read(other.execute("SELECT 1 AS a, 'x' AS b"))
        assert (got.columns, got.rows) == (("a", "b"), [(1, "x")])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{}, {}], "first record is empty"),
        ([{}, {"a": 1}], "first record is empty"),
        ([{1: "a", "b": 2}], "has the key 1, which is not text"),
        ([{None: "a"}], "has the key None, which is not text"),
        ([{b"a": 1}], "has the key b'a', which is not text"),
        ([MappingProxyType({(1, 2): 1})], r"has the key \(1, 2\), which is not text"),
    ],
)
def test_keys_that_name_no_column(rows, message):
    with pytest.raises(SourceError, match=message):
        read(rows)

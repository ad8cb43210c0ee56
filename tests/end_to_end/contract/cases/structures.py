import datetime as dt
import math
from decimal import Decimal
from uuid import UUID

from django.db.backends.postgresql.psycopg_any import DateRange

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.cases.moments import DAYS, LENGTHS, MOMENTS
from tests.end_to_end.contract.cases.numbers import BIG
from tests.end_to_end.contract.cases.texts import TEXTS
from tests.end_to_end.contract.models import structures

UUIDS = [UUID("01234567-89ab-cdef-fedc-ba9876543210"), UUID(int=0), UUID(int=2**128 - 1)]
BLOBS = [b"plain", b"", b"\x00", b"\\x41\\", bytes(range(256)), b"\n\t\r'\"", b"\xff" * 70_000]
DOCUMENTS = [
    {"a": 1, "größe": "🎉", "list": [1, 2.5, None, True, {"deep": []}], "": "empty key"},
    [],
    {},
    "text",
    "",
    'quote " back \\ new\nline \\u0041',
    0,
    -1.5e10,
    2**80,
    0.1,
    True,
    False,
    [None, "null"],
    {"b": 1, "a": 2},
    [[[[1]]]],
]

CASES = [
    Case(model=structures.Flag, values={"is_set": [True, False]}),
    Case(model=structures.Identifier, values={"number": UUIDS}),
    Case(
        model=structures.Blob,
        values={"content": [*BLOBS, bytearray(b"\x00a"), memoryview(b"view")], "short": [b"a\0c"]},
    ),
    Case(
        model=structures.Document,
        values={
            "content": DOCUMENTS,
            "encoded": [
                {"at": dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.UTC), "of": Decimal("1.50")},
                [UUIDS[0], dt.timedelta(1, 2)],
            ],
        },
        altered=frozenset({"encoded"}),
    ),
    Case(
        model=structures.Vector,
        values={
            "words": ["'a' 'b'", "", "'größe':3A 'it''s':1,2B 'back\\\\slash'", "b a a", "x:1C"],
        },
        altered=frozenset({"words", "words_or_null"}),
    ),
    Case(
        model=structures.Literal,
        values={
            "words": ["'a'"],
            "whole": [BIG - 1, -BIG],
            "binary": [0.1, math.inf, math.nan, 5e-324],
            "price": [Decimal("1.50"), Decimal("-0.01")],
            "huge": [Decimal("1E-50"), Decimal("9" * 50)],
            "is_set": [True, False],
            "text": TEXTS,
            "day": DAYS,
            "moment": MOMENTS,
            "hour": [dt.time.min, dt.time.max],
            "length": LENGTHS,
            "number": UUIDS,
            "content": BLOBS,
            "document": DOCUMENTS,
            "address": ["192.0.2.1", "2001:db8::1"],
            "texts": [[*TEXTS, None], []],
            "contents": [BLOBS, []],
            "days": [DateRange(dt.date.min, dt.date.max), DateRange(empty=True), DateRange()],
        },
    ),
    Case(
        model=structures.Dictionary,
        values={
            "entries": [{"a": "1", "b": None}, {}, *({text: text} for text in TEXTS)],
            "shelves": [[{"a": "1"}, {}], [], None, [{text: text} for text in TEXTS]],
        },
    ),
]

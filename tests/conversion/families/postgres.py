import datetime as dt
import json
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
from django.contrib.postgres import fields
from django.contrib.postgres.search import SearchVectorField
from django.contrib.postgres.validators import ArrayMinLengthValidator, RangeMaxValueValidator
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.backends.postgresql.psycopg_any import (
    DateRange,
    DateTimeTZRange,
    NumericRange,
)
from hypothesis import strategies as st

from tests.conversion.families.base import Family, optional
from tests.conversion.families.moments import aware, naive
from tests.conversion.families.structures import NUMBER

LISTS = [
    *('["%"]', '["%s"]', '["%(value)s"]'),
    *("[]", "[1, 2]", "[null]", "[1, null]", '["1", "a"]', '["abcde"]', '["abcdef"]', "[[1], [2]]"),
    *("[[1], [2, 3]]", "[1.5]", '["1.23"]', '["1.234"]', "{1,2}", "1", '"a"', "null", "[1", "a,b"),
    *('["2025-01-05T10:00"]', '["2025-01-05T10:00Z"]', '["2025-01-05"]', '["\\u0000"]', "[[]]"),
    *('[" 5"]', "[true]", '{"a": 1}', '["", "a"]', "[2147483647]", "[2147483648]", "[1, 2, 3, 4]"),
    *('["YWJj"]', '["1.2.3.4"]', '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]', '["\\ud800"]'),
    *(
        '["a\\\\", "b"]',
        '["a\\",\\"b"]',
        '["x\\",", "y"]',
        '["\\u00e9"]',
        '["\\ud83d\\ude42"]',
        '["é","ß"]',
    ),
    *(
        '["a" ,"b"]',
        '[ "a"]',
        '["a"]x',
        '["a", "b",]',
        "[1,2]",
        "[ 1]",
        "[1 ]",
        "[01]",
        "[-0]",
        "[+1]",
    ),
    *(
        '["a", 1]',
        '["a"]["b"]',
        '["a\tb"]',
        "[,]",
        '[""]',
        '["", ""]',
        "[9223372036854775808]",
        "[1e1]",
    ),
    *(
        "[32767]",
        "[32768]",
        "[-2147483648]",
        "[-2147483649]",
        '["abc", "abcdefgh"]',
        '["a,b", "c"]',
    ),
    *('["a\\\\b", "a\\"b", "{", "NULL", " "]', "[{}]", '[{"a": [1]}]', '["r"]', '["x"]'),
]
item = st.none() | st.integers() | st.text(max_size=6) | st.sampled_from(aware + naive)
Family(
    name="array",
    fields={
        **optional(fields.ArrayField, models.IntegerField()),
        "of choices": fields.ArrayField(models.CharField(max_length=5, choices=[("r", "red")])),
        "of texts": fields.ArrayField(models.CharField(max_length=5, blank=True, null=True)),
        "of tags": fields.ArrayField(models.CharField(max_length=5), default=list, blank=True),
        "of endless texts": fields.ArrayField(
            models.TextField(validators=[RegexValidator("^a")]), size=3, null=True, blank=True
        ),
        "of slugs": fields.ArrayField(
            models.SlugField(), validators=[ArrayMinLengthValidator(2)], blank=True
        ),
        "of small numbers": fields.ArrayField(
            models.SmallIntegerField(validators=[MaxValueValidator(100)]), blank=True
        ),
        "sized": fields.ArrayField(models.BigIntegerField(null=True), size=2, blank=True),
        "of decimals": fields.ArrayField(models.DecimalField(max_digits=5, decimal_places=2)),
        "of floats": fields.ArrayField(models.FloatField(blank=True)),
        "of flags": fields.ArrayField(models.BooleanField()),
        "of days": fields.ArrayField(models.DateField(null=True)),
        "of moments": fields.ArrayField(models.DateTimeField(null=True, blank=True)),
        "of hours": fields.ArrayField(models.TimeField()),
        "of uuids": fields.ArrayField(models.UUIDField()),
        "of documents": fields.ArrayField(models.JSONField()),
        "of bytes": fields.ArrayField(models.BinaryField(editable=True)),
        "of addresses": fields.ArrayField(models.GenericIPAddressField()),
        "of spans": fields.ArrayField(fields.IntegerRangeField()),
        "nested": fields.ArrayField(fields.ArrayField(models.IntegerField(), blank=True)),
    },
    texts=[
        *LISTS,
        *(f'["{NUMBER}"]', f'["{NUMBER}", "{NUMBER.upper()}"]', '["2025-01-05", "0000-01-05"]'),
        *('["2023-02-29"]', "[1.25, -0.0]", "[-0]", "[1e5, 2E-3]", "[1.5, 2]", "[999.99, 1]"),
        *("[true, false]", "[1000]", "[0.001]", '["true", "t"]', "[TRUE]", '["1.5", 2]'),
    ],
    values=[
        *([UUID(NUMBER), UUID(int=0)], [None, UUID(int=1)], [-0.0, 2.5], [True, False]),
        *([dt.date(1, 1, 1), dt.date(9999, 12, 31)], [NUMBER]),
        *([], (), [1, 2], (1, 2), [None], ["a", None], ["abcdef"], [[1], [2]], [[1], [2, 3]], {1}),
        *([aware[0]], [naive[2]], [dt.date(2025, 1, 5)], [Decimal("1.23")], [1.5], [True], [[]]),
        *([naive[4]], [naive[5]], [dt.time(1)], [b"abc"], ["\x00"], ["\ud800"], {}, {"a": 1}, 5),
        *([2**31], [2**63], [float("nan")], [{}], [NumericRange(1, 2)], [(1, 2)], range(2), "ab"),
    ],
    text=st.lists(st.none() | st.integers(-9, 2**33) | st.text(max_size=6), max_size=3).map(
        json.dumps
    ),
    value=st.lists(item, max_size=3),
    arrow_types=[
        *(pa.list_(pa.int64()), pa.list_(pa.string()), pa.large_list(pa.int8()), pa.string()),
        *(pa.list_(pa.float64()), pa.list_(pa.bool_()), pa.list_(pa.date32())),
        *(pa.list_(pa.float32()), pa.list_(pa.decimal128(5, 2))),
        *(pa.list_(pa.timestamp("us")), pa.list_(pa.timestamp("s", tz="UTC"))),
        pa.list_(pa.list_(pa.int32())),
    ],
    settings={"TIME_ZONE": "Europe/Berlin"},
)
SPANS = [
    *('{"lower": 1, "upper": 5}', '{"lower": 5, "upper": 1}', '{"lower": "1", "bounds": "(]"}'),
    *('{"lower": null, "upper": null}', '{"empty": true}', "{}", "[1,5)", "[1, 5]", "null", "1"),
    *('{"lower": "2025-01-05", "upper": "2025-01-06"}', '{"lower": "2025-01-05T10:00"}'),
    *('{"lower": "2025-01-05T10:00Z", "bounds": "[]"}', '{"lower": 1.5, "upper": 2}', '{"a": 1}'),
    *('{"lower": 2147483648}', '{"lower": 1, "upper": 5, "bounds": "x"}', '"a"', "[1, 2, 3]"),
    *('{"lower": 2147483647, "bounds": "[]"}', '{"lower": "NaN"}', '{"lower": 1, "upper": 1}'),
]
Family(
    name="range",
    fields={
        **optional(fields.IntegerRangeField),
        "big": fields.BigIntegerRangeField(),
        "decimal": fields.DecimalRangeField(),
        "days": fields.DateRangeField(null=True),
        "moments": fields.DateTimeRangeField(),
        "open": fields.DateTimeRangeField(default_bounds="()", null=True, blank=True),
        "limits": fields.IntegerRangeField(validators=[RangeMaxValueValidator(5)]),
    },
    texts=SPANS,
    values=[
        *((1, 5), [1, 5], (5, 1), (None, None), (1,), (1, 2, 3), (), [], NumericRange(1, 5, "[]")),
        *(NumericRange(empty=True), NumericRange(), NumericRange(1, 1), (naive[2], naive[3])),
        *((naive[2], None), (aware[12], aware[13]), (dt.date.min, dt.date.max), (1.5, 2.5)),
        *(DateRange(dt.date(2025, 1, 5), None), DateTimeTZRange(naive[2], None, "(]"), ("1", "2")),
        *((Decimal("1.230"), Decimal("NaN")), (naive[4], None), (None, naive[5]), {"lower": 1}, 5),
        *(
            (2**31, None),
            (2**31 - 1, 2**31),
            ("a", None),
            (dt.date(2025, 1, 5), naive[2]),
            (True, 5),
        ),
    ],
    value=st.tuples(item, item),
    arrow_types=[pa.list_(pa.int64()), pa.string(), pa.list_(pa.timestamp("us"), 2)],
    settings={"TIME_ZONE": "Europe/Berlin"},
)
Family(
    name="search vector",
    fields={
        "blank": SearchVectorField(blank=True),
        "null": SearchVectorField(null=True, blank=True),
    },
    texts=["", "a b", "a:1 b:2A", "'a b':3", "'", "a:", "\\", "a\tb\nc", "\x00", "🙂", ":1"],
    values=["a", 5, ["a"], "\ud800", b"a"],
)
Family(
    name="hstore",
    fields=optional(fields.HStoreField),
    texts=[*SPANS, *('{"a": "b"}', '{"a": null}', '{"a": ["b"]}', '{"\\u0000": "a"}', '"a"=>"b"')],
    values=[{}, {"a": None}, {"a": 1}, {"a": "\x00"}, {1: "b"}, {"a": "\ud800"}, [], {"a": {}}],
    value=st.dictionaries(st.text(max_size=2), st.none() | st.text(max_size=2), max_size=2),
)

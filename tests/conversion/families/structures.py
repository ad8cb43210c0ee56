import base64
import json
from collections import OrderedDict
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from hypothesis import strategies as st

from tests.conversion.families.base import Family, optional

NUMBER = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
Family(
    name="uuid",
    fields={
        **optional(models.UUIDField),
        "choices": models.UUIDField(choices=[(UUID(NUMBER), "a")]),
    },
    texts=[
        *(NUMBER, NUMBER.upper(), NUMBER.replace("-", ""), f"{{{NUMBER}}}", f"urn:uuid:{NUMBER}"),
        *(f" {NUMBER}", f"{NUMBER} ", NUMBER[:-1], f"{NUMBER}0", NUMBER.replace("a", "g")),
        *(NUMBER.replace("0", "\uff10"), "0" * 32, "f" * 32, "0" * 31 + "-", "1" * 35 + "2"),
        *("a0eebc999-c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99_9c0b_4ef8_bb6d_6bb9bd380a11"),
        *(f"+{NUMBER[1:]}", f"0x{NUMBER[2:]}", "a0ee bc99-9c0b4ef8bb6d6bb9bd380a11123"),
        *("a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a1", "-" * 36, "_" * 36, "0" * 30 + "_0", "1"),
    ],
    values=[UUID(NUMBER), UUID(int=0), 0, 2**128 - 1, 2**128, -1, UUID(NUMBER).bytes, 1.5, [1]],
    text=st.uuids().map(str) | st.from_regex(r"[0-9a-fA-F]{8}(-?[0-9a-f_]{4}){3}-?[0-9a-f]{12}"),
    value=st.uuids(),
    arrow_types=[pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())],
)
Family(
    name="binary",
    fields={
        **optional(models.BinaryField, editable=True),
        "length": models.BinaryField(max_length=3, editable=True, null=True, blank=True),
    },
    texts=[
        *("", "YWJj", "YWJjZA==", "YWJjZA=", "YWJjZA", "YW Jj", "Y", "====", "ä", "YWJj\n", "\x00"),
        *("+/+/", "-_-_"),
    ],
    values=[
        b"",
        b"abc",
        b"abcd",
        bytearray(b"\x00\xff"),
        memoryview(b"ab"),
        5,
        [1, 2],
        None,
        "YWJj",
    ],
    text=st.binary(max_size=5).map(base64.b64encode).map(bytes.decode),
    value=st.binary(max_size=5),
    arrow_types=[pa.string()],
)


class Backwards(json.JSONDecoder):
    """Reads every list from its end."""

    def decode(self, text):
        found = super().decode(text)
        return found[::-1] if isinstance(found, list) else found


class Spacious(json.JSONEncoder):
    """Writes every character as it is, and sets as lists."""

    def __init__(self, **options):
        super().__init__(**(options | {"ensure_ascii": False, "indent": 1}))

    def default(self, o):
        return sorted(o) if isinstance(o, set) else super().default(o)


class Wrapping(json.JSONEncoder):
    """Writes more than it is given."""

    def encode(self, o):
        return f'{{"wrapped": {super().encode(o)}}}'


class Separating(json.JSONEncoder):
    """Writes lists and objects that nobody can read."""

    item_separator = "; "


class Huge(json.JSONEncoder):
    """Writes a number that no numeric holds, for the number 5."""

    def encode(self, o):
        return "1e200000" if o == 5 else super().encode(o)


class Failing(json.JSONEncoder):
    """Raises what no encoder should."""

    def default(self, o):
        raise LookupError(o)


def of_few_keys(value):
    if isinstance(value, dict) and len(value) > 1:
        raise ValidationError("So many keys.")


DOCUMENTS = [
    *("null", "true", "0", "-0", "-0.0", "1.0", "1e3", "1E400", "NaN", "Infinity", '"a"', '""'),
    *('"null"', "[]", "{}", "[1, 2]", '{"a": 1, "a": 2}', '{"b": 1, "a": [null]}', "a", "'a'"),
    *('"\\u0000"', '"\\ud800"', '"\\ud83d\\ude42"', '"\\\\u0000"', '{"\\u0000": 1}', '"\\udc00"'),
    *("01", "[1,]", " [1] ", "\ufeff[1]", "12345678901234567890.123456789", "1.10", '"é🙂"'),
    *('{"a": {"b": {"c": [1, {"d": 2}]}}}', '{"a": {"b": [1, 2.5]}, "c": null}', '{"a":1,"b":[]}'),
    *(
        "1.10",
        "1.05",
        "0.1",
        "1234567.12345678",
        "12345678.123456789",
        "0.30000000000000004",
        "5E3",
    ),
    *("[1.0, 1.00]", "0.00000001", "0.1234567", "9007199254740993", "1" * 18, "-" + "1" * 19, "-1"),
    *(
        '{"a" : 1}',
        '{ "a": 1}',
        '{"a":  1}',
        "[1 ,2]",
        "[1,\n2]",
        "[1\u00a0,2]",
        '{"a": 1,}',
        '{"a"}',
        "{1: 2}",
    ),
    *(
        '"\\u00e9"',
        '"\\u00E9\\n"',
        '["\\ud83d\\ude42"]',
        '["\\ude42\\ud83d"]',
        '"\\ud83d\\u0041"',
        "\\u0031",
    ),
    *(
        '"\\x41"',
        '"a\\"',
        '"a\\\\"',
        '"\\\\u0041"',
        '"\\/"',
        '{"a\\"": "\\""}',
        '"\x1f"',
        '"\x80"',
        "[\\n]",
    ),
    *(
        '{"NaN": 1}',
        '"Infinity"',
        "-Infinity",
        "nul",
        "True",
        "[true false]",
        '{"a": 1 "b": 2}',
        '"a" "b"',
    ),
    *(
        "[]x",
        "[[]]",
        "[{}]",
        "[[[1]]]",
        "[[[[1]]]]",
        '{"": ""}',
        "{}{}",
        "--1",
        "+1",
        ".5",
        "1.",
        "-",
    ),
    *("[" * 30 + "]" * 30, "9" * 400, "1e-7", '"a\tb"', '"\x7f"', '{"a": NaN}', "[\x00]", "\u00a0"),
]
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
Family(
    name="json",
    fields={
        **optional(models.JSONField),
        "encoder": models.JSONField(encoder=DjangoJSONEncoder),
        "own encoder": models.JSONField(encoder=Spacious, null=True),
        "odd encoder": models.JSONField(encoder=Wrapping),
        "separating encoder": models.JSONField(encoder=Separating),
        "encoder of a huge number": models.JSONField(encoder=Huge),
        "failing encoder": models.JSONField(encoder=Failing),
        "validator": models.JSONField(validators=[of_few_keys]),
        "decoder": models.JSONField(decoder=Backwards),
        "choices": models.JSONField(choices=[([1, 2], "a"), ("a", "b")]),
    },
    texts=DOCUMENTS,
    values=[
        *(
            5,
            [1, {1}],
            {"a": 1, "b": 2},
            ["\ud800"],
            {"a": "é"},
            {"é": [1.5, {"b": "🙂"}]},
            "NaN",
            [[[[1]]]],
        ),
        *({}, [], (), OrderedDict(), OrderedDict(a=1), {"a": 1}, {1: 2}, {(1,): 2}, {None: 1}, {1}),
        *("a\x00b", "\ud800", {"a": "\x00"}, {"\x00": 1}, float("nan"), [float("inf")], -0.0),
        *(Decimal("1.10"), UUID(NUMBER), b"abc", 10**400, 2**64, "\\u0000", "a\\u0000", "\\\\"),
        *(["\\\x00"], "\ud83d", "\ude42\ud83d", "null", True, (1, 2), [None]),
    ],
    text=json_value.map(json.dumps)
    | json_value.map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))),
    value=json_value,
    arrow_types=[
        *(pa.string(), pa.int64(), pa.float64(), pa.list_(pa.int64()), pa.bool_()),
        *(pa.struct({"a": pa.int64()}), pa.decimal128(5, 2), pa.null()),
    ],
)

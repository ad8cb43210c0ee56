import enum

import pyarrow as pa
from django.core import validators
from django.db import models
from django.utils.safestring import SafeString
from hypothesis import strategies as st

from tests.conversion.families.base import Family, optional

TEXTS = [
    *("", " ", "a", "abcd", "abcde", "abcdef", " abc ", "abc   ", "e\u0301" * 2, "e\u0301" * 3),
    *("é" * 5, "é" * 6, "🙂" * 5, "🙂" * 6, "👩‍👩‍👧", "\u200b", "\ufeffabc", "a\x00b", "\x00"),
    *("a\nb", "a\tb", "a\rb", "\\N", "\\.", "\\", "a\\b", '"', "'", "None", "NULL", "r", "grün"),
    *("R", " r", "gru\u0308n", "\x7f", "\x85", "\u2028", "ß", "İ", "12345", "123456"),
]
TWISTED = ["\ud800", "a\udfffb", "\ud83d\ude42"]
STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]


class Colour(models.TextChoices):
    RED = "r"
    GREEN = "grün"


class Plain(str, enum.Enum):  # noqa: UP042 - StrEnum prints itself in another way
    RED = "r"


VALUES = [
    *TWISTED,
    *(SafeString("abc"), SafeString(""), Colour.RED, Plain.RED, 5, 12345, 123456, 1.5, True),
    *(b"abc", bytearray(b""), b"", ["a"], ("a",), {"a": 1}, {1}, object, ..., float("nan")),
]
characters = st.text(
    st.sampled_from("aé🙂\u0301\x00 \n\\Z9\ufeff") | st.characters(codec="utf-8"), max_size=8
)


def texts(name, fields, own_texts=(), text=None):
    Family(
        name=name,
        fields=fields,
        texts=[*own_texts, *TEXTS],
        values=VALUES,
        text=characters if text is None else text | characters,
        value=st.text(max_size=7),
        arrow_types=STRINGS,
    )


def shouting(value):
    if value != value.upper():
        raise validators.ValidationError(["It whispers.", "It should not."])


texts(
    "char",
    {
        **optional(models.CharField, max_length=5),
        "endless": models.CharField(),
        "choices": models.CharField(max_length=5, choices=Colour.choices),
        "choices or blank": models.CharField(
            max_length=5,
            choices=[("", "none"), ("g", [("r", "red"), ("grün", "green")])],
            blank=True,
        ),
        "choices of numbers": models.CharField(max_length=5, choices=[(5, "five"), ("r", "red")]),
        "called choices": models.CharField(max_length=5, choices=lambda: [("r", "red")]),
        "shortest": models.CharField(max_length=5, validators=[validators.MinLengthValidator(2)]),
        "called length": models.CharField(
            max_length=9, validators=[validators.MaxLengthValidator(lambda: 2)]
        ),
        "pattern": models.CharField(max_length=5, validators=[validators.RegexValidator("^a")]),
        "no null": models.CharField(
            max_length=5, validators=[validators.ProhibitNullCharactersValidator()]
        ),
        "custom validator": models.CharField(max_length=5, validators=[shouting], blank=True),
        "sorted": models.CharField(max_length=5, db_collation="C"),
        "own words": models.CharField(
            max_length=5, error_messages={"max_length": "Too long!", "blank": "Say something."}
        ),
    },
)
texts(
    "text",
    {
        **optional(models.TextField),
        "length": models.TextField(max_length=5, blank=True),
        "choices": models.TextField(choices=Colour.choices, null=True, blank=True),
        "limit": models.TextField(validators=[validators.MaxLengthValidator(5)]),
    },
)
texts(
    "slug, email, url, path",
    {
        "slug": models.SlugField(max_length=10),
        "unicode slug": models.SlugField(max_length=10, allow_unicode=True, null=True),
        "email": models.EmailField(max_length=12),
        "email or blank": models.EmailField(blank=True),
        "url": models.URLField(max_length=30),
        "url or null": models.URLField(null=True, blank=True),
        "path": models.FilePathField(path="/"),
        "path or null": models.FilePathField(path="/", null=True, blank=True),
        "file": models.FileField(max_length=5),
        "file or null": models.FileField(max_length=5, null=True, blank=True),
        "picture": models.ImageField(blank=True),
    },
    [
        *("a-b_1", "a b", "ä-b", "abcdefghij", "abcdefghijk", "a@b.de", "a@b", "a@localhost"),
        *(" a@b.de", "a@b.de ", "ä@b.de", "a@bü.de", "aaaaaaa@b.de", "aaaaaa@b.de", "@b.de"),
        *("http://a.de", "http://a", "HTTP://A.de", "ftp://a.de/x", "javascript:x", "http://[::1]"),
        *("http://a.de/" + "x" * 18, "http://a.de/" + "x" * 19, "//a.de", "a.de", "http://ü.de"),
        *("http://[", "http://a.de\n", "files/a", "/etc/passwd"),
    ],
)
texts(
    "address",
    {
        **optional(models.GenericIPAddressField),
        "v4": models.GenericIPAddressField(protocol="IPv4"),
        "v6": models.GenericIPAddressField(protocol="IPv6", null=True),
        "unpacked": models.GenericIPAddressField(unpack_ipv4=True),
    },
    [
        *("1.2.3.4", "01.2.3.4", "1.2.3", "256.1.1.1", "1.2.3.4/24", " 1.2.3.4 ", "::1", "::"),
        *("::ffff:1.2.3.4", "::FFFF:0102:0304", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "fe80::1%1"),
        *("::1.2.3.4", "1.2.3.4\n", "\uff11.2.3.4", ":::", "2001:db8::1/64", "0.0.0.0", "12345::"),
    ],
)

import enum
import re

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
PATTERNS = {
    "number": r"^C\d{3}$",
    "a line of many": re.compile("^a$", re.MULTILINE),
    "looks ahead": "^(?!a)",
    "ends": r"a\Z",
    "any case": re.compile(r"^k[s-t]?\s*$", re.IGNORECASE),
    "words": re.compile(r"\bgr\w+n\b", re.ASCII),
    "spaces": r"^\S+\s\S+$",
    "any": re.compile("^.{2,3}$", re.DOTALL),
}
texts(
    "pattern",
    {
        **{
            name: models.CharField(validators=[validators.RegexValidator(regex)])
            for name, regex in PATTERNS.items()
        },
        "no digit": models.CharField(
            validators=[validators.RegexValidator(r"\d", inverse_match=True)], blank=True
        ),
        "integer": models.CharField(
            validators=[validators.validate_integer, validators.integer_validator], null=True
        ),
        "several": models.TextField(
            validators=[
                validators.RegexValidator("^a"),
                validators.RegexValidator("b$"),
                validators.MinLengthValidator(3),
                validators.ProhibitNullCharactersValidator(),
            ],
            blank=True,
        ),
    },
    [
        *("C123", "C123\n", "C123\n\n", "C12\uff13", "c123", " C123", "C1234", "a\nb", "b\na", "a"),
        *("\u212a", "K\u017f", "ks", "KT", "kt\x1c", "k\u00a0", "k \n", "grün", "green", "a\x1fb"),
        *(
            "a\x85b",
            "ab",
            "a\u0301",
            "\n\n",
            "a\n",
            "acb",
            "acb\n",
            "5",
            "\u0665",
            "-5",
            "-5\n",
            "b",
        ),
    ],
    text=st.text("aCkKsbgren0159 \n\x1c\u212a\u017fü", max_size=6),
)
ADDRESSES = [
    *(
        "a@b.de",
        "a.b@c-d.example",
        "a..b@c.de",
        ".a@b.de",
        "a.@b.de",
        "a@-b.de",
        "a@b-.de",
        "a@b.d",
    ),
    *(
        "a@b.d1",
        "a@b.xn--p1ai",
        "a@b.de.",
        "a@@b.de",
        "a@b@c.de",
        '"a b"@c.de',
        '"a@b"@c.de',
        "a b@c.de",
    ),
    *(
        "a@[127.0.0.1]",
        "a@[::1]",
        "a@localhost",
        "a@LOCALHOST",
        "A!#$%&'*+/=?^_`{}|~-@B.DE",
        "a@b_c.de",
    ),
    *(
        "a@b.de\n",
        "\ta@b.de",
        "ä@b.de",
        "a@bü.de",
        "a@b.ü1",
        "a@b.\u212aa",
        "a\u017f@b.de",
        "a@b.de\x00",
    ),
    *(f"{'a' * 314}@b.de", f"{'a' * 315}@b.de", f"{'a' * 316}@b.de", f"a@{'b' * 63}.de"),
    *(
        f"a@{'b' * 64}.de",
        f"a@b.{'c' * 63}",
        f"a@b.{'c' * 64}",
        "a@1.2",
        "a@1.de",
        "a@b.c-d",
        "a@b--c.de",
    ),
]
SITES = [
    *(
        "http://a.de",
        "HTTP://A.DE/x",
        "hTTps://a.de:80/",
        "http://a.de:",
        "http://a.de:123456",
        "ftp://a.de",
    ),
    *(
        "http://a.de:99999",
        "gopher://a.de",
        "http:///a.de",
        "http:/a.de",
        "http://a.de?x",
        "http://a.de#x",
    ),
    *(
        "http://a.de/[",
        "http://[a.de/",
        "http://a.de]/",
        "http://u:p@a.de/",
        "http://a_b.de",
        "http://a.de.",
    ),
    *(
        "http://1.2.3.4",
        "http://1.2.3.256",
        "http://[::1]:80/",
        "http://localhost",
        "http://a",
        "http://a.d",
    ),
    *(
        "http://a.de/ b",
        "http://a.de/\tb",
        "http://a.de/ä",
        "http://ä.de/",
        "http://a.xn--p1ai/",
        "http://-a.de",
    ),
    *(
        "http://a.de/\x7f",
        "http://a.de/\x00",
        "http://a.de/://b",
        "sftp://a.de",
        "http://a.de\\b",
        " http://a.de",
    ),
    *(f"http://{'a' * 63}.de", f"http://{'a' * 64}.de", "http://" + "a.de/" + "x" * 2036),
    *("http://" + "a.de/" + "x" * 2037, "http://" + "a" * 60 + ".a" * 95 + ".de/" + "x" * 300),
    *(
        "http://" + "a" * 60 + ".a" * 100 + ".de/" + "x" * 300,
        "http://a.de/\u2028",
        "http://%61.de",
    ),
]
texts(
    "e-mail",
    {
        **optional(models.EmailField),
        "allowed": models.EmailField(
            validators=[validators.EmailValidator(allowlist=["intern"])], max_length=400
        ),
        "in a text": models.TextField(validators=[validators.validate_email]),
    },
    [*ADDRESSES, "a@intern"],
    text=st.from_regex(r"[a-z.+\"]{1,4}@[a-z0-9-]{1,3}(\.[a-z0-9-]{1,3}){0,2}", fullmatch=True)
    | st.emails(),
)
texts(
    "site",
    {
        **optional(models.URLField, max_length=3_000),
        "schemes": models.CharField(validators=[validators.URLValidator(["sftp", "http"])]),
        "odd scheme": models.CharField(
            validators=[validators.URLValidator(schemes=["a|b", "http"])]
        ),
    },
    SITES,
    text=st.from_regex(
        r"[hH]ttps?://[a-z0-9.:@\[\]-]{1,6}\.[a-z]{1,3}(:[0-9]{0,6})?[/?#\[\] ]?", fullmatch=True
    ),
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

from tests.end_to_end.contract.cases.case import Case
from tests.end_to_end.contract.models import texts

TEXTS = [
    "plain",
    "",
    " ",
    "tab\there",
    "new\nline",
    "carriage\r\nreturn",
    "back\\slash",
    "\\N",
    "\\.",
    "\\x41",
    "NULL",
    "it's",
    'a "quote"',
    "{1,NULL}",
    "%s 100%",
    "$1",
    "größe €",
    "emoji 🎉👩‍👧",
    "combining e\u0301",
    "\u200f\u202eright to left",
    "\ufeffbom",
    "\x01\x1f\x7f\x85\u2028",
    "x" * 20,
    "🎉" * 20,
    "  trailing  ",
]

CASES = [
    Case(
        model=texts.Text,
        values={
            "title": TEXTS,
            "endless": [*TEXTS, "long " * 2_000],
            "body": [*TEXTS, "ü" * 100_000],
            "sorted_title": TEXTS,
            "sorted_body": TEXTS,
            "colour": ["r", "grün"],
        },
    ),
    Case(
        model=texts.Contact,
        values={
            "email": ["a@example.org", ""],
            "slug": ["a-b_c", "", "größe"],
            "slug_or_null": ["a-b_c", "", None],
            "url": ["https://example.org/?a=1&b=%20", ""],
            "address": ["192.0.2.1", "2001:db8::1", "::", "::1", "::ffff:192.0.2.1", "0.0.0.0"],
            "address_v4": ["255.255.255.255", "0.0.0.0", "127.0.0.1"],
            "address_v6": ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "fe80::1"],
            "address_unpacked": ["192.0.2.1", "2001:db8::1"],
        },
    ),
    Case(
        model=texts.Upload,
        values={
            "document": ["documents/a.txt", "", "größe/b c.txt"],
            "picture": ["pictures/a.png", ""],
            "path": ["/", "/etc/größe"],
        },
        # Read back, the field gives an empty FieldFile for NULL.
        altered=frozenset({"document_or_null", "picture_or_null"}),
    ),
]

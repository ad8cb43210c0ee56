"""Records that are written with their reasons are read back unchanged, in every dialect."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources import SourceOptions, open_source
from ingest.sources.delimited_writer import DelimitedWriter
from ingest.sources.writers import REASONS, JsonLinesWriter
from tests.sources.read_source import read

DIALECTS = [
    {},
    {"delimiter": ";", "quote": "'"},
    {"delimiter": "\t", "escape": "\\"},
    {"delimiter": "|", "escape": "\\", "doubled_quotes": False},
    {"quote": "", "escape": "\\"},
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "gb18030", "cp932"]
REASON = "amount: “x” value must be a decimal number."


def written(writer, *records):
    parts = [writer.head(), *(writer.record(cells, REASON) for cells in records), writer.tail()]
    return b"".join(parts)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    st.lists(
        st.tuples(*[st.text(st.sampled_from("a é\"'\\;,|\t\n\r")) for _ in range(3)]),
        min_size=1,
        max_size=5,
    )
)
def test_any_cells_come_back(dialect, records):
    if dialect.get("quote") == "":  # such a file cannot hold a line end
        records = [
            tuple(cell.replace("\n", "").replace("\r", "") for cell in row) for row in records
        ]
    options = SourceOptions(**dialect)
    head = options.delimiter.join("abc").encode() + b"\n"
    content = written(DelimitedWriter(options, head, None), *records)
    got = read(content, **dialect)
    assert (got.texts, got.rejects, got.columns) == (records, [], ("a", "b", "c"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_reject_file_has_the_encoding_of_its_source(encoding):
    options = SourceOptions(encoding=encoding, skip_records=1, trailer_records=2, delimiter=";")
    text = "Preamble: é\r\n\r\na;b\r\n"
    records = [("é", "1"), ("x;y", "2")]
    if encoding == "cp932":
        text, records = text.replace("é", "円"), [("円", "1"), ("x;y", "2")]
    with open_source(io.BytesIO(f"{text}1;2\r\n".encode(encoding)), options) as source:
        content = written(source.writer(), *records)
    assert content.decode(encoding).startswith(text.replace("a;b", "a;b;ingest_reasons"))
    assert content.decode(encoding).count("\r\n") == 7
    got = read(content, encoding=encoding, skip_records=1, trailer_records=2, delimiter=";")
    assert (got.texts, got.columns, got.skipped) == (records, ("a", "b"), 2)


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("utf-8", b"\xff"),
        ("utf-8", b"\xc3"),
        ("cp1252", b"\x81"),
        ("gb18030", b"\xff"),
        ("cp932", b"\xa0"),
    ],
)
def test_bytes_that_are_no_text_stay_what_they_are(encoding, bad):
    content = b"a,b\n1," + bad + b",2\n3,x" + bad + b"\n"
    with open_source(io.BytesIO(content), SourceOptions(encoding=encoding)) as source:
        [batch] = source.batches()
        writer = source.writer()
        got = writer.head() + writer.misfit(batch.misfits[1], "r")
        got += writer.record([column[0] for column in batch.columns], "r")
    want = b"a,b,ingest_reasons\n1," + bad + b",2,ingest: r\n3,x" + bad + b",ingest: r\n"
    assert got == want


def test_half_a_surrogate_pair_is_no_text_again():
    content = "a,b\n1,".encode("utf-16-le") + b"\x00\xd8" + "\n".encode("utf-16-le")
    with open_source(io.BytesIO(content), SourceOptions(encoding="utf-16-le")) as source:
        [batch] = source.batches()
        writer = source.writer()
        text = writer.head() + writer.record([column[0] for column in batch.columns], "r")
    [(_, got)] = read(text, encoding="utf-16-le").rows
    with pytest.raises(UnicodeDecodeError):
        got.decode()


def test_a_record_of_the_wrong_width_is_written_as_it_stood_and_only_once_with_reasons():
    writer = DelimitedWriter(SourceOptions(), b"a,b\n", None)
    first = writer.misfit('1,"x, y",3', "it has 3 cells")
    assert first == b'1,"x, y",3,ingest: it has 3 cells\n'
    assert writer.misfit(first.decode(), "again") == b'1,"x, y",3,ingest: again\n'
    quoted = writer.misfit("1,2,3", "a, b")
    assert quoted == b'1,2,3,"ingest: a, b"\n'
    assert writer.misfit(quoted.decode(), "again") == b"1,2,3,ingest: again\n"


@pytest.mark.parametrize("options", [{"header": False}, {"columns": ("x", "y")}])
def test_without_a_header_the_first_line_shows_that_there_are_reasons(options):
    with open_source(io.BytesIO(b"1,2\n3,4\n"), SourceOptions(**options)) as source:
        content = written(source.writer(), ("1", "2"), ("3", "4"))
    assert content.splitlines()[:2] == [
        b",,ingest: reasons",
        b"1,2,ingest: amount: 'x' value must be a decimal number.",
    ]
    got = read(content, **options)
    assert (got.texts, got.lines) == ([("1", "2"), ("3", "4")], [2, 3])
    assert got.columns == options.get("columns", ("1", "2"))
    with open_source(io.BytesIO(content), SourceOptions(**options)) as source:
        assert written(source.writer(), ("1", "2"), ("3", "4")) == content


def test_reject_files_of_earlier_versions_have_no_such_line():
    got = read(b"1,2,ingest: x\n3,4,ingest: x\n", header=False)
    assert (got.texts, got.columns) == ([("1", "2"), ("3", "4")], ("1", "2"))


@pytest.mark.parametrize("options", [{"header": False}, {"columns": ("a", "b", "c")}, {}])
def test_a_reject_that_comes_first_does_not_say_how_many_columns_there_are(options):
    content = b"1,2,3\n4,5\n"
    with open_source(io.BytesIO(content), SourceOptions(**options)) as source:
        [batch] = source.batches()
        writer = source.writer()
        short = max(batch.misfits)
        content = writer.head() + writer.misfit(batch.misfits[short], "short")
    assert list(read(content, **options).reasons) == [1]


def test_what_stands_after_the_reasons_stays():
    content = b'a,ingest_reasons,b\n"x"y,ingest: text,2\n1,\n'
    with open_source(io.BytesIO(content)) as source:
        [batch] = source.batches()
        writer = source.writer()
        content = writer.head() + b"".join(
            writer.misfit(batch.misfits[record], "again") for record in (1, 2)
        )
    assert content == b'a,ingest_reasons,b\n"x"y,ingest: again,2\n1,,,ingest: again\n'
    assert list(read(content).reasons) == [1, 2]


@pytest.mark.parametrize("encoding", ["gb18030", "cp932", "big5", "euc_kr"])
def test_a_byte_that_is_no_text_does_not_become_a_character_with_a_delimiter(encoding):
    options = SourceOptions(encoding=encoding, delimiter="~")
    content = b"a~b\n1~\xd2\n1~x~\xd2\n"
    with open_source(io.BytesIO(content), options) as source:
        [batch] = source.batches()
        writer = source.writer()
        content = writer.head() + writer.record([column[0] for column in batch.columns], "r")
        content += writer.misfit(batch.misfits[2], "r") if batch.misfits else b""
    got = read(content, encoding=encoding, delimiter="~")
    assert (got.records, list(got.reasons)) == ([1], [2] if batch.misfits else [])


def test_the_column_of_reasons_may_stand_anywhere_and_stays_there():
    content = b"a,ingest_reasons,b\n1,,2\n3,x,4,5\n"
    got = read(content)
    assert (got.texts, got.columns) == ([("1", "2")], ("a", "b"))
    with open_source(io.BytesIO(content)) as source:
        assert written(source.writer(), ("8", "9")).splitlines() == [
            b"a,ingest_reasons,b",
            b'8,ingest: amount: "x" value must be a decimal number.,9'.replace(b'"', b"'"),
        ]


def test_a_pattern_for_the_trailer_does_not_see_reasons():
    content = b"a,ingest_reasons\n1,ingest: total\n2,ingest: total\ntotal,\n9,\n"
    got = read(content, trailer_pattern="total")
    assert (got.texts, got.skipped) == ([("1",), ("2",)], 2)


def test_an_open_quote_is_refused_again():
    content = b'a,b\n1,2\n3,"4\n5,6\n'
    with open_source(io.BytesIO(content)) as source:
        [batch] = source.batches()
        writer = source.writer()
        text = writer.head() + writer.misfit(batch.misfits[2], "open")
    assert text == b'a,b,ingest_reasons\n3,"4\n5,6\n",,ingest: open\n'
    assert list(read(text).reasons) == [1]


def test_json_lines_have_the_numbers_of_the_file():
    content = (
        b'{"a": 1.10, "b": [0.5], "c": 12345678901234567890}\n'
        b'{"b": "\xc3\xa9", "c": null, "a": "x"}\n{"a": 1}\n{"a":\n[1]\n'
    )
    with open_source(io.BytesIO(content), SourceOptions(format="jsonl")) as source:
        [batch] = source.batches()
        writer = source.writer()
        text = b"".join(
            writer.record([column[place] for column in batch.columns], "r") for place in (0, 1)
        )
        text += b"".join(writer.misfit(given, "m") for given in batch.misfits.values())
    assert text.decode().splitlines() == [
        '{"a":1.10,"b":[0.5],"c":12345678901234567890,"ingest_reasons":"r"}',
        '{"a":"x","b":"é","c":null,"ingest_reasons":"r"}',
        '{"a":1,"ingest_columns":["a","b","c"],"ingest_reasons":"m"}',
        '{"ingest_text":"{\\"a\\":","ingest_columns":["a","b","c"],"ingest_reasons":"m"}',
        '{"ingest_text":"[1]","ingest_columns":["a","b","c"],"ingest_reasons":"m"}',
    ]
    got = read(text, format="jsonl")
    assert got.columns == ("a", "b", "c")
    assert got.rows == [(Decimal("1.10"), [0.5], 12345678901234567890), ("x", "é", None)]


def test_json_lines_with_and_without_the_key_of_reasons():
    content = b'{"a": 1, "ingest_reasons": "x"}\n{"a": 2}\n{"a": 3, "b": 1}\n'
    got = read(content, format="jsonl")
    assert (got.columns, got.rows, list(got.reasons)) == (("a",), [(1,), (2,)], [3])


def test_json_lines_in_another_encoding():
    writer = JsonLinesWriter(["a"], "cp1252")
    content = writer.record(["é円😀"], "r")
    assert content.isascii()
    assert read(content, format="jsonl", encoding="cp1252").rows == [("é円😀",)]


def test_typed_values_as_json():
    day = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    key = uuid.UUID(int=1)
    values = [Decimal("1.10"), day, key, None, b"\x00\xff", math.nan, Decimal("NaN"), True, "x"]
    names = [str(place) for place in range(len(values))]
    got = json.loads(JsonLinesWriter(names).record(values, "r"))
    assert list(got.values()) == [
        *(1.1, "2026-01-31T12:00:00Z", str(key), None, "AP8=", "nan", "NaN", True, "x", "r")
    ]


def test_misfits_among_python_values():
    writer = JsonLinesWriter(["a"])
    more = {"ingest_columns": ["a"], REASONS: "r"}
    assert json.loads(writer.misfit({"b": 1}, "r")) == {"b": 1, **more}
    assert json.loads(writer.misfit((1, 2), "r")) == {"ingest_text": "(1, 2)", **more}


@pytest.mark.parametrize("line", [b'{"a": 2}', b'{"a": 2, "b": 3, "c": 4}', b"[5]", b"oops"])
def test_a_reject_of_json_that_comes_first_does_not_say_which_columns_there_are(line):
    with open_source(
        io.BytesIO(b'{"a": 1, "b": 2}\n' + line), SourceOptions(format="jsonl")
    ) as source:
        *_, batch = source.batches()
        writer = source.writer()
        content = writer.head() + writer.misfit(batch.misfits[2], "r")
    got = read(content, format="jsonl")
    assert (got.columns, got.rows, list(got.reasons)) == (("a", "b"), [], [1])
    again = writer.misfit(content.decode().rstrip(), "r")
    assert again == content


def test_cells_of_several_files_of_different_formats():
    text = pa.array([b"\xc3\xa9"], pa.binary())
    assert json.loads(JsonLinesWriter(["a"]).record([text[0]], "r")) == {"a": "é", REASONS: "r"}
    got = DelimitedWriter(SourceOptions(), b"a\n", None).record([Decimal("1.10")], "r")
    assert next(csv.reader([got.decode()])) == ["1.10", "ingest: r"]

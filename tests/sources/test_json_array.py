"""A JSON array: its elements are records, with any white space between them."""

import gzip
import json
import time
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.exceptions import SourceError
from ingest.sources import SourceOptions, json_array, open_source, text
from tests.sources.read_source import Pipe
from tests.sources.read_source import read as read_source
from tests.sources.test_json_lines import objects


def read(content, **options):
    return read_source(content if isinstance(content, bytes) else content.encode(), **options)


def read_json(content, **options):
    return read(content, format="json", **options)


@settings(max_examples=60, deadline=None)
@given(
    table=objects(),
    indent=st.sampled_from([None, 0, 2]),
    chunk=st.sampled_from([7, 1 << 20]),
    ends=st.sampled_from(["\n", "\r\n"]),
)
def test_reads_what_json_wrote_as_lines_are_read(table, indent, chunk, ends):
    keys, rows = table
    records = [
        {
            key: float(value) if isinstance(value, Decimal) else value
            for key, value in zip(keys, row, strict=True)
        }
        for row in rows
    ]
    array = json.dumps(records, indent=indent).replace("\n", ends)
    lines = "\n".join(map(json.dumps, records))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK_BYTES", chunk)
        got = read_json(array)
        want = read(lines, format="jsonl")
    assert (got.columns, got.rows, got.records) == (want.columns, want.rows, want.records)


def test_numbers_are_exact_and_lines_are_the_files():
    got = read_json(
        '[\n  {"a": 123456789012345678901234567890,\n   "b": 1.10},\n\n'
        '  {"a": 2, "b": [1.5, {"c": "]"}]}\n]\n'
    )
    assert got.rows == [
        (123456789012345678901234567890, Decimal("1.10")),
        (2, [1.5, {"c": "]"}]),
    ]
    assert got.lines == [2, 5]


def test_a_bad_element_is_refused_alone():
    got = read_json('[{"a": 1},\n {"a": 1,, },\n 7, "x", null,\n {"b": 2}, [1],\n {"a": 3}]')
    assert got.rows == [(1,), (3,)]
    assert got.records == [1, 8]
    assert [(it.record, it.line) for it in got.rejects] == [
        *((2, 2), (3, 3), (4, 3), (5, 3), (6, 4), (7, 4))
    ]


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ('[{"a": 1},\n {"a": 2}', "record 2 (line 2) is cut off: the array has no end"),
        ('[{"a": 1},\n {"a": "2', "record 2 (line 2) is cut off: the array has no end"),
        ('[{"a": 1}\n {"a": 2}]', "record 1 (line 2) is followed by neither a comma nor the end"),
        ('[{"a": 1},\n]', "record 2 (line 2) is no object: "),
        ('[{"a": 1},\n {"a": [1}]}]', "record 2 (line 2) has brackets that do not match"),
        ('[{"a": 1}]\n{"a": 2}', "record 2 (line 2) stands after the end of the array"),
    ],
)
def test_a_broken_array_is_an_error_with_its_place(content, want):
    with pytest.raises(SourceError) as caught:
        read_json(content)
    assert want in str(caught.value)


def test_an_empty_array_has_no_records():
    assert read_json(" [ ] ").rows == []
    with pytest.raises(SourceError, match="is empty"):
        read_json("  ")


def test_an_array_is_known_by_its_content(tmp_path):
    for name, content in (
        ("rows.json", b'\xef\xbb\xbf\n [{"a": 1}]'),
        ("rows.jsonl", b'[{"a": 1}]'),
        ("lines.json", b'{"a": 1}\n'),
        ("rows.json.gz", gzip.compress(b'[{"a": 1}]')),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert read_source(path).rows == [(1,)]
    assert read_source(Pipe(b'[{"a": 1}]', part=3), format="jsonl").rows == [(1,)]
    assert read_source(Pipe('[{"a": "é"}]'.encode("utf-16")), format="json", encoding="utf-16").rows


def test_an_array_is_read_as_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "CHUNK_BYTES", 1 << 14)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"a": "x" * 100, "b": [number]} for number in range(8_000)]))
    with open_source(path, SourceOptions()) as source:
        assert isinstance(source, json_array.JsonArraySource)
        tracemalloc.start()
        read_rows = sum(len(batch.records) for batch in source.batches())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert read_rows == 8_000
    assert peak < path.stat().st_size / 4


def test_an_element_without_an_end_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(text, "CHUNK_BYTES", 1_000)
    monkeypatch.setattr(json_array, "LINE_BYTES", 10_000)
    with pytest.raises(SourceError, match=r"record 2 .* is longer than 10,000 bytes"):
        read_json('[{"a": 1}, {"a": "' + "x" * 50_000)


def test_an_array_on_one_line_is_read_in_linear_time(monkeypatch):
    monkeypatch.setattr(text, "CHUNK_BYTES", 4 << 20)
    content = b"[" + b",".join([b'{"a":1}'] * 500_000) + b"]"
    started = time.process_time()
    assert len(read_json(content).rows) == 500_000
    # About 1 s; more than a minute when each element's line was counted from the start.
    assert time.process_time() - started < 15

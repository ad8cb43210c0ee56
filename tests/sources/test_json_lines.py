import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.exceptions import SourceError
from ingest.sources import json_lines, text
from tests.sources.read_source import read as read_source


def read(content, **options):
    return read_source(content, format="jsonl", **options)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(text, "CHUNK_BYTES", 17)
    monkeypatch.setattr(json_lines, "CACHED_ROWS", 3)


# Records with the mark of undecodable bytes are refused.
letters = st.characters(exclude_categories=["Cs"], exclude_characters=text.MARK)
names = st.lists(st.text(letters, max_size=6), min_size=1, max_size=4, unique=True)
inner = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(letters, max_size=5),
    lambda values: (
        st.lists(values, max_size=3) | st.dictionaries(st.text(letters, max_size=3), values)
    ),
    max_leaves=5,
)  # fmt: skip
values = inner.filter(lambda value: not isinstance(value, float)) | st.decimals(
    allow_nan=False, allow_infinity=False, places=3
)


@st.composite
def objects(draw):
    keys = draw(names)
    rows = draw(st.lists(st.tuples(*[values] * len(keys)), min_size=1, max_size=12))
    return keys, rows


@settings(max_examples=100, deadline=None)
@given(table=objects(), ascii_only=st.booleans(), line_end=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_reads_what_json_wrote(table, ascii_only, line_end):
    keys, rows = table

    def write(value):
        if isinstance(value, Decimal):
            return format(value, "f")
        return json.dumps(value, ensure_ascii=ascii_only)

    lines = [
        "{" + ", ".join(f"{json.dumps(key)}: {write(value)}" for key, value in pairs) + "}"
        for pairs in (zip(keys, row, strict=True) for row in rows)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK_BYTES", 17)
        got = read(line_end.join(lines).encode(errors="surrogatepass"))
    assert got.columns == tuple(keys)
    assert got.rows == rows
    assert [list(map(type, row)) for row in got.rows] == [list(map(type, row)) for row in rows]
    step = 2 if line_end == "\n\n" else 1
    assert got.lines == [1 + step * place for place in range(len(rows))]


def test_numbers_are_exact():
    content = b'{"a": 0.10, "b": 123456789012345678901234567890, "c": 1e400, "d": -0.0}'
    [row] = read(content).rows
    assert list(map(str, row)) == ["0.10", "123456789012345678901234567890", "1E+400", "-0.0"]


def test_numbers_inside_a_value_are_those_of_python():
    [(cell,)] = read(b'{"a": {"x": [0.10, 2, {"y": 1.5}]}}').rows
    assert cell == {"x": [0.1, 2, {"y": 1.5}]}
    assert [type(item) for item in cell["x"]] == [float, int, dict]


@pytest.mark.usefixtures("small_blocks")
def test_misfits_are_named_wherever_they_stand():
    lines = [f'{{"a": {number}, "b": null}}' for number in range(1, 61)]
    lines[10] = '{"a": 1}'
    lines[20] = '{"a": 1, "b": 2, "bb": 3}'
    lines[30] = '{"a": 1, "b": '
    lines[40] = '["a", "b"]'
    lines[50] = '{"a": 1, "b": 2}{"a": 1, "b": 2}'
    lines.insert(5, "")
    got = read("\n".join(lines).encode())
    assert got.read == 60
    assert got.records == [n for n in range(1, 61) if n not in {11, 21, 31, 41, 51}]
    assert got.reasons == {
        11: "it has no key 'b': write \"b\": null where there is no value",
        21: "it has a key 'bb', which the first record does not have. Did you mean 'b'?",
        31: 'it is not a JSON object on one line (Input data was truncated): \'{"a": 1, "b": \'',
        41: 'it is not a JSON object: \'["a", "b"]\'',
        51: "it is not a JSON object on one line (JSON is malformed: trailing characters "
        "(byte 17)): "
        '\'{"a": 1, "b": 2}{"a": 1, "b": 2}\'',
    }
    assert [reject.line for reject in got.rejects] == [12, 22, 32, 42, 52]
    assert {reject.kind for reject in got.rejects} == {"parse"}


def test_null_is_not_a_missing_key():
    assert read(b'{"a": 1, "b": null}\n{"b": 1, "a": null}').rows == [(1, None), (None, 1)]


def test_chosen_columns():
    got = read(b'{"a": 1, "b": 2}\n{"a": 3}\n{"b": 4}', columns=("a",))
    assert (got.rows, list(got.reasons)) == ([(1,), (3,)], [3])


def test_the_first_good_record_names_the_columns():
    got = read(b'oops\n{}\n{"a": 1}\n')
    assert (got.columns, got.rows, list(got.reasons)) == (("a",), [(1,)], [1, 2])


def test_a_byte_that_is_no_text():
    got = read(b'{"a": "\xe9"}\n{"a": "\xc3\xa9"}\n')
    assert got.rows == [("é",)]
    assert got.reasons == {
        1: 'it has a byte that is not valid in the file\'s encoding: \'{"a": "\\\\xe9"}\''
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_json_lines_in_another_encoding_are_read(encoding):
    assert read('{"é": "à"}\n'.encode(encoding), encoding=encoding).rows == [("à",)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"a": "\\ud800"}', "a lone surrogate"),
        (b'{"a": NaN}', "NaN is not a JSON number: write null"),
        (b'{"a": [-Infinity]}', "-Infinity is not a JSON number: write null"),
        (b"[" * 9999, "depth"),
        (b'{"a":"\x01"}', "byte 6"),
        (b'{"a": "x', "truncated"),
    ],
)
def test_what_is_no_json(line, why):
    got = read(b'{"a": 1}\n' + line)
    assert (got.rows, list(got.reasons)) == ([(1,)], [2])
    assert why in got.reasons[2]


def test_the_last_of_equal_keys_counts():
    assert read(b'{"a": 1, "b": 2, "a": 3}\n{"b": 4, "a": 5}').rows == [(3, 2), (5, 4)]


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"\n", "BytesIO is empty: its first line should be a JSON object."),
        (
            b"a,b\n1,2\n",
            (
                "BytesIO has no records: none of its first lines or elements is a JSON object with "
                "keys. It begins with 'a,b\\n1,2'. Write each record as an object on a line of its "
                "own."
            ),
        ),
    ],
)
def test_what_is_not_json_lines(content, want):
    with pytest.raises(SourceError) as caught:
        read(content)
    assert str(caught.value) == want


def test_a_line_without_an_end():
    content = b'{"a": "' + b"x" * (json_lines.LINE_BYTES + text.CHUNK_BYTES) + b'"}'
    with pytest.raises(SourceError, match="has a line longer than 16,777,216 bytes"):
        read(content)


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "NDJSON"])
def test_the_name_tells_what_it_is(tmp_path, suffix):
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(b'{"a": 1}\n')
    assert read_source(path).rows == [(1,)]


def test_an_exponent_that_no_decimal_has():
    got = read(b'{"a": 1}\n{"a": 1e9999999999999999999}\n')
    assert got.reasons == {
        2: "it has a number whose exponent is beyond all bounds: '{\"a\": 1e9999999999999999999}'"
    }

"""Records with too few or too many cells, and comment lines."""

import io

import pytest

from ingest.exceptions import ConfigurationError
from ingest.loading.option_checks import check_reading
from ingest.sources import SourceOptions, delimited, open_source, text
from ingest.sources.base import Source
from tests.sources.read_source import Got, Pipe

RAGGED = 'a,b,c\n1,2,3\n4\n5,"6\n6"\n7,8,9,10\n11,12,"x"y\n13,14,15,"",16\n,\n'


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 48)
    monkeypatch.setattr(text, "CHUNK_BYTES", 5)


def named(content, name):
    file = io.BytesIO(content.encode())
    file.name = name
    return file


def texts(got):
    return [tuple(cell.decode() for cell in row) for row in got.rows]


def adapted(given, **options):
    with open_source(given, SourceOptions(**options)) as source:
        batches = list(source.batches())
    return [
        sorted(set().union(*(getattr(it, name) for it in batches))) for name in ("padded", "cut")
    ]


def test_short_records_are_padded_and_long_ones_cut():
    got = Got(Pipe(RAGGED.encode()), lenient="pad, cut")
    assert texts(got) == [
        ("1", "2", "3"),
        ("4", "", ""),
        ("5", "6\n6", ""),
        ("7", "8", "9"),
        ("13", "14", "15"),
        ("", "", ""),
    ]
    assert got.records == [1, 2, 3, 4, 6, 7]
    assert [(it.record, it.line) for it in got.rejects] == [(5, 7)]
    assert adapted(Pipe(RAGGED.encode()), lenient=["cut", "pad"]) == [[2, 3, 7], [4, 6]]


@pytest.mark.parametrize(
    ("lenient", "refused", "counts"),
    [("pad", [4, 5, 6], [[2, 3, 7], []]), ("cut", [2, 3, 5, 7], [[], [4, 6]])],
)
def test_one_of_both(lenient, refused, counts):
    assert [it.record for it in Got(Pipe(RAGGED.encode()), lenient=lenient).rejects] == refused
    assert adapted(Pipe(RAGGED.encode()), lenient=lenient) == counts


def test_small_blocks_change_nothing(small_blocks):
    test_short_records_are_padded_and_long_ones_cut()


def test_keys_of_json_lines_that_are_missing_or_unknown():
    content = '{"a": 1, "b": 2}\n{"a": 3}\n{"b": 4, "a": 5, "z": 6}\n[]\n'
    got = Got(named(content, "x.jsonl"), lenient="pad,cut")
    assert got.rows == [(1, 2), (3, ""), (5, 4)]
    assert [it.record for it in got.rejects] == [4]
    assert adapted(named(content, "x.jsonl"), lenient="pad,cut") == [[2], [3]]
    assert [it.record for it in Got(named(content, "x.jsonl"), lenient="pad").rejects] == [3, 4]


def test_a_positional_stop_counts_each_record_once():
    with open_source(Pipe(RAGGED.encode()), SourceOptions(lenient="pad,cut")) as source:
        [batch] = source.batches()
    first, rest = batch.split(3)
    assert (first.padded, first.cut) == ({2, 3}, set())
    assert (rest.padded, rest.cut) == ({7}, {4, 6})


@pytest.mark.parametrize("word", ["both", "pad;cut", "", ["pad", 1]])
def test_other_words_are_refused(word):
    with pytest.raises(ConfigurationError, match=r"lenient is .*'pad,cut'"):
        SourceOptions(lenient=word)


@pytest.mark.parametrize("options", [{"lenient": "pad"}, {"comment": "#"}])
def test_elsewhere_they_are_errors(options):
    source = open_source([{"a": 1}], SourceOptions(**options))
    with pytest.raises(ConfigurationError, match="has no effect on list, which is read as"):
        check_reading(source, options)


COMMENTED = (
    '# it\'s a "file\n\n#\na,b\n1,2\n# an "open quote, and a delimiter\n3,"4\n# no comment"\n'
    '"#5",6\n#\r\n\r\n# two\n7\n8 # no comment,9\n# the end'
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1250"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.usefixtures("small_blocks")
def test_comments_are_no_records(tmp_path, encoding, line_end):
    path = tmp_path / "x.csv"
    content = COMMENTED.replace("\r\n", "\n").replace("\n", line_end)
    path.write_bytes(content.encode(encoding))
    got = Got(path, comment="#", encoding=encoding)
    rows = [("1", "2"), ("3", f"4{line_end}# no comment"), ("#5", "6"), ("8 # no comment", "9")]
    assert got.columns == ("a", "b")
    assert texts(got) == rows
    assert [(it.record, it.line) for it in got.rejects] == [(4, 13)]
    without = Got(path, comment="#", encoding=encoding, header=False, lenient="pad")
    assert texts(without) == [("a", "b"), *rows[:3], ("7", ""), rows[3]]


def test_every_position_is_one_to_go_on_from(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes(COMMENTED.encode())
    options = SourceOptions(comment="#", lenient="pad")
    with open_source(path, options) as source:
        ends = list(source.find_ends(source._start, 1))
        [batch] = source.batches()
        assert [batch.find_position(record) for record in batch.records] == ends
    for end in ends:
        with open_source(path, options) as source:
            assert source.go_to(end)
            left = [record for it in source.batches() for record in it.records]
        assert left == list(range(end.record + 1, 6))


def test_a_file_of_comments_alone(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n# one\n# two\n")
    assert Got(path, comment="#").rows == []
    path.write_text("a,b\n# it's \"one\n-- two")
    assert [it.record for it in Got(path, comment="# ").rejects] == [1]


@pytest.mark.parametrize("mark", ["", ",", '"x', "#\n"])
def test_marks_that_cannot_be(tmp_path, mark):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n")
    with pytest.raises(ConfigurationError, match="The comment mark"):
        open_source(path, SourceOptions(comment=mark))


@pytest.mark.parametrize("dialect", [{}, {"quote": "", "escape": "\\"}])
def test_a_rejected_record_does_not_become_a_comment(tmp_path, dialect):
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    options = SourceOptions(comment="#", **dialect)
    with open_source(path, options) as source:
        writer = source.writer()
    rejected = tmp_path / "rejected.csv"
    rejected.write_bytes(writer.head() + writer.record([b"#1", b"2"], "why"))
    assert texts(Got(rejected, comment="#", **dialect)) == [("#1", "2")]


def test_every_kind_of_source_says_what_it_understands():
    ignored = {kind.format: kind.ignores for kind in Source.registry}
    assert not ignored["delimited"] & {"comment", "lenient"}
    assert ignored["jsonl"] & {"comment", "lenient"} == {"comment"}
    assert ignored["parquet"] >= {"comment", "lenient"}

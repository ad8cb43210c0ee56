"""A source that continues after any of its records yields exactly the rest."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.exceptions import SourceError
from ingest.sources import Position, SourceOptions, in_pieces, open_source, parquet, scanning
from tests.sources.test_delimited import cells, tables, write


def everything(path, position=None, **options):
    """Return each record's number, cells, line and reason."""
    found = []
    with open_source(path, SourceOptions(**options)) as source:
        for batch in source.batches_after(position or Position()):
            columns = [
                column.to_pylist() if isinstance(column, pa.Array) else column
                for column in batch.columns
            ]
            found += [
                (batch.source, record, batch.find_line(record), *row)
                for record, row in zip(batch.records, zip(*columns, strict=True), strict=True)
            ]
            found += [
                (batch.source, reject.record, reject.line, reject.reason)
                for reject in batch.rejects
            ]
    return sorted(found, key=lambda item: (item[0] or "", item[1]))


def positions(path, rows=1, **options):
    with open_source(path, SourceOptions(**options)) as source:
        return [
            batch.find_position(batch.through)
            for batch in in_pieces(source.batches(), rows)
            if batch.through is not None
        ]


def ends(path, records, **options):
    with open_source(path, SourceOptions(**options)) as source:
        found = source.find_ends(Position(), records)
        return None if found is None else list(found)


def goes_on_everywhere(path, **options):
    whole = everything(path, **options)
    found = positions(path, **options)
    assert len(found) == len({item[:2] for item in whole})
    for number, position in enumerate(found, 1):
        assert everything(path, position, **options) == whole[number:]
    if found and found[0].byte and not isinstance(path, list) and "trailer_records" not in options:
        assert ends(path, 1, **options) == found
        pairs = ends(path, 2, **options)
        whole_pairs = [*found[1::2], *found[len(found) // 2 * 2 :]]
        assert [end.record for end in pairs] == [end.record for end in whole_pairs]
        assert pairs[:-1] == whole_pairs[:-1]  # blank lines may follow the last record
    return found


@settings(max_examples=150, deadline=None)
@given(
    rows=tables(),
    delimiter=st.sampled_from(",;\t"),
    quote=st.sampled_from("\"'"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    extra=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", "a", '"x'])), max_size=4),
    block=st.sampled_from([16, 4 << 20]),
)
def test_delimited_text(  # noqa: PLR0913, PLR0917 - each is one side of a dialect
    tmp_path_factory, rows, delimiter, quote, line_end, encoding, extra, block
):
    names = [f"c{place}" for place in range(len(rows[0]) if rows else 2)]
    lines = [
        write([row], delimiter=delimiter, quotechar=quote, lineterminator=line_end)
        for row in [names, *rows]
    ]
    for place, text in extra:  # blank lines, lines of the wrong width
        lines.insert(1 + place % len(lines), text + line_end)
    path = tmp_path_factory.mktemp("positions") / "rows.csv"
    path.write_bytes("".join(lines).encode(encoding, "replace"))
    before, scanning.BLOCK_BYTES = scanning.BLOCK_BYTES, block
    try:
        found = goes_on_everywhere(path, delimiter=delimiter, quote=quote, encoding=encoding)
    finally:
        scanning.BLOCK_BYTES = before
    assert all((position.byte is None) == (encoding == "utf-16") for position in found)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.one_of(st.dictionaries(st.just("a"), cells, min_size=1), st.none())),
    block=st.sampled_from([16, 4 << 20]),
)
def test_json_lines(tmp_path_factory, rows, block):
    path = tmp_path_factory.mktemp("positions") / "rows.jsonl"
    lines = ['{"a": 1}', *(" \t" if row is None else json.dumps(row) for row in rows), "oops"]
    path.write_text("\n".join(lines), newline="")
    before, scanning.BLOCK_BYTES = scanning.BLOCK_BYTES, block
    try:
        found = goes_on_everywhere(path)
    finally:
        scanning.BLOCK_BYTES = before
    assert all(position.byte for position in found)


def test_parquet_passes_over_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 3)
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pa.table({"a": range(20)}), path, row_group_size=7)
    goes_on_everywhere(path)
    assert [end.record for end in ends(path, 8)] == [8, 16, 20]


def test_a_preamble_a_header_and_a_trailer(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("bank\n\nof 'x'\na,b\n1,2\n\n3,4\n5,6\nsum,12\n")
    found = goes_on_everywhere(path, skip_records=2, trailer_records=1)
    assert found[0] == Position(record=1, byte=21, line=5)


def test_a_trailer_that_is_known_by_its_text_is_looked_for_from_the_beginning(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3,4\nsum,12\n5,6\n")
    found = goes_on_everywhere(path, trailer_pattern="^sum")
    assert [position.byte for position in found] == [None, None]


def test_a_compressed_file_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n3,4\n"))
    assert [position.byte for position in goes_on_everywhere(path)] == [None, None]


def test_several_files(tmp_path):
    for name, text in (
        ("1.csv", "a,b\n1,2\n3,4\n"),
        ("2.csv", "b,a\n6,5\n"),
        ("3.csv", "a,b\n7,8\n"),
    ):
        (tmp_path / name).write_text(text)
    found = goes_on_everywhere([str(tmp_path / f"{number}.csv") for number in (1, 2, 3)])
    assert [position.file for position in found] == [0, 0, 1, 2]
    files = [str(tmp_path / f"{number}.csv") for number in (1, 2, 3)]
    assert [(end.file, end.record) for end in ends(files, 3)] == [(0, 2), (1, 1), (2, 1)]


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a\n1\n")
    with open_source(path) as source:
        list(source.batches())
        source.check_unchanged()
        path.write_text("a\n1\n2\n")
        with pytest.raises(SourceError) as caught:
            source.check_unchanged()
    assert str(caught.value) == (
        f"{path} was changed while it was read: what was read of it may be neither the old file "
        "nor the new one. Load it when nobody writes to it."
    )


def test_a_file_that_is_replaced_while_it_is_read(tmp_path):
    path, other = tmp_path / "rows.csv", tmp_path / "other.csv"
    for one, text in ((path, "a\n1\n"), (other, "a\n2\n")):
        one.write_text(text)
        os.utime(one, ns=(10**18, 10**18))  # neither its size nor its time shows the change
    with open_source(path) as source:
        list(source.batches())
        other.replace(path)
        with pytest.raises(SourceError, match="was changed while it was read"):
            source.check_unchanged()


def test_pieces_end_where_they_were_asked_to(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "1,2\n" * 10)
    with open_source(path) as source:
        pieces = list(in_pieces(source.batches(), 4))
    assert [len(piece.records) for piece in pieces] == [4, 4, 2]
    assert [piece.through for piece in pieces] == [4, 8, 10]

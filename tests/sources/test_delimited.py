import bz2
import csv
import gzip
import io
import lzma
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ingest.exceptions import ConfigurationError, SourceError
from ingest.sources import SourceOptions, delimited, open_source, text
from tests.sources.read_source import Got, Pipe, read


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    monkeypatch.setattr(text, "CHUNK_BYTES", 7)


def write(rows, **dialect):
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows(rows)
    return file.getvalue()


cells = st.text(
    alphabet=st.one_of(
        st.sampled_from(",;\t|\"' \r\n\\"),
        st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFFF),
    ),
    max_size=12,
)


@st.composite
def tables(draw):
    width = draw(st.integers(1, 5))
    row = st.lists(cells, min_size=width, max_size=width)
    return draw(st.lists(row, max_size=30))


@settings(max_examples=150, deadline=None)
@given(
    rows=tables(),
    delimiter=st.sampled_from(",;\t|^"),
    quote=st.sampled_from("\"'"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"]),
    can_reopen=st.booleans(),
)
def test_reads_what_csv_wrote(  # noqa: PLR0913, PLR0917 - each is one side of a dialect
    tmp_path_factory, rows, delimiter, quote, quoting, line_end, encoding, can_reopen
):
    names = [f"c{place}" for place in range(len(rows[0]) if rows else 2)]
    written = write(
        [names, *rows],
        delimiter=delimiter,
        quotechar=quote,
        quoting=quoting,
        lineterminator=line_end,
    )
    # csv quotes a lone "\r" or "\n" only since Python 3.13, and never a leading blank.
    assume(list(csv.reader(io.StringIO(written, newline=""), delimiter=delimiter, quotechar=quote))
           == [names, *rows])  # fmt: skip
    content = written.encode(encoding)
    if can_reopen:
        source = tmp_path_factory.mktemp("written") / "file.csv"
        source.write_bytes(content)
    else:
        source = Pipe(content, 11)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", 512)
        patch.setattr(text, "CHUNK_BYTES", 13)
        got = read(source, delimiter=delimiter, quote=quote, encoding=encoding)
    assert got.columns == tuple(names)
    assert got.texts == [tuple(row) for row in rows]
    assert got.records == list(range(1, len(rows) + 1))
    line, want = 2, []
    for row in rows:
        want.append(line)
        line += 1 + sum(len(re.findall(r"\r\n|\r|\n", cell)) for cell in row)
    assert got.lines == want
    assert not got.rejects


@settings(max_examples=150, deadline=None)
@given(
    content=st.text(alphabet='ab,"\n\r', max_size=60),
    can_reopen=st.booleans(),
)
def test_parses_any_text_as_csv_does(tmp_path_factory, content, can_reopen):
    """Quotes in odd places, blank lines, short and long records."""
    content = "x,y\n" + content
    parsed = [row for row in csv.reader(io.StringIO(content, newline="")) if row][1:]
    source = Pipe(content.encode())
    if can_reopen:
        source = tmp_path_factory.mktemp("any") / "file.csv"
        source.write_text(content, newline="")
    got = read(source)
    good = {number: tuple(row) for number, row in enumerate(parsed, 1) if len(row) == 2}
    for reject in got.rejects:  # Python's csv takes these
        if "never closed" in reject.reason or "after the closing quote" in reject.reason:
            good.pop(reject.record, None)
    assert dict(zip(got.records, got.texts, strict=True)) == good
    assert sorted({*got.records, *got.reasons}) == list(range(1, len(parsed) + 1))
    assert got.read == len(parsed)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
@pytest.mark.usefixtures("small_blocks")
def test_line_ends(line_end, last):
    content = line_end.join(["a,b", "1,2", "", '"x\r\ny",4', "", "", "5,6"])
    got = read((content + (line_end if last else "")).encode())
    assert got.texts == [("1", "2"), ("x\r\ny", "4"), ("5", "6")]
    assert got.records == [1, 2, 3]
    assert got.lines == [2, 4, 8]


def test_mixed_line_ends():
    got = read(b"a,b\r1,2\n3,4\r\n5,6\r\r7,8")
    assert got.texts == [("1", "2"), ("3", "4"), ("5", "6"), ("7", "8")]
    assert got.lines == [2, 3, 4, 6]


def test_an_empty_file():
    with pytest.raises(SourceError) as caught:
        read(b"\n\r\n")
    assert str(caught.value) == "BytesIO is empty: its first line should name the columns."


def test_an_empty_file_without_a_header():
    with pytest.raises(SourceError) as caught:
        read(b"", header=False)
    assert str(caught.value) == "BytesIO is empty: nothing says how many columns it has."


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\r\n\r\n\r\n"])
def test_a_header_only(content):
    got = read(content)
    assert got.columns == ("a", "b")
    assert got.rows == got.rejects == []


def test_a_byte_order_mark_is_no_part_of_the_name():
    assert read("a,b\n1,2\n".encode("utf-8-sig")).columns == ("a", "b")


def test_a_header_with_quoted_line_ends_and_blanks():
    got = read(b'\n"first\nname" , b\n1,2\n')
    assert got.columns == ("first\nname", "b")
    assert got.lines == [4]


def test_two_columns_of_one_name_are_left_to_the_layout():
    got = read(b"a,b,a\n1,2,3\n")
    assert got.columns == ("a", "b", "a")
    assert got.texts == [("1", "2", "3")]


def test_a_single_column():
    got = read(b'a\n1\n\n""\n2\n')
    assert got.texts == [("1",), ("",), ("2",)]
    assert got.lines == [2, 4, 5]


@pytest.mark.usefixtures("small_blocks")
def test_short_and_long_records_are_named_wherever_they_stand(tmp_path):
    lines, want = ["a,b,c"], {}
    for record in range(1, 401):
        width = 3 if record % 7 else record % 4 + 1
        lines.append(",".join([f'"{record}\n"'] + ["x"] * (width - 1)))
        if width != 3:
            word = "more" if width > 3 else "fewer"
            cells = "1 cell" if width == 1 else f"{width} cells"
            want[record] = f"it has {cells}, {word} than the 3 columns"
    path = tmp_path / "ragged.csv"
    path.write_text("\n".join(lines))
    got = read(path)
    assert {record: reason.partition(":")[0] for record, reason in got.reasons.items()} == want
    assert [reject.line for reject in got.rejects] == [2 * record for record in want]
    assert got.records == [record for record in range(1, 401) if record not in want]
    assert {int(cells[0]) for cells in got.texts} == set(got.records)
    assert got.read == 400


def test_the_words_for_a_short_record():
    [reject] = read(b"a,b\n1,2\n3\n").rejects
    assert str(reject) == (
        "BytesIO, record 2 (line 3): it has 1 cell, fewer than the 2 columns: '3'. "
        "Fix the line, or fill it with empty cells with --lenient pad"
    )
    assert (reject.kind, reject.value, reject.line) == ("parse", "3", 3)


def test_u0000_is_given_on():
    assert read(b"a,b\n1\x00,2\n").texts == [("1\x00", "2")]


@pytest.mark.usefixtures("small_blocks")
def test_a_byte_that_is_no_text_stays_in_its_record():
    records = [b"%d,caf\xc3\xa9 au lait" % number for number in range(50)]
    records[20] = b"20,caf\xe9 au lait"
    records[30] = b"30,\xf0\x9f\x98"
    got = read(b"a,b\n" + b"\n".join(records))
    assert [b",".join(row) for row in got.rows] == records


def test_a_short_record_with_a_byte_that_is_no_text():
    got = read(b"a,b\n\xe9\n1,2\n")
    assert got.texts == [("1", "2")]
    assert got.reasons[1].startswith("it has 1 cell, fewer than the 2 columns: '\\\\xe9")


@pytest.mark.parametrize("has_preamble", [False, True])
def test_lines_are_counted_whatever_bytes_are_no_text(tmp_path, small_blocks, has_preamble):
    path = tmp_path / "latin.csv"
    head = b"Umsatz M\xe4rz\n" if has_preamble else b""
    path.write_bytes(head + b'a,caf\xe9\n1,"x\n\xffy"\n\xe9\n2,\xe9\n3\n')
    options = SourceOptions(skip_records=int(has_preamble))
    with open_source(path, options) as source:
        [batch] = source.batches()
        lines = [batch.find_line(record) for record in (1, 2, 3, 4)]
    assert lines == [at + has_preamble for at in (2, 4, 5, 6)]
    assert [reject.record for reject in batch.rejects] == [2, 4]


def test_bytes_that_a_codec_cannot_read():
    got = read(b"a,b\n1,\x81\x8d\n2,\xe8\n", encoding="cp1252")
    assert got.rows == [(b"1", b"\x81\x8d"), (b"2", "è".encode())]
    half_a_pair = "a,b\n1,2\n".encode("utf-16-le") + b"\x00\xd8,\x00x\x00\n\x00"
    [_, (cell, other)] = read(half_a_pair, encoding="utf-16-le").rows
    assert (other, cell.isascii()) == (b"x", False)
    # These codecs return a lone surrogate as a character.
    for encoding, half in (("utf-7", b"+2AA-"), ("unicode_escape", b"\\ud800")):
        got = read(b"a,b\n1," + half + b"x\n2,y?\n", encoding=encoding)
        assert got.rows == [(b"1", b"\xffx"), (b"2", b"y?")]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-be", "utf-32", "cp1250", "shift_jis", "gb18030", "iso2022_jp"]
)
def test_a_file_in_any_encoding_is_read(encoding):
    word = "žluťoučký" if encoding == "cp1250" else "ascii 残高" * 9
    content = f"a,b\n{word},1\n2,{word}".encode(encoding)
    assert Got(Pipe(content, 3), encoding=encoding).texts == [(word, "1"), ("2", word)]


@pytest.mark.parametrize("encoding", ["latin-9000", "base64", "rot13"])
def test_no_such_encoding(encoding):
    with pytest.raises(SourceError) as caught:
        read(b"a\n", encoding=encoding)
    assert str(caught.value) == (
        f"There is no encoding {encoding!r} for BytesIO: use a codec that Python knows, "
        "such as utf-8, cp1252 or utf-16."
    )


@pytest.mark.parametrize("content", [b'a,b\n1,2\n3,"4', b'a,b\n1,2\n3,"4\n5,6\n', b'a,b\n1,2\n3,"'])
def test_a_quote_that_is_open_at_the_end(content):
    got = read(content)
    assert got.texts == [("1", "2")]
    assert got.reasons[2].startswith("its last cell opens a quote that is never closed")
    assert got.rejects[0].line == 3


@pytest.mark.parametrize(
    "end", [b'""', b'"\n"', b'"\n"\n', b'"\r"\r\n', b'"x"', b'x"', b'"x""y"', b'"x\n""\n"']
)
def test_a_quote_that_is_closed_at_the_end(tmp_path, end):
    path = tmp_path / "file.csv"
    path.write_bytes(b"a,b\n3," + end)
    for source in (path, path.read_bytes()):
        got = read(source)
        assert (len(got.rows), got.rejects) == (1, [])


def test_a_huge_record():
    with pytest.raises(SourceError) as caught:
        read(b"a,b\n1," + b"x" * 3 * delimited.BLOCK_BYTES + b"\n")
    assert str(caught.value) == (
        f"BytesIO, record 1 (line 2) is longer than 2,097,152 bytes: '1,{'x' * 38}'. Cut the "
        "record, or give the encoding if it is different."
    )


def test_a_record_of_two_mebibytes():
    content = b"a,b\n1,2\n\n3,%b\n4,5\n" % (b"x" * (delimited.BLOCK_BYTES - 3))
    got = read(content)
    assert (got.records, got.lines) == ([1, 2, 3], [2, 4, 5])


@pytest.mark.parametrize("escape", [None, "\\"])
def test_a_quote_that_is_open_for_longer_than_a_record_may_be(escape):
    content = b'a,b\n1,2\n3,"' + b"4,5\n" * (delimited.BLOCK_BYTES // 3)
    with pytest.raises(SourceError) as caught:
        read(content, escape=escape)
    assert str(caught.value).startswith(
        "BytesIO, record 2 (line 3) opens a quote that is never closed within 2,097,152 bytes: "
    )


def test_a_quote_that_is_open_in_the_middle():
    [reject] = read(b'c1,c2,c3\n1,2,3\n4,"open,6\n7,8,9\n').rejects
    assert (reject.record, reject.line, reject.value) == (2, 3, '4,"open,6\n7,8,9\n')
    assert reject.reason.startswith("its last cell opens a quote that is never closed")


def test_an_open_quote_is_refused_where_there_are_escapes():
    got = read(b'a,b\n1,"x\\"y\n2,b\n', escape="\\")
    assert (got.rows, list(got.reasons)) == ([], [1])
    assert got.reasons[1].startswith("its last cell opens a quote that is never closed")


def test_text_after_a_closing_quote_is_refused():
    got = read(b'name,qty\n"say "hi" now",1\n"5" disk",2\n"good",3\n5" disk,4\n')
    assert got.texts == [("good", "3"), ('5" disk', "4")]
    assert got.reasons[2] == (
        'it has text after the closing quote of a cell: \'"5" disk",2\'. Write each quote inside '
        "the cell twice, or escape it; or take the quotes away"
    )


def test_a_record_that_ends_with_an_escape():
    got = read(b"a,b\n1,2\\", escape="\\")
    assert got.reasons == {
        1: "it ends with an escape character with nothing after it: '1,2\\\\'. Take it away, or "
        "write it twice"
    }


@pytest.mark.parametrize("end", range(-3, 4))
def test_a_line_end_in_quotes_at_the_end_of_a_block(end):
    size = delimited.BLOCK_BYTES
    before = b"a,b\r\n" + b"1,x\r\n" * 1000
    filler = b"y" * (size - len(before) - len(b'2,"') + end)
    got = read(before + b'2,"' + filler[: size - len(before) - 20 + end] + b'\r\nrest"\r\n3,z\r\n')
    assert got.texts[1000][1].endswith("y\r\nrest")
    assert got.texts[1001:] == [("3", "z")]
    assert "".join(cell for row in got.texts for cell in row).count("\r\n") == 1


@pytest.mark.parametrize("content", [b"a" * (5 << 20), b"\n" * 100 + b"a," * (5 << 20)])
@pytest.mark.parametrize(
    "options", [{}, {"header": False}, {"columns": ("a",)}, {"skip_records": 2}]
)
def test_a_header_without_an_end(content, options):
    with pytest.raises(SourceError, match=r"has no end within 2,097,152 bytes: 'a"):
        read(content, **options)


def test_a_header_whose_quote_is_never_closed():
    with pytest.raises(SourceError) as caught:
        read(b'a,"b\n1,2\n')
    assert str(caught.value) == (
        "BytesIO cannot be read: its header, up to line 2, has a quote that is never closed: "
        "'a,\"b\\n1,2\\n'. Give the quote and the escape character if they are different."
    )
    with pytest.raises(SourceError, match="opens a quote that is never closed within"):
        read(b'a,"b\n' + b"1,2\n" * (1 << 20))


def test_a_cell_longer_than_the_standard_library_s_csv_would_take():
    word = "x" * 131_073
    assert read(f"a,{word}\n1,{word}\n".encode()).columns == ("a", word)
    assert read(f"1,{word}\n".encode(), header=False).texts == [("1", word)]


def test_any_number_of_blank_lines_before_the_header(tmp_path):
    path = tmp_path / "blank.csv"
    path.write_bytes(b"\r\n" * (3 << 20) + b"a,b\r\n1,2\r\n")
    got = read(path)
    assert (got.texts, got.lines) == ([("1", "2")], [(3 << 20) + 2])


def test_many_records_of_the_wrong_width(tmp_path):
    """About 8 MB of rejects, without any valid record for the parser, once never ended."""
    content = b"a,b\n" + b"1,%b,\n" % (b"x" * 9_996) * 900
    path = tmp_path / "wide.csv"
    path.write_bytes(content)
    for source in (path, Pipe(content), Pipe(gzip.compress(content))):
        got = read(source)
        assert (got.records, len(got.rejects)) == ([], 900)


def test_preamble_records(tmp_path):
    path = tmp_path / "statement.csv"
    path.write_text('\nAccount;12" pipe\n\n"From\nto"\n;;;\na;b\n1;2\n3\n')
    got = read(path, delimiter=";", skip_records=3)
    assert got.columns == ("a", "b")
    assert (got.records, got.lines) == ([1], [8])
    assert got.rejects[0].line == 9


def test_more_preamble_than_there_is():
    with pytest.raises(SourceError) as caught:
        read(b"a\nb\n", skip_records=3)
    assert str(caught.value) == (
        "BytesIO has only 2 records, fewer than the 3 to be skipped before the first."
    )


def test_columns_by_position():
    got = read(b"preamble\n1,2\n3,4\n", header=False, skip_records=1)
    assert (got.columns, got.texts, got.lines) == (("1", "2"), [("1", "2"), ("3", "4")], [2, 3])


def test_columns_that_are_said():
    assert read(b"1,2\n", columns=("a", "b")).texts == [("1", "2")]
    got = read(b"x,y\n1,2\n", columns=("a", "b"), header=True)
    assert (got.columns, got.texts) == (("a", "b"), [("1", "2")])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("count", [1, 5, 40, 41, 60])
def test_trailer_records_by_number(count):
    records = [f"{number},x" for number in range(39)] + ["Total", "The end,9"]
    got = read("\n".join(["a,b", *records, ""]).encode(), trailer_records=count)
    left = 41 - min(count, 41)
    assert (got.read, got.skipped) == (left, min(count, 41))
    assert got.records == list(range(1, min(left, 39) + 1))
    assert len(got.rejects) == (count < 2)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("last", ["Total", "Total,9", "Total,9,9"])
def test_a_trailer_by_pattern(last):
    records = [f"{number},x" for number in range(39)] + [last, "40,y", "z"]
    got = read("\n".join(["a,b", *records]).encode(), trailer_pattern="^Total")
    assert (got.read, got.skipped, got.rejects) == (39, 3, [])


@pytest.mark.parametrize(
    ("pattern", "body", "want"),
    [
        (r"^\pL+", "1,2\nÜbertrag,9\n3,4\n", 1),  # syntax that Python's re has not
        (r"^\pL+", "1,2\n3\nÜbertrag\n3,4\n", 2),
        (r"^\pL+", "1,2\n3\nÜbertrag,9,9\n3,4\n", 2),
        (
            r"^(?i)übertrag",
            "1,2\nx\nÜBERTRAG\n",
            2,
        ),  # refused by Python's re: flags not at the start
        (r"^[ÄÖ]", "ß,2\nä,3\nÖ,4\n", 2),  # the letters' first bytes are the same
        (r"^[ÄÖ]", "ß\nä\nÖ\n", 2),
        (r"^.{3}$", "ä,1\nä\n1,2\näöü\n", 0),
        (r"^.{3}$", "ä,12\nä\näöü\n1,2\n", 2),
    ],
)
def test_a_trailer_pattern_means_the_same_for_malformed_records(pattern, body, want):
    got = read(f"a,b\n{body}".encode(), trailer_pattern=pattern)
    assert (got.read, got.skipped) == (want, body.count("\n") - want)


def test_a_trailer_pattern_that_is_none():
    with pytest.raises(ConfigurationError, match="The trailer's pattern cannot be used"):
        read(b"a\n1\n", trailer_pattern="(")


def test_no_quotes():
    assert read(b'a,b\n"1,2"\n', quote="").texts == [('"1', '2"')]


def test_escapes_instead_of_doubled_quotes():
    got = read(b'a,b\n"x\\"y","z\nw"\n1,2\n', escape="\\", doubled_quotes=False)
    assert (got.texts, got.lines) == ([('x"y', "z\nw"), ("1", "2")], [2, 4])


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"delimiter": ""}, "The delimiter '' cannot be used: it must be one ASCII character."),
        ({"delimiter": "||"}, "The delimiter '||' cannot be used: it must be one ASCII character."),
        (
            {"delimiter": "\0"},
            "The delimiter '\\x00' cannot be used: it must be one ASCII character.",
        ),
        ({"quote": "«"}, "The quote '«' cannot be used: it must be one ASCII character."),
        ({"delimiter": '"'}, "The delimiter '\"' has two meanings."),
        (
            {"escape": '"'},
            (
                "The escape '\"' is the quote: leave it out, for a quote that is written twice "
                "stands for itself without it."
            ),
        ),
    ],
)
def test_options_that_cannot_work(options, want):
    with pytest.raises(ConfigurationError) as caught:
        read(b"a\n", **options)
    assert str(caught.value) == want


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "accounts.csv").touch()
    with pytest.raises(SourceError) as caught:
        read(tmp_path / "acounts.csv")
    assert str(caught.value) == (
        f"There is no file '{tmp_path}/acounts.csv'. Did you mean 'accounts.csv'?"
    )


def test_a_file_that_was_opened_for_text():
    with pytest.raises(SourceError) as caught:
        read(io.StringIO("a,b\n1,2\n"))
    assert str(caught.value) == ("StringIO is opened in text mode: open it in binary mode ('rb').")


def test_the_bytes_read(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"a,b\n1,2\n")
    got = read(path)
    assert got.bytes_read == got.bytes_total == 8


def test_utf_16_without_a_mark_must_be_named_exactly():
    with pytest.raises(SourceError) as caught:
        read("a,b\n1,2\n".encode("utf-16-le"), encoding="utf-16")
    assert str(caught.value) == (
        "BytesIO does not begin with a byte-order mark, which would say how its encoding is meant: "
        "name it exactly, such as utf-16-le or utf-16-be."
    )


@pytest.mark.parametrize(
    ("head", "want"),
    [
        (
            b"PK\x03\x04",
            "a workbook or a zip archive: name it .xlsx, .ods or .zip, or give its format",
        ),
        (
            b"\xd0\xcf\x11\xe0",
            "an old workbook: name it .xls; or one with a password: save it without",
        ),
        (b"%PDF-1.7", "a PDF: there may be an export as CSV where it comes from"),
        (b"PAR1", "a Parquet file: name it .parquet, or give its format"),
        (
            b"ARROW1\0\0",
            "an Arrow file: load its table, which pyarrow.feather.read_table(FILE) gives",
        ),
        (b"\xff\xff\xff\xff", "a stream of Arrow: load what pyarrow.ipc.open_stream(FILE) gives"),
        (b"SQLite format 3\x00", "a SQLite database: load its rows from a cursor"),
        (b"7z\xbc\xaf'\x1c", "a 7z archive: extract the file from it"),
        (b"Rar!\x1a\x07", "a RAR archive: extract the file from it"),
        (bytes(257) + b"ustar\x0000", "a tar archive: extract the file from it"),
        (bytes(257) + b"ustar  \x00", "a tar archive: extract the file from it"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_what_is_no_text_is_named(head, want, pack):
    with pytest.raises(SourceError) as caught:
        read(pack(head + b"...\n1,2\n"))
    assert str(caught.value) == f"BytesIO is not text, but {want}."


def test_mustard_makes_no_tar_archive():
    text = b"a" * 251 + b",b\n1,mustard\n"
    assert text.startswith(b"ustar", 257)
    assert read(text).rows == [(b"1", b"mustard")]


@pytest.mark.parametrize("inner", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("outer", [gzip.compress, bz2.compress, lzma.compress])
def test_what_was_compressed_twice_is_named(inner, outer):
    with pytest.raises(SourceError) as caught:
        read(outer(inner(b"a,b\n1,2\n")))
    assert str(caught.value) == (
        "BytesIO is not text, but compressed data, and was compressed twice: decompress it once."
    )


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
    ],
)
def test_utf16_that_nobody_said_is_named(tmp_path, name, encoding, said):
    path = tmp_path / name
    text = "ä,b\n1,2\n3,4\n" if name == "a.csv" else '[{"ä": 1}]'
    path.write_text(text, encoding=encoding)
    with pytest.raises(SourceError, match=rf"is in the encoding {said}: use --encoding {said}\."):
        read(path)
    got = read(path, encoding=said)
    assert got.columns[0] == "ä"


@pytest.mark.parametrize("content", [b"a,b\n1\x00,2\n", b"a\x00\n1\n", "ä,ö\n1,2\n".encode()])
def test_a_few_zeros_are_no_utf16(content):
    assert len(read(content).rows) == 1

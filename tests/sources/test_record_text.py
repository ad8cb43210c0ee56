"""The records of a text end where the parser ends them, and rejects are rejected again."""

from __future__ import annotations

import dataclasses
import io
import random
import re

import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ingest.sources import SourceOptions, delimited, open_source, text
from ingest.sources.record_text import (
    NOTHING_ESCAPED,
    OPEN_QUOTE,
    TEXT_AFTER_QUOTE,
    RecordPattern,
    count_lines,
)
from tests.sampling import IS_LONG
from tests.sources.read_source import Pipe

TEXTS = 51_000 if IS_LONG else 200
"""The number of texts that each property tries."""
WIDTH = 3
LINE_ENDS = ("\n", "\r\n", "\r")
FAULTS = {
    OPEN_QUOTE: "its last cell opens",
    TEXT_AFTER_QUOTE: "it has text after the closing",
    NOTHING_ESCAPED: "it ends with an escape",
}

many = settings(
    max_examples=TEXTS,
    deadline=None,
    derandomize=TEXTS < 1_000,
    suppress_health_check=list(HealthCheck),
)


def random_dialect(rng):
    delimiter = rng.choice(",;\t| :_~.")
    quote = rng.choice([mark for mark in ['"', '"', "'", "|", "$", ""] if mark != delimiter])
    escape = rng.choice([None, "\\", "\\", "/", "^", "~"])
    return SourceOptions(
        delimiter=delimiter,
        quote=quote,
        doubled_quotes=rng.random() < 0.5,
        escape=None if escape in {quote, delimiter} else escape,
        header=False,
    )


def random_text(rng, options, letters="abé円"):
    """Return text with the dialect's special characters in random places."""
    quote, escape, delimiter = options.quote, options.escape or "", options.delimiter
    odd = [
        *("a", delimiter, quote, escape, "\n", "\r", "\r\n", f"{quote}a{quote}", f"{escape}\n"),
        *(f"{escape}\r\n", f"{escape}{quote}", quote * 2, f"{quote}{delimiter}", f"\n{quote}"),
        *(f"{delimiter}{quote}", f"{quote}\n", *letters),
    ]
    inner = [*"ab ", delimiter, "\n", "\r\n", quote * 2, f"{escape}{quote}"]

    def cell():
        kind = rng.random()
        if kind < 0.5:
            return rng.choice(["", "a", letters[2], f"{quote}a{quote}"])
        if kind < 0.75:
            return quote + "".join(rng.choices(inner, k=rng.randrange(4))) + quote
        return "".join(rng.choices(odd, k=rng.randrange(4)))

    line_ends = rng.choice([["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]])
    given = "".join(
        delimiter.join(cell() for _ in range(rng.choice([WIDTH] * 5 + [1, WIDTH - 1, WIDTH + 1])))
        + rng.choice(line_ends)
        for _ in range(rng.randrange(7))
    )
    return given[:-1] if rng.random() < 0.3 else given


def walk(content, options):  # noqa: C901, PLR0912 - a state machine, to be compared with
    """Return the records of a text as (start, stop, fault), found character by character."""
    quote, escape = options.quote or None, options.escape
    found, at = [], 0
    while at < len(content):
        if content[at] in "\r\n":
            at += 1
            continue
        start, state, fault = at, "start", None
        while at < len(content):
            letter = content[at]
            if letter == escape and not (state == "start" and letter == quote):
                fault = fault or (TEXT_AFTER_QUOTE if state == "closed" else None)
                if at + 1 == len(content):
                    fault = OPEN_QUOTE if state == "quoted" else NOTHING_ESCAPED
                state = {"start": "bare", "closed": "bare"}.get(state, state)
                at += 3 if content[at + 1 : at + 3] == "\r\n" else 2
            elif state == "quoted":
                at += 1
                if letter == quote:
                    if options.doubled_quotes and content[at : at + 1] == quote:
                        at += 1
                    else:
                        state = "closed"
            elif letter in "\r\n":
                at += 2 if content[at : at + 2] == "\r\n" else 1
                break
            elif letter == options.delimiter:
                state, at = "start", at + 1
            elif letter == quote and state == "start":
                state, at = "quoted", at + 1
            else:
                fault = fault or (TEXT_AFTER_QUOTE if state == "closed" else None)
                state = "bare" if state == "start" else state
                at += 1
        else:
            fault = OPEN_QUOTE if state == "quoted" else fault
        at = min(at, len(content))
        found.append((start, at, fault))
    return found


def parse(content, options):
    """Return the parser's result for a whole text: each record's cells, or their wrong number."""
    refused = {}

    def refuse(row):
        refused[row.number - 1] = row.actual_columns
        return "skip"

    if not content:
        return []
    if options.escape:  # Arrow escapes only the first half of CRLF
        pairs = re.findall(
            f"{re.escape(options.escape)}\r\n|{re.escape(options.escape)}?.", content, re.DOTALL
        )
        content = "".join(pair.replace("\r\n", f"\r{options.escape}\n") for pair in pairs)
    names = [str(place) for place in range(WIDTH)]
    table = pyarrow.csv.open_csv(
        pa.BufferReader(content.encode()),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=options.delimiter,
            quote_char=options.quote or False,
            double_quote=options.doubled_quotes,
            escape_char=options.escape or False,
            newlines_in_values=True,
            invalid_row_handler=refuse,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    ).read_all()
    rows = iter(zip(*(column.to_pylist() for column in table.columns), strict=True))
    count = table.num_rows + len(refused)
    return [refused[at] if at in refused else next(rows) for at in range(count)]


def read_all(given, options, columns=("a", "b", "c")):
    """Return the records that a source reads, the rejects, and the position after each record."""
    rows, rejects, lines, positions, misfits = {}, {}, {}, {}, {}
    with open_source(given, dataclasses.replace(options, columns=columns)) as source:
        for batch in source.batches():
            cells = [[cell.as_py() for cell in column] for column in batch.columns]
            rows.update(zip(batch.records, zip(*cells, strict=True), strict=True))
            rejects.update((reject.record, reject) for reject in batch.rejects)
            misfits.update(batch.misfits)
            for record in sorted({*batch.records, *batch.misfits}):
                lines[record] = batch.find_line(record)
                positions[record] = batch.find_position(record)
        writer = source.writer()
    return rows, rejects, misfits, lines, positions, writer


@many
@given(seed=st.integers(0, 1 << 64))
def test_records_end_where_the_parser_ends_them(tmp_path_factory, seed):
    rng = random.Random(seed)
    options = random_dialect(rng)
    content = random_text(rng, options)
    note(f"{options} {content!r}")
    want = walk(content, options)
    whole = parse(content, options)
    assert len(whole) == len(want)
    path = tmp_path_factory.getbasetemp() / "records.csv"
    path.write_bytes(content.encode())
    longest = max((len(content[start:stop].encode()) for start, stop, _ in want), default=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK_BYTES", max(rng.choice([1, 1, 100]), longest + 2))
        patch.setattr(text, "CHUNK_BYTES", 7)
        # Most blocks have one record, so that an end in the wrong place would change the cells.
        rows, rejects, misfits, lines, positions, _ = read_all(path, options)
        patch.setattr(delimited, "BLOCK_BYTES", 2 << 20)
        _, again, _, lines_of_pipe, _, _ = read_all(Pipe(content.encode(), 5), options)
        with open_source(path, dataclasses.replace(options, columns=("a", "b", "c"))) as source:
            pairs = [position.record for position in source.find_ends(source._first, 2)]
    good = {
        number: tuple(cell.encode() for cell in cells)
        for number, (cells, (_, _, fault)) in enumerate(zip(whole, want, strict=True), 1)
        if fault is None and not isinstance(cells, int)
    }
    assert rows == good
    assert sorted({*rows, *rejects}) == list(range(1, len(whole) + 1))
    for number, (cells, (start, stop, fault)) in enumerate(zip(whole, want, strict=True), 1):
        before = content[:start].replace("\r\n", "\n").replace("\r", "\n").count("\n")
        assert lines[number] == before + 1
        assert positions[number].byte == len(content[:stop].encode())
        if number not in good:
            assert rejects[number].line == before + 1
            says = FAULTS[fault] if fault else f"it has {cells} cell"
            assert rejects[number].reason.startswith(says)
            line_end = content[start:stop].removeprefix(misfits[number])
            may_follow = {""} if fault in {OPEN_QUOTE, NOTHING_ESCAPED} else {"", *LINE_ENDS}
            assert line_end in may_follow
    assert again == {number: _of_pipe(reject) for number, reject in rejects.items()}
    assert lines_of_pipe == lines
    count = len(whole)
    assert pairs == [*range(2, count + 1, 2), *([count] if count % 2 else [])]


def is_text(cell):
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _of_pipe(reject):
    return dataclasses.replace(reject, source="pipe")


ENCODINGS = {
    "utf-8": "abé円",
    "utf-8-sig": "abé円",
    "utf-16": "abé円",
    "utf-16-le": "abé円",
    "cp1252": "abé€",
    "latin-1": "abéß",
    "cp932": "ab円ソ",
    "gb18030": "ab円é",
}


@many
@given(seed=st.integers(0, 1 << 64))
def test_rejects_are_rejected_again(seed):
    rng = random.Random(seed)
    options, encoding = random_dialect(rng), rng.choice(sorted(ENCODINGS))
    line_end = rng.choice(["\n", "\r\n", "\r"])
    content = random_text(rng, options, ENCODINGS[encoding])
    content = options.delimiter.join("abc") + line_end + content
    reasons = "".join(rng.choices("a,;:\"'|$~\\/^. _é円\t", k=rng.randrange(8)))
    given = content.encode(encoding)
    if not encoding.startswith("utf-16") and rng.random() < 0.5:
        at = rng.randint(
            len((options.delimiter.join("abc") + line_end).encode(encoding)), len(given)
        )
        given = given[:at] + b"\x81\xff" + given[at:]
    has_header = rng.random() < 0.5
    options = dataclasses.replace(options, encoding=encoding, header=has_header)
    columns = None if has_header else rng.choice([None, ("a", "b", "c")])
    note(f"{options} {given!r} {reasons!r}")
    for _ in range(2):
        rows, rejects, misfits, _, _, writer = read_all(io.BytesIO(given), options, columns)
        given = writer.head()
        for number in sorted({*rows, *rejects}):
            if number in misfits:
                given += writer.misfit(misfits[number], reasons)
            else:
                given += writer.record(rows[number], reasons)
        again, rejects_again, *_ = read_all(io.BytesIO(given), options, columns)
        renumbered = dict(enumerate(sorted({*rows, *rejects}), 1))
        assert {renumbered[number] for number in rejects_again} == set(rejects)
        got = {renumbered[number]: cells for number, cells in again.items()}
        assert got.keys() == rows.keys()
        for number, cells in got.items():
            for cell, want in zip(cells, rows[number], strict=True):
                # An undecodable byte may be replaced by another one.
                assert cell == want or not (is_text(cell) or is_text(want))


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (b'1,a\n"open\n', {}),
        (b'1,a\n2,"open\n3,c\n', {}),
        (b"1,a\\\n2,b\\\n3,c", {"escape": "\\"}),
        (b'1,"x\\"y\n2,b\n3,c\n', {"escape": "\\"}),
        (b"1,a\\", {"escape": "\\"}),
    ],
)
def test_no_record_is_both_loaded_and_rejected(content, options):
    options = SourceOptions(columns=("a", "b"), **options)
    rows, rejects, *_ = read_all(io.BytesIO(content), options, ("a", "b"))
    assert not set(rows) & set(rejects)
    assert sorted({*rows, *rejects}) == list(range(1, len(rows) + len(rejects) + 1))


@pytest.mark.parametrize("block_bytes", [16, 2 << 20])
@pytest.mark.parametrize("quote", ['"', ""])
def test_an_escaped_crlf_is_one_line_end_inside_the_cell(monkeypatch, quote, block_bytes):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(text, "CHUNK_BYTES", 1)
    content = b"1,a\\\r\nb\r\n2,c\\\\\r\n3,\\\r\n"
    options = SourceOptions(quote=quote, escape="\\", columns=("a", "b"), header=False)
    rows, rejects, _, lines, *_ = read_all(io.BytesIO(content), options, ("a", "b"))
    assert rows == {1: (b"1", b"a\r\nb"), 2: (b"2", b"c\\"), 3: (b"3", b"\r\n")}
    assert (rejects, lines) == ({}, {1: 1, 2: 3, 3: 4})


def test_a_pattern_walks_a_text_once_however_its_quotes_stand():
    pattern = RecordPattern(SourceOptions(escape="\\"))
    for content in (b'"' * 200_001, b'a"b",' * 40_000, b"\\" * 200_001, b'"\n' * 100_000):
        pattern.cut(content, is_last=True)


@many
@given(seed=st.integers(0, 1 << 64))
def test_looking_at_all_quotes_at_once_gives_the_same_records(seed):
    rng = random.Random(seed)
    options = random_dialect(rng)
    cells = ["", "a", f"a{options.delimiter}", "a\r\nb", "\n", options.quote * 2]
    quoted = [options.quote + cell + options.quote for cell in rng.choices(cells, k=12)]
    ends = ["\n", "\r", "\r\n", options.delimiter]
    well_quoted = "".join(cell + rng.choice(ends) for cell in quoted)
    content = (well_quoted[: rng.randrange(40)] + random_text(rng, options)).encode()
    note(f"{options} {content!r}")
    pattern, walking = RecordPattern(options), RecordPattern(options)
    walking._end_of_well_quoted = lambda *_: 0
    for is_last in (False, True):
        got, want = (each.cut(content, is_last=is_last) for each in (pattern, walking))
        assert (got and (got.text, got.faults)) == (want and (want.text, want.faults))
        if got:
            check_places(got)
    if options.quote and options.doubled_quotes and options.escape is None:
        last = [stop for _, stop, _ in walk(well_quoted, options)][-2:][0]
        assert pattern._end_of_well_quoted(well_quoted.encode(), len(well_quoted)) >= last


def check_places(block):
    """Compare the places of a block's records with those that the pattern finds one by one."""
    want = list(block.pattern.spans(block.text))
    assert block.records == len(want)
    assert list(zip(*block.spans, strict=True)) == want
    assert block.records == len(want)  # now from the known spans
    assert list(block.lines) == [count_lines(block.text[:start]) for start, _ in want]


PLAIN = (b"a", b"bcd", b"\n", b"\r\n", b"\r", b" ")
QUOTED = (*PLAIN, b",", b'"a"', b'"a""b"', b',"",', b'"\n', b'\n"', b',"a\nb"', b'"')


@many
@given(
    parts=st.lists(st.sampled_from(PLAIN), min_size=1)
    | st.lists(st.sampled_from(QUOTED), min_size=1)
)
def test_the_records_of_text_are_found_by_its_line_ends(parts):
    check_places(RecordPattern(SourceOptions()).cut(b"".join(parts), is_last=True))

"""Detection and load find the same records, preamble and trailer."""

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.exceptions import SourceError
from ingest.sources import SourceOptions, open_source
from ingest.sources.detection import detect
from ingest.sources.detection.dialects import Dialect, split
from ingest.sources.detection.tables import find_table
from ingest.sources.parser import split_record
from tests.sampling import IS_LONG
from tests.sources.read_source import Pipe

TEXTS = 20_000 if IS_LONG else 250
many = settings(
    max_examples=TEXTS,
    deadline=None,
    derandomize=TEXTS < 1_000,
    suppress_health_check=list(HealthCheck),
)
PIECES = st.sampled_from(
    ["a", "1.5", "2025-01-31", "Total", " ", "é", '"', '""', "'", "\\", ",", ";", "#", "\n", "\r"]
)
dialects = st.builds(
    Dialect,
    delimiter=st.sampled_from(",;\t"),
    quote=st.sampled_from(['"', "'", ""]),
    doubled_quotes=st.booleans(),
    escape=st.sampled_from([None, "\\"]),
    comment=st.sampled_from([None, "#"]),
)


def cell(dialect):
    """Make cells of texts, dates and numbers, quoted as the dialect quotes."""
    plain = st.sampled_from(["a", "", "12.50", "2025-01-31", "x y", "'s", "b#"])
    if not dialect.quote:
        return plain
    mark = dialect.quote
    inner = ["a", "\n", dialect.delimiter, "#"]
    inner += [mark * 2] if dialect.doubled_quotes else []
    inner += [f"\\{mark}"] if dialect.escape else []
    quoted = st.lists(st.sampled_from(inner), max_size=4).map(
        lambda parts: f"{mark}{''.join(parts)}{mark}"
    )
    return st.one_of(plain, quoted)


@st.composite
def files(draw):
    """Make a dialect and a text in it: records of any width, blank lines, comments, line ends."""
    dialect = draw(dialects)
    lines = []
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.integers(0, 9))
        if kind == 0:
            lines.append("")
        elif kind == 1:
            lines.append("# a comment, with 'quotes\"")
        else:
            cells = draw(st.lists(cell(dialect), min_size=1, max_size=4))
            lines.append(dialect.delimiter.join(cells))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return dialect, end.join(lines) + draw(st.sampled_from(["", end, end * 2]))


def load(text, options):
    """Return how many records a load reads, and the texts of the records with one column."""
    with open_source(Pipe(text.encode()), options) as source:
        batches = list(source.batches())
    return sum(batch.records_read + batch.skipped for batch in batches)


@many
@given(files())
def test_both_split_a_text_into_the_same_records(made):
    dialect, text = made
    records = split(text, dialect, is_whole=True)
    names = tuple(map(str, range(max(map(len, records), default=1))))
    options = SourceOptions(**vars(dialect.options) | {"columns": names, "header": False})
    assert load(text, options) == len(records)
    whole = split_record
    with open_source(Pipe(text.encode()), options) as source:
        for batch in source.batches():
            for place, row in zip(batch.records, zip(*batch.columns, strict=True), strict=True):
                assert [value.as_py().decode() for value in row] == records[place - 1]
            for place, shown in batch.misfits.items():
                # A record whose quotes are at fault has no cells that one could compare.
                if batch.split_misfit(place, shown) is not None:
                    assert whole(shown.encode(), options) == records[place - 1]


@many
@example("a\n#,")
@given(st.lists(PIECES, min_size=1, max_size=60).map("".join))
def test_a_load_as_detected_counts_what_detection_counted(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("made") / "file.csv"
    path.write_text(text, newline="")
    try:
        found = detect(path)
    except SourceError:
        return
    options = found.options
    table = find_table(text.removeprefix("\ufeff"), is_whole=True)
    if options.encoding != "utf-8" or not table.records:
        return
    try:
        with open_source(path, options) as source:
            read = sum(batch.records_read + batch.skipped for batch in source.batches())
    except SourceError:  # nothing is lost if nothing is loaded
        return
    assert read == len(table.records) - table.start - (table.header is not None)
    assert options.skip_records == table.start
    said = "\n".join(found.findings)
    assert ("which a load leaves out (skip_records" in said) == bool(options.skip_records)
    assert ("which a load leaves out (trailer_records" in said) == bool(options.trailer_records)
    assert ("are comments" in said) == bool(options.comment)

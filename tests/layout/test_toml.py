"""What ingest writes as TOML, the standard library reads as the same values."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from ingest.layout.text import write

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.one_of(
    *(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)),
    *(st.dates(), st.times(), st.datetimes()),
)
VALUE = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=8
)
TABLE = st.dictionaries(TEXT, VALUE, max_size=4)


@given(st.dictionaries(TEXT, VALUE | TABLE | st.lists(TABLE, max_size=3), max_size=4))
def test_a_document_is_read_as_it_was_written(document):
    assert tomllib.loads(write(document)) == document

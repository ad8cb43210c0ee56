"""Cells of a few records, which Python takes apart where it gives the same as Arrow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.sources import SourceOptions, parser
from ingest.sources.parser import CellParser

OPTIONS = [SourceOptions(), SourceOptions(delimiter=";", quote="", escape="\\"),
           SourceOptions(format="postgres-csv")]  # fmt: skip
TEXTS = st.text(alphabet='ab ,;"\\\n\r\0\ufeff\x0bé', max_size=40)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, width=st.integers(1, 3), options=st.sampled_from(OPTIONS))
def test_a_short_text_has_the_cells_that_arrow_finds(text, width, options):
    with pytest.MonkeyPatch.context() as patch:
        got = cells(text, width, options)
        patch.setattr(parser, "FEW_BYTES", -1)
        assert got == cells(text, width, options)


def cells(text, width, options):
    try:
        columns, others = CellParser(options, width).parse(text.encode())
    except parser.pa.ArrowInvalid as error:
        return str(error)
    return [(column.type, column.to_pylist()) for column in columns], others

"""Objects that Arrow's threads hold are released before the process ends, and never kept."""

import gc
import subprocess
import sys
import weakref

import pytest

from ingest.sources import SourceOptions
from ingest.sources.lending import is_held, wait_until_released
from ingest.sources.parser import CellParser, split_records
from tests.patience import PATIENCE_SECONDS

ENDS = """
import sys, threading, time
from ingest.sources import lending
lending.SECONDS = float(sys.argv[1])
held = [lending.lend(b"text")]
def give_back():
    time.sleep(0.05)
    held.clear()
    sys.stdout.write("given back")
    sys.stdout.flush()
if sys.argv[2] == "yes":
    threading.Thread(target=give_back, daemon=True).start()
"""


def test_arrow_keeps_no_text_that_it_has_parsed():
    parser = CellParser(SourceOptions(), 2)
    columns, refused = parser.parse(b"a,b\n" * 50_000 + b"c\n")
    assert (len(columns[0]), refused) == (50_000, {50_000: 1})
    wait_until_released()
    assert not is_held()


def test_a_parser_is_gone_when_nobody_needs_it():
    gc.disable()  # the parser must not need it: Python never finds a cycle through Arrow
    try:
        parser = CellParser(SourceOptions(), 1)
        assert parser.parse(b"a\n")[0][0].to_pylist() == [b"a"]
        found = weakref.ref(parser)
        del parser
        assert found() is None
    finally:
        gc.enable()
    assert split_records(b"a,b\nc\n", SourceOptions()) == [["a", "b"], ["c"]]
    wait_until_released()
    assert not is_held()


@pytest.mark.parametrize(
    ("seconds", "is_given_back", "want"), [("60", "yes", "given back"), ("0.05", "no", "")]
)
def test_the_process_waits_for_what_is_given_back_and_not_for_ever(seconds, is_given_back, want):
    command = [sys.executable, "-c", ENDS, seconds, is_given_back]
    ended = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (ended.stdout, ended.stderr) == (want, "")

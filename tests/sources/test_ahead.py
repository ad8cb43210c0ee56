"""The parser's thread reads no further ahead than it must."""

import threading

import pytest

from ingest.sources import ahead
from ingest.sources.ahead import ReadAhead
from ingest.sources.files import InputFile
from ingest.sources.text import TextReader

BLOCK = 1_000


@pytest.fixture
def reader(tmp_path):
    path = tmp_path / "text.csv"
    path.write_bytes(b"x" * BLOCK * 20)
    reader = ReadAhead(TextReader(InputFile(path), "utf-8"))
    yield reader
    reader.close()


def read_in_a_thread(reader, blocks):
    got = []
    thread = threading.Thread(
        target=lambda: got.extend(reader.read(BLOCK) for _ in range(blocks)), daemon=True
    )
    thread.start()
    return thread, got


def test_a_block_waits_until_a_batch_was_taken(reader):
    thread, got = read_in_a_thread(reader, ahead.BLOCKS_AHEAD + 2)
    batches = reader.follow(["one", "two"])
    thread.join(3 * ahead.STARVING_SECONDS)
    assert len(got) == ahead.BLOCKS_AHEAD
    assert next(batches) == "one"
    thread.join(3 * ahead.STARVING_SECONDS)
    assert len(got) == ahead.BLOCKS_AHEAD + 1
    assert next(batches) == "two"
    thread.join()
    assert got == [b"x" * BLOCK] * (ahead.BLOCKS_AHEAD + 2)


def test_a_parser_that_makes_no_batch_of_its_blocks_is_not_left_waiting(reader):
    def parser():
        for _ in range(ahead.BLOCKS_AHEAD + 2):
            reader.read(BLOCK)
        yield "at last"

    assert list(reader.follow(parser())) == ["at last"]


def test_closing_lets_go_of_a_thread_that_waits(reader):
    thread, got = read_in_a_thread(reader, ahead.BLOCKS_AHEAD + 1)
    reader.close()
    thread.join()
    assert got[-1] == b""

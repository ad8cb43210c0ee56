"""What a load has written of rejects is there when it goes on, or it does not go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest import IngestError
from ingest.loading.append_file import AppendFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.fixture
def file(path):
    opened = AppendFile(path.open("w+b"), "The file 'x'", lasts=True)
    yield opened
    if not opened.is_closed:
        opened.close()


def test_what_was_written_after_a_mark_is_forgotten(file, path):
    file.write(b"one\n")
    mark = file.mark()
    file.write(b"two\n")
    file.rewind(mark)
    file.write(b"three\n")
    assert list(file.lines()) == [b"one\n", b"three\n"]
    file.write(b"four\n")
    file.close()
    assert path.read_bytes() == b"one\nthree\nfour\n"


def test_a_reader_that_stops_early_leaves_the_file_open(file):
    file.write(b"one\ntwo\n")
    reader = file.lines()
    assert next(reader) == b"one\n"
    reader.close()
    file.write(b"three\n")
    assert list(file.lines()) == [b"one\n", b"two\n", b"three\n"]


def test_a_mark_is_what_others_can_read(file, path):
    file.write(b"one\n")
    assert path.read_bytes() == b""
    assert (file.mark()["bytes"], path.read_bytes()) == (4, b"one\n")


def test_a_file_that_begins_otherwise_is_not_cut(file, path):
    file.write(b"one\n")
    mark = file.mark()
    path.write_bytes(b"two\nand more\n")
    with pytest.raises(IngestError) as caught:
        file.rewind(mark)
    assert str(caught.value) == (
        "The file 'x' is no longer what this load has written: its first 4 bytes have changed. "
        "Restore it, or undo the load and load again."
    )
    assert path.read_bytes() == b"two\nand more\n"


def test_a_file_that_somebody_has_cut_is_not_filled_up(file, path):
    file.write(b"one\n")
    mark = file.mark()
    path.write_bytes(b"o")
    with pytest.raises(IngestError) as caught:
        file.rewind(mark)
    assert str(caught.value) == (
        "The file 'x' is no longer what this load has written: it has 1 byte, and should have 4. "
        "Restore it, or undo the load and load again."
    )


def test_a_full_disk_is_said_once_and_the_file_let_go_of():
    with open("/dev/full", "wb") as device:  # noqa: PTH123
        full = AppendFile(device, "The file 'x'", lasts=False)
        full.write(b"one\n")
        with pytest.raises(IngestError) as caught:
            full.mark()
        assert full.is_closed
    assert str(caught.value) == (
        "The file 'x' cannot be written: No space left on device. Nothing was loaded."
    )


@pytest.mark.parametrize(
    "use",
    [
        lambda file: file.write(b"y"),
        lambda file: file.flush(),
        lambda file: file.mark(),
        lambda file: file.rewind({"bytes": 0}),
        lambda file: list(file.lines()),
    ],
    ids=["write", "flush", "mark", "rewind", "lines"],
)
def test_whoever_uses_it_after_an_error_is_told_of_that_error(use):
    file = AppendFile(Path("/dev/full").open("w+b"), "The file 'x'", lasts=False)  # noqa: SIM115
    file.write(b"x")
    with pytest.raises(IngestError, match="No space left"):
        file.flush()
    with pytest.raises(IngestError, match="No space left"):
        use(file)
    file.close()

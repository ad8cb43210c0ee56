import bz2
import gzip
import lzma
import subprocess
import sys

import pyarrow as pa
import pytest

from ingest.exceptions import SourceError
from tests.sources.read_source import Got, Pipe, read

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.Codec("zstd").compress(content, asbytes=True),
}
TEXT = b"a,b\n" + b"".join(b"%d,x%d\n" % (number, number**3) for number in range(20_000))
suffixes = pytest.mark.parametrize("suffix", COMPRESS)


@suffixes
def test_a_compressed_file(tmp_path, suffix):
    path = tmp_path / f"file.csv{suffix}"
    path.write_bytes(COMPRESS[suffix](TEXT))
    got = read(path)
    assert len(got.rows) == 20_000
    assert got.rows[-1] == (b"19999", b"x7998800059999")
    assert got.lines[-1] == 20_001
    assert got.bytes_read == got.bytes_total == path.stat().st_size


@suffixes
def test_compressed_standard_input_is_known_by_its_first_bytes(suffix):
    got = Got(Pipe(COMPRESS[suffix](TEXT), 5))
    assert (len(got.rows), got.lines[-1]) == (20_000, 20_001)


@suffixes
def test_several_compressed_files_in_one(suffix):
    compress = COMPRESS[suffix]
    got = read(compress(TEXT) + compress(b"last,") + compress(b"one\n"))
    assert got.rows[20_000:] == [(b"last", b"one")]


@suffixes
@pytest.mark.parametrize("behind", [b"3,4\n", TEXT, b"x" * 8192])
@pytest.mark.parametrize("part", [None, 5])
def test_bytes_that_are_not_compressed_behind_those_that_are(suffix, behind, part):
    with pytest.raises(SourceError, match=r"^pipe cannot be decompressed to its end \("):
        Got(Pipe(COMPRESS[suffix](TEXT) + behind, part))


@suffixes
def test_a_second_compressed_part_that_is_cut_off(suffix):
    compressed = COMPRESS[suffix](TEXT)
    for length in (1, 3, 11, len(compressed) - 1):
        with pytest.raises(SourceError, match=r"^pipe cannot be decompressed to its end \("):
            Got(Pipe(compressed + compressed[:length]))


def test_zero_bytes_between_streams_of_xz():
    text = lzma.compress(TEXT) + bytes(8) + lzma.compress(b"3,4\n") + bytes(8192)
    assert Got(Pipe(text)).rows[20_000:] == [(b"3", b"4")]
    with pytest.raises(SourceError, match=r"^pipe cannot be decompressed to its end \("):
        Got(Pipe(text + bytes(1)))


@suffixes
@pytest.mark.parametrize("left", [40, 0.5, -9])
def test_a_file_that_is_cut_off(tmp_path, suffix, left):
    path = tmp_path / f"file.csv{suffix}"
    content = COMPRESS[suffix](TEXT)
    left = int(len(content) * left) if isinstance(left, float) else left
    path.write_bytes(content[:left])
    with pytest.raises(SourceError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} cannot be decompressed to its end (")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])  # zstd may have no checksum
def test_a_file_that_is_damaged(tmp_path, suffix):
    path = tmp_path / f"file.csv{suffix}"
    content = bytearray(COMPRESS[suffix](TEXT))
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="it is truncated or damaged"):
        read(path)


@suffixes
def test_a_name_that_promises_what_the_file_is_not(tmp_path, suffix):
    path = tmp_path / f"file.csv{suffix}"
    path.write_bytes(TEXT)
    with pytest.raises(SourceError, match=r"data, though its name says so: rename the file\.$"):
        read(path)


def test_an_empty_compressed_file(tmp_path):
    path = tmp_path / "file.csv.gz"
    path.write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        read(path)


def test_compressed_json_lines(tmp_path):
    path = tmp_path / "file.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n'))
    assert read(path).rows == [(1,)]


def test_a_folder(tmp_path):
    with pytest.raises(SourceError) as caught:
        read(tmp_path)
    assert str(caught.value) == f"{str(tmp_path)!r} cannot be read: Is a directory."


def test_standard_input():
    script = (
        "import django; from django.conf import settings; settings.configure(); django.setup()\n"
        "from tests.sources.read_source import read\n"
        "got = read('-'); print(got.name, got.texts, got.lines)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], input=b"a,b\n1,2\n", capture_output=True, check=False
    )
    assert done.stdout.decode() == "standard input [('1', '2')] [2]\n", done.stderr.decode()


def test_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as Python sets it for `<&-`
    with pytest.raises(SourceError, match=r"^Standard input is closed: "):
        read("-")


def test_a_file_object_stays_open(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"a\n1\n")
    with path.open("rb") as file:
        assert read(file).name == str(path)
        assert not file.closed

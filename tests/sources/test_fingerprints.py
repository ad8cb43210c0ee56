"""The digest of a file, which is computed while the load runs."""

import os
import subprocess
import sys
from hashlib import blake2b

import pytest

from ingest.sources.fingerprints import Fingerprint

TEXT = b"number,name\n" * 10_000


@pytest.fixture
def pipe(tmp_path):
    """A file whose reader waits until it is written."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_nobody_waits_for_the_digest_until_it_is_asked_for(pipe):
    fingerprint = Fingerprint([pipe])  # must not wait here
    pipe.write_bytes(TEXT)
    assert str(fingerprint) == blake2b(TEXT, digest_size=32).hexdigest()


def test_a_digest_is_given_up_with_its_load(pipe):
    fingerprint = Fingerprint([pipe])
    digest = fingerprint._digest
    with pipe.open("wb", buffering=0) as file:
        del fingerprint
        file.write(b"a")
        assert digest.result(timeout=60) == ""


def test_the_end_of_the_process_does_not_wait_for_the_digest(pipe):
    """An error that is kept holds its load, and so the digest of a file of any size."""
    script = (
        "import pathlib, sys\n"
        "from ingest.sources.fingerprints import Fingerprint\n"
        "kept = Fingerprint([pathlib.Path(sys.argv[1])])\n"
    )
    subprocess.run([sys.executable, "-c", script, str(pipe)], check=True, timeout=30)

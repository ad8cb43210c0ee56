"""The digest of a file, which is taken while the load goes on."""

import os
from hashlib import blake2b

import pytest

from ingest.sources.fingerprints import Fingerprint

TEXT = b"number,name\n" * 10_000


@pytest.fixture
def pipe(tmp_path):
    """A file of which nothing can be read until somebody writes it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_nobody_waits_for_the_digest_until_it_is_asked_for(pipe):
    fingerprint = Fingerprint([pipe])  # would wait here without end
    pipe.write_bytes(TEXT)
    assert str(fingerprint) == blake2b(TEXT, digest_size=32).hexdigest()


def test_a_digest_is_given_up_with_its_load(pipe):
    fingerprint = Fingerprint([pipe])
    digest = fingerprint._digest
    with pipe.open("wb", buffering=0) as file:
        del fingerprint
        file.write(b"a")
        assert digest.result(timeout=60) == ""

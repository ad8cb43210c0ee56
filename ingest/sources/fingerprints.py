"""What tells that a file is still the one that was loaded: a digest of its bytes."""

from __future__ import annotations

from concurrent.futures import Future
from hashlib import blake2b
from threading import Event, Thread
from typing import TYPE_CHECKING
from weakref import finalize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BLOCK_BYTES = 1 << 20
"""Bytes digested at a time; the interpreter lets other threads work meanwhile."""
DIGEST_BYTES = 32


class Fingerprint:
    """The digest of some files, taken in a thread of its own while the load goes on.

    It is given up when nobody can ask for it any more: the load has failed.
    """

    def __init__(self, paths: Sequence[Path], identity: str = "") -> None:
        """``identity`` is what tells that a file is the same that is not on this machine."""
        self._identity = identity
        given_up = Event()
        finalize(self, given_up.set)
        self._digest: Future[str] = Future()
        # The end of the process does not wait for a daemon, as it would for an executor's thread:
        # a failed load may be held by its error until then.
        Thread(
            target=_tell_digest,
            args=(self._digest, paths, given_up),
            name="ingest-fingerprint",
            daemon=True,
        ).start()

    def __str__(self) -> str:
        """Return the digest, as soon as it is known; empty where there is no file."""
        return self._digest.result() or self._identity


def _tell_digest(digest: Future[str], paths: Sequence[Path], given_up: Event) -> None:
    try:
        digest.set_result(digest_of_files(paths, given_up))
    except BaseException as error:  # noqa: BLE001 - who asks for the digest is to hear of it
        digest.set_exception(error)


def digest_of_files(paths: Sequence[Path], given_up: Event | None = None) -> str:
    """Digest the contents of files, in their order; their names do not matter."""
    digests = [_digest(path, 0, None, given_up) for path in paths]
    if len(digests) > 1:
        return blake2b("".join(digests).encode(), digest_size=DIGEST_BYTES).hexdigest()
    return "".join(digests)


def digest_of_part(path: Path, start: int, stop: int) -> str:
    """Digest the bytes of a file from ``start`` to before ``stop``."""
    return _digest(path, start, stop)


def _digest(path: Path, start: int, stop: int | None, given_up: Event | None = None) -> str:
    digest = blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb", buffering=0) as file:
        if start:
            file.seek(start)
        left = stop - start if stop is not None else None
        while left is None or left > 0:
            block = file.read(BLOCK_BYTES if left is None else min(BLOCK_BYTES, left))
            if not block:
                break
            if given_up is not None and given_up.is_set():
                return ""
            digest.update(block)
            left = None if left is None else left - len(block)
    return digest.hexdigest()

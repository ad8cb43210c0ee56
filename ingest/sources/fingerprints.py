"""Identifies a file's content by a digest of its bytes."""

from __future__ import annotations

from concurrent.futures import Future
from hashlib import blake2b
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from weakref import finalize

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

Stamp = list[Any]
"""A file's size in bytes, and values that change whenever the file is written."""

BLOCK_BYTES = 1 << 20
"""Bytes digested at a time; the interpreter lets other threads run meanwhile."""
DIGEST_BYTES = 32


class Fingerprint:
    """The digest of files, computed in a separate thread while the load runs.

    The thread stops when this object is collected, because the load has failed.
    """

    def __init__(self, paths: Sequence[Path], identity: str = "") -> None:
        """``identity`` identifies the content of a file that is not on this machine."""
        self._identity = identity
        given_up = Event()
        finalize(self, given_up.set)
        self._digest: Future[str] = Future()
        # Not in an executor: at exit, a process waits for an executor's threads, but not for daemon
        # threads. The error of a failed load may keep this object alive until then.
        Thread(
            target=_tell_digest,
            args=(self._digest, paths, given_up),
            name="ingest-fingerprint",
            daemon=True,
        ).start()

    def __str__(self) -> str:
        """Wait for the digest and return it; without paths, return the identity."""
        return self._digest.result() or self._identity


def _tell_digest(digest: Future[str], paths: Sequence[Path], given_up: Event) -> None:
    try:
        digest.set_result(digest_of_files(paths, given_up))
    except BaseException as error:  # noqa: BLE001 - __str__ raises it
        digest.set_exception(error)


def digest_of_files(paths: Sequence[Path], given_up: Event | None = None) -> str:
    """Return a digest of the files' contents in their order; the names do not matter."""
    digests = [_digest(path, 0, None, given_up) for path in paths]
    if len(digests) > 1:
        return blake2b("".join(digests).encode(), digest_size=DIGEST_BYTES).hexdigest()
    return "".join(digests)


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file on this machine."""
    return stamp_of(path.stat())


def stamp_of(facts: os.stat_result) -> Stamp:
    """Return a stamp: the size, the modification time and the inode."""
    return [facts.st_size, facts.st_mtime_ns, facts.st_ino]


def digest_of_part(path: Path, start: int, stop: int) -> str:
    """Return a digest of a file's bytes from ``start`` to before ``stop``."""
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

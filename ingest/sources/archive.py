"""Opens zip archives, which are checked before anything is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ingest.exceptions import SourceError
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterator

UNPACKED_BYTES = 4 << 30
"""The largest total size of an archive's members: a full sheet of 40 columns has half of it."""
SMALL_BYTES = 64 << 20
"""Up to this total size, any compression ratio is accepted."""
MOST_RATIO = 200
"""The largest accepted compression ratio. Real workbooks' XML has a ratio of about 10, very uniform
ones of 50. Deflate reaches 1,032."""
MOST_MEMBERS = 10_000
BLOCK_BYTES = 1 << 20
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError)
"""The exceptions that reading a damaged archive raises."""


@contextmanager
def open_archive(file: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; raise ``SourceError`` if its members' declared sizes exceed the limits.

    ``read_member`` reads no more than the declared size.
    """
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise SourceError(
            f"{name} is truncated or damaged ({error}). Fetch the file again."
        ) from error
    with archive:
        _check(archive, name, size=file.seek(0, 2))
        yield archive


def _check(archive: zipfile.ZipFile, name: str, size: int) -> None:
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    ratio = total // max(size, 1)
    if total > UNPACKED_BYTES or (total > SMALL_BYTES and ratio > MOST_RATIO):
        raise SourceError(
            f"{name} would become {total:,} bytes when unpacked, {ratio:,} times its size: a file "
            f"may become {UNPACKED_BYTES:,} bytes and {MOST_RATIO} times its size. If it is meant "
            "to be so large, save it as CSV."
        )
    if len(members) > MOST_MEMBERS:
        raise SourceError(f"{name} has {len(members):,} members, more than {MOST_MEMBERS:,}.")
    if len({member.filename for member in members}) < len(members):
        raise SourceError(f"{name} has two members of one name: it is damaged, or made to deceive.")


def read_member(archive: zipfile.ZipFile, member: str, name: str) -> Iterator[bytes]:
    """Yield a member's bytes, up to its declared size; raise ``SourceError`` if it is damaged."""
    try:
        with archive.open(member) as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except RuntimeError as error:  # zipfile raises it for an encrypted member
        raise protected(name) from error
    except (*DAMAGE, KeyError) as error:
        raise SourceError(
            f"{name} is truncated or damaged: its member {safe_line(member)!r} cannot be unpacked "
            f"({error}). Fetch the file again."
        ) from error


def protected(name: str) -> SourceError:
    """Return the error for a file that cannot be read without its password."""
    return SourceError(f"{name} is protected by a password: save it without one.")

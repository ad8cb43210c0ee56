"""Limits on what a compressed file may contain: a small file must not fill a disk."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING

from ingest import conf
from ingest.exceptions import SourceError

if TYPE_CHECKING:
    from django.core.files import File

RATIO = 200
"""How many times its packed size a file may have when unpacked: text has 5 to 20, bombs 1,000."""
RATIO_COUNTS_FROM = 16 << 20
"""Bytes; smaller contents are harmless, whatever their ratio."""
MOST_ENCLOSED = 3
"""The most members of an archive of one file: that file, and those that macOS adds."""
_BLOCK_BYTES = 1 << 18
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_ZIP = b"PK\x03\x04"
_HEAD_BYTES = 8


class TooLarge(SourceError):  # noqa: N818 - it says what is wrong
    """The file is larger than an upload may be."""


def check_unpacked(file: IO[bytes] | File[bytes], name: str) -> None:
    """Raise ``TooLarge`` for a compressed file whose content is larger than allowed.

    Its content is unpacked a block at a time and discarded, up to the limit and no further.
    Afterwards the file is at its beginning.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head.startswith(_ZIP):
        _check_zip(file, name)
    elif head.startswith(_PACKED):
        _check_stream(file, name)
    file.seek(0)


def _check_stream(file: IO[bytes] | File[bytes], name: str) -> None:
    # Arrow, which the sources need, is not imported for a file that is not compressed.
    from ingest.sources.files import InputFile

    opened = InputFile(_Named(file, name))
    unpacked = 0
    while block := opened.read(_BLOCK_BYTES):
        unpacked += len(block)
        _check(unpacked, opened.bytes_read, name)


def _check_zip(file: IO[bytes] | File[bytes], name: str) -> None:
    # As above.
    from ingest.sources.archive import DAMAGE, protected

    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            _check(unpacked, sum(member.compress_size for member in members), name)
            for member in members if len(members) <= MOST_ENCLOSED else ():
                _check_enclosed(archive, member, name)
    except RuntimeError as error:  # what zipfile raises for an encrypted member
        raise protected(name) from error
    except DAMAGE as error:
        raise SourceError(f"{name} is a damaged ZIP file: {error}. Fetch it again.") from error


def _check_enclosed(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
    """Check a file that is compressed twice: the archive does not know its unpacked size."""
    with archive.open(member) as content:
        is_packed = content.read(_HEAD_BYTES).startswith(_PACKED)
    if is_packed:
        with archive.open(member) as content:
            _check_stream(content, name)


def _check(unpacked: int, packed: int, name: str) -> None:
    most = conf.upload_unpacked_bytes()
    if unpacked > most:
        raise TooLarge(
            f"{name} holds more than {most:,} bytes when it is unpacked "
            "(INGEST['UPLOAD_UNPACKED_BYTES']): split it."
        )
    if unpacked > RATIO_COUNTS_FROM and unpacked > RATIO * max(packed, 1):
        raise TooLarge(
            f"{name} grows to more than {RATIO} times its size when it is unpacked, as no file of "
            "records does: unpack it, and upload what is in it."
        )


class _Named:
    """A file with its original name."""

    def __init__(self, file: IO[bytes] | File[bytes], name: str) -> None:
        self.name = name
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

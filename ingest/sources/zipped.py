"""A zip archive with one member, which is read without unpacking it to the disk."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, Self, cast

from ingest.exceptions import SourceError
from ingest.sources.base import SourceOptions, find_kind, open_source
from ingest.sources.enclosed import EnclosedSource
from ingest.sources.files import CHUNK_BYTES, InputFile, NamedPath, kind_suffix
from ingest.terminal import safe_line

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

MEMBERS_NAMED = 5
_LEFT_OUT = "__MACOSX/"
"""A folder that macOS adds to archives."""
_OF_FOLDERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that macOS and Windows keep in folders, and so in archives of them."""


class ZippedSource(EnclosedSource):
    """The one file in a zip archive, in any format."""

    format = "zip"
    place = 7
    is_of_files = True

    @classmethod
    def accepts(cls, given: Any) -> bool:
        is_file = isinstance(given, str | Path) or hasattr(given, "read")
        return is_file and kind_suffix(given) == ".zip"

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        file = InputFile(given)
        with ExitStack() as stack:
            stack.callback(file.close)
            member, size = stack.enter_context(open_member(file))
            said = dataclasses.replace(options, format=None) if options.format == "zip" else options
            inner = open_source(member, said)
            source = cls(inner, stack.pop_all())
        source.paths, source.bytes_total = file.paths, size
        source._file = file
        return source

    @classmethod
    @contextmanager
    def enter(cls, given: Any) -> Iterator[Any]:
        file = InputFile(given)
        try:
            with open_member(file) as (member, _):
                yield member
        finally:
            file.close()

    def check_unchanged(self) -> None:
        self._file.check_unchanged()

    _file: InputFile


class MemberFile:
    """A member of an archive as a file object."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
        from ingest.sources.archive import read_member

        base = PureWindowsPath(PurePosixPath(member.filename).name).name
        self.name = f"{name}/{safe_line(base)}"
        self.size = member.file_size
        self._blocks = read_member(archive, member.filename, name)
        self._text = b""

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; no more than the member's declared size in total."""
        while (size < 0 or len(self._text) < size) and (block := next(self._blocks, b"")):
            self._text += block
        given = self._text if size < 0 else self._text[:size]
        self._text = self._text[len(given) :]
        return given


@contextmanager
def open_member(file: InputFile) -> Iterator[tuple[Any, int]]:
    """Yield the only member of an archive as a file object or the path of a copy, and its size.

    A Parquet file is read from its end, so it must be copied.
    """
    from ingest.sources.archive import open_archive

    with ExitStack() as stack:
        content: Any = file
        if file.path is not None and not file.is_compressed:
            content = stack.enter_context(file.path.open("rb"))
        else:
            content = stack.enter_context(tempfile.TemporaryFile(prefix="ingest-"))
            shutil.copyfileobj(cast("IO[bytes]", file), content, CHUNK_BYTES)
        archive = stack.enter_context(open_archive(content, file.name))
        found = [it for it in archive.infolist() if not _is_extra(it)]
        if len(found) != 1:
            shown = ", ".join(repr(safe_line(it.filename)) for it in found[:MEMBERS_NAMED])
            more = ", …" if len(found) > MEMBERS_NAMED else ""
            raise SourceError(
                f"{file.name} has {len(found):,} files, and must have one: "
                + (
                    f"{shown}{more}. Unpack it, and load them as several files."
                    if found
                    else "there is nothing to load."
                )
            )
        member = MemberFile(archive, found[0], file.name)
        kind = find_kind(member)
        if kind is ZippedSource:
            raise SourceError(f"{file.name} has a zip archive in it: unpack it.")
        if kind is not None and kind.format == "parquet":
            copy = stack.enter_context(
                tempfile.NamedTemporaryFile(prefix="ingest-", suffix=".parquet")
            )
            shutil.copyfileobj(cast("IO[bytes]", member), copy, CHUNK_BYTES)
            copy.flush()
            yield NamedPath.of(copy.name, member.name), member.size
            return
        yield member, member.size


def _is_extra(member: zipfile.ZipInfo) -> bool:
    is_of_folder = PurePosixPath(member.filename).name in _OF_FOLDERS
    return member.is_dir() or member.filename.startswith(_LEFT_OUT) or is_of_folder

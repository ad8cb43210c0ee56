"""Finds the files that match a pattern of addresses, such as ``s3://bucket/2026/*.parquet``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from ingest.exceptions import SourceError
from ingest.sources.addresses import bare_address, scheme_of
from ingest.sources.remote import Facts, explained, find_bucket, find_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.core.files.storage import Storage

ANY_FOLDERS = "**"
"""Matches any number of folders, also none."""


class ListedFile(NamedTuple):
    """A file that a pattern matches."""

    address: str
    facts: Facts | None
    """Its size and stamp, if the listing has them."""


def list_files(pattern: str) -> list[ListedFile]:
    """Return the files that match, sorted by name; raise ``SourceError`` if there are none.

    ``*``, ``?`` and ``[…]`` match within the name of a file or a folder, and ``**`` matches any
    folders. As in a shell, names that begin with a dot match only patterns that begin with one.
    """
    lister = _list_storage if scheme_of(pattern) == "storage" else _list_bucket
    with explained(pattern):
        found = sorted(lister(pattern))
    if not found:
        raise SourceError(f"No file matches {bare_address(pattern)!r}.")
    return found


def _list_bucket(address: str) -> Iterator[ListedFile]:
    import pyarrow.fs

    system, path = find_bucket(address)
    folder, wanted = _divide(path.split("/"))
    is_deep = len(wanted) > 1
    selector = pyarrow.fs.FileSelector("/".join(folder), recursive=is_deep, allow_not_found=True)
    parts = urlsplit(address)
    for info in system.get_file_info(selector):
        names = info.path.split("/")
        if info.type == pyarrow.fs.FileType.File and _matches(names[len(folder) :], wanted):
            key = "/" + quote("/".join(names[1:]))
            yield ListedFile(urlunsplit((*parts[:2], key, *parts[3:])), Facts.of_bucket(info))


def _list_storage(address: str) -> Iterator[ListedFile]:
    storage, path = find_storage(address)
    folder, wanted = _divide(path.split("/"))
    depth = None if ANY_FOLDERS in wanted else len(wanted)
    begin = address[: len(address) - len(path)]
    for names in _walk(storage, folder, depth):
        if _matches(names[len(folder) :], wanted):
            yield ListedFile(begin + "/".join(names), None)


def _walk(storage: Storage, folder: list[str], depth: int | None) -> Iterator[list[str]]:
    """Yield each file in a folder as a list of its folders and its name, up to ``depth`` levels."""
    try:
        folders, files = storage.listdir("/".join(folder))
    except FileNotFoundError:
        return
    yield from ([*folder, name] for name in files)
    if depth is None or depth > 1:
        for name in folders:
            yield from _walk(storage, [*folder, name], None if depth is None else depth - 1)


def _divide(names: list[str]) -> tuple[list[str], list[str]]:
    """Return the folders before the first pattern, and the rest."""
    first = next(at for at, name in enumerate(names) if "*" in name)
    return names[:first], names[first:]


def _matches(names: Sequence[str], wanted: Sequence[str]) -> bool:
    if not wanted:
        return not names
    if wanted[0] == ANY_FOLDERS:
        return _matches(names, wanted[1:]) or (
            bool(names) and not names[0].startswith(".") and _matches(names[1:], wanted)
        )
    return (
        bool(names)
        and fnmatchcase(names[0], wanted[0])
        and names[0].startswith(".") == wanted[0].startswith(".")
        and _matches(names[1:], wanted[1:])
    )

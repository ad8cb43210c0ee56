"""Files in a Django storage, a bucket or on a web server, read as a stream."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self, cast

from django.conf import settings
from django.core.exceptions import SuspiciousOperation

from ingest.exceptions import ConfigurationError, SourceError, did_you_mean
from ingest.sources.addresses import (
    bare_address,
    hide,
    is_address,
    is_address_pattern,
    scheme_of,
    without_credentials,
)
from ingest.sources.base import SourceOptions, find_kind, open_source
from ingest.sources.django_files import local_path
from ingest.sources.enclosed import EnclosedSource
from ingest.sources.files import CHUNK_BYTES, NamedPath
from ingest.sources.fingerprints import DIGEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from django.core.files.storage import Storage
    from pyarrow.fs import FileInfo, FileSystem

    from ingest.sources.fingerprints import Stamp


_WEB_ADDRESS = re.compile(r"https?://\S+")
NOT_FOUND = 404
"""The HTTP status."""


class RemoteFile:
    """An open file on another machine, and the facts that identify its content."""

    def __init__(self, file: Any, address: str, facts: Facts, *, can_seek: bool) -> None:
        self.name = bare_address(address)
        self.size, self.facts = facts.size, facts
        self._file, self._address, self._can_seek = file, address, can_seek

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._can_seek

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; raise ``SourceError`` if the connection fails."""
        with explained(self._address):
            return bytes(self._file.read() if size is None or size < 0 else self._file.read(size))

    def seek(self, place: int, whence: int = 0) -> int:
        with explained(self._address):
            return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()


class Facts(NamedTuple):
    """A server's metadata of a file."""

    size: int | None
    stamp: str
    """Its ETag or its modification time; empty if the server sends neither."""

    @classmethod
    def of_bucket(cls, info: FileInfo) -> Facts:
        """Return the facts of a file from a bucket's listing."""
        return cls(info.size, "" if info.mtime_ns is None else str(info.mtime_ns))


class RemoteSource(EnclosedSource):
    """A file of any format on another machine."""

    format = "remote"
    place = 4
    _facts: Facts | None = None
    """The facts of the file, if it is not on this machine."""

    @classmethod
    def accepts(cls, given: Any) -> bool:
        return is_address(given) and not is_address_pattern(given)

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        with ExitStack() as stack:
            file = stack.enter_context(open_address(given))
            source = cls(open_source(file, options), stack.pop_all())
        source._address = given
        if not source.paths and isinstance(file, RemoteFile):
            source._facts = file.facts
            source.identity = identity_of(given, file.facts)
            source.bytes_total = file.size
        return source

    @property
    def places(self) -> Sequence[Path | str]:
        return (self._address,) if self.identity else self.paths

    def stamps(self) -> list[Stamp]:
        return [list(self._facts)] if self.identity and self._facts else super().stamps()

    @classmethod
    @contextmanager
    def enter(cls, given: Any) -> Iterator[Any]:
        with open_address(given) as file:
            yield file

    def check_unchanged(self) -> None:
        super().check_unchanged()
        if not self.identity:
            return
        facts = facts_of(self._address)
        if identity_of(self._address, facts) != self.identity:
            raise SourceError(
                f"{self.name} was changed while it was read: what was read of it may be neither "
                "the old file nor the new one. Load it when nobody writes to it."
            )

    _address: str


def facts_of(address: str) -> Facts:
    """Query the server for a file's size and stamp."""
    with explained(address):
        return _OPENERS[scheme_of(address)](address).facts


def identity_of(address: str, facts: Facts) -> str:
    """Return a value that changes when the file does; empty if the server has no stamp."""
    if not facts.stamp:
        return ""
    said = f"{without_credentials(address)} {facts.size} {facts.stamp}"
    return blake2b(said.encode(), digest_size=DIGEST_BYTES).hexdigest()


@contextmanager
def open_address(address: str) -> Iterator[Any]:
    """Yield the file at an address as an open file, or as a path if its storage is local.

    A format that is read from its end, such as Parquet, is read by ranges if the server supports
    them, otherwise from a copy.
    """
    scheme = scheme_of(address)
    with explained(address):
        found = _OPENERS[scheme](address)
    if found.path is not None:
        yield NamedPath.of(found.path, address)
        return
    kind = find_kind(_Named(bare_address(address)))
    needs_seek = kind is not None and kind.format == "parquet"
    with ExitStack() as stack:
        with explained(address):
            opened = stack.enter_context(found.open())
        file = RemoteFile(opened, address, found.facts, can_seek=found.can_seek)
        if needs_seek and not found.can_seek:
            copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="ingest-"))
            shutil.copyfileobj(cast("IO[bytes]", file), copy, CHUNK_BYTES)
            copy.seek(0)
            file = RemoteFile(copy, address, found.facts, can_seek=True)
        yield file


class _Named:
    """A stand-in for a file, by whose name the kind of source is found."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, _size: int = -1) -> bytes:
        return b""


class _Found(NamedTuple):
    """A file that exists."""

    facts: Facts
    open: Callable[[], Any]
    can_seek: bool
    path: str | None = None
    """Its path, if it is on this machine."""


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn errors of storages and clients into ``SourceError``, without credentials in the message.

    The library's error is not chained, because it contains the address.
    """
    shown = bare_address(address)
    try:
        yield
    except (SourceError, ConfigurationError):
        raise
    except FileNotFoundError as error:
        reason = error.__cause__  # fsspec raises FileNotFoundError if no server answers, too
        if reason is None or getattr(reason, "status", None) == NOT_FOUND:
            raise SourceError(f"There is no file {shown!r}.") from None
        what = hide(str(reason), address) or type(reason).__name__
        raise SourceError(f"{shown!r} cannot be read: {what}") from None
    except SuspiciousOperation:
        raise SourceError(f"{shown!r} is outside of its storage.") from None
    except Exception as error:  # noqa: BLE001 - a client may raise any exception
        what = hide(str(error), address) or type(error).__name__
        raise SourceError(f"{shown!r} cannot be read: {what}") from None


def find_storage(address: str) -> tuple[Storage, str]:
    """Return the storage of an address, and the file's name in it."""
    from django.core.files.storage import storages

    alias, slash, name = address.partition(":")[2].partition("/")
    if not (alias and slash and name):
        raise SourceError(f"{address!r} must be written as storage:ALIAS/NAME.")
    if alias not in settings.STORAGES:
        raise ConfigurationError(
            f"There is no storage {alias!r} in STORAGES.{did_you_mean(alias, settings.STORAGES)}"
        )
    return storages[alias], name


def _find_in_storage(address: str) -> _Found:
    storage, name = find_storage(address)
    if not storage.exists(name):
        raise FileNotFoundError(name)
    path = local_path(storage, name)
    try:
        stamp = storage.get_modified_time(name).isoformat()
    except NotImplementedError:
        stamp = ""
    facts = Facts(storage.size(name), stamp)
    return _Found(facts, lambda: storage.open(name, "rb"), can_seek=False, path=path)


def find_bucket(address: str) -> tuple[FileSystem, str]:
    """Return the file system of a bucket's address, and the path in it."""
    from pyarrow.fs import FileSystem

    try:
        found: tuple[FileSystem, str] = FileSystem.from_uri(address)
    except NotImplementedError as error:
        raise ConfigurationError(
            f"This pyarrow was built without {scheme_of(address)}://: install the one of PyPI."
        ) from error
    return found


def _find_in_bucket(address: str) -> _Found:
    from pyarrow.fs import FileType

    system, path = find_bucket(address)
    info = system.get_file_info(path)
    if info.type != FileType.File:
        raise FileNotFoundError(path)
    return _Found(Facts.of_bucket(info), lambda: system.open_input_file(path), can_seek=True)


def _find_on_web(address: str) -> _Found:
    try:
        import fsspec

        system = fsspec.filesystem(scheme_of(address))
    except ImportError:
        raise ConfigurationError(
            f"{bare_address(address)!r} is on a web server, and fsspec with aiohttp, which reads "
            "from it, is not installed: pip install 'django-ingest[remote]'."
        ) from None
    for name in ("fsspec", "fsspec.http"):  # these log the whole address
        logging.getLogger(name).addFilter(_without_credentials)
    info = system.info(address)
    stamp = str(info.get("ETag") or info.get("Last-Modified") or "")
    return _Found(
        Facts(info.get("size"), stamp),
        lambda: system.open(address, "rb", block_size=0),
        can_seek=False,
    )


def _without_credentials(record: logging.LogRecord) -> bool:
    """Remove the credentials from the addresses in a log record."""
    text = record.getMessage()
    record.msg = _WEB_ADDRESS.sub(lambda found: bare_address(found[0]), text)
    record.args = ()
    return True


_OPENERS: dict[str, Callable[[str], _Found]] = {
    "storage": _find_in_storage,
    "s3": _find_in_bucket,
    "gs": _find_in_bucket,
    "gcs": _find_in_bucket,
    "http": _find_on_web,
    "https": _find_on_web,
}

"""Django's files: uploads, ``FieldFile``, ``ContentFile``."""

from __future__ import annotations

import codecs
import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.files.base import File
from django.core.files.storage import InMemoryStorage
from django.db.models.fields.files import FieldFile

from ingest.exceptions import SourceError
from ingest.sources.files import NamedPath

if TYPE_CHECKING:
    from django.core.files.storage import Storage


def plain_file(given: Any, encoding: str = "utf-8") -> Any:
    """Return a Django file as a path or binary file for a source; anything else as it is.

    The file is read from its beginning, as by Django's ``chunks()``, even if it was partly read
    before. A ``FieldFile`` on this machine becomes a path, so that a load of it can be resumed.
    """
    if not isinstance(given, File):
        return given
    if isinstance(given, FieldFile):
        if not given:
            raise SourceError(f"{given.field.name} has no file.")
        path = local_path(given.storage, str(given.name))
        if path is not None:
            return NamedPath.of(path, str(given.name))
    if given.closed or isinstance(given, FieldFile):
        try:
            given.open("rb")
        except (OSError, ValueError) as error:
            raise SourceError(f"{given.name} cannot be opened: {error}.") from error
    return DjangoFile(given, encoding)


def local_path(storage: Storage, name: str) -> str | None:
    """Return the path of a storage's file on this machine; None if it is not on this machine."""
    if isinstance(storage, InMemoryStorage):  # its paths are not files
        return None
    try:
        path = storage.path(name)
    except NotImplementedError:
        return None
    return path if Path(path).is_file() else None


class DjangoFile:
    """A Django file, read as bytes from its beginning."""

    def __init__(self, given: File[Any], encoding: str) -> None:
        self.name = str(given.name or type(given).__name__)
        self.size: int | None = None
        with suppress(AttributeError, OSError, TypeError):
            self.size = given.size
        file: Any = given.file
        with suppress(AttributeError, OSError, io.UnsupportedOperation):
            file.seek(0)
        # A text file has a binary file below it, except text in memory.
        self._file: Any = getattr(file, "buffer", file)
        self._encode = codecs.getincrementalencoder(encoding)().encode
        self._rest = b""
        if isinstance(file, io.TextIOBase):
            self.size = None if file is self._file else self.size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        given = self._file.read(size)
        if not isinstance(given, str):
            return bytes(given or b"")
        text = self._rest + (self._encode(given) if given else b"")
        part, self._rest = (text, b"") if size < 0 else (text[:size], text[size:])
        return part

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return not isinstance(self._file, io.StringIO) and bool(self._file.seekable())

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def seek(self, place: int, whence: int = 0) -> int:
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        """Do nothing: the file belongs to the caller."""

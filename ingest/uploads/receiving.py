"""Receives an uploaded file: writes it to disk, digests it, and limits its size."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from django.core.files.uploadhandler import (
    SkipFile,
    StopFutureHandlers,
    StopUpload,
    TemporaryFileUploadHandler,
)
from django.core.handlers.wsgi import LimitedStream

from ingest import conf

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile

FIELD = "file"
"""The name of the form field that has the file."""
FORM_BYTES = 1 << 20
"""The most bytes for the form's other fields and the boundaries between them."""
DIGEST_BYTES = 32
"""As in the ledger, so that a file is recognized: ``ingest.sources.fingerprints``."""


@dataclasses.dataclass(kw_only=True)
class Received:
    """What has been received."""

    name: str = ""
    size: int = 0
    digest: str = ""
    is_too_large: bool = False


class ReceivingHandler(TemporaryFileUploadHandler):
    """An upload handler that keeps one file and limits its size."""

    chunk_size = 1 << 18

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.received = Received()
        self._most = conf.upload_bytes()
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._has_file = False

    def new_file(self, field_name: str, file_name: str, *args: Any, **kwargs: Any) -> None:
        """Begin the file; skip any other."""
        if field_name != FIELD or self._has_file:
            raise SkipFile
        self._has_file = True
        self.received.name = file_name
        super().new_file(field_name, file_name, *args, **kwargs)
        raise StopFutureHandlers

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:  # noqa: ARG002
        """Write and digest the received bytes."""
        self.received.size += len(raw_data)
        if self.received.size > self._most:
            self.received.is_too_large = True
            # The rest is no more than FORM_BYTES, because the length of the request was checked.
            raise StopUpload(connection_reset=False)
        self._digest.update(raw_data)
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[Any] | None:
        """Return the file, at its beginning."""
        self.received.digest = self._digest.hexdigest()
        return super().file_complete(file_size)

    def upload_interrupted(self) -> None:
        """Delete what was received."""
        super().upload_interrupted()
        self.close()

    def close(self) -> None:
        """Delete the temporary file, unless it was moved into the storage."""
        if self._has_file:
            with suppress(OSError):
                self.file.close()


def is_body_too_large(request: Any) -> bool:
    """Return whether the declared length of the request exceeds the limit."""
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return True
    return length > conf.upload_bytes() + FORM_BYTES


def leave_unread(request: Any) -> None:
    """Prevent anything from reading the rest of a request's body.

    Django's own server (``runserver``) reads what a view has left unread, all at once into memory.
    """
    request.close()
    body = request.META.get("wsgi.input")
    if isinstance(body, LimitedStream):
        body.limit = 0

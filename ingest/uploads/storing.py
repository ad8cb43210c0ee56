"""Storage of uploads: a Django storage with random names, whose files have no URL."""

from __future__ import annotations

import datetime as dt
import re
import secrets
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, cast

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, InMemoryStorage, storages
from django.utils import timezone
from platformdirs import user_data_path

from ingest import conf
from ingest.exceptions import ConfigurationError, SourceError
from ingest.ledger.models import Load
from ingest.uploads.models import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.files.storage import Storage

STORAGE = "ingest"
"""The name in ``STORAGES`` of the storage for uploads."""
NAME_LENGTH = 255
SAMPLE = "sample"
"""The option of an upload that has the name of its sample in the storage."""
REJECTS = "rejects"
"""The folder, next to the uploads, with the reject files of their loads."""
_SUFFIXES = re.compile(r"(\.[a-z0-9]{1,8}){1,2}$")
"""The end of a name, by which a source recognizes the format: ``.csv.gz``."""
_COPY_BYTES = 1 << 20


class PrivateStorage(FileSystemStorage):
    """A folder whose files have no URL."""

    def url(self, name: str | None) -> str:
        raise ValueError(f"{name} is an upload, which is not accessible via a URL.")


def storage() -> Storage:
    """Return the storage of uploads: the project's, or a private folder."""
    if STORAGE in settings.STORAGES:
        return _not_served(storages[STORAGE])
    return PrivateStorage(
        location=str(private_folder()),
        file_permissions_mode=0o600,
        directory_permissions_mode=0o700,
    )


def refuse_served_place() -> None:
    """Raise ``ConfigurationError`` if uploads are stored where the web server may serve them.

    Only Django's own file storages are checked, so that no other storage is created for it.
    """
    if STORAGE not in settings.STORAGES:
        _check_folder(_folder())
    elif str(settings.STORAGES[STORAGE].get("BACKEND", "")) in _OF_FILES:
        _not_served(storages[STORAGE])


def refuse_memory() -> None:
    """Raise ``ConfigurationError`` if uploads are stored in memory, which no other process reads.

    Call it if another process performs the loads.
    """
    if STORAGE in settings.STORAGES and isinstance(storages[STORAGE], InMemoryStorage):
        raise ConfigurationError(
            f"STORAGES[{STORAGE!r}] keeps files in the memory of the web server, and "
            f"INGEST['RUNNER'] is {conf.runner()!r}, which performs loads in another process: use "
            "a storage that it can read, too, or remove it to keep uploads in the folder of "
            "INGEST['UPLOAD_FOLDER']."
        )


_OF_FILES = {f"django.core.files.storage{part}.FileSystemStorage" for part in ("", ".filesystem")}


def _not_served(found: Storage) -> Storage:
    """Return the project's storage, unless it keeps files where the web server may serve them."""
    if isinstance(found, FileSystemStorage) and _is_served(Path(found.location)):
        raise ConfigurationError(
            f"STORAGES[{STORAGE!r}] keeps files in {found.location}, which is below MEDIA_ROOT, "
            "whose files the web server may serve: set its OPTIONS['location'] to another folder."
        )
    return found


def _folder() -> Path:
    given = conf.upload_folder()
    return user_data_path("django-ingest") / "uploads" if given is None else Path(given)


def _check_folder(folder: Path) -> None:
    if _is_served(folder):
        raise ConfigurationError(
            f"INGEST['UPLOAD_FOLDER'] is {folder}, which is below MEDIA_ROOT, whose files the web "
            "server may serve: set it to another folder."
        )


def _is_served(folder: Path) -> bool:
    media = settings.MEDIA_ROOT
    return bool(media) and folder.resolve().is_relative_to(Path(media).resolve())


def private_folder() -> Path:
    """Return the private folder of this machine; create it if it does not exist."""
    folder = _folder()
    _check_folder(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"The folder for uploads, {folder}, cannot be made ({error.strerror}): set "
            "INGEST['UPLOAD_FOLDER'] to one that the web server may write, or "
            f"STORAGES[{STORAGE!r}] to a storage."
        ) from error
    return folder


def bare_file_name(given: str) -> str:
    """Return the file name without folders, for paths of any operating system."""
    name = PureWindowsPath(PurePosixPath(given.replace("\0", "")).name).name
    stem, dot, suffix = name.rpartition(".")
    if len(name) <= NAME_LENGTH:
        return name or "upload"
    return f"{stem[: NAME_LENGTH - len(suffix) - 1]}{dot}{suffix}"[:NAME_LENGTH]


def keep(file: File[Any], name: str) -> str:
    """Store a file under a random name, and return that name."""
    found = _SUFFIXES.search(name.lower())
    random_name = secrets.token_hex(16) + ("" if found is None else found[0])
    return str(storage().save(random_name, file))


def keep_sample(file: File[Any], name: str) -> str | None:
    """Store a sample of a large workbook and return its name; None if there is none.

    Each step needs the first rows, and a workbook has to be read as a whole each time.
    """
    if Path(name).suffix.lower() not in {".xlsx", ".xlsm"}:
        return None
    # Arrow, which the sources need, is not imported for other files.
    from ingest.sources.spreadsheets.sample import write_sample

    with tempfile.TemporaryFile(prefix="ingest-sample-") as sample:
        is_written = write_sample(cast("IO[bytes]", file), name, sample)
        file.seek(0)
        sample.seek(0)
        return keep(File(sample), name) if is_written else None


@contextmanager
def open_upload(
    upload: Upload, *, is_local: bool = False, is_sample: bool = False
) -> Iterator[Any]:
    """Yield what a source can read an upload from: a path, or a file of the storage.

    ``is_local``: always yield a path, if necessary that of a copy that is deleted at the end.
    ``is_sample``: the first records suffice; for a large workbook, its sample is used. Raise
    ``SourceError`` if the file is gone.
    """
    # Django imports models at every start, and Arrow, which the sources need, only here.
    from ingest.sources.files import NamedPath

    kept, stored = storage(), upload.storage_name
    if not stored or not kept.exists(stored):
        raise SourceError(f"{upload.name} is not kept any more: upload it again.")
    if is_sample:
        stored = upload.options.get(SAMPLE, stored)
    path = _local_path(stored)
    if path is not None:
        yield NamedPath.of(path, upload.name)
        return
    with kept.open(stored, "rb") as file:
        if not is_local:
            yield _Named(file, upload)
            return
        with tempfile.TemporaryDirectory(prefix="ingest-upload-") as folder:
            copy = Path(folder) / stored
            with copy.open("wb") as target:
                shutil.copyfileobj(file, target, _COPY_BYTES)
            yield NamedPath.of(copy, upload.name)


class _Named:
    """A file of a storage, with its original name."""

    def __init__(self, file: IO[bytes] | File[Any], upload: Upload) -> None:
        self._file = file
        self.name = upload.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _local_path(name: str) -> Path | None:
    """Return the path of a stored file; None if the storage is not on this machine."""
    with suppress(NotImplementedError):
        path = Path(storage().path(name))
        return path if path.is_file() else None
    return None


def given_of(upload: Upload) -> str:
    """Return what the ledger records as the source of the upload's load."""
    path = _local_path(upload.storage_name)
    return str(path) if path is not None else f"storage:{STORAGE}/{upload.storage_name}"


def reject_file_of(upload: Upload, suffix: str) -> Path:
    """Return the path of the reject file of the upload's load."""
    folder = private_folder() / REJECTS
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{upload.key}{suffix}"


def delete_orphan(instance: Upload, **_: Any) -> None:
    """Delete the file of an upload that is deleted, for example with its owner."""
    for name in filter(None, (instance.storage_name, instance.options.get(SAMPLE))):
        storage().delete(name)


def delete_file(upload: Upload) -> None:
    """Delete the file of an upload; the upload itself stays, as a record of the load."""
    if upload.storage_name:
        delete_orphan(upload)
        Upload.objects.filter(pk=upload.pk).update(storage_name="", state=Upload.State.FORGOTTEN)
        upload.storage_name, upload.state = "", Upload.State.FORGOTTEN


def forget(upload: Upload) -> None:
    """Delete an upload, its file, and its load if nobody has confirmed it."""
    delete_file(upload)
    load_id = upload.load_id
    upload.delete()
    if load_id is not None:
        Load.objects.filter(pk=load_id, status=Load.Status.DRAFT).delete()


def forget_old_uploads() -> int:
    """Delete the files uploaded more than ``UPLOAD_DAYS`` ago, and return their number.

    Uploads that nobody has confirmed are deleted. The file of a running load stays.
    """
    oldest = timezone.now() - dt.timedelta(days=conf.upload_days())
    deleted = 0
    for upload in Upload.objects.filter(created_at__lt=oldest).select_related("load"):
        load = upload.load
        if load is None or load.status == Load.Status.DRAFT:
            deleted += upload.has_file
            forget(upload)
        elif upload.has_file and load.status != Load.Status.RUNNING:
            delete_file(upload)
            deleted += 1
    _forget_reject_files(oldest)
    return deleted


def _forget_reject_files(oldest: dt.datetime) -> None:
    with suppress(OSError):
        for path in (private_folder() / REJECTS).iterdir():
            if path.stat().st_mtime < oldest.timestamp():
                path.unlink()

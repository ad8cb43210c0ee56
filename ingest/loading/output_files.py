"""Files that a load or a benchmark writes, and the checks that protect other files.

A file is opened without truncating it, and checked by its descriptor. It must not be a file that is
read (by any name or link), nor one that another process is writing, nor an existing file that is
not empty, unless it may be overwritten. In that case it is replaced by a new file, as late as
possible.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ingest.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

fcntl: Any = import_module("fcntl") if os.name == "posix" else None

FileId = tuple[int, int]
"""The device and the inode, which do not depend on the file's name."""

_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_FLAGS |= getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
_TRIES = 10
"""How often a file is opened again that another process replaces in the meantime."""
_STREAMS = {1: "standard output", 2: "standard error"}


@dataclasses.dataclass(kw_only=True)
class OutputFile:
    """A file that is being written, and that nobody else may write until it is released."""

    path: str
    """Its path, as it was given."""
    file: IO[bytes]
    """The open file, which can also be read."""
    is_new: bool = False
    """Whether it was just created."""
    is_locked: bool = False
    """Whether it is locked against others."""
    replaced: str | None = None
    """The file that ``publish`` replaces; it is unchanged until then."""
    temporary: str | None = None
    """The temporary path of the file until it is published."""
    locks: list[int] = dataclasses.field(default_factory=list)
    """Descriptors that hold further locks, besides the file's own."""

    @property
    def id(self) -> FileId:
        """The file's device and inode."""
        return _id_of(os.fstat(self.file.fileno()))

    def publish(self) -> None:
        """Replace the old file with the new one."""
        if self.temporary is not None and self.replaced is not None:
            self.file.flush()
            Path(self.temporary).replace(self.replaced)
            self.temporary = None
            _sync_folder(self.replaced)

    def release(self) -> None:
        """Let others write it. An unpublished file is deleted."""
        if self.temporary is not None:
            with suppress(OSError):
                Path(self.temporary).unlink()
            self.temporary = None
        if not self.file.closed and fcntl is not None:
            with suppress(OSError):
                fcntl.flock(self.file.fileno(), fcntl.LOCK_UN)
        for descriptor in self.locks:
            os.close(descriptor)
        self.locks = []

    def discard(self) -> None:
        """Close the file and leave an older file as it was; delete a file created here."""
        # Without the lock it belongs to another process by now.
        if self.is_new and self.is_locked and not self.file.closed:
            with suppress(OSError):
                is_it = identify(self.path) == self.id
                if is_it and not os.fstat(self.file.fileno()).st_size:
                    Path(self.path).unlink()
        self.release()
        self.file.close()


class OutputFiles:
    """Opens the files that one load, or one benchmark, writes."""

    def __init__(self, *, overwrite: bool = False) -> None:
        """Take ``overwrite``: whether an existing file may be replaced."""
        self._overwrite = overwrite
        self._others: dict[FileId, tuple[str, str]] = {}
        self._own: set[FileId] = set()
        self._opened: set[FileId] = set()
        for descriptor, name in _STREAMS.items():
            self.protect(name, descriptor)

    @property
    def ids(self) -> list[list[int]]:
        """The files that were opened, as values for JSON."""
        return [list(found) for found in sorted(self._opened)]

    def protect(self, what: str, *given: Any) -> None:
        """Never write to these paths, descriptors or open files; ``what`` describes them."""
        for item in given:
            found = identify(item)
            if found is not None:
                shown = f" {_name_of(item)!r}" if _name_of(item) else ""
                self._others.setdefault(found, (what, f"{what}{shown}"))

    def own(self, ids: Iterable[FileId]) -> None:
        """Register these files as written by this load before."""
        self._own.update(ids)

    def open(self, path: str | Path, what: str, *, is_ours: bool = False) -> OutputFile:
        """Open a file for writing, and lock it; it is empty, or is to be continued.

        ``what`` describes it in messages. ``is_ours``: it exists and is to be continued. Raise
        ``ConfigurationError`` if it belongs to something else.
        """
        shown = f"{what} {str(path)!r}"
        try:
            return self._open(os.fspath(path), what, shown, is_ours=is_ours)
        except OSError as error:
            raise ConfigurationError(f"{shown} cannot be written: {error.strerror}.") from error

    def _open(self, path: str, what: str, shown: str, *, is_ours: bool) -> OutputFile:
        with suppress(FileNotFoundError):
            _check_kind(Path(path).stat(), shown)  # opening a device may have side effects
        for _ in range(_TRIES):
            output = _open_at(path)
            try:
                self._judge(output, what, shown)
                if identify(path) != output.id:  # another process replaced it before it was locked
                    output.discard()
                    continue
                before = output.id
                if not is_ours:
                    output = self._begin(output, shown)
            except BaseException:
                output.discard()
                raise
            self._own.add(output.id)
            self._opened.add(output.id)
            for found in (before, output.id):
                self._others[found] = what, shown[0].lower() + shown[1:]
            return output
        raise ConfigurationError(f"{shown} is replaced again and again by another process.")

    def _judge(self, output: OutputFile, what: str, shown: str) -> None:
        descriptor = output.file.fileno()
        _check_kind(os.fstat(descriptor), shown)
        kind, other = self._others.get(output.id, (what, ""))
        if kind != what:
            raise ConfigurationError(f"{shown} is {other} itself: give it another name.")
        output.is_locked = _lock(descriptor)
        if not output.is_locked:
            raise ConfigurationError(
                f"{shown} is being written by another load: give this one another name, or wait "
                "for the end of the other."
            )

    def _begin(self, output: OutputFile, shown: str) -> OutputFile:
        """Truncate the file, or create a new file that replaces it later."""
        descriptor = output.file.fileno()
        if output.id not in self._own and os.fstat(descriptor).st_size:
            if not self._overwrite:
                raise ConfigurationError(
                    f"{shown} already exists and is not empty: give it another name, or use "
                    "--overwrite (overwrite=True) to replace it."
                )
            replacement = _replace(output)
            if replacement is not None:
                return replacement
        os.ftruncate(descriptor, 0)
        return output


def is_null(path: str | Path) -> bool:
    """Return whether the path is the null device."""
    with suppress(OSError):
        return Path(path).samefile(os.devnull)
    return False


def check_streams(what: str, *given: Any) -> None:
    """Raise ``ConfigurationError`` if the command's own output goes to one of these files."""
    for descriptor, name in _STREAMS.items():
        found = identify(descriptor)
        for item in given:
            if found is not None and identify(item) == found:
                raise ConfigurationError(
                    f"{name.capitalize()} goes to {what} {_name_of(item)!r} itself, which the "
                    "shell may have emptied already: send it to another file."
                )


def identify(given: Any) -> FileId | None:
    """Return the identity of a path, descriptor or open file; None if it is no regular file."""
    try:
        if hasattr(given, "fileno"):
            found = os.fstat(given.fileno())
        elif isinstance(given, str) and given == "-":
            found = os.fstat(sys.stdin.fileno())
        else:
            found = os.stat(given)  # noqa: PTH116 - it may be a descriptor
    except (OSError, ValueError, TypeError, AttributeError):
        name = getattr(given, "name", None)
        return identify(name) if isinstance(name, str | Path) and name != "-" else None
    return _id_of(found) if stat.S_ISREG(found.st_mode) else None


def _id_of(found: os.stat_result) -> FileId:
    return found.st_dev, found.st_ino


def _sync_folder(path: str) -> None:
    """Make the new name durable, if the system can do that."""
    with suppress(OSError):
        descriptor = os.open(Path(path).parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _name_of(given: Any) -> str:
    if isinstance(given, int):
        return ""
    if isinstance(given, str | Path):
        return "standard input" if str(given) == "-" else str(given)
    return str(getattr(given, "name", ""))


def _check_kind(found: os.stat_result, shown: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"{shown} is a folder: give the name of a file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(
            f"{shown} is a pipe or a device: what is rolled back must be cut off again, so give "
            "the name of a file."
        )


def _open_at(path: str) -> OutputFile:
    is_new = False
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        try:
            descriptor, is_new = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:  # another process created it, or a link leads to no file yet
            descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o666)
    file = cast("IO[bytes]", os.fdopen(descriptor, "r+b"))
    return OutputFile(path=path, file=file, is_new=is_new)


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _replace(output: OutputFile) -> OutputFile | None:
    """Return a new file that will replace this one; None if that is not possible."""
    target = os.path.realpath(output.path)
    if identify(target) != output.id:  # it has no name, or one of /proc
        return None
    found = os.fstat(output.file.fileno())
    folder, name = os.path.split(target)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", dir=folder)
    except OSError:  # the file may be writable, and its folder not
        return None
    with suppress(OSError, AttributeError):
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
        os.fchown(descriptor, found.st_uid, found.st_gid)
    _lock(descriptor)
    kept = os.dup(output.file.fileno())  # shares the lock
    output.file.close()
    return OutputFile(
        path=output.path,
        file=cast("IO[bytes]", os.fdopen(descriptor, "r+b")),
        replaced=target,
        temporary=temporary,
        locks=[kept],
    )

"""The rejects of a load: filtered, paginated, and as a file."""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.translation import gettext as _

from ingest.admin.loads.wording import name_kind
from ingest.results.rejects import Reject as Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet
    from django.http import QueryDict

    from ingest.ledger.models import Load, Reject

PER_PAGE = 50
NO_COLUMN = "-"
"""The value in a link for rejects of whole records."""
COLUMN = "column:"
"""The prefix of a column's name in a link; the name itself may be any text."""
FILES = ("log", "file")
FIELDS = tuple(Refused.__dataclass_fields__)


class RejectPages:
    """The rejects of a load in the ledger, filtered by the page's query string."""

    def __init__(self, load: Load, query: QueryDict) -> None:
        self._all = load.rejects.using(load._state.db)
        self.kind = query.get("kind", "")
        self.column = query.get("column", "")
        self._is_impossible = "\0" in self.kind or "\0" in self.column
        self.page = Paginator(self.chosen(), PER_PAGE).get_page(query.get("rejects"))
        for reject in self.page:
            vars(reject)["kind_name"] = name_kind(reject.kind)

    def chosen(self) -> QuerySet[Reject]:
        """Return the rejects of the requested kind and column."""
        if self._is_impossible:  # PostgreSQL's text cannot contain it
            return self._all.none()
        chosen = self._all.order_by("pk")
        if self.kind:
            chosen = chosen.filter(kind=self.kind)
        if self.column == NO_COLUMN:
            chosen = chosen.filter(column=None)
        elif self.column:
            chosen = chosen.filter(column=self.column.removeprefix(COLUMN))
        return chosen

    def kinds(self) -> list[dict[str, str]]:
        """Return the existing kinds, each with its value in a link."""
        kinds = self._all.order_by("kind").values_list("kind", flat=True).distinct()
        return [{"title": name_kind(kind), "value": kind} for kind in kinds]

    def columns(self) -> list[dict[str, str]]:
        """Return the existing source columns, each with its value in a link."""
        names = self._all.order_by("column").values_list("column", flat=True).distinct()
        return [
            {"title": _("the whole record"), "value": NO_COLUMN}
            if name is None
            else {"title": name, "value": f"{COLUMN}{name}"}
            for name in names
        ]


def as_lines(rejects: QuerySet[Reject]) -> Iterator[str]:
    """Yield rejects as lines in the format of the reject log."""
    for values in rejects.values(*FIELDS).iterator():
        yield json.dumps({name: values[name] for name in FIELDS}) + "\n"


def files_of(load: Load) -> list[str]:
    """Return which of the load's own reject files can be opened: ``log``, ``file``."""
    found = []
    for name in FILES:
        file = open_file(load, name)
        if file is not None:
            file.close()
            found.append(name)
    return found


def open_file(load: Load, name: str) -> IO[bytes] | None:
    """Open the load's own ``log`` or ``file``; None if it is gone or has been replaced."""
    path = Path(load.reject_log if name == "log" else load.reject_file)
    if not path.is_file():
        return None
    try:
        file = path.open("rb")
    except OSError:
        return None
    is_it = _is_its_log(load, file) if name == "log" else _is_reject_file(load, file)
    if is_it:
        file.seek(0)
        return file
    file.close()
    return None


def _is_its_log(load: Load, file: IO[bytes]) -> bool:
    """Return whether the file is the reject log that the load wrote.

    A load that committed nothing has no mark. Its log is at the path until another load, which has
    to be in the ledger, writes there.
    """
    mark = _mark(load, "log")
    if mark:
        size, marked = file.seek(0, os.SEEK_END), mark.get("bytes")
        if size == marked == 0:
            return True  # nothing was refused
        return bool(marked) and _has_begun_with(file, size, mark)
    others = type(load).objects.using(load._state.db).filter(reject_log=load.reject_log)
    return not others.filter(pk__gt=load.pk).exists() and _is_log(file.readline())


def _mark(load: Load, name: str) -> dict[str, Any]:
    """Return how far the file was written when the last chunk was committed, or an empty dict."""
    marked = load.chunks.using(load._state.db).filter(position__has_key="marks")
    last = marked.order_by("ordinal").last()
    found: dict[str, Any] = {} if last is None else last.position["marks"].get(name, {})
    return found


def _has_begun_with(file: IO[bytes], size: int, mark: dict[str, Any]) -> bool:
    if size < mark["bytes"]:
        return False
    # Arrow, which this module needs, is not imported when the server starts.
    from ingest.loading.append_file import digest_up_to

    return digest_up_to(file, mark["bytes"]).hexdigest() == mark.get("digest")


def _is_reject_file(load: Load, file: IO[bytes]) -> bool:
    """Return whether the file is the one that the load wrote.

    The ledger has its size and digest when the last chunk was committed. What follows the last
    record is written afterwards; for a workbook that is everything.
    """
    mark = _mark(load, "file")
    size, marked = file.seek(0, os.SEEK_END), mark.get("bytes")
    if marked is None or size < marked or (size == marked and "digest" not in mark):
        return size == marked
    if not marked:
        return size == 0 or (bool(load.rejected) and _is_workbook(file))
    return _has_begun_with(file, size, mark)


def _is_workbook(file: IO[bytes]) -> bool:
    """Return whether it is a workbook of rejects, which has a column of reasons."""
    # As above.
    from ingest.sources.writers import REASONS

    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if _STRINGS.fullmatch(name):
                    with archive.open(name) as content:
                        if REASONS.encode() in content.read(_HEAD_BYTES):
                            return True
    except (zipfile.BadZipFile, OSError, RuntimeError, zlib.error):
        return False
    return False


_STRINGS = re.compile(r"xl/(worksheets/sheet[0-9]+|sharedStrings)\.xml")
_HEAD_BYTES = 1 << 20
"""Bytes at the beginning of a sheet, which contain its header."""


def _is_log(line: bytes) -> bool:
    if not line:
        return True  # nothing was refused
    try:
        first: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(first, dict) and set(first) >= {"source", "record", "reason", "kind"}

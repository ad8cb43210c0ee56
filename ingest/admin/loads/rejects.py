"""The rejects of a load: filtered, page by page, and as a file."""

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
"""In a link: the rejects of whole records."""
COLUMN = "column:"
"""In a link, before a column's name, which may be anything."""
FILES = ("log", "file")
FIELDS = tuple(Refused.__dataclass_fields__)


class RejectPages:
    """The rejects that the ledger keeps of a load, as the page's address asks for them."""

    def __init__(self, load: Load, query: QueryDict) -> None:
        self._all = load.rejects.using(load._state.db)
        self.kind = query.get("kind", "")
        self.column = query.get("column", "")
        self._is_impossible = "\0" in self.kind or "\0" in self.column
        self.page = Paginator(self.chosen(), PER_PAGE).get_page(query.get("rejects"))
        for reject in self.page:
            vars(reject)["kind_name"] = name_kind(reject.kind)

    def chosen(self) -> QuerySet[Reject]:
        """Return the rejects of the kind and column that were asked for."""
        if self._is_impossible:  # no text of PostgreSQL has it
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
        """Return the kinds that there are, each with its value in a link."""
        kinds = self._all.order_by("kind").values_list("kind", flat=True).distinct()
        return [{"title": name_kind(kind), "value": kind} for kind in kinds]

    def columns(self) -> list[dict[str, str]]:
        """Return the source columns that there are, each with its value in a link."""
        names = self._all.order_by("column").values_list("column", flat=True).distinct()
        return [
            {"title": _("the whole record"), "value": NO_COLUMN}
            if name is None
            else {"title": name, "value": f"{COLUMN}{name}"}
            for name in names
        ]


def as_lines(rejects: QuerySet[Reject]) -> Iterator[str]:
    """Write rejects down as the reject log does."""
    for values in rejects.values(*FIELDS).iterator():
        yield json.dumps({name: values[name] for name in FIELDS}) + "\n"


def files_of(load: Load) -> list[str]:
    """Return the load's own files of rejects that can be opened: ``log``, ``file``."""
    found = []
    for name in FILES:
        file = open_file(load, name)
        if file is not None:
            file.close()
            found.append(name)
    return found


def open_file(load: Load, name: str) -> IO[bytes] | None:
    """Open the load's own ``log`` or ``file``; None where it is gone, or another file by now."""
    path = Path(load.reject_log if name == "log" else load.reject_file)
    if not path.is_file():
        return None
    try:
        file = path.open("rb")
    except OSError:
        return None
    is_it = _is_log(file.readline()) if name == "log" else _is_reject_file(load, file)
    if is_it:
        file.seek(0)
        return file
    file.close()
    return None


def _is_reject_file(load: Load, file: IO[bytes]) -> bool:
    """Return whether the file is what the load has written.

    The ledger knows it as it was when the last chunk was committed. What stands after the last
    record is written afterwards; of a workbook that is everything.
    """
    last = load.chunks.using(load._state.db).order_by("ordinal").last()
    mark = {} if last is None else last.position.get("marks", {}).get("file", {})
    size, marked = file.seek(0, os.SEEK_END), mark.get("bytes")
    if marked is None or size < marked or size == marked:
        return size == marked
    if not marked:
        return bool(load.rejected) and _is_workbook(file)
    # Arrow, which comes with it, is not imported when the server starts.
    from ingest.loading.append_file import digest_up_to

    return digest_up_to(file, marked).hexdigest() == mark.get("digest")


def _is_workbook(file: IO[bytes]) -> bool:
    """Return whether it is a workbook of rejects, which has their reasons in a column."""
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
"""Of a sheet: its head stands there."""


def _is_log(line: bytes) -> bool:
    if not line:
        return True  # nothing was refused
    try:
        first: Any = json.loads(line)
    except ValueError:
        return False
    return isinstance(first, dict) and set(first) >= {"source", "record", "reason", "kind"}

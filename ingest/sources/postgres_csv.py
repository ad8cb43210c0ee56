"""CSV as PostgreSQL's ``COPY … TO … (FORMAT csv)`` writes it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.sources.base import OF_WORKBOOKS, SourceOptions
from ingest.sources.delimited import DelimitedSource

if TYPE_CHECKING:
    from typing import Self


class PostgresCsvSource(DelimitedSource):
    """Delimited text that PostgreSQL wrote, whose unquoted empty cells are NULL.

    It is used only if its name is given, because nothing in the file distinguishes it from other
    CSV. PostgreSQL does not quote cells that contain a backslash or begin with a comment mark, and
    all its records have one width, so options that would change such cells are ignored.
    """

    format = "postgres-csv"
    place = 21
    ignores = OF_WORKBOOKS | {"escape", "doubled_quotes", "comment", "lenient"}

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        usual = SourceOptions()
        plain = {name: getattr(usual, name) for name in cls.ignores}
        return super().open(given, dataclasses.replace(options, **plain))

    @classmethod
    def accepts(cls, given: Any) -> bool:  # noqa: ARG003
        return False

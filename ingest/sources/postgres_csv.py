"""CSV as PostgreSQL's ``COPY … TO … (FORMAT csv)`` writes it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.sources.base import OF_WORKBOOKS, SourceOptions
from ingest.sources.delimited import DelimitedSource

if TYPE_CHECKING:
    from typing import Self


class PostgresCsvSource(DelimitedSource):
    """Delimited text whose unquoted empty cells are NULL, and whose values PostgreSQL wrote.

    It is read where it is asked for by name only: nothing in such a file tells it from others.
    PostgreSQL leaves cells with a backslash, or a comment mark at the start, without quotes, and
    its records are all of one width: options that would change such cells are not for it.
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

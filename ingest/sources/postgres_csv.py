"""CSV as PostgreSQL's ``COPY … TO … (FORMAT csv)`` writes it."""

from __future__ import annotations

from typing import Any

from ingest.sources.delimited import DelimitedSource


class PostgresCsvSource(DelimitedSource):
    """Delimited text whose unquoted empty cells are NULL, and whose values PostgreSQL wrote.

    It is read where it is asked for by name only: nothing in such a file tells it from others.
    """

    format = "postgres-csv"
    place = 21

    @classmethod
    def accepts(cls, given: Any) -> bool:  # noqa: ARG003
        return False

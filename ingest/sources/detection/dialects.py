"""How a text may be taken apart: its delimiter, and how its cells are quoted."""

from __future__ import annotations

import dataclasses
import re

import pyarrow as pa

from ingest.sources.base import SourceOptions
from ingest.sources.parser import split_records

_OPEN_LINES = 50
"""A cell of more lines than this comes from a quote that was never meant as one."""
COMMENT_MARKS = ("#", "//", "%", "!")
"""What lines may begin with that are no records."""


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How cells are parted and quoted."""

    delimiter: str
    quote: str
    doubled_quotes: bool = True
    escape: str | None = None
    comment: str | None = None

    @property
    def options(self) -> SourceOptions:
        """The options by which a load reads such a text."""
        return SourceOptions(**dataclasses.asdict(self))


def find_dialects(text: str, delimiter: str) -> list[Dialect]:
    """Return the ways of quoting that the text has signs of; the first one wins ties."""
    mark = re.escape(delimiter)
    found = [Dialect(delimiter, '"')]
    if len(re.findall(rf"(?:^|{mark})'[^'\n]*'(?={mark}|\r?$)", text, re.MULTILINE)) > 1:
        found.append(Dialect(delimiter, "'"))
    if re.search(rf'\\"(?!{mark}|\r|\n|$)', text) and '""' not in text.replace(
        f'{delimiter}""', delimiter
    ):
        found.insert(0, Dialect(delimiter, '"', doubled_quotes=False, escape="\\"))
    if '"' in text:
        found.append(Dialect(delimiter, ""))
    comment = find_comment_mark(text, delimiter)
    if comment is not None:
        found += [dataclasses.replace(dialect, comment=comment) for dialect in found]
    return found


def find_comment_mark(text: str, delimiter: str) -> str | None:
    """Return what some lines begin with as comments do."""
    return next(
        (
            mark
            for mark in COMMENT_MARKS
            if mark[0] != delimiter and re.search(rf"^{re.escape(mark)}", text, re.MULTILINE)
        ),
        None,
    )


def split(text: str, dialect: Dialect, *, is_whole: bool) -> list[list[str]]:
    """Return the records of a text as a load would read them; none where the dialect does not fit.

    The last one may be cut where the text is not whole.
    """
    try:
        records = split_records(text.encode(errors="replace"), dialect.options)
    except pa.ArrowInvalid:
        return []
    if any(cell.count("\n") > _OPEN_LINES for record in records for cell in record):
        return []
    return records if is_whole else records[:-1]

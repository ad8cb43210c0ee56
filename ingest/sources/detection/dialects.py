"""Candidates for a text's dialect: its delimiter, and how its cells are quoted."""

from __future__ import annotations

import dataclasses
import re

import pyarrow as pa

from ingest.sources.base import SourceOptions
from ingest.sources.parser import split_records

_OPEN_LINES = 50
"""A quoted cell with more lines than this probably begins with a quote that is ordinary text."""
COMMENT_MARKS = ("#", "//", "%", "!")
"""Possible beginnings of comment lines."""


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How cells are separated and quoted."""

    delimiter: str
    quote: str
    doubled_quotes: bool = True
    escape: str | None = None
    comment: str | None = None

    @property
    def options(self) -> SourceOptions:
        """The options with which a load reads such a text."""
        return SourceOptions(**dataclasses.asdict(self))


def find_dialects(text: str, delimiter: str) -> list[Dialect]:
    """Return the dialects that the text shows signs of; the first one wins ties."""
    mark = re.escape(delimiter)
    found = [Dialect(delimiter, '"')]
    if len(re.findall(rf"(?:^|{mark})'[^'\n]*'(?={mark}|\r?$)", text, re.MULTILINE)) > 1:
        found.append(Dialect(delimiter, "'"))
    if re.search(rf'\\"(?!{mark}|\r|\n|$)', text) and not _has_doubled_quotes(text, mark):
        found.insert(0, Dialect(delimiter, '"', doubled_quotes=False, escape="\\"))
    if '"' in text:
        found.append(Dialect(delimiter, ""))
    comment = find_comment_mark(text, delimiter)
    if comment is not None:
        found += [dataclasses.replace(dialect, comment=comment) for dialect in found]
    return found


def _has_doubled_quotes(text: str, mark: str) -> bool:
    """Return whether a cell has a doubled quote: not an empty cell, nor an escaped last quote."""
    filled = re.sub(rf'(^|[\r\n]|{mark})""(?={mark}|[\r\n]|$)', r"\1", text)
    return re.search(r'(?<!\\)""', filled) is not None


def find_comment_mark(text: str, delimiter: str) -> str | None:
    """Return a comment mark with which some line begins, or None."""
    return next(
        (
            mark
            for mark in COMMENT_MARKS
            if mark[0] != delimiter and re.search(rf"^{re.escape(mark)}", text, re.MULTILINE)
        ),
        None,
    )


def split(text: str, dialect: Dialect, *, is_whole: bool) -> list[list[str]]:
    """Return the records of a text as a load would read them; none if the dialect does not fit.

    If the text is not whole, its last record is left out, because it may be incomplete.
    """
    try:
        records = split_records(text.encode(errors="replace"), dialect.options)
    except pa.ArrowInvalid:
        return []
    if any(cell.count("\n") > _OPEN_LINES for record in records for cell in record):
        return []
    return records if is_whole else records[:-1]

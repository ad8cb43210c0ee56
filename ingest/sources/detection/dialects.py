"""How a text may be taken apart: its delimiter, and how its cells are quoted."""

from __future__ import annotations

import csv
import dataclasses
import io
import re

_OPEN_LINES = 50
"""A cell of more lines than this comes from a quote that was never meant as one."""


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How cells are parted and quoted."""

    delimiter: str
    quote: str
    doubled_quotes: bool = True
    escape: str | None = None


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
    return found


def split(text: str, dialect: Dialect, *, is_whole: bool) -> list[list[str]]:
    """Return the records of a text; none where the dialect does not fit.

    Only an empty line is no record, as for the loader: one of blanks or of an empty quoted cell is.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        doublequote=dialect.doubled_quotes,
        escapechar=dialect.escape,
    )
    records = []
    try:
        for record in reader:
            if any(cell.count("\n") > _OPEN_LINES for cell in record):
                return []
            if record:
                records.append(record)
    except csv.Error:
        return []
    return records if is_whole else records[:-1]

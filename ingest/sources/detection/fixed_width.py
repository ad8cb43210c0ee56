"""Files of fixed width, whose columns are parted by their places in the line."""

from __future__ import annotations

import re
from itertools import groupby, pairwise

from ingest.exceptions import SourceError
from ingest.sources.detection.tables import DELIMITERS

LINES = 200
"""Lines that are looked at."""
LEAST_LINES = 4
"""In fewer lines blanks stand below each other by chance."""
_WIDE_GAP = 2
_FILLED_SHARE = 0.5
"""Share of the lines that must have something in each column."""
_PADDED_SHARE = 0.5
"""Share of the lines that must have cells with blanks after or before them."""
_DELIMITED_SHARE = 0.8
"""Share of lines with a delimiter from which a file has one."""
_DELIMITER = re.compile(rf"(?<![0-9])[{re.escape(DELIMITERS)}]|[{re.escape(DELIMITERS)}](?![0-9])")
"""A delimiter that is no mark in a number."""


def check_is_delimited(name: str, text: str) -> None:
    """Raise ``SourceError`` for a text whose columns begin at the same places in each line."""
    starts = find_starts(text)
    if starts:
        places = f"{', '.join(map(str, starts[:-1]))} and {starts[-1]}"
        raise SourceError(
            f"{name} seems to be of fixed width: it has no delimiter, and its columns begin at the "
            f"characters {places}. A load does not read such files: make a CSV of it first, for "
            "example with pandas.read_fwf(FILE).to_csv(CSV, index=False)."
        )


def find_starts(text: str) -> list[int]:
    """Return the characters, from 1, at which columns begin; none where there is one at most."""
    lines = [line.rstrip() for line in text.splitlines()[:LINES] if line.strip()]
    lines = lines[:-1] if len(lines) == LINES else lines  # it may be cut
    delimited = sum(_DELIMITER.search(line) is not None for line in lines)
    if len(lines) < LEAST_LINES or delimited >= _DELIMITED_SHARE * len(lines):
        return []
    width = max(map(len, lines))
    padded = [line.ljust(width) for line in lines]
    is_blank = [all(line[place] == " " for line in padded) for place in range(width)]
    columns: list[tuple[int, int]] = []
    for is_gap, places in groupby(range(width), is_blank.__getitem__):
        found = list(places)
        first, last = found[0], found[-1]
        if is_gap:
            continue
        filled = sum(bool(line[first : last + 1].strip()) for line in padded)
        if columns and filled < _FILLED_SHARE * len(lines):  # more of the column before
            columns[-1] = (columns[-1][0], last)
        else:
            columns.append((first, last))
    gaps = [after[0] - before[1] - 1 for before, after in pairwise(columns)]
    # Words of equal lengths, or a date and a time, are parted by one blank in every line.
    is_padded = sum("  " in line for line in lines) >= _PADDED_SHARE * len(lines)
    are_equal = len(set(map(len, lines))) == 1
    is_fixed = bool(gaps) and is_padded and (are_equal or max(gaps) >= _WIDE_GAP)
    return [first + 1 for first, _ in columns] if is_fixed else []

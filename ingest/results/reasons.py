"""Counts the reasons for which records were refused."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ingest.plurals import counted
from ingest.results.rejects import REASON_SHOWN, Reject, cut, shorten
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TIMES = "\N{MULTIPLICATION SIGN}"
REASONS_KEPT = 100
"""The most reasons that are reported one by one; all others are counted together."""
TEXTS_REMEMBERED = 1_000
"""The most texts that are counted with the values in them."""
_COUNTED = re.compile(r"\(it has [\d,]+\)")
"""The length of a refused value, as Django's messages state it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason for which records were refused, and how often."""

    count: int
    """How many rejects have it."""
    column: str | None
    """The source column; None for the whole record, and for "Other reasons."."""
    field: str | None
    kind: str | None
    """As ``Reject.kind``; None for "Other reasons."."""
    reason: str
    """The reason, with ``…`` in place of the values if they differ."""
    example: Reject
    """The first reject that has it."""

    def __str__(self) -> str:
        name = self.column if self.column is not None else self.field
        where = "" if name is None else f"{name}: "
        return safe_line(f"{self.count:,} {TIMES} {where}{cut(self.reason, REASON_SHOWN)}")

    def told(self) -> dict[str, Any]:
        """Return the reason as the ledger keeps it, as values for JSON."""
        return {
            "count": self.count,
            "column": None if self.column is None else safe_line(self.column),
            "field": self.field,
            "kind": self.kind,
            "reason": safe_line(cut(self.reason, REASON_SHOWN)),
            "example": str(self.example),
        }


class ReasonCounts:
    """Counts rejects by column, field, kind and reason, in bounded memory.

    A text that occurs several times, word for word, is one reason. Texts that occur once, and those
    that come after the first ``TEXTS_REMEMBERED``, are counted with their values left out.
    """

    def __init__(self, rejects: Iterable[Reject] = ()) -> None:
        self._exact: dict[_Key, _Count] = {}
        self._general: dict[_Key, _Count] = {}
        for reject in rejects:
            self.add(reject)

    def add(self, reject: Reject) -> None:
        """Count one reject."""
        key = (reject.column, reject.field, reject.kind, reject.reason)
        count = self._exact.get(key)
        if count is not None:
            count.number += 1
        elif len(self._exact) < TEXTS_REMEMBERED:
            self._exact[key] = _Count(reject)
        else:
            _add(self._general, reject, 1)

    def reasons(self) -> tuple[Reason, ...]:
        """Return the reasons, the most frequent first and "Other reasons." last."""
        general = {key: dataclasses.replace(count) for key, count in self._general.items()}
        told = []
        for count in self._exact.values():
            if count.number > 1:
                told.append(_reason(count, count.first.reason))
            else:
                _add(general, count.first, 1)
        others = general.pop(_OTHERS, None)
        for key, count in general.items():
            told.append(_reason(count, count.first.reason if count.number == 1 else str(key[3])))
        told.sort(key=lambda reason: -reason.count)
        if len(told) > REASONS_KEPT or others is not None:
            rest = told[REASONS_KEPT:]
            number = sum(reason.count for reason in rest) + (others.number if others else 0)
            first = others.first if others else rest[0].example
            told = told[:REASONS_KEPT]
            told.append(
                Reason(
                    count=number,
                    column=None,
                    field=None,
                    kind=None,
                    reason="Other reasons.",
                    example=first,
                )
            )
        return tuple(told)


def lines_of(reasons: Sequence[Reason], most: int) -> Iterator[str]:
    """Yield lines with the first ``most`` reasons, their examples and the number of the rest."""
    for reason in reasons[:most]:
        if reason.count == 1:
            yield str(reason.example)
        else:
            yield str(reason)
            yield f"    The first of them: {reason.example}"
    rest = reasons[most:]
    if rest:
        number = sum(reason.count for reason in rest)
        yield f"… and {counted(number, 'more reject')}, for {counted(len(rest), 'more reason')}."


_Key = tuple["str | None", "str | None", "str | None", str]
_OTHERS: _Key = (None, None, None, "")


@dataclasses.dataclass
class _Count:
    first: Reject
    number: int = 1


def _add(counts: dict[_Key, _Count], reject: Reject, number: int) -> None:
    key: _Key = (reject.column, reject.field, reject.kind, without_value(reject))
    if key not in counts and len(counts) >= REASONS_KEPT:
        key = _OTHERS
    if key in counts:
        counts[key].number += number
    else:
        counts[key] = _Count(reject, number)


def _reason(count: _Count, text: str) -> Reason:
    first = count.first
    return Reason(
        count=count.number,
        column=first.column,
        field=first.field,
        kind=first.kind,
        reason=text,
        example=first,
    )


def without_value(reject: Reject) -> str:
    """Return the reason with ``…`` in place of the refused value."""
    reason = cut(reject.reason, REASON_SHOWN)
    if reject.value is not None:
        for shown in (shorten(reject.value), _as_str(reject.value)):
            if shown and shown in reason:
                reason = _replace_whole(reason, shown)
    return _COUNTED.sub("(it has …)", reason) if "(it has " in reason else reason


def _as_str(value: Any) -> str:
    """Return the value's text, or an empty one if ``str`` fails, as for a huge integer."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a value may be of any class
        return ""


def _replace_whole(text: str, shown: str) -> str:
    """Replace a value that stands alone: a short one may also be part of a word or number."""
    parts = text.split(shown)
    made = parts[0]
    for before, after in pairwise(parts):
        is_part = _is_in_word(before[-1:], shown[:1]) or _is_in_word(after[:1], shown[-1:])
        made += (shown if is_part else "…") + after
    return made


def _is_in_word(neighbour: str, end: str) -> bool:
    return neighbour.isalnum() and end.isalnum()

"""Equal reasons of refused records, counted."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import TYPE_CHECKING

from ingest.results.rejects import Reject, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMES = "\N{MULTIPLICATION SIGN}"
REASONS_KEPT = 100
"""So many different reasons are counted one by one, and all further ones together."""
_COUNTED = re.compile(r"\(it has [\d,]+\)")
"""Django's messages say how long a refused value is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason for which records were refused, and how often."""

    count: int
    """How many rejects have it."""
    column: str | None
    """The source column; None: the whole record. Of further reasons, None as well."""
    field: str | None
    kind: str | None
    """As ``Reject.kind``; None where it stands for several further reasons."""
    reason: str
    """The reason; where the values differ, with ``…`` in their place."""
    example: Reject
    """The first reject that has it."""

    def __str__(self) -> str:
        name = self.column if self.column is not None else self.field
        where = "" if name is None else f"{name}: "
        return f"{self.count:,} {TIMES} {where}{self.reason}"


class ReasonCounts:
    """Counts rejects by column, field, kind and reason; memory is bounded."""

    def __init__(self, rejects: Iterable[Reject] = ()) -> None:
        self._counts: Counter[tuple[object, ...]] = Counter()
        self._first: dict[tuple[object, ...], Reject] = {}
        self._differ: set[tuple[object, ...]] = set()
        for reject in rejects:
            self.add(reject)

    def add(self, reject: Reject) -> None:
        """Count one reject."""
        said = without_value(reject)
        key: tuple[object, ...] = (reject.column, reject.field, reject.kind, said)
        first = self._first.get(key)
        if first is None:
            if len(self._first) > REASONS_KEPT:
                key = ()
            elif len(self._first) == REASONS_KEPT:
                key = ()
                self._first[key] = reject
            else:
                self._first[key] = reject
        elif first.reason != reject.reason:
            self._differ.add(key)
        self._counts[key] += 1

    def reasons(self) -> tuple[Reason, ...]:
        """Return the reasons, the most frequent ones first and what is counted together last."""
        told = [self._tell(key, count) for key, count in self._counts.most_common() if key]
        if () in self._counts:
            told.append(self._tell((), self._counts[()]))
        return tuple(told)

    def _tell(self, key: tuple[object, ...], count: int) -> Reason:
        example = self._first[key]
        if not key:
            return Reason(
                count=count,
                column=None,
                field=None,
                kind=None,
                reason="Other reasons.",
                example=example,
            )
        return Reason(
            count=count,
            column=example.column,
            field=example.field,
            kind=example.kind,
            reason=without_value(example) if key in self._differ else example.reason,
            example=example,
        )


def without_value(reject: Reject) -> str:
    """Return the reason with ``…`` for the refused value, so that equal reasons are equal texts."""
    reason = reject.reason
    if reject.value is not None and reject.value != "":
        for shown in (repr(reject.value), shorten(reject.value), str(reject.value)):
            # A short value may be part of a word or number: only where it stands alone.
            reason = re.sub(rf"(?<!\w){re.escape(shown)}(?!\w)", "…", reason)
    return _COUNTED.sub("(it has …)", reason)

"""COPY with references checked as a set and indexes built once, each only where that is safe."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, ClassVar, Literal

from ingest.exceptions import ConstraintRefused, UnsupportedModelError
from ingest.indexes import SetAside, indexes_set_aside, plan_set_aside
from ingest.methods.copy import CopyMethod
from ingest.references import SetCheck, plan_set_check
from ingest.rejects import Reject, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.methods.base import Target
    from ingest.references import MissingReference
    from ingest.sending import Refuse
    from ingest.session import Session

SMALL_ROWS = 5_000
"""Up to here plain COPY is as fast: the look at the catalog costs what the set check saves."""


References = Literal["auto", "set", "trigger"]
"""``set``: an error where they cannot be checked as a set; ``trigger``: left to PostgreSQL."""
Indexes = Literal["auto", "rebuild", "keep"]
"""``rebuild``: an error where they cannot be built after; ``keep``: left to PostgreSQL."""


class DirectMethod(CopyMethod):
    """Plain COPY wherever a guard says so; the reason stands in ``decisions``."""

    name: ClassVar[str] = "direct"
    summary: ClassVar[str] = "COPY with references checked as a set and indexes built once"
    place: ClassVar[int] = 60

    def __init__(
        self, target: Target, *, references: References = "auto", indexes: Indexes = "auto"
    ) -> None:
        super().__init__(target)
        self.references = references
        self.indexes = indexes
        self._check: SetCheck | None = None

    def send(
        self,
        session: Session,
        encoding: Encoding,
        batches: Iterable[TypedBatch],
        refuse: Refuse | None = None,
    ) -> int:
        iterator = iter(batches)
        head = list(islice(iterator, 2))
        every = chain(head, iterator)
        rows = sum(len(batch.records) for batch in head)
        is_auto = self.references == self.indexes == "auto"
        if is_auto and len(head) < 2 and rows <= SMALL_ROWS:  # noqa: PLR2004
            self.decisions.append("Plain COPY: so few rows load no faster by any other way.")
            return super().send(session, encoding, every, refuse)
        plan = self._plan_indexes(session)
        self._check = self._plan_references(session, encoding)
        with indexes_set_aside(session, self.target.table, plan):
            if self._check is None:
                return super().send(session, encoding, every, refuse)
            session.execute("SET LOCAL session_replication_role = replica")
            sent = super().send(session, encoding, every, refuse)
            session.execute("SET LOCAL session_replication_role = origin")
        return sent

    def admit(self, batch: TypedBatch, refuse: Refuse | None) -> TypedBatch:
        missing = [] if self._check is None else self._check.missing(batch.rows)
        if not missing:
            return batch
        if refuse is None:
            raise ConstraintRefused(self._explain(missing, batch))
        return batch.without([self._reject(item, batch) for item in missing])

    @staticmethod
    def _reject(missing: MissingReference, batch: TypedBatch) -> Reject:
        key = missing.constraint
        column, field = batch.origins.get(key.columns[0], (None, None))
        return Reject(
            source=batch.source,
            record=batch.records[missing.place],
            column=column,
            field=field,
            value=missing.value,
            reason=f"Key ({key.columns[0]})=({shorten(missing.value)}) is not present in table "
            f"{key.references}.",
            kind="reference",
            constraint=key.name,
        )

    def _plan_references(self, session: Session, encoding: Encoding) -> SetCheck | None:
        if self.references == "trigger" or not self.target.table.foreign_keys:
            self.decisions.append("References: checked row by row by PostgreSQL, as asked.")
            return None
        reason = plan_set_check(session, self.target.table, encoding)
        if reason is None:
            check = SetCheck(session, self.target.table, encoding)
            self.decisions.append(f"References: {len(check)} foreign keys checked as a set.")
            return check
        if self.references == "set":
            raise UnsupportedModelError(f"The references cannot be checked as a set: {reason}")
        self.decisions.append(f"References: checked row by row by PostgreSQL, because {reason}")
        return None

    def _plan_indexes(self, session: Session) -> SetAside:
        if self.indexes == "keep":
            self.decisions.append("Indexes: kept up row by row, as asked.")
            return SetAside()
        if session.is_callers and self.indexes == "auto":
            self.decisions.append(
                "Indexes: kept up row by row, because the exclusive lock would be held until the "
                "end of the caller's transaction."
            )
            return SetAside()
        plan = plan_set_aside(session, self.target.table)
        if plan.reason is None:
            self.decisions.append(f"Indexes: {len(plan.definitions)} built after the rows.")
            return plan
        if self.indexes == "rebuild":
            raise UnsupportedModelError(f"The indexes cannot be built after: {plan.reason}")
        self.decisions.append(f"Indexes: kept up row by row, because {plan.reason}")
        return plan

    def _explain(self, missing: list[MissingReference], batch: TypedBatch) -> str:
        first = missing[0]
        key = first.constraint
        more = f" {len(missing) - 1:,} more rows of the same batch." if len(missing) > 1 else ""
        return (
            f"PostgreSQL would refuse record {batch.records[first.place]:,}: "
            f"Key ({key.columns[0]})=({shorten(first.value)}) is not present in table "
            f"{key.references}, as the foreign key {key.name!r} asks.{more} "
            "Load the referenced rows first, or mend the value. Nothing was loaded."
        )

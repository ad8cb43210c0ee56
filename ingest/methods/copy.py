"""COPY in binary format: every constraint checked by PostgreSQL itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ingest.sending import Flight
from ingest.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.sending import Follower, Refuse
    from ingest.session import Session
    from ingest.table import Table


class Admitted(NamedTuple):
    """What may be sent of a batch."""

    batch: TypedBatch
    leaves_out_triggers: bool = False
    """Is all that the table's triggers would check of it proved?"""


class CopyWriter:
    """Streams binary COPY, one statement for each batch, in the session's open transaction."""

    name: ClassVar[str] = "copy"

    def __init__(
        self, table: Table, model: type[models.Model], *, stages: Stages | None = None
    ) -> None:
        """``stages``: where the time of each stage is counted."""
        self.table = table
        self.model = model
        self.stages = Stages() if stages is None else stages
        self.decisions: list[str] = []
        """What was decided on the way, a sentence each."""

    def send(
        self,
        session: Session,
        encoding: Encoding,
        batches: Iterable[TypedBatch],
        refuse: Refuse | None = None,
        follower: Follower | None = None,
    ) -> int:
        """Send typed batches in the session's transaction and give PostgreSQL's count of rows.

        Each batch is one COPY: an error shows before the next is sent, and its line is the ordinal
        of a row. While one is sent the next is made. A refused row is an error, unless ``refuse``
        is there to take it: it is called for each batch, in order. ``follower`` is told of each.
        """
        flight = Flight(session, self.table, encoding, refuse, follower)
        if self.table.row_security:
            self.decisions.append(
                "Rows: inserted from a temporary table, because COPY is not possible under row "
                "security."
            )
        stage = self.stages.stage
        for batch in batches:
            with stage("encode"):
                order = self.order_of(batch)
                payload = flight.encode(batch, order)
            with stage("send"):
                flight.land()
            with stage("look up references"):
                admitted, leaves_out_triggers = self.admit(batch, refuse)
            if admitted is not batch:
                with stage("encode"):
                    order = self.order_of(admitted)
                    payload = flight.encode(admitted, order)
            with stage("send"):
                flight.start(admitted, payload, order, leaves_out_triggers=leaves_out_triggers)
            del payload
        with stage("send"):
            flight.land()
        return flight.rows

    def order_of(self, batch: TypedBatch) -> pa.Array | None:  # noqa: ARG002
        """Give the places of the batch's rows in the order they are sent; None: as they are."""
        return None

    def admit(self, batch: TypedBatch, refuse: Refuse | None) -> Admitted:  # noqa: ARG002
        """Prove what PostgreSQL will not check of a batch, and give what it may have of it.

        Nothing here, where PostgreSQL checks all.
        """
        return Admitted(batch)


def unsupported_reasons(model: type[models.Model], method: str) -> list[str]:
    """Return in sentences why no writer can write the model; an empty list if they can.

    ``method`` is the name that the sentences use.
    """
    reasons = (why_no_table(model), why_not_one_table(model, method), why_not_values(model, method))
    return [reason for reason in reasons if reason is not None]


def why_no_table(model: type[models.Model]) -> str | None:
    """Say why the model has no table to be written, or None."""
    options = model._meta
    if options.abstract or options.swapped:
        return f"{options.label} has no table of its own."
    return None


def why_not_one_table(model: type[models.Model], method: str) -> str | None:
    """Say which other tables hold fields of the model, or None: its own holds all of them."""
    options = model._meta
    parents = [
        parent._meta.label
        for parent in (options.concrete_model or model)._meta.get_parent_list()
        if parent._meta.concrete_model is parent
    ]
    if not parents:
        return None
    return (
        f"The method {method!r} writes one table, but {options.label} also has fields in "
        f"the table of {', '.join(parents)}: load that model first, or use 'save'."
    )


def why_not_values(model: type[models.Model], method: str) -> str | None:
    """Say which fields have SQL around their values, or None."""
    options = model._meta
    wrapped = [field.name for field in options.concrete_fields if _wraps_sql(field)]
    if not wrapped:
        return None
    return (
        f"The method {method!r} sends values as they are, but {options.label} has SQL "
        f"around those of {', '.join(wrapped)}: use 'bulk_create'."
    )


def _wraps_sql(field: models.Field[Any, Any]) -> bool:
    """Say whether somebody's own field does it; Django's own do no more than cast."""
    return any(
        name in vars(kind) and not kind.__module__.startswith("django.")
        for kind in type(field).__mro__
        for name in ("get_placeholder", "get_placeholder_sql")
    )

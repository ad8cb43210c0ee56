"""COPY in binary format: every constraint checked by PostgreSQL itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ingest.sending import BatchResult, CopyStream
from ingest.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    import pyarrow as pa
    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.encoding import Encoding
    from ingest.keys import Keys
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
        self,
        table: Table,
        model: type[models.Model],
        *,
        stages: Stages | None = None,
        skips_refused: bool = False,
        is_first_chunk: bool = True,
    ) -> None:
        """``stages``: where the time of each stage is counted.

        ``skips_refused``: the load goes on without the rows that are refused; else the first one is
        an error.
        """
        self.table = table
        self.model = model
        self.stages = Stages() if stages is None else stages
        self.skips_refused = skips_refused
        self.is_first_chunk = is_first_chunk
        self.decisions: list[str] = []
        """What was decided on the way, a sentence each."""
        self.inserters: str | None = None
        """The table that the savepoints of the load are marked in; see ``Isolation``."""

    def write(
        self, session: Session, keys: Keys, batches: Iterable[TypedBatch]
    ) -> Generator[BatchResult, None, None]:
        """Send typed batches in the session's transaction, and yield the result of each, in order.

        ``keys`` gives the rows their keys. Each batch is one COPY: an error shows before the next
        is sent, and its line is the ordinal of a row. While one is sent the next is made, unless
        the session ``looks_back``; while a result is yielded nothing is sent, and the connection is
        free. Close the iterator if it is not read to its end.
        """
        yield from self._copy(session, keys, keys.encoding, keys.number(batches))

    def _copy(
        self, session: Session, keys: Keys, encoding: Encoding, batches: Iterable[TypedBatch]
    ) -> Generator[BatchResult, None, None]:
        stream = CopyStream(
            session,
            self.table,
            keys,
            encoding,
            skips_refused=self.skips_refused,
            is_first_chunk=self.is_first_chunk,
        )
        self.inserters = stream.inserters
        if self.table.row_security:
            self.decisions.append(
                "Rows: inserted from a temporary table, because COPY is not possible under row "
                "security."
            )
        stage = self.stages.stage
        for batch in batches:
            with stage("encode"):
                order = self.order_of(batch)
                payload = stream.encode(batch, order)
            yield from self._wait(stream)
            with stage("look up references"):
                admitted, leaves_out_triggers = self.admit(batch)
            if not len(admitted.records):
                yield BatchResult(batch=admitted, rows=0, rejects=admitted.rejects)
                continue
            if admitted is not batch:
                with stage("encode"):
                    order = self.order_of(admitted)
                    payload = stream.encode(admitted, order)
            with stage("send"):
                keys.reserve(len(admitted.records))
                stream.start(admitted, payload, order, leaves_out_triggers=leaves_out_triggers)
            del payload
            if session.looks_back:
                yield from self._wait(stream)
        yield from self._wait(stream)

    def _wait(self, stream: CopyStream) -> Generator[BatchResult, None, None]:
        """Yield the result of the batch that is on its way, if there is one."""
        with self.stages.stage("send"):
            result = stream.wait()
        if result is not None:
            yield result

    def order_of(self, batch: TypedBatch) -> pa.Array | None:  # noqa: ARG002
        """Give the places of the batch's rows in the order they are sent; None: as they are."""
        return None

    def admit(self, batch: TypedBatch) -> Admitted:
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
        f"the table of {', '.join(parents)}: make its rows with save() of the ORM."
    )


def why_not_values(model: type[models.Model], method: str) -> str | None:
    """Say which fields have SQL around their values, or None."""
    options = model._meta
    wrapped = [field.name for field in options.concrete_fields if _wraps_sql(field)]
    if not wrapped:
        return None
    return (
        f"The method {method!r} sends values as they are, but {options.label} has SQL "
        f"around those of {', '.join(wrapped)}: make its rows with bulk_create() of the ORM."
    )


def _wraps_sql(field: models.Field[Any, Any]) -> bool:
    """Say whether somebody's own field does it; Django's own do no more than cast."""
    return any(
        name in vars(kind) and not kind.__module__.startswith("django.")
        for kind in type(field).__mro__
        for name in ("get_placeholder", "get_placeholder_sql")
    )

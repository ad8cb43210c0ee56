"""The first rows of a source as a load would store them; nothing is loaded."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.db.transaction import atomic

from ingest.exceptions import ConfigurationError
from ingest.loading.option_checks import check_reading
from ingest.loading.options import LoadSpec
from ingest.loading.pipeline import make_converter
from ingest.postgres.encoding import decode
from ingest.postgres.session import adaptation_context, open_session
from ingest.postgres.several_tables import read_tables
from ingest.sources import open_source
from ingest.sources.batch import in_pieces
from ingest.sources.cell_errors import refuse_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db import models

    from ingest.conversion import Converter, TypedBatch
    from ingest.layout.transform import LayoutTransform
    from ingest.loading.outcomes import RecordOutcome
    from ingest.postgres.session import Session
    from ingest.results.rejects import Reject
    from ingest.sources import Batch, Source

DEFAULT_ROWS = 5
MOST_RECORDS = 1_000
"""How many records are searched for good ones, so that a source of only bad records ends."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preview:
    """What a load would do with the first records."""

    model: str
    """The model's label."""
    source: str
    """The name of the source."""
    columns: tuple[str, ...]
    """The table's columns that would be written; PostgreSQL gives all others their values."""
    fields: tuple[str, ...]
    """The names of the fields of these columns."""
    records: tuple[int, ...]
    """The record number of each row."""
    rows: tuple[tuple[Any, ...], ...]
    """The rows, as Python values of the table's types."""
    rejects: tuple[Reject, ...]
    """The reasons why records among them were refused, in order."""
    outcomes: tuple[RecordOutcome, ...] = ()
    """With ``on_conflict``: what would happen to the record of each row, and what an update would
    change."""


def preview(
    model: type[models.Model],
    source: Any,
    *,
    using: str | None = None,
    rows: int = DEFAULT_ROWS,
    **options: Any,
) -> Preview:
    """Return the first ``rows`` rows of a source as ``load`` would store them.

    The arguments are those of ``load``, and so are the errors for a source or a layout that cannot
    be used. An iterable is consumed, and cannot be loaded afterwards.

    With ``on_conflict`` the records are written in a transaction that is rolled back: ``outcomes``
    has the result for each, and the ``rejects`` include records that PostgreSQL refuses. It waits
    for locks as a load does, up to five seconds. It uses up numbers of a sequence only if a dry run
    would. ``sync`` is shown as ``upsert``. Without ``on_conflict`` it does not detect what only
    PostgreSQL can refuse: a key that exists already, or a missing reference.
    """
    if rows < 1:
        raise ConfigurationError("A preview shows at least one row.")
    spec = LoadSpec.of(model, source, using, options)
    with (
        open_source(spec.given, spec.reading) as opened,
        # On Django's connection, which can read the values that rows have now.
        nullcontext() if spec.how.conflicts is None else atomic(using=spec.alias),
        open_session(spec.alias) as session,
    ):
        check_reading(opened, options)
        with session.transaction() as transaction:
            transaction.roll_back()  # a layout may create missing parents
            return _read(spec, opened, session, rows)


def _read(spec: LoadSpec, source: Source, session: Session, rows: int) -> Preview:
    """Return the preview of an open source, in a transaction that is rolled back afterwards."""
    from ingest.layout.transform import find_transform  # the command imports this module's options

    model, alias, conflicts = spec.model, spec.alias, spec.how.conflicts
    table = read_tables(session, model)
    if not source.columns:  # an empty iterable
        return _nothing(model, source.name)
    transform = find_transform(spec.layout, model, source, session, alias, sends=False)
    converter = make_converter(
        model,
        source,
        alias,
        table,
        transform,
        clean=spec.how.clean,
        inserts="all" if conflicts is None else conflicts.fills,
    )
    # In pieces, so that no more is looked up than is shown.
    used = None if transform is None else transform.used_columns
    parts = in_pieces(refuse_errors(source.batches(), used), rows)
    typed = _typed(parts, converter, transform)
    settlement = None
    if conflicts is not None:
        from ingest.loading.outcomes import Settlement  # few previews need it

        settlement = Settlement(session, table, model, converter, conflicts, alias)
        typed = settlement.settle(typed)
    batches = list(_first(typed, rows))
    found = [
        pair
        for batch in batches
        for pair in zip(
            batch.records,
            decode(converter.encoding, batch.rows, adaptation_context(alias, table)),
            strict=True,
        )
    ][:rows]
    return Preview(
        model=model._meta.label,
        source=source.name,
        columns=converter.encoding.names,
        fields=tuple(field.name for field in converter.fields),
        records=tuple(record for record, _ in found),
        rows=tuple(row for _, row in found),
        rejects=_rejects(batches, found[-1][0] if len(found) == rows else None),
        outcomes=()
        if settlement is None
        else tuple(settlement.outcomes[record] for record, _ in found),
    )


def _rejects(batches: Sequence[TypedBatch], last: int | None) -> tuple[Reject, ...]:
    """Return the rejects in the order of their records, up to the record ``last``."""
    found = (reject for batch in batches for reject in batch.rejects)
    return tuple(
        reject
        for reject in sorted(found, key=lambda reject: reject.record)
        if last is None or reject.record <= last
    )


def _nothing(model: type[models.Model], source: str) -> Preview:
    return Preview(
        model=model._meta.label,
        source=source,
        columns=(),
        fields=(),
        records=(),
        rows=(),
        rejects=(),
    )


def _typed(
    parts: Iterator[Batch], converter: Converter, transform: LayoutTransform | None
) -> Iterator[TypedBatch]:
    if transform is None:
        yield from map(converter.convert, parts)
        return
    for mapped in transform.apply(parts):
        yield converter.convert(mapped)


def _first(batches: Iterator[TypedBatch], rows: int) -> Iterator[TypedBatch]:
    found = read = 0
    for batch in batches:
        yield batch
        found += len(batch.records)
        read += batch.records_read
        if found >= rows or read >= MOST_RECORDS:
            return

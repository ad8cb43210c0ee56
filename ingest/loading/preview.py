"""The first rows of a source as a load would store them; nothing is loaded."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, router

from ingest.exceptions import ConfigurationError
from ingest.layout import choose_layout
from ingest.loading.options import check_reading, split_options
from ingest.loading.pipeline import make_converter
from ingest.postgres.encoding import decode
from ingest.postgres.session import adaptation_context, open_session
from ingest.postgres.several_tables import read_tables
from ingest.sources import open_source
from ingest.sources.batch import in_pieces
from ingest.sources.cell_errors import refuse_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db import models

    from ingest.conversion import Converter, TypedBatch
    from ingest.layout.transform import LayoutTransform
    from ingest.results.rejects import Reject
    from ingest.sources import Batch

DEFAULT_ROWS = 5
MOST_RECORDS = 1_000
"""So many records are looked at for good ones: a source that is all bad comes to an end."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preview:
    """What a load would make of the first records."""

    model: str
    """The model's label."""
    source: str
    """What the rows come from."""
    columns: tuple[str, ...]
    """The table's columns that would be written; PostgreSQL gives all others their values."""
    records: tuple[int, ...]
    """The number of the record that each row comes from."""
    rows: tuple[tuple[Any, ...], ...]
    """The rows, as Python values of the table's types."""
    rejects: tuple[Reject, ...]
    """The reasons of the records among them that were refused, in order."""


def preview(
    model: type[models.Model],
    source: Any,
    *,
    using: str | None = None,
    rows: int = DEFAULT_ROWS,
    **options: Any,
) -> Preview:
    """Return the first ``rows`` rows of a source as ``load`` would store them.

    It takes the source and the options of ``load``, and raises what that raises for a source or a
    layout that cannot be used. What only PostgreSQL can refuse (a key that is there already, a
    reference that leads nowhere) is not seen. An iterable is read, and so cannot be loaded
    afterwards.
    """
    if rows < 1:
        raise ConfigurationError("A preview shows at least one row.")
    from ingest.layout.transform import arrange  # the command has this module's options

    alias = using or router.db_for_write(model) or DEFAULT_DB_ALIAS
    layout = choose_layout(options)
    reading, how = split_options({**({} if layout is None else layout.source), **options})
    with open_source(source, reading) as opened, open_session(alias) as session:
        check_reading(opened, options)
        with session.transaction() as transaction:
            transaction.roll_back()  # a layout may make missing parents
            table = read_tables(session, model)
            if not opened.columns:  # an empty iterable
                return _nothing(model, opened.name)
            arrangement = arrange(layout, model, opened, session, alias, sends=False)
            converter = make_converter(model, opened, alias, table, arrangement, clean=how.clean)
            # In pieces, so that no more is looked up than is shown.
            used = None if arrangement is None else arrangement.used_columns
            parts = in_pieces(refuse_errors(opened.batches(), used), rows)
            typed = list(_first(_typed(parts, converter, arrangement), rows))
            found = [
                pair
                for batch in typed
                for pair in zip(
                    batch.records,
                    decode(converter.encoding, batch.rows, adaptation_context(alias, table)),
                    strict=True,
                )
            ][:rows]
        rejects = tuple(reject for batch in typed for reject in batch.rejects)
        if len(found) == rows:
            rejects = tuple(reject for reject in rejects if reject.record <= found[-1][0])
        return Preview(
            model=model._meta.label,
            source=opened.name,
            columns=converter.encoding.names,
            records=tuple(record for record, _ in found),
            rows=tuple(row for _, row in found),
            rejects=rejects,
        )


def _nothing(model: type[models.Model], source: str) -> Preview:
    return Preview(
        model=model._meta.label, source=source, columns=(), records=(), rows=(), rejects=()
    )


def _typed(
    parts: Iterator[Batch], converter: Converter, arrangement: LayoutTransform | None
) -> Iterator[TypedBatch]:
    if arrangement is None:
        yield from map(converter.convert, parts)
        return
    for arranged in arrangement.apply(parts):
        yield converter.convert(arranged)


def _first(batches: Iterator[TypedBatch], rows: int) -> Iterator[TypedBatch]:
    found = read = 0
    for batch in batches:
        yield batch
        found += len(batch.records)
        read += batch.records_read
        if found >= rows or read >= MOST_RECORDS:
            return

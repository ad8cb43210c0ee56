"""From a source to typed batches, one chunk at a time, with every record counted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ingest.conversion import Converter
from ingest.conversion.model_rules import rules_not_asked
from ingest.exceptions import REJECTS_SHOWN, RecordsRefused
from ingest.layout.matching import describe_loose, match_columns
from ingest.postgres.session import adaptation_context
from ingest.postgres.several_tables import choose_tables
from ingest.sources import in_pieces
from ingest.sources.cell_errors import refuse_errors
from ingest.sources.joining import join_small
from ingest.writing.conflicts.options import Given

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.conversion.defaults import Inserts
    from ingest.conversion.slow_fields import SlowField
    from ingest.layout import Layout
    from ingest.layout.mapped_batch import MappedBatch
    from ingest.layout.transform import LayoutTransform
    from ingest.postgres.catalog import Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Session
    from ingest.results import Counts
    from ingest.results.rejects import Reject
    from ingest.sources import Batch, Position, Source
    from ingest.writing.timings import Stages


class Pipeline:
    """One pass over a source, from a position on: source -> layout -> conversion."""

    def __init__(  # noqa: PLR0913 - the parts of a pipeline
        self,
        model: type[models.Model],
        source: Source,
        layout: Layout | None,
        *,
        session: Session,
        alias: str,
        table: Table,
        stages: Stages,
        clean: bool = False,
        refuses: bool = False,
        inserts: Inserts = "all",
        joins: bool = False,
    ) -> None:
        """Plan the pass, or raise ``LayoutError`` for columns or fields that do not fit.

        ``clean``: run ``Model.clean()`` for each record. ``refuses``: refused records are left out,
        and parents that were made for them are deleted. ``joins``: one batch may have the records
        of several small files.
        """
        self._source = source
        self._stages = stages
        self._transform: LayoutTransform | None = None
        matches = () if layout is not None else match_columns(model, source.columns, source.name)
        # A header such as customer__number looks up a parent, as a layout does.
        if layout is not None or any(found.lookup is not None for found in matches):
            from ingest.layout.transform import find_transform  # most loads have no layout

            self._transform = find_transform(layout, model, source, session, alias, refuses=refuses)
        # Not pipes, whose records may come one by one.
        self._joins = (
            joins
            and len(source.places) > 1
            and (self._transform is None or self._transform.joins_files)
        )
        self._matched = () if self._transform is not None else describe_loose(matches)
        self._converter = make_converter(
            model, source, alias, table, self._transform, clean=clean, inserts=inserts
        )
        self._judge_of_fields = self._converter
        if clean and self._transform is not None:  # Model.clean() may need the parent
            self._judge_of_fields = make_converter(
                model, source, alias, table, self._transform, inserts=inserts
            )
        self.table = self._converter.table
        self.rules_not_asked = rules_not_asked(model, self._converter.fields, clean=clean)
        """The rules of ``full_clean()`` that the load does not check, a sentence each."""

    @property
    def encoding(self) -> CopyEncoding:
        """The encoding of the rows that it yields."""
        return self._converter.encoding

    @property
    def given(self) -> Given:
        """What the source provides for each row."""
        return Given(fields=self._converter.given, lacking=self._converter.lacking)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Values stored so far that were probably not intended, a sentence each."""
        layout = self._matched if self._transform is None else self._transform.warnings
        return (*layout, *self._converter.warnings)

    @property
    def slow_fields(self) -> tuple[SlowField, ...]:
        """The fields that have validated values one at a time so far."""
        return self._converter.slow_fields

    def batches(
        self, start: Position, chunk_rows: int | None, stop: Position | None = None
    ) -> Iterator[TypedBatch]:
        """Yield typed batches; if records are committed in chunks, no batch crosses a chunk end."""
        given = self._source.batches_between(start, stop)
        raw = self._stages.watch("read", join_small(given) if self._joins else given)
        used = None if self._transform is None else self._transform.used_columns
        pieces = in_pieces(refuse_errors(raw, used), chunk_rows)
        if self._transform is None:
            for batch in pieces:
                with self._stages.stage("convert"):
                    typed = self._converter.convert(batch)
                yield typed
            return
        for mapped in self._stages.watch(
            "apply layout", self._transform.apply(pieces, self._judge)
        ):
            with self._stages.stage("convert"):
                typed = self._converter.convert(mapped)
            yield typed

    def take_back_parents(self, rejects: Sequence[Reject], batch: TypedBatch) -> None:
        """Delete the parents made for a batch that no row uses, once the batch is written."""
        if self._transform is None:
            return
        mapped = cast("MappedBatch", batch.batch)
        if mapped.made:
            refused = {reject.record for reject in rejects}
            accepted = [record for record in batch.records if record not in refused]
            self._transform.take_back(mapped, accepted)

    def _judge(self, mapped: MappedBatch) -> set[int]:
        """Return the records that the fields refuse, ignoring their missing parents."""
        return {reject.record for reject in self._judge_of_fields.convert(mapped).rejects}


class Chunks:
    """Divides batches into chunks, and counts the records independently of PostgreSQL."""

    def __init__(
        self, batches: Iterator[TypedBatch], start: Position, rows: int | None, *, aborts: bool
    ) -> None:
        """``aborts``: the first refused record ends the load."""
        self._batches = batches
        self._rows = rows
        self._aborts = aborts
        self._held: TypedBatch | None = None
        self.is_over = False
        """Whether the source has ended."""
        self._last: Batch | None = None
        self._start = start
        self.read = self.skipped = self.padded = self.cut = 0
        """Records of the current chunk: all, those left out, and those with other widths."""

    def has_more(self) -> bool:
        """Return whether there is another chunk."""
        while self._held is None and not self.is_over:
            batch = next(self._batches, None)
            self.is_over = batch is None
            if batch is not None and (batch.records_read or batch.batch.skipped):
                self._held = batch
        return not self.is_over

    def chunk(self) -> Iterator[TypedBatch]:
        """Yield the batches of the next chunk."""
        self.read = self.skipped = self.padded = self.cut = 0
        while (self._rows is None or self.read < self._rows) and self.has_more():
            batch = cast("TypedBatch", self._held)
            self._held = None
            if batch.rejects and self._aborts:
                raise RecordsRefused(_first_bad_records(batch, self._batches))
            self.read += batch.records_read + batch.batch.skipped
            self.skipped += batch.batch.skipped
            self.padded += len(batch.batch.padded)
            self.cut += len(batch.batch.cut)
            if batch.batch.through is not None:
                self._last = batch.batch
            yield batch

    def position(self) -> Position:
        """Return the source's position after the current chunk, once its batches were yielded."""
        if self._last is None or self._last.through is None:
            return self._start
        return self._last.find_position(self._last.through)

    def counts(self, written: Counts, rejected: int) -> Counts:
        """Return the counts of the chunk's records."""
        return dataclasses.replace(
            written,
            read=self.read,
            rejected=rejected,
            skipped=written.skipped + self.skipped,
            padded=self.padded,
            cut=self.cut,
        )


def make_converter(  # noqa: PLR0913 - the parts of a conversion
    model: type[models.Model],
    source: Source,
    alias: str,
    table: Table,
    transform: LayoutTransform | None = None,
    *,
    clean: bool = False,
    inserts: Inserts = "all",
) -> Converter:
    """Plan how the batches of a source, or of a layout applied to it, become typed."""
    fed = transform or _Columns(
        tuple(found.field for found in match_columns(model, source.columns, source.name)),
        source.columns,
    )
    table = choose_tables(model, fed.fields, table)
    converter = Converter(
        model=model._meta.concrete_model,
        table=table,
        fields=fed.fields,
        alias=alias,
        context=adaptation_context(alias, table),
        source_columns=fed.source_columns,
        clean=clean,
        has_postgres_text=source.has_postgres_text,
        reads_by_text=source.reads_by_text,
        has_json_numbers=source.has_json_numbers,
        inserts=inserts,
    )
    if transform is not None:
        transform.judge_constants(converter.judge)
    return converter


class _Columns(NamedTuple):
    """The source's own columns, each with the field that it names."""

    fields: tuple[models.Field[Any, Any], ...]
    source_columns: tuple[str, ...]


def _first_bad_records(batch: TypedBatch, rest: Iterator[TypedBatch]) -> list[Reject]:
    """Return the rejects of this and the following batches, until there are enough to show.

    Someone who fixes a file wants to see all of them at once.
    """
    rejects = list(batch.batch.told(batch.rejects))
    for following in rest:
        if len(rejects) >= REJECTS_SHOWN:
            break
        rejects.extend(following.batch.told(following.rejects))
    return rejects

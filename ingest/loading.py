"""The pipeline: source -> layout -> conversion -> method, in one transaction.

The core is synchronous and runs in the caller's thread, so that an iterable is read where it was
made; asyncpg sends from a thread of its own meanwhile.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, router

from ingest.aftermath import Sequences, analyze
from ingest.announcing import announced
from ingest.arrangement import Arrangement
from ingest.conversion import Converter
from ingest.exceptions import (
    REJECTS_SHOWN,
    ConfigurationError,
    CountMismatch,
    RecordsRefused,
    did_you_mean,
)
from ingest.layout import find_layout, match_fields
from ingest.methods import Row, Target, get_method
from ingest.methods.copy import CopyMethod
from ingest.methods.direct import DirectMethod
from ingest.refusals import explain
from ingest.reject_file import open_reject_file
from ingest.reject_log import RejectLimit, RejectLog
from ingest.session import adaptation_context, open_session
from ingest.sources import SourceOptions, open_source
from ingest.table import read_settled_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from django.db import models

    from ingest.conversion import TypedBatch
    from ingest.layout import Layout
    from ingest.methods.direct import Indexes, References
    from ingest.reject_file import RejectFile
    from ingest.rejects import Reject
    from ingest.sources import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a load has come."""

    rows: int
    """Records read and sent on."""
    rejected: int
    """Records refused until now."""
    bytes_read: int
    """Bytes read of the source; 0 where it is not made of bytes."""
    bytes_total: int | None
    """The source's size in bytes, where it is known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a load is to be done."""

    method: str = "direct"
    """``direct``, which takes the fastest path that is proved safe, or plain ``copy``."""
    references: References = "auto"
    """How ``direct`` checks foreign keys: ``auto``, as a ``set``, or row by row by ``trigger``."""
    indexes: Indexes = "auto"
    """What ``direct`` does with plain indexes: ``auto``, ``rebuild`` them after, or ``keep``."""
    on_error: str = "abort"
    """``abort``: one refused record ends the load, and nothing is loaded. ``reject``: refused
    records are put aside with their reasons, and all others are loaded."""
    reject_limit: str | int | None = None
    """Roll back when more records are refused: a number, or a share such as ``2.5%``."""
    reject_log: str | Path | None = None
    """Where the rejects are written down, as JSON Lines; None: in a temporary file."""
    reject_file: str | Path | None = None
    """Where the refused records are written in the source's own format, with the reasons, to be
    mended and loaded again."""
    analyze: bool = True
    """ANALYZE the table after the commit, if a tenth of its rows or more are new; never inside a
    caller's transaction."""
    dry_run: bool = False
    """Do everything but commit."""
    layout: Layout | str | Path | None = None
    """Which source column feeds which field, and how its text is read: a ``Layout``, a file's path
    that ends in ``.toml``, or the name of a layout that an app has. None: columns name fields."""

    def __post_init__(self) -> None:
        if self.on_error not in {"abort", "reject"}:
            raise ConfigurationError(f"on_error is {self.on_error!r}: say 'abort' or 'reject'.")
        if self.reject_file is not None and self.on_error != "reject":
            raise ConfigurationError(
                "There is a reject file only where rejects are put aside: say on_error='reject' "
                "(--on-error reject), or leave it out."
            )
        RejectLimit.parse(self.reject_limit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What a load did."""

    model: str
    """The model's label."""
    table: str
    """The table's name with its schema, quoted."""
    source: str
    """What the rows came from."""
    rows: int
    """Rows loaded."""
    read: int
    """Records that the source had: ``rows + rejected + skipped``."""
    rejected: int
    """Records that were refused."""
    skipped: int
    """Records that the layout or the options said to leave out."""
    rejects: Iterable[Reject]
    """The reasons, one ``Reject`` each, in the order of the records: iterate over it."""
    is_dry_run: bool
    """Was everything rolled back, as asked?"""
    seconds: float
    """Wall-clock time from opening the source to the commit."""
    method: str
    """The method's name."""
    driver: str
    """The driver that sent the rows: ``asyncpg``, or ``psycopg`` inside ``atomic()``."""
    stages: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Wall-clock seconds of each stage, by its name."""
    decisions: tuple[str, ...] = ()
    """What was decided on the way and why, a sentence each."""

    @property
    def rows_per_second(self) -> float:
        """Rows loaded per second of wall-clock time."""
        return self.rows / self.seconds if self.seconds else 0.0


def load(
    model: type[models.Model],
    source: Any,
    *,
    using: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> LoadResult:
    """Load all rows of a source into a model's table, by COPY, in one transaction.

    ``source`` is a path, ``"-"`` for standard input, a file opened for reading bytes, anything with
    ``__arrow_c_stream__``, or an iterable of dicts, tuples (with ``columns``), dataclasses or model
    instances; an iterable is read once and never held whole. ``using`` is a database's name.
    ``options`` are those of ``LoadOptions`` and of ``SourceOptions``.

    Inside ``transaction.atomic()`` the rows go over Django's own connection and roll back with
    the caller; outside over a connection of the load's own, committed on return. It does not call
    ``save()``, sends no signals and sets no keys on instances.

    Raises an ``IngestError``; then nothing was loaded. ``RecordsRefused`` lists the records that a
    field refused, ``ConstraintRefused`` says which constraint a row would violate.
    """
    started = time.perf_counter()
    alias = using or router.db_for_write(model) or DEFAULT_DB_ALIAS
    layout = None if options.get("layout") is None else find_layout(options["layout"])
    reading, how = split_options({**({} if layout is None else layout.source), **options})
    log = RejectLog(how.reject_log, RejectLimit.parse(how.reject_limit))
    with (
        announced(model, alias) as announcement,
        open_source(source, reading) as opened,
        open_reject_file(how.reject_file, opened.writer(), source, reading.format) as file,
        open_session(alias) as session,
    ):
        announcement.started(source=opened.name, method=how.method)
        counter = _Counter(opened, progress, log if how.on_error == "reject" else None, file)
        rows = 0
        try:
            with session.transaction() as transaction:
                table = read_settled_table(session, model)
                writer = _writer(how, Target(model=model, alias=alias, table=table, fields=()))
                if opened.columns:  # an empty iterable has none
                    arrangement = None
                    if layout is not None:
                        arrangement = Arrangement(layout, model, opened, session, alias)
                    converter = plan_converter(model, opened, alias, table, arrangement)
                    sequences = Sequences(session, table, converter.encoding.names)
                    batches = sequences.watch(counter.typed(converter, arrangement))
                    rows = writer.send(session, converter.encoding, batches, counter.refuse)
                    if not how.dry_run:
                        sequences.move()
                counter.check(rows)
                if how.dry_run:
                    transaction.roll_back()
            # Not inside: until the commit it would keep VACUUM and other loads waiting.
            if how.analyze and not (how.dry_run or session.is_callers):
                with session.transaction():
                    analyze(session, table, rows)
        except Exception as error:
            # A deferred constraint speaks at the COMMIT.
            refusal = explain(error)
            if refusal is None:
                raise
            raise refusal from error
        announcement.result = LoadResult(
            model=model._meta.label,
            table=table.qualified_name,
            source=opened.name,
            rows=rows,
            read=counter.read,
            rejected=log.records,
            skipped=counter.skipped,
            rejects=log,
            is_dry_run=how.dry_run,
            seconds=time.perf_counter() - started,
            method=writer.name,
            decisions=tuple(writer.decisions),
            driver=session.driver,
        )
    return announcement.result


async def aload(model: type[models.Model], source: Any, **options: Any) -> LoadResult:
    """Do what ``load`` does, without blocking the event loop; it takes the same arguments."""
    return await sync_to_async(load)(model, source, **options)


def read_rows(
    model: type[models.Model], source: Any, *, using: str = DEFAULT_DB_ALIAS
) -> tuple[tuple[models.Field[Any, Any], ...], list[Row]]:
    """Read a source into memory as rows of cleaned Python values, and the fields they are for.

    Raises ``RecordsRefused`` for the first batch with a record that a field refuses.
    """
    rows: list[Row] = []
    with open_source(source) as opened, open_session(using) as session:
        with session.transaction():
            table = read_settled_table(session, model)
        converter = plan_converter(model, opened, using, table)
        for batch in opened.batches():
            good, rejects = converter.clean(batch)
            if rejects:
                raise RecordsRefused(rejects)
            rows.extend(good)
        return match_fields(model, opened.columns, opened.name), rows


def _writer(how: LoadOptions, target: Target) -> CopyMethod:
    if how.method == DirectMethod.name:
        return DirectMethod(target, references=how.references, indexes=how.indexes)
    if how.method == CopyMethod.name:
        return CopyMethod(target)
    get_method(how.method)  # says what is wrong with an unknown name
    raise ConfigurationError(
        f"The method {how.method!r} is there to be compared with: a load uses 'direct' or 'copy'."
    )


def split_options(options: dict[str, Any]) -> tuple[SourceOptions, LoadOptions]:
    """Tell the options of the source from those of the load; ``TypeError`` for one of neither."""
    kinds = (SourceOptions, LoadOptions)
    names = [{field.name for field in dataclasses.fields(kind)} for kind in kinds]
    for name in options:
        if not any(name in known for known in names):
            raise TypeError(
                f"load() has no option {name!r}.{did_you_mean(name, names[0] | names[1])}"
            )
    reading = {name: options[name] for name in options if name in names[0]}
    if reading.get("columns") is not None:
        reading["columns"] = tuple(reading["columns"])
    how = {name: options[name] for name in options if name in names[1]}
    return SourceOptions(**reading), LoadOptions(**how)


def plan_converter(
    model: type[models.Model],
    source: Source,
    alias: str,
    table: Any,
    arrangement: Arrangement | None = None,
) -> Converter:
    """Plan how the source's batches become typed ones."""
    return Converter(
        table=table,
        fields=(
            match_fields(model, source.columns, source.name)
            if arrangement is None
            else arrangement.fields
        ),
        alias=alias,
        context=adaptation_context(alias, table),
        source=source.name,
        source_columns=source.columns if arrangement is None else arrangement.source_columns,
    )


class _Counter:
    """Counts what the source had, independently of what PostgreSQL says it took."""

    def __init__(
        self,
        source: Source,
        progress: Callable[[Progress], None] | None,
        log: RejectLog | None,
        file: RejectFile | None,
    ) -> None:
        self._source = source
        self._progress = progress
        self._log = log
        self._file = file
        self.read = 0
        self.skipped = 0
        self.refuse = None if log is None else self._refuse
        """Takes the rejects of a batch; None where the first one ends the load."""

    def typed(
        self, converter: Converter, arrangement: Arrangement | None = None
    ) -> Iterator[TypedBatch]:
        batches = self._converted(converter, arrangement)
        for batch in batches:
            if batch.rejects and self._log is None:
                raise RecordsRefused(_first_bad_records(batch, batches))
            self.read += batch.records_read
            yield batch
            if self._progress is not None:
                self._progress(
                    Progress(
                        rows=self.read,
                        rejected=0 if self._log is None else self._log.records,
                        bytes_read=self._source.bytes_read,
                        bytes_total=self._source.bytes_total,
                    )
                )

    def _converted(
        self, converter: Converter, arrangement: Arrangement | None
    ) -> Iterator[TypedBatch]:
        if arrangement is None:
            for batch in self._source.batches():
                yield self._counted(converter.convert(batch), batch.skipped)
            return
        for arranged in arrangement.apply(self._source.batches()):
            typed = arrangement.settle(converter.convert(arranged), arranged)
            yield self._counted(typed, arranged.skipped)

    def _counted(self, typed: TypedBatch, skipped: int) -> TypedBatch:
        self.skipped += skipped
        self.read += skipped
        return typed

    def check(self, loaded: int) -> None:
        """Raise ``CountMismatch`` unless read = loaded + rejected + skipped."""
        rejected = 0 if self._log is None else self._log.records
        if self._log is not None:
            self._log.finish(self.read)
        if self.read != loaded + rejected + self.skipped:
            raise CountMismatch(
                f"{self._source.name} had {self.read:,} records, {rejected:,} were rejected and "
                f"{self.skipped:,} skipped, "
                f"but PostgreSQL counted {loaded:,} rows. Nothing was loaded."
            )

    def _refuse(self, rejects: Sequence[Reject], batch: TypedBatch) -> None:
        if self._file is not None and rejects:
            self._file.add(rejects, batch.batch)
        if self._log is not None:
            self._log.add(rejects, self.read)


def _first_bad_records(batch: TypedBatch, rest: Iterator[TypedBatch]) -> list[Reject]:
    """Read on until there is enough to show: whoever mends a file likes to hear of all at once."""
    rejects = list(batch.rejects)
    for following in rest:
        if len(rejects) >= REJECTS_SHOWN:
            break
        rejects.extend(following.rejects)
    return rejects

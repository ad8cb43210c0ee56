"""The calls that load: ``load``, ``aload`` and ``resume``."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import atomic

from ingest.exceptions import ConfigurationError, LoadCancelled
from ingest.ledger.entries import LedgerEntry, find_load
from ingest.ledger.place import in_place_of
from ingest.loading.events import announced
from ingest.loading.loader import Loader
from ingest.loading.options import LoadSpec
from ingest.loading.progress import ProgressReporter
from ingest.loading.resume import check_same
from ingest.loading.sharing import take_over
from ingest.postgres.connection.arguments import django_connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from django.db import models

    from ingest.ledger.entry import Entry
    from ingest.postgres.session import SessionState
    from ingest.results import LoadResult, Progress


def load(
    model: type[models.Model],
    source: Any,
    *,
    using: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> LoadResult:
    """Load all rows of a source into a model's table by COPY, in one transaction by default.

    ``source`` is a path, ``"-"`` for standard input, a file opened in binary mode, anything with
    ``__arrow_c_stream__``, or an iterable of dicts, tuples (with ``columns``), dataclasses or model
    instances; an iterable is read once and never held whole. ``using`` is a database alias.
    ``options`` are those of ``LoadOptions`` and of ``SourceOptions``.

    Inside ``transaction.atomic()``, or if autocommit is off, the rows go over Django's own
    connection and roll back with the caller. Otherwise they go over the load's own connection and
    are committed on return. ``save()`` is not called, no signal except ``load_ended`` is sent, and
    no keys are set on instances.

    If the app's tables exist, the load is recorded in the transaction of its rows: see
    ``LoadResult.load``.

    Raise an ``IngestError`` if the load fails; then nothing was loaded, except committed chunks.
    ``RecordsRefused`` lists the records that a field refused. ``ConstraintRefused`` names the
    constraint that a row would violate.
    """
    _refuse_event_loop("load()", "aload()")
    return _perform(LoadSpec.of(model, source, using, options), progress)


async def aload(
    model: type[models.Model],
    source: Any,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> LoadResult:
    """Load a source like ``load``, with the same arguments, without blocking the event loop.

    If the task is cancelled, the load ends after its current batch and is rolled back, except
    committed chunks; the task ends afterwards. A load that has sent its last batch is committed.
    """
    is_cancelled = threading.Event()

    def see(seen: Progress) -> None:
        if is_cancelled.is_set():
            raise LoadCancelled
        if progress is not None:
            progress(seen)

    def work() -> LoadResult:
        open_before = [it.alias for it in connections.all() if it.connection is not None]
        try:
            return load(model, source, progress=see, **options)
        finally:  # nothing else closes what was opened in this thread
            for wrapper in connections.all():
                if wrapper.alias not in open_before:
                    wrapper.close()

    task = asyncio.ensure_future(sync_to_async(work)())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # The thread cannot be interrupted, and would commit after its caller has gone.
        is_cancelled.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # so that asyncio does not report it as never retrieved
        raise


def resume(  # noqa: PLR0913 - the public arguments
    load_id: int,
    source: Any = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    progress: Callable[[Progress], None] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    scheduler: str | None = None,
) -> LoadResult:
    """Resume a load that did not finish, after its last committed chunk.

    It runs with the search path, role and custom settings that it began with, regardless of those
    of Django's connection now. ``source`` is the new path of the file, or list of files, if they
    were moved or renamed; their content must be the same. ``workers``, ``executor`` or
    ``scheduler`` choose other processes for the rest of the load.

    Raise ``LedgerError`` if there is no such load, if it cannot be resumed, or if its file or
    layout has changed.
    """
    _refuse_event_loop("resume()", "sync_to_async(resume)()")
    found = find_load(load_id, using)
    with in_place_of(found) as state:
        job = LoadSpec.again(found, using)
        if source is not None:
            job = dataclasses.replace(job, given=source)
        how = take_over(job.how, workers=workers, executor=executor, scheduler=scheduler)
        job = dataclasses.replace(job, how=how)
        check_same(found, job)
        return _perform(job, progress, LedgerEntry(found, using), state)


def _refuse_event_loop(name: str, instead: str) -> None:
    """Raise ``ConfigurationError`` in a running event loop, before anything is written."""
    if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):  # the same test as Django's
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ConfigurationError(
        f"{name} cannot be called in a running event loop, which it would block: "
        f"await {instead} instead."
    )


def _perform(
    job: LoadSpec,
    progress: Callable[[Progress], None] | None,
    entry: Entry | None = None,
    state: SessionState | None = None,
) -> LoadResult:
    with _callers_transaction(job.alias), announced(job.model, job.alias) as announcement:
        reporter = ProgressReporter(progress, announcement)
        announcement.result = Loader(job, reporter, entry, state).perform()
        return announcement.result


def _callers_transaction(alias: str) -> AbstractContextManager[Any]:
    """Make the load part of the transaction that the caller commits, if autocommit is off.

    The load's own connection would wait for the caller's uncommitted changes.
    """
    own = django_connection(alias)
    is_on = own.settings_dict["AUTOCOMMIT"] if own.connection is None else own.autocommit
    return nullcontext() if is_on or own.in_atomic_block else atomic(using=alias)

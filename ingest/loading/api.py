"""The calls that load: ``load``, ``aload`` and ``resume``."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.transaction import atomic

from ingest.exceptions import (
    ConfigurationError,
)
from ingest.ledger.entries import LedgerEntry, find_load
from ingest.ledger.place import in_place_of
from ingest.loading.events import announced
from ingest.loading.loader import Loader
from ingest.loading.options import LoadSpec
from ingest.loading.progress import ProgressReporter
from ingest.loading.resume import (
    check_same,
)
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
    """Load all rows of a source into a model's table, by COPY, in one transaction.

    ``source`` is a path, ``"-"`` for standard input, a file opened for reading bytes, anything with
    ``__arrow_c_stream__``, or an iterable of dicts, tuples (with ``columns``), dataclasses or model
    instances; an iterable is read once and never held whole. ``using`` is a database's name.
    ``options`` are those of ``LoadOptions`` and of ``SourceOptions``.

    Inside ``transaction.atomic()`` the rows go over Django's own connection and roll back with
    the caller, and so they do where autocommit is off; outside over a connection of the load's own,
    committed on return. It does not call
    ``save()``, sends no signals but ``load_ended`` and sets no keys on instances.

    Where the app's tables are there the load is recorded, in the transaction of its rows:
    ``LoadResult.load``.

    Raises an ``IngestError``; then nothing was loaded, but for chunks that were asked for.
    ``RecordsRefused`` lists the records that a field refused, ``ConstraintRefused`` says which
    constraint a row would violate.
    """
    _refuse_event_loop("load()", "aload()")
    return _perform(LoadSpec.of(model, source, using, options), progress)


async def aload(model: type[models.Model], source: Any, **options: Any) -> LoadResult:
    """Do what ``load`` does, without blocking the event loop; it takes the same arguments."""

    def work() -> LoadResult:
        open_before = [it.alias for it in connections.all() if it.connection is not None]
        try:
            return load(model, source, **options)
        finally:  # nobody else will close what was opened in this thread
            for wrapper in connections.all():
                if wrapper.alias not in open_before:
                    wrapper.close()

    return await sync_to_async(work)()


def resume(  # noqa: PLR0913 - where it goes on, and by whom
    load_id: int,
    source: Any = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    progress: Callable[[Progress], None] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    scheduler: str | None = None,
) -> LoadResult:
    """Go on with a load that did not come to its end, after the last chunk that is committed.

    It goes on where it was begun: with the same search path, role and custom settings, whatever
    those of Django's connection are now. Its source is read from there. ``source`` says where the
    file, or the list of files, is now, if it was moved or renamed since; its content must be the
    same. ``workers``, ``executor`` or ``scheduler`` say who loads the rest, where that is not to be
    who began. Raises ``LedgerError`` where there
    is no such load, where it cannot go on, or where the file or its layout is not what it was.
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
    if os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):  # as Django decides it
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

    A connection of the load's own would wait for what the caller has not committed.
    """
    own = django_connection(alias)
    is_on = own.settings_dict["AUTOCOMMIT"] if own.connection is None else own.autocommit
    return nullcontext() if is_on or own.in_atomic_block else atomic(using=alias)

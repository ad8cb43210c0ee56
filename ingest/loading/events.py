"""Reports on a load: records for ``logging``, and the signal ``load_ended``.

A record has counts, times and names, as attributes for structured logging (docs/other-apps.md). It
never has the text of an exception, which may quote a row.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingest.plurals import noun
from ingest.results import DETAILS
from ingest.signals import load_ended
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model

    from ingest.ledger.models import Load
    from ingest.results import Counts, LoadResult

logger = logging.getLogger(__name__)
# Without a handler Python would write warnings to standard error, next to the command's own output.
logging.getLogger("ingest").addHandler(logging.NullHandler())


@dataclasses.dataclass(kw_only=True)
class Announcement:
    """What is known about a load until it ends."""

    model: type[Model]
    using: str
    load: Load | None = None
    """The load in the ledger, as soon as it exists."""
    result: LoadResult | None = None
    """Set when the load has ended."""

    @property
    def facts(self) -> dict[str, Any]:
        """The facts in every log record of the load."""
        return {
            "model": self.model._meta.label,
            "database": self.using,
            "load": None if self.load is None else self.load.pk,
        }

    def started(self, *, source: str, method: str) -> None:
        """Log that the source is open."""
        _log(
            logging.INFO,
            "started",
            "The load of %(source)s into %(model)s on %(database)s has started.",
            **self.facts,
            source=source,
            method=method,
        )

    def committed(self, ordinal: int, counts: Counts) -> None:
        """Log that the chunk with this number is committed; the counts are its own."""
        _log(
            logging.INFO,
            "committed",
            "Chunk %(chunk)d of load %(load)s into %(model)s is committed: %(rows)d "
            f"{noun(counts.loaded, 'row')}.",
            **self.facts,
            chunk=ordinal,
            rows=counts.loaded,
            **_counts_of(counts),
        )

    def repeated(self, earlier: Load, sentence: str) -> None:
        """Log, before the load begins, that an earlier load has loaded the same file."""
        _log(
            logging.WARNING,
            "repeated",
            "%(sentence)s",
            **self.facts,
            earlier=earlier.pk,
            started_at=earlier.started_at.isoformat(),
            sentence=sentence,
        )

    def waiting(self, seconds: float) -> None:
        """Log that the load holds its table exclusively while it waits for its source."""
        _log(
            logging.WARNING,
            "waiting",
            "The load into %(model)s on %(database)s has the table for itself until it commits, "
            "and has waited %(seconds).1f s for its source. With --indexes keep (indexes='keep') "
            "others can read the table meanwhile.",
            **self.facts,
            seconds=seconds,
        )

    def retrying(self, error: BaseException, *, tries: int, wait_seconds: float) -> None:
        """Log that the load is retried after an error; ``tries`` attempts have failed."""
        _log(
            logging.WARNING,
            "retrying",
            "Load %(load)s into %(model)s goes on in %(wait_seconds).1f s, after %(error)s.",
            **self.facts,
            **_facts_of(error),
            tries=tries,
            wait_seconds=wait_seconds,
        )

    def _ended(self, error: BaseException | None, seconds: float) -> None:
        if error is None and self.result is not None:
            self._log_result(self.result)
        elif error is not None:
            is_failed = isinstance(error, Exception)
            _log(
                logging.ERROR if is_failed else logging.WARNING,
                "failed" if is_failed else "interrupted",
                "The load into %(model)s on %(database)s ended by %(error)s.",
                **self.facts,
                **_facts_of(error),
                seconds=seconds,
            )
        self._send(error)

    def _log_result(self, result: LoadResult) -> None:
        verb = "Would have loaded" if result.is_dry_run else "Loaded"
        _log(
            logging.INFO,
            "loaded",
            f"{verb} %(rows)d {noun(result.rows, 'row')} of %(source)s into %(model)s on "
            "%(database)s in %(seconds).2f s; %(rejected)d rejected.",
            **self.facts,
            source=result.source,
            method=result.method,
            driver=result.driver,
            is_dry_run=result.is_dry_run,
            read=result.read,
            rows=result.rows,
            **_counts_of(result),
            seconds=result.seconds,
            rows_per_second=result.rows_per_second,
        )

    def _send(self, error: BaseException | None) -> None:
        try:
            answers: list[tuple[Any, Any]] = load_ended.send_robust(
                sender=self.model, using=self.using, result=self.result, load=self.load, error=error
            )
        except Exception as failure:  # noqa: BLE001 - Django fails on receivers without a name
            answers = [(None, failure)]
        for receiver, answer in answers:
            if isinstance(answer, Exception):
                _log(
                    logging.ERROR,
                    "receiver failed",
                    "%(receiver)s could not take the end of the load into %(model)s: %(error)s.",
                    **self.facts,
                    **_facts_of(answer),
                    receiver=getattr(receiver, "__qualname__", "A receiver"),
                )


@contextmanager
def announced(model: type[Model], using: str) -> Iterator[Announcement]:
    """Log and signal the end of the load in the block, however it ends."""
    announcement = Announcement(model=model, using=using)
    started = time.perf_counter()
    try:
        yield announcement
    except BaseException as error:
        announcement._ended(error, time.perf_counter() - started)
        raise
    announcement._ended(None, time.perf_counter() - started)


def _counts_of(counts: Counts | LoadResult) -> dict[str, int]:
    """Return the counts of the records by name."""
    return {name: getattr(counts, name) for name in (*DETAILS, "rejected", "skipped")}


def _facts_of(error: BaseException) -> dict[str, Any]:
    """Return the error's class, and the SQLSTATE if the error or its cause has one."""
    cause: BaseException | None = error
    while cause is not None and getattr(cause, "sqlstate", None) is None:
        cause = cause.__cause__
    return {"error": type(error).__name__, "sqlstate": getattr(cause, "sqlstate", None)}


def _log(level: int, event: str, sentence: str, /, **facts: Any) -> None:
    # A line break in a name would forge a log record.
    safe = {
        name: safe_line(fact) if isinstance(fact, str) else fact for name, fact in facts.items()
    }
    logger.log(level, sentence, safe, extra={"event": event, **safe})

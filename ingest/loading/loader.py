"""One load, from its first attempt to its result, over as many attempts as it takes.

The core is synchronous and runs in the caller's thread, so that an iterable is read in the thread
that made it; meanwhile asyncpg sends from its own thread. If the connection or the server fails,
the load is attempted again and continues after the last chunk that the ledger has.
"""

from __future__ import annotations

import dataclasses
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DatabaseError
from django.utils import timezone

from ingest import conf
from ingest.exceptions import (
    NOTHING_LOADED,
    ConfigurationError,
    ConstraintRefused,
    IngestError,
    LedgerError,
    LoadCancelled,
    Outcome,
    RecordsRefused,
    ServerFailed,
    TooManyRejects,
)
from ingest.ledger.brief import BriefEntry, NotBriefError
from ingest.ledger.entries import LedgerEntry, find_whole_ledger, is_recorded_on
from ingest.ledger.entry import Entry
from ingest.ledger.locks import begin_alone
from ingest.ledger.place import command_for, describe_place
from ingest.ledger.rights import name_missing_rights
from ingest.ledger.shared import end_chunks
from ingest.loading.attempt import LoadAttempt, Run
from ingest.loading.option_checks import check_reading, check_repeating
from ingest.loading.output_files import OutputFiles
from ingest.loading.reject_file import open_reject_file
from ingest.loading.repeats import (
    describe_repeat,
    find_repeat,
    may_be_repeat,
    refuse_repeat,
)
from ingest.loading.resume import (
    KeptLog,
    absolute,
    check_file,
    check_same,
    find_unfinished,
    leftovers,
    outputs_of,
)
from ingest.plurals import counted, noun
from ingest.postgres.connection.arguments import django_connection
from ingest.postgres.errors import is_of_statement, is_passing, tell, translate
from ingest.postgres.rights import is_of_rights
from ingest.postgres.session import has_state, open_session, read_state
from ingest.results import Counts, LoadResult
from ingest.results.reasons import ReasonCounts
from ingest.results.rejects import REASON_SHOWN, cut
from ingest.sources import open_source
from ingest.sources.fingerprints import Fingerprint
from ingest.terminal import safe_line, safe_text
from ingest.writing.maintenance import analyze, needs_analyze

if TYPE_CHECKING:
    from ingest.ledger.entry import Settled
    from ingest.loading.options import LoadSpec
    from ingest.loading.progress import ProgressReporter
    from ingest.loading.workers.coordinator import Coordinator
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Backend, Session, SessionState
    from ingest.sources import Source
    from ingest.sources.writers import RecordWriter

RIGHTS = {
    "": "INSERT",
    "ignore": "SELECT,INSERT",
    "upsert": "SELECT,INSERT,UPDATE",
    "update": "SELECT,UPDATE",
    "sync": "SELECT,INSERT,UPDATE,DELETE",
}
"""The rights on the model's table that each mode of ``on_conflict`` needs."""
FIRST_PAUSE_SECONDS = 0.5
"""The pause before the first retry; it doubles with each further retry."""


class Loader:
    """One load, from the call to its result."""

    def __init__(
        self,
        job: LoadSpec,
        reporter: ProgressReporter,
        entry: Entry | None = None,
        state: SessionState | None = None,
    ) -> None:
        """``entry``: resume a load that the ledger has, in its recorded ``state``."""
        self._job = job
        self._entry = entry
        self._reporter = reporter
        self._outputs = OutputFiles(overwrite=job.how.overwrite)
        self._log = KeptLog(job, self._outputs)
        self._notes: list[str] = []
        self._backend: Backend | None = None
        self._can_go_on = False
        self._was_marked = False
        self._is_unsure = False
        """Whether a COMMIT was sent and its answer is not known."""
        self._is_in = False
        self._state = state
        self._is_brief = entry is None and job.is_brief

    def perform(self) -> LoadResult:
        """Attempt the load until it succeeds or another attempt makes no sense."""
        is_done = False
        try:
            result = self._perform()
            is_done = True
        finally:
            self._log.end(is_done=is_done)
        return result

    def _perform(self) -> LoadResult:
        started = time.perf_counter()
        is_asked_later = self._is_brief and django_connection(self._job.alias).in_atomic_block
        if self._state is None and not is_asked_later and has_state(self._job.alias):
            # Before the source is opened: a generator may change Django's connection.
            with suppress(DatabaseError):  # it is read again when the load has its connection
                self._state = read_state(self._job.alias)
        tries = 0
        while True:
            before = self._reporter.counts
            try:
                result = self._try()
            except NotBriefError:
                self._is_brief, self._entry = False, None
            except Exception as error:
                if self._could_not_lock(error):
                    self._is_brief, self._entry = False, None
                    continue
                failure = self._with_rights(translate(error), error)
                self._is_unsure |= (
                    isinstance(failure, IngestError) and failure.outcome is Outcome.UNKNOWN
                )
                tries = 1 if self._reporter.counts != before else tries + 1
                if not self._may_pass(error) or tries > self._job.how.retries:
                    self._fail(failure)
                    if failure is error:
                        raise
                    raise failure from error
                self._notes.append(f"Tried again: {failure}")
                wait = FIRST_PAUSE_SECONDS * 2 ** (tries - 1)
                self._reporter.announcement.retrying(failure, tries=tries, wait_seconds=wait)
                self._wait(wait)
            except BaseException as error:
                self._fail(error)
                raise
            else:
                return dataclasses.replace(result, seconds=time.perf_counter() - started)

    def _with_rights(self, failure: Exception, error: Exception) -> Exception:
        """Return the failure, with the GRANT that the role lacks if it is about a right."""
        if not (isinstance(failure, ServerFailed) and is_of_rights(error)):
            return failure
        job, entry = self._job, self._entry
        mode = "" if job.how.conflicts is None else job.how.conflicts.mode
        role = "" if entry is None or entry.load is None else entry.load.role
        told = name_missing_rights(job.alias, failure.message, job.model, RIGHTS[mode], role)
        if not told:
            return failure
        explained = ServerFailed(f"{failure.message} {told}")
        explained.sqlstate = failure.sqlstate
        return explained

    def _could_not_lock(self, error: Exception) -> bool:
        """Return whether a brief load could not lock its table; other loads need no such lock.

        Before PostgreSQL 16 a role with only INSERT cannot lock it, and a foreign table cannot be
        locked.
        """
        is_looking = isinstance(self._entry, BriefEntry) and not self._entry.has_table
        return self._is_brief and is_looking and is_of_statement(error)

    def _may_pass(self, error: Exception) -> bool:
        """Return whether another attempt might succeed, and would continue the same load."""
        is_known = self._entry is not None or not self._is_unsure  # whether the ledger has it
        return self._can_go_on and is_known and is_passing(error)

    def _wait(self, seconds: float) -> None:
        """Wait before the next attempt, and close Django's connection if it was lost too."""
        time.sleep(seconds)
        own = django_connection(self._job.alias)
        if not own.is_usable():
            own.close()  # Django opens another one

    def _try(self) -> LoadResult:
        job, stages = self._job, self._reporter.stages
        with (
            open_source(job.given, job.reading) as source,
            open_session(job.alias, self._state, is_brief=self._is_brief) as session,
        ):
            self._is_brief = self._is_brief and (session.is_callers or session.lasts)
            if job.how.references == "defer" and not session.is_callers:
                raise ConfigurationError(
                    "references='defer' is for a load inside transaction.atomic(): outside, the "
                    "load's own commit checks every reference. Leave it out."
                )
            if self._entry is None:
                check_reading(source, job.options)
                check_repeating(source, job.options, job.how, is_atomic=session.is_callers)
            fingerprint = Fingerprint(source.paths, source.identity)
            can_read_again = bool(source.paths or source.identity) and not session.is_callers
            if self._entry is None:  # until the ledger has it, a lost connection loses nothing
                self._can_go_on = can_read_again
            self._know_backend(session)
            if self._entry is None:
                self._entry = self._begin(session, source, fingerprint)
            entry = self._entry
            self._can_go_on = bool(entry.load) and can_read_again
            entry.lock(session)
            is_new = not entry.may_have_chunks
            settled = entry.settle(session) if is_new else self._settle(entry, session)
            self._is_unsure = False
            if not settled.is_finished and entry.load is not None and settled.chunks:
                check_file(entry.load, settled.fingerprint, str(fingerprint), source.paths)
            announcement = self._reporter.announcement
            announcement.load = entry.load
            announcement.started(source=source.name, method=job.how.method)
            is_seen = not (session.is_callers or entry.is_brief)
            self._reporter.show_in(entry if is_seen else None)
            self._protect(entry)
            log = self._log.open(entry, settled)
            with open_reject_file(
                job.how.reject_file,
                self._writer(source),
                self._outputs,
                job.reading.format,
                settled.marks.get("file"),
            ) as file:
                if not (settled.is_finished or entry.is_brief):
                    self._mark_as_running(entry, source, is_new=is_new)
                attempt = LoadAttempt(
                    job=job,
                    source=source,
                    session=session,
                    entry=entry,
                    log=log,
                    file=file,
                    fingerprint=fingerprint,
                    reporter=self._reporter,
                )
                if settled.chunks and job.how.is_ordered and not settled.is_finished:
                    attempt.write_pending()  # from an earlier attempt by several processes
                run = self._choose(source, session)(attempt)
                run.go(settled)
            self._is_in = not job.how.dry_run
            self._analyze(session, run.table)
            if entry.is_brief and entry.load is None and NOT_RECORDED_AS_SET not in self._notes:
                self._notes.append(NOT_RECORDED)
            audit = None
            if job.how.verify:
                from ingest.loading.verify import verify_table  # few loads use it

                with stages.stage("verify"), session.transaction():
                    audit = verify_table(session, run.table)
            return dataclasses.replace(self._result(source, session, run, entry), audit=audit)

    def _settle(self, entry: Entry, session: Session) -> Settled:
        """Read what is committed, after ending the workers of a coordinator that was killed."""
        if entry.load is not None and not session.is_callers:
            with suppress(Exception):  # they may have another login
                end_chunks(session, entry.load)
        with session.transaction():
            return entry.settle(session)

    def _writer(self, source: Source) -> RecordWriter:
        path, how = self._job.how.reject_file, self._job.how
        writer = source.writer("" if path is None else Path(path).suffix.lower())
        if path is not None and writer.is_whole_at_end and how.is_chunked:
            raise ConfigurationError(
                f"The reject file {str(path)!r} is a workbook, which is written at the end of a "
                "load, and this load commits in chunks: call it "
                f"{Path(path).with_suffix('.csv').name!r}."
            )
        return writer

    def _know_backend(self, session: Session) -> None:
        """Terminate the backend of the previous attempt, and remember the backend of this one."""
        if self._backend is not None:
            session.end_backend(self._backend)
        if not self._is_brief:  # a brief load is not retried
            self._backend = session.backend()

    def _analyze(self, session: Session, table: Table) -> None:
        """Run ANALYZE if there are many new rows."""
        # After the commit: before it, ANALYZE would block VACUUM and other loads until the commit.
        may_analyze = self._job.how.analyze and not (self._job.how.dry_run or session.is_callers)
        if may_analyze and needs_analyze(table, self._reporter.counts.loaded):
            with self._reporter.stages.stage("analyze"):
                analyze(session, table)

    def _mark_as_running(self, entry: Entry, source: Source, *, is_new: bool) -> None:
        """Record that the load is running; a load that ``is_new`` was recorded as running."""
        if self._was_marked and entry.is_cancel_asked():  # since the previous attempt
            raise LoadCancelled
        changed = self._changed(entry, source)
        if changed or not is_new:
            entry.note(status="running", error="", ended_at=None, is_cancel_asked=False, **changed)
        self._was_marked = True

    def _choose(self, source: Source, session: Session) -> type[Run | Coordinator]:
        """Choose between one worker, which is this process, and several."""
        entry, how = self._entry, self._job.how
        if not how.is_shared or entry is None:
            return Run
        from ingest.loading.workers.coordinator import Coordinator, why_alone

        reason = why_alone(self._job, source, session, entry)
        if reason is None:
            return Coordinator
        if how.workers == 1:
            raise ConfigurationError(f"This load must be done by one process, because {reason}")
        self._notes.append(f"One worker, because {reason}")
        return Run

    def _protect(self, entry: Entry) -> None:
        """Register the files that must not be overwritten, and those that the load wrote before."""
        job, outputs = self._job, self._outputs
        outputs.protect("the source", *job.files)
        if job.layout is not None and job.layout.origin is not None:
            outputs.protect("the layout", job.layout.origin.name)
        if entry.load is not None:
            if entry.load.options.get("layout"):
                outputs.protect("the layout", entry.load.options["layout"])
            outputs.own(outputs_of(entry.load))

    def _changed(self, entry: Entry, source: Source) -> dict[str, Any]:
        """Return the names and files of this attempt that the ledger does not have yet."""
        load = entry.load
        if load is None:
            return {}
        options = dict(load.options)
        options["given"] = self._job.to_json()["given"]
        if self._outputs.ids:
            options["outputs"] = self._outputs.ids
        facts = {
            "options": options,
            "source": source.name,
            "reject_log": absolute(self._job.how.reject_log) or load.reject_log,
            "reject_file": absolute(self._job.how.reject_file) or load.reject_file,
        }
        changed = {name: fact for name, fact in facts.items() if getattr(load, name) != fact}
        for name, fact in changed.items():
            setattr(load, name, fact)
        return changed

    def _begin(self, session: Session, source: Source, fingerprint: Fingerprint) -> Entry:
        job = self._job
        recorded = conf.record()
        is_recorded = recorded == "all" or (recorded == "files" and bool(job.files))
        if not is_recorded and job.how.on_repeat == "refuse":
            raise LedgerError(
                f"on_repeat='refuse' (--on-repeat) cannot be kept. {NOT_RECORDED_AS_SET}"
            )
        if not is_recorded:
            self._notes.append(NOT_RECORDED_AS_SET)
        if not is_recorded and not self._is_brief:
            return Entry()
        if self._is_brief:
            return BriefEntry(
                job.alias,
                is_recorded=is_recorded and apps.is_installed("ingest"),
                **self._facts(source, digest=""),
            )
        if not job.how.is_resumable:
            digest = str(fingerprint) if job.how.on_repeat == "refuse" else ""
            with session.transaction():
                entry = self._begin_recorded(session, source, digest)
            if entry is None:
                digest = str(fingerprint)
                with session.transaction():
                    entry = self._begin_recorded(session, source, digest)
            return entry or Entry()
        with session.transaction():
            is_recorded = is_recorded_on(session)
        # A file may have several names, so it is identified by its content, which is digested
        # first.
        digest = str(fingerprint) if is_recorded else ""
        if is_recorded and job.how.resumable and not digest:
            self._notes.append(
                f"{source.name} can be read only once: it is committed in chunks, but no other "
                "load can resume this one."
            )
        with session.transaction():
            return self._begin_recorded(session, source, digest) or Entry()

    def _begin_recorded(self, session: Session, source: Source, digest: str) -> Entry | None:
        """Record that the load begins, or find the unfinished load of the same source.

        Return None if the digest is needed first; it is computed outside a transaction.
        """
        job = self._job
        refuses = job.how.on_repeat == "refuse"
        ledger = find_whole_ledger(session)
        if not ledger:
            if refuses:
                raise LedgerError(
                    f"on_repeat='refuse' (--on-repeat) cannot be kept. {NOT_RECORDED}"
                )
            if not job.how.dry_run:
                self._notes.append(NOT_RECORDED)
            return Entry()
        place = describe_place(session, job.model)
        if digest and (refuses or job.how.is_resumable):
            begin_alone(session, f"{job.model._meta.label} {digest}")
        if digest and job.how.is_resumable:
            unfinished = find_unfinished(job, digest, session)
            if unfinished is not None:
                check_same(unfinished, job)
                self._notes.append(f"Continued load {unfinished.pk}, which was not finished.")
                return LedgerEntry(unfinished, job.alias)
            self._outputs.own(leftovers(job, digest))
        if not digest and may_be_repeat(job, source, place["schema"]):
            return None
        self._look_for_repeat(source, place["schema"], digest)
        if job.how.dry_run:
            return Entry()
        entry = LedgerEntry.begin(
            session,
            job.alias,
            ledger,
            **place,
            **self._facts(source, digest if refuses or job.how.is_resumable else ""),
        )
        entry.lock(session)  # before another load looks for it
        return entry

    def _look_for_repeat(self, source: Source, schema: str, digest: str) -> None:
        """Note that the file was loaded before, or raise ``LedgerError`` if that is refused."""
        found = find_repeat(self._job, source, schema, digest) if digest else None
        if found is None:
            return
        if self._job.how.on_repeat == "refuse":
            raise refuse_repeat(found, self._job, source)
        sentence = describe_repeat(found, self._job, source)
        if sentence not in self._notes:  # an earlier attempt has said it
            self._notes.append(sentence)
            self._reporter.announcement.repeated(found, sentence)

    def _facts(self, source: Source, digest: str) -> dict[str, Any]:
        """Return what the ledger records of a load at its beginning."""
        job = self._job
        return {
            "model": job.model._meta.label,
            "source": source.name,
            "fingerprint": digest,
            "layout": "" if job.layout is None else job.layout.to_toml(),
            "options": job.to_json(),
            "method": job.how.method,
            "who": job.how.who,
            "chunk_rows": job.how.records_of_chunk,
            "bytes_total": source.bytes_total,
            "reject_log": absolute(job.how.reject_log),
            "reject_file": absolute(job.how.reject_file),
        }

    def _result(
        self, source: Source, session: Session, run: Run | Coordinator, entry: Entry
    ) -> LoadResult:
        counts, stages = self._reporter.counts, dict(self._reporter.stages.seconds)
        self._reporter.finish(source.bytes_total)
        return LoadResult(
            model=self._job.model._meta.label,
            table=run.table.qualified_name,
            source=source.name,
            **vars(counts),
            rejects=self._log.log,
            counted=self._log.log.reasons(),
            reject_log=absolute(self._job.how.reject_log),
            reject_file=absolute(self._job.how.reject_file),
            is_dry_run=self._job.how.dry_run,
            seconds=0.0,
            stages=stages,
            method=self._job.how.method,
            decisions=(*self._notes, *run.decisions),
            driver=session.driver,
            load=None if entry.load is None else entry.read(),
        )

    def _fail(self, error: BaseException) -> None:
        """Add to the error what has been loaded, and record that the load has ended."""
        if self._job.how.on_error == "reject" and isinstance(error, IngestError):
            error.next_step = ""  # which would suggest what this load does already
        entry, counts = self._entry, self._reporter.counts
        refused, reasons = _refusals_of(error)
        if isinstance(error, TooManyRejects):
            refused = max(self._log.log.records - counts.rejected, 0)
        if self._is_in:
            all_rows = noun(
                counts.loaded, "The row is loaded", f"All {counts.loaded:,} rows are loaded"
            )
            text = f"{all_rows}: only a later step failed."
            tell(error, Outcome.ALL, text)
            return
        if entry is None or entry.load is None:
            if counts.read and not self._job.how.dry_run:
                tell(error, Outcome.CHUNKS, f"{_earlier(counts)}.")
            return
        is_failure = isinstance(error, Exception) and not isinstance(error, LoadCancelled)
        status = None
        with suppress(DatabaseError):
            # Waits for a COMMIT that is still in flight, which holds a lock on the load's row.
            entry.note(
                status="failed" if is_failure else "interrupted",
                ended_at=timezone.now(),
                stages=self._reporter.stages.seconds,
                bytes_read=self._reporter.bytes_read,
                reasons=reasons or self._log.reasons(),
                **dataclasses.asdict(counts + Counts(read=refused, rejected=refused)),
            )
            status = entry.status()
        outcome = self._outcome(entry.load.pk, status)
        if outcome is not None:
            tell(error, *outcome)
        if status != "loaded":
            with suppress(DatabaseError):
                entry.note(error=safe_text(str(error)) or type(error).__name__)

    def _outcome(self, number: int, status: str | None) -> tuple[Outcome, str] | None:
        """Return what is loaded of a recorded load; None if the error's own outcome is right."""
        if status == "loaded":
            return Outcome.ALL, f"All rows are loaded: load {number} is complete."
        resume, undo = (
            f"`{command_for(option, number, self._job.alias)}`" for option in ("--resume", "--undo")
        )
        if self._is_unsure and (status is None or self._job.how.is_chunked):
            return Outcome.UNKNOWN, (
                f"To continue, use {resume}: it looks in the ledger whether the last rows are "
                "loaded, and loads only those that are not."
            )
        loaded = self._reporter.counts
        if loaded.read:
            other = f", or delete them with {undo}"
            if loaded.updated:
                other = f", or undo it with {undo}" if self._job.how.keep_old else ""
            return Outcome.CHUNKS, f"{_earlier(loaded)}: continue with {resume}{other}."
        return (Outcome.NOTHING, NOTHING_LOADED) if self._is_unsure else None


def _earlier(counts: Counts) -> str:
    rows = counted(counts.loaded, "row")
    return f"{rows} of earlier chunks {noun(counts.loaded, 'is', 'are')} committed"


def _refusals_of(error: BaseException) -> tuple[int, list[dict[str, Any]]]:
    """Return how many records an error reports as refused, and the reasons for the ledger."""
    if isinstance(error, RecordsRefused):
        records = {(reject.source, reject.record) for reject in error.rejects}
        return len(records), [reason.told() for reason in ReasonCounts(error.rejects).reasons()]
    if isinstance(error, ConstraintRefused):
        said = safe_line(cut(error.message, REASON_SHOWN))
        told = {"count": 1, "column": None, "field": None, "kind": "constraint"}
        return 1, [{**told, "reason": said, "example": ""}]
    return 0, []


NOT_RECORDED_AS_SET = "Not recorded: the setting INGEST['RECORD'] leaves this load out."
NOT_RECORDED = (
    "Not recorded: the ledger's tables, or columns of them, are not in this database. Add 'ingest' "
    "to INSTALLED_APPS and run `python manage.py migrate ingest`."
)

"""Whether a load can be resumed: file, reading and writing options must be the same."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.db import DEFAULT_DB_ALIAS

from ingest.exceptions import IngestError, LayoutError, LedgerError, SourceError
from ingest.layout import find_layout
from ingest.ledger.locks import is_alive
from ingest.ledger.models import Chunk, Load
from ingest.ledger.models import Reject as KeptReject
from ingest.ledger.place import command_for, describe_place
from ingest.ledger.rows import select
from ingest.loading.options import LoadSpec
from ingest.loading.output_files import is_null
from ingest.loading.reject_log import REJECT_LOG, RejectLimit, RejectLog
from ingest.results.rejects import Reject
from ingest.sources.addresses import has_hidden_parts, is_address
from ingest.sources.fingerprints import digest_of_part
from ingest.sources.several import SeveralSource, expand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.ledger.entry import Entry, Settled
    from ingest.loading.output_files import FileId, OutputFile, OutputFiles
    from ingest.postgres.session import Session


def find_unfinished(job: LoadSpec, digest: str, session: Session) -> Load | None:
    """Return the last load of the same file into the same model that has chunks but no end.

    The file is identified by the digest of its content, not by its name. A running load counts even
    before its first chunk is committed. A load with the same name that has chunks is found too, so
    that ``check_file`` can report that the file was changed.
    """
    given = job.to_json()["given"]
    unfinished = select(
        job.alias, Load, _UNFINISHED, job.model._meta.label, digest, json.dumps(given)
    )
    place = describe_place(session, job.model)
    # A load of another tenant does not count. Loads recorded by an earlier version do not have
    # their tenant.
    unfinished = [load for load in unfinished if not load.session_state or _is_at(load, place)]
    has_chunks = {load.pk for load in unfinished if _rows(Chunk, load, "LIMIT 1")}
    named = [load for load in unfinished if load.options["given"] == given]
    # A load that is only chunked, and not resumable, has no digest before its first chunk is
    # committed.
    for same in ([load for load in unfinished if load.fingerprint == digest], named):
        begun = next((load for load in same if load.pk in has_chunks), None)
        running = (
            load
            for load in same
            if load.status == Load.Status.RUNNING
            and load.pk not in has_chunks
            and load.fingerprint in {"", digest}
        )
        found = begun or next(filter(is_alive, running), None)
        if found is not None:
            return cast("Load", found)
    return None


def _rows(model: type[Chunk | KeptReject], load: Load, rest: str) -> list[Any]:
    """Return the load's rows in this table of the ledger."""
    where = "WHERE t.load_id OPERATOR(pg_catalog.=) $1::bigint"
    return select(load._state.db or DEFAULT_DB_ALIAS, model, f"{where} {rest}", load.pk)


_UNFINISHED = """
WHERE t.model OPERATOR(pg_catalog.=) $1::pg_catalog.text AND t.chunk_rows IS NOT NULL
  AND t.status OPERATOR(pg_catalog.=) ANY ('{running,failed,interrupted}'::pg_catalog.text[])
  AND (t.fingerprint OPERATOR(pg_catalog.=) $2::pg_catalog.text
       OR (t.options OPERATOR(pg_catalog.->) 'given')
          OPERATOR(pg_catalog.=) $3::pg_catalog.text::pg_catalog.jsonb)
ORDER BY t.id DESC
"""


def _is_at(load: Load, place: dict[str, Any]) -> bool:
    return all(getattr(load, name) == place[name] for name in ("schema", "role", "session_state"))


def check_same(load: Load, job: LoadSpec) -> None:
    """Raise ``LedgerError`` if this job cannot resume the load."""
    check_resumable(load, job.given)
    _check_plan(load, job)
    _check_layout(load, job)
    _check_reject_file(load, job)


def check_resumable(load: Load, given: Any) -> None:
    """Raise ``LedgerError`` if a load has ended, or its source cannot be read again.

    ``given`` is where the source is now.
    """
    if load.status in {Load.Status.LOADED, Load.Status.UNDONE}:
        raise LedgerError(f"Load {load.pk} is {load.status}: there is nothing to resume.")
    if load.status == Load.Status.DRAFT:
        raise LedgerError(
            f"Load {load.pk} is a draft that nobody has confirmed: confirm it in the admin."
        )
    if load.options.get("given") in (None, "-"):
        raise LedgerError(
            f"Load {load.pk} cannot be resumed: {load.source} can be read only once: "
            f"{_begin_anew(load)} from a file."
        )
    addresses = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if any(has_hidden_parts(it) for it in addresses if is_address(it)):
        raise LedgerError(
            f"Load {load.pk} cannot be resumed without its address: that of {load.source} had "
            f"credentials, which are not stored. Give it: `{_resume(load)} ADDRESS`."
        )
    missing = _missing(given)
    if missing is not None:
        raise LedgerError(
            f"Load {load.pk} cannot be resumed: the file {missing!r} is gone. Restore it, or give "
            f"its new name: `{_resume(load)} FILE`."
        )


def _check_plan(load: Load, job: LoadSpec) -> None:
    plan, want = LoadSpec.again(load, job.alias).plan(), job.plan()
    plan["chunk_rows"], want["chunk_rows"] = load.chunk_rows, job.how.records_of_chunk
    changed = [name for name in {**plan, **want} if plan.get(name) != want.get(name)]
    if changed:
        raise LedgerError(
            f"Load {load.pk} of this file is not finished, and was begun with another "
            f"{' and '.join(sorted(changed))}: continue with `{_resume(load)}`, or "
            f"{_begin_anew(load)}."
        )


def _check_layout(load: Load, job: LoadSpec) -> None:
    layout, name = job.layout, load.options.get("layout")
    if name is not None:
        with suppress(LayoutError):  # the file may be gone, and the ledger has the layout
            layout = find_layout(name)
    if load.layout != ("" if layout is None else layout.to_toml()):
        raise LedgerError(
            f"Load {load.pk} cannot be resumed: its layout has changed since it began. Restore the "
            f"layout, or {_begin_anew(load)}."
        )


def _check_reject_file(load: Load, job: LoadSpec) -> None:
    path = job.how.reject_file
    is_another = path is not None and load.reject_file not in {"", absolute(path)}
    if is_another and _rows(Chunk, load, "LIMIT 1"):
        raise LedgerError(
            f"Load {load.pk} of this file is not finished, and its reject file is "
            f"{load.reject_file!r}, which has the records that were refused until now: use "
            "that name, or leave it out."
        )


def check_file(load: Load, was: str, now: str, paths: Sequence[Path]) -> None:
    """Raise ``LedgerError`` if the digest of a load's file has changed."""
    if was in {"", now}:
        return
    where = "after the records that are in"
    for chunk in _rows(
        Chunk, load, "AND t.fingerprint OPERATOR(pg_catalog.<>) '' ORDER BY t.ordinal"
    ):
        if len(paths) == 1 and chunk.first_byte is not None and chunk.last_byte is not None:
            now = digest_of_part(paths[0], chunk.first_byte, chunk.last_byte)
            if now != chunk.fingerprint:
                where = f"in records {chunk.first_record:,} to {chunk.last_record:,}"
                break
    raise LedgerError(
        f"Load {load.pk} cannot be resumed: {load.source} is no longer the file that was loaded; "
        f"it was changed {where}. Restore the file, or {_begin_anew(load)}."
    )


def _resume(load: Load) -> str:
    return command_for("--resume", load.pk, load._state.db)


def _begin_anew(load: Load) -> str:
    """Return what to do instead of resuming a load."""
    if load.can_be_undone:
        return f"undo it with `{command_for('--undo', load.pk, load._state.db)}`, and load again"
    # It has changed rows and kept no old values: its key finds these rows again.
    return "load again without --resumable"


def _missing(given: Any) -> str | None:
    """Return the first file, or pattern, that does not exist."""
    try:
        files = _files(given)
    except SourceError:
        return str(given)
    here = (file for file in files if not is_address(file))  # opening it reports if it is missing
    return next((str(file) for file in here if not Path(file).is_file()), None)


def _files(given: Any) -> list[Any]:
    return list(expand(given)) if SeveralSource.accepts(given) else [given]


class KeptLog:
    """The log of rejects over all attempts of a load."""

    def __init__(self, job: LoadSpec, outputs: OutputFiles) -> None:
        path = job.how.reject_log
        self._path = None if path is None or is_null(path) else Path(path)
        self._outputs = outputs
        self._limit = RejectLimit.parse(job.how.reject_limit)
        self._marked: Mapping[str, Any] | None = None
        """The mark in the ledger when the log was opened."""
        self._mark: dict[str, Any] = {}
        """The same position in the file that is written now."""
        self.log: RejectLog
        self.output: OutputFile | None = None
        """The file of the log, if it is kept."""

    def open(self, entry: Entry, settled: Settled) -> RejectLog:
        """Return the log with the rejects of the committed chunks, and no others."""
        if self._mark:  # another attempt of this process
            now = settled.marks.get("log")
            self.log.rewind(self._mark if now is None or now == self._marked else now)
            return self.log
        path, load = self._path, entry.load
        mark = settled.marks.get("log") if settled.chunks else None
        is_there = False
        if path is not None:
            is_its_own = load is not None and load.reject_log == absolute(path)
            # An empty log cannot be identified as this one.
            is_there = is_its_own and mark is not None and mark["bytes"] > 0 and path.is_file()
            self.output = self._outputs.open(path, REJECT_LOG, is_ours=is_there)
        mark = mark if is_there else None
        self.log = RejectLog(self.output, self._limit, mark)
        if settled.chunks and not is_there and load is not None:
            kept = _rows(KeptReject, load, "ORDER BY t.id")
            # Rejects of chunks that were just loaded may not be written yet.
            marked = settled.marks.get("log", {"records": 0})
            self.log.restore(map(_told, kept), marked.get("records", settled.counts.rejected))
        self._marked, self._mark = settled.marks.get("log"), self.log.mark()
        return self.log

    def reasons(self) -> list[dict[str, Any]]:
        """Return the reasons with their numbers, as the ledger keeps them."""
        with suppress(AttributeError, IngestError, OSError):  # it may not be open
            return [reason.told() for reason in self.log.reasons()]
        return []

    def end(self, *, is_done: bool) -> None:
        """Let others write the file; one that was to be replaced is kept if nothing was refused."""
        if self.output is None:
            return
        if self._mark and (is_done or self.log.records):
            with suppress(IngestError, OSError):  # the error has been reported
                self.log.flush()
        self.output.release()


def absolute(path: str | Path | None) -> str:
    """Return a path as the ledger stores it."""
    return "" if path is None else str(Path(path).absolute())


def leftovers(job: LoadSpec, digest: str) -> Iterator[FileId]:
    """Yield the reject files of loads of the same content that died before their first chunk."""
    for load in select(job.alias, Load, _UNFINISHED, job.model._meta.label, digest, "null"):
        is_its_own = load.fingerprint == digest and not _rows(Chunk, load, "LIMIT 1")
        if is_its_own and not is_alive(load):
            yield from outputs_of(load)


def outputs_of(load: Load) -> list[FileId]:
    """Return the reject files that a load has opened, as recorded in the ledger."""
    return [(device, inode) for device, inode in load.options.get("outputs", ())]


def _told(row: object) -> Reject:
    names = ("source", "record", "line", "column", "field", "value", "reason", "kind", "constraint")
    return Reject(**{name: getattr(row, name) for name in names})

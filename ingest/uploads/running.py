"""An upload's work in the background: its dry run, then its load.

A background process receives only the number of the load. The ledger and the upload record what is
to be done, so that doing it twice, or again after a crash, does no harm.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, router
from django.utils import timezone

from ingest.exceptions import IngestError, LedgerError
from ingest.layout import find_model
from ingest.layout.registry import read_text
from ingest.ledger.models import Load
from ingest.ledger.place import in_place_of
from ingest.loading.api import load, resume
from ingest.loading.options import LoadSpec
from ingest.loading.prepare import prepare, spec_facts
from ingest.loading.reject_file import suffix_for
from ingest.results.rejects import as_json, as_text, cut
from ingest.sources import open_source
from ingest.terminal import safe_line, safe_text
from ingest.uploads.layouts import source_options
from ingest.uploads.models import Upload
from ingest.uploads.storing import delete_file, given_of, open_upload, reject_file_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.results import LoadResult, Progress
    from ingest.results.rejects import Reject

State = Upload.State
REJECTS_SHOWN = 50
"""How many rejects of a dry run its page lists; the reasons of all are counted."""
VALUE_CHARACTERS = 200
SECONDS_BETWEEN_NOTES = 1.0


def begin_check(upload: Upload, who: str) -> Load:
    """Record that a dry run is to be made, and return the draft of its load."""
    model = find_model(upload.model)
    options = load_options(upload)
    job = LoadSpec.of(model, given_of(upload), None, {**options, "who": who})
    begun = upload.load
    if begun is None or begun.status != Load.Status.DRAFT:
        begun = prepare(
            model,
            given_of(upload),
            {
                "status": Load.Status.DRAFT,
                "source": upload.name,
                "fingerprint": upload.digest,
                "bytes_total": upload.size,
            },
            who=who,
            **options,
        )
    else:
        Load.objects.filter(pk=begun.pk, status=Load.Status.DRAFT).update(**spec_facts(job))
    upload.load = begun
    upload.state = State.CHECKING
    upload.attempt += 1
    upload.check_result, upload.seen_at = {}, timezone.now()
    upload.save()
    return begun


def confirm(upload: Upload, *, rejects: bool) -> bool:
    """Confirm the load of an upload; return False if it is confirmed already, or not checked."""
    found = Upload.objects.filter(pk=upload.pk, state=State.CHECKED, load__isnull=False)
    if not found.update(state=State.CONFIRMED):
        return False
    upload.refresh_from_db()
    options = load_options(upload)
    if rejects:
        path = reject_file_of(upload, reject_suffix(upload, options))
        # No other process writes there; a file of an earlier attempt is replaced.
        options |= {"on_error": "reject", "reject_file": str(path), "overwrite": True}
    who = "" if upload.load is None else upload.load.who
    job = LoadSpec.of(find_model(upload.model), given_of(upload), None, {**options, "who": who})
    draft = upload.load
    if draft is None:
        return False
    Load.objects.filter(pk=draft.pk, status=Load.Status.DRAFT).update(
        status=Load.Status.WAITING, started_at=timezone.now(), **spec_facts(job)
    )
    return True


def reject_suffix(upload: Upload, options: dict[str, Any]) -> str:
    """Return the suffix of the reject file of an upload."""
    with (
        open_upload(upload, is_sample=True) as given,
        open_source(given, source_options(options["layout"])) as source,
    ):
        in_chunks = any(options.get(name) for name in OF_CHUNKS)
        return suffix_for(source.writer(), upload.storage_name, in_chunks=in_chunks)


def load_options(upload: Upload) -> dict[str, Any]:
    """Return the options of ``load`` that were chosen for an upload, with its layout."""
    layout = read_text(upload.layout, f"the layout of {upload.name}")
    return {**upload.options.get("load", {}), "layout": layout}


def run_load(number: int, *, using: str | None = None) -> None:
    """Check or perform a load that was started in the admin.

    A load that is loaded, undone or cancelled is left alone.
    """
    alias = using or router.db_for_write(Load) or DEFAULT_DB_ALIAS
    found = Load.objects.using(alias).filter(pk=number).first()
    if found is None or found.status in {Load.Status.LOADED, Load.Status.UNDONE}:
        return
    if found.status == Load.Status.DRAFT:
        check(found, alias)
    elif not (found.status == Load.Status.INTERRUPTED and found.is_cancel_asked):
        try:
            resume_load(number, using=alias)
        except Exception as error:
            note_failure(number, alias, str(error) or type(error).__name__)
            raise


def note_failure(number: int, alias: str, text: str) -> None:
    """Record why a waiting load could not begin, so that its page shows it."""
    Load.objects.using(alias).filter(pk=number, status=Load.Status.WAITING).update(
        status=Load.Status.FAILED, error=safe_text(text), ended_at=timezone.now()
    )


def resume_load(
    number: int,
    source: Any = None,
    *,
    using: str = DEFAULT_DB_ALIAS,
    progress: Callable[[Progress], None] | None = None,
    **who: Any,
) -> LoadResult:
    """Resume a load like ``resume``, but read an upload from its storage.

    The file of an upload is deleted as soon as it is loaded.
    """
    upload = _upload_of(number, using) if source is None else None
    if upload is None:
        return resume(number, source, using=using, progress=progress, **who)
    with open_upload(upload, is_local=True) as given:
        result = resume(number, given, using=using, progress=progress, **who)
    delete_file(upload)
    return result


def _upload_of(number: int, alias: str) -> Upload | None:
    if alias != (router.db_for_write(Upload) or DEFAULT_DB_ALIAS):
        return None
    return Upload.objects.using(alias).filter(load_id=number).first()


def check(found: Load, alias: str) -> None:
    """Make the dry run of an upload, and record its result."""
    upload = _upload_of(found.pk, alias)
    if upload is None or upload.state != State.CHECKING:
        return
    mine = Upload.objects.filter(pk=upload.pk, state=State.CHECKING, attempt=upload.attempt)
    noted = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal noted
        if time.monotonic() - noted >= SECONDS_BETWEEN_NOTES:
            noted = time.monotonic()
            names = ("rows", "rejected", "bytes_read", "bytes_total")
            facts = {name: getattr(progress, name) for name in names}
            if not mine.update(check_result={"progress": facts}, seen_at=timezone.now()):
                raise LedgerError("Another dry run of this upload was begun, or it was deleted.")

    try:
        with in_place_of(found), open_upload(upload, is_local=True) as given:
            result = load(
                find_model(upload.model),
                given,
                using=alias,
                progress=show,
                dry_run=True,
                **_as_dry_run(load_options(upload)),
            )
    except Exception as error:
        text = safe_text(str(error)) or type(error).__name__
        mine.update(state=State.CHECKED, check_result={"error": text}, seen_at=timezone.now())
        if not isinstance(error, IngestError):
            raise
    else:
        mine.update(state=State.CHECKED, check_result=_facts(result), seen_at=timezone.now())


def _as_dry_run(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options for a run that commits nothing and reports every refused record."""
    kept = {name: value for name, value in options.items() if name not in OF_CHUNKS}
    # With sync, a refused record would count as missing from the file, so the first one ends the
    # run.
    return kept if kept.get("on_conflict") == "sync" else {**kept, "on_error": "reject"}


OF_CHUNKS = ("chunk_rows", "resumable")
"""Options that a dry run cannot have, because it is one transaction."""
COUNTS = ("read", "inserted", "updated", "unchanged", "ignored", "deleted", "rejected", "skipped")
"""Counts of a result that the page of a dry run shows."""


def _facts(result: LoadResult) -> dict[str, Any]:
    counts = {name: getattr(result, name, 0) for name in COUNTS}
    rejects = [
        _as_json(reject) for _, reject in zip(range(REJECTS_SHOWN), result.rejects, strict=False)
    ]
    return {
        "counts": counts,
        "reasons": as_json([reason.told() for reason in result.reasons]),
        "rejects": rejects,
        "decisions": [safe_text(decision) for decision in result.decisions],
        "warnings": [safe_text(str(warning)) for warning in result.warnings],
        "seconds": result.seconds,
    }


def _as_json(reject: Reject) -> dict[str, Any]:
    kept = reject.kept()
    value = "" if kept.value is None else as_text(str(kept.value))
    return {
        "record": kept.record,
        "line": kept.line,
        "column": None if kept.column is None else safe_line(kept.column),
        "field": kept.field,
        "value": safe_line(cut(value, VALUE_CHARACTERS)),
        "reason": safe_line(kept.reason),
    }

"""Whether a file was loaded into the same table before.

A file is identified by its fingerprint, not by its name. Every load of files has it in the ledger
when it ends, because a thread computes the digests during the load. A load waits for the digest
before it begins only if that can matter: if a finished load of the same model read as many bytes,
or if a repeat is to be refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ingest.exceptions import LedgerError
from ingest.ledger.locks import is_alive
from ingest.ledger.models import Load
from ingest.ledger.moments import local_time
from ingest.ledger.place import command_for
from ingest.ledger.rows import select
from ingest.results import REPEATED

if TYPE_CHECKING:
    from ingest.loading.options import LoadSpec
    from ingest.sources import Source


def may_be_repeat(job: LoadSpec, source: Source, schema: str) -> bool:
    """Return whether a finished load of the same model read as many bytes."""
    return bool(_select(job, source, schema, f"{_LOADED} LIMIT 1"))


def find_repeat(job: LoadSpec, source: Source, schema: str, digest: str) -> Load | None:
    """Return the last load of the same file into the same table that was not undone.

    If such a load is to be refused, a running load counts too.
    """
    same = "t.fingerprint OPERATOR(pg_catalog.=) $4::pg_catalog.text"
    states = _LOADED if job.how.on_repeat == "warn" else _LOADED_OR_RUNNING
    for found in _select(job, source, schema, f"{states} AND {same} ORDER BY t.id DESC", digest):
        if found.status == Load.Status.LOADED or is_alive(found):
            return found
    return None


def describe_repeat(found: Load, job: LoadSpec, source: Source) -> str:
    """Return a sentence about an earlier load of the same file."""
    day = local_time(found.started_at).date()
    is_running = found.status == Load.Status.RUNNING
    was, before = ("is being loaded", "") if is_running else ("was loaded", " before")
    name = "" if found.source == source.name else f", under the name {found.source}"
    return (
        f"{REPEATED}{was} into {job.model._meta.label}{before}: {source.name} is the file of "
        f"load {found.pk} of {day.isoformat()}{name}."
    )


def refuse_repeat(found: Load, job: LoadSpec, source: Source) -> LedgerError:
    """Return the error that explains why the load does not begin."""
    first = "wait for its end, or "
    if found.status == Load.Status.LOADED:
        undo = f"undo it with `{command_for('--undo', found.pk, job.alias)}`, or "
        first = undo if found.can_be_undone else ""
    return LedgerError(
        f"{describe_repeat(found, job, source)} Nothing was loaded, as asked: {first}load it "
        "again with --on-repeat warn (on_repeat='warn')."
    )


def _select(job: LoadSpec, source: Source, schema: str, rest: str, *more: str) -> list[Load]:
    if not source.paths or source.bytes_total is None:
        return []
    facts = (job.model._meta.label, str(source.bytes_total), schema, *more)
    return cast("list[Load]", select(job.alias, Load, f"{_SAME_SIZE} AND {rest}", *facts))


# Loads recorded by an earlier version have no schema.
_SAME_SIZE = """
WHERE t.model OPERATOR(pg_catalog.=) $1::pg_catalog.text
  AND t.bytes_total OPERATOR(pg_catalog.=) $2::pg_catalog.text::bigint
  AND t.schema OPERATOR(pg_catalog.=) ANY (ARRAY['', $3::pg_catalog.text])
"""
_LOADED = "t.status OPERATOR(pg_catalog.=) 'loaded'"
_LOADED_OR_RUNNING = "t.status OPERATOR(pg_catalog.=) ANY ('{loaded,running}'::pg_catalog.text[])"

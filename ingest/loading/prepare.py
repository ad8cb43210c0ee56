"""Records a load that another process performs later, by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.exceptions import LedgerError
from ingest.ledger.entries import LedgerEntry, is_recorded_on
from ingest.ledger.place import describe_place
from ingest.loading.loader import NOT_RECORDED
from ingest.loading.options import LoadSpec
from ingest.loading.resume import absolute
from ingest.postgres.session import open_session

if TYPE_CHECKING:
    from django.db.models import Model

    from ingest.ledger.models import Load


def prepare(
    model: type[Model],
    source: Any,
    facts: dict[str, Any],
    *,
    using: str | None = None,
    **options: Any,
) -> Load:
    """Record a load with the arguments of ``load``, without performing it.

    ``resume`` performs it. ``facts`` are fields of ``Load``: its status, and what is known about
    its source, which is not opened. Raise ``LedgerError`` if the ledger's tables do not exist.
    """
    job = LoadSpec.of(model, source, using, options)
    with open_session(job.alias) as session, session.transaction():
        if not is_recorded_on(session):
            raise LedgerError(NOT_RECORDED)
        return LedgerEntry.begin(
            session,
            job.alias,
            model=job.model._meta.label,
            **describe_place(session, job.model),
            **facts,
            **spec_facts(job),
        ).load


def spec_facts(job: LoadSpec) -> dict[str, Any]:
    """Return the fields of ``Load`` that describe how it is done."""
    return {
        "layout": "" if job.layout is None else job.layout.to_toml(),
        "options": job.to_json(),
        "method": job.how.method,
        "who": job.how.who,
        "chunk_rows": job.how.records_of_chunk,
        "reject_log": absolute(job.how.reject_log),
        "reject_file": absolute(job.how.reject_file),
    }

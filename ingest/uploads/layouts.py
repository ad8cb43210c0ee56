"""The layouts that a file may be read with: saved ones, those of apps, and the detected one."""

from __future__ import annotations

import dataclasses
import json
from contextlib import ExitStack
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ingest.exceptions import IngestError, LayoutError, SourceError
from ingest.layout import FieldLayout, Layout, find_layout, layout_names
from ingest.layout.completing import complete
from ingest.layout.drafting import draft
from ingest.layout.matching import match_column
from ingest.layout.registry import SAVED, read_text
from ingest.sources import SourceOptions, open_source
from ingest.sources.detection import detect
from ingest.sources.sheet import sheet_names
from ingest.sources.workbook import WorkbookSource
from ingest.sources.zipped import ZippedSource
from ingest.uploads.storing import open_upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from django.db.models import Field, Model, QuerySet

    from ingest.layout.definition import Column
    from ingest.layout.drafting import Proposal
    from ingest.sources.detection import Detected
    from ingest.uploads.models import SavedLayout, Upload

DETECTED = "detected"
"""The name of the layout that is made from what was detected."""
LIKE_ENOUGH = 0.5
"""Share of its source columns that a file must have for a saved layout to be offered."""
NAMED_COLUMNS = 2
"""How many columns named by an app's layout a file must have: a single one may match by chance."""
FINGERPRINT_BYTES = 32
SEVERAL = 2
ISO_DATE = "%Y-%m-%d"
"""The format of dates that fields read without a layout."""


def fingerprint_of(columns: Sequence[str]) -> str:
    """Return the digest of a header: of the names of the columns, in their order."""
    text = json.dumps(list(columns), ensure_ascii=True)
    return blake2b(text.encode(), digest_size=FINGERPRINT_BYTES).hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Offer:
    """A layout that may be used for a file."""

    name: str
    """``detected``, ``saved:NAME``, or the name of an app's layout."""
    layout: Layout
    is_exact: bool = True
    """Whether the file has the header that the layout was made for."""
    new: tuple[str, ...] = ()
    """Columns of the file that this header does not have."""
    gone: tuple[str, ...] = ()
    """Columns of this header that the file does not have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What was detected in a file."""

    layout: Layout
    """The detected layout."""
    findings: tuple[str, ...]
    """The findings as sentences."""
    columns: tuple[str, ...]
    """The names of the file's columns."""
    proposals: Mapping[str, Proposal]
    """Columns proposed for fields that nothing feeds, by the fields' names."""


def detect_upload(upload: Upload, model: type[Model], known: Layout | None = None) -> Found:
    """Detect how to read an upload; raise ``IngestError`` if it cannot be read.

    ``known`` has its encoding, delimiter and sheet, if the user has chosen them.
    """
    detected = _detect(upload, known)
    drafted = draft(detected, model)
    options = source_options(drafted.layout)
    with open_upload(upload, is_sample=True) as given, open_source(given, options) as source:
        return Found(
            layout=_lift_formats(drafted.layout, detected),
            findings=drafted.findings,
            columns=source.columns,
            proposals=drafted.proposals,
        )


def _detect(upload: Upload, known: Layout | None) -> Detected:
    said = {} if known is None else known.source
    with open_upload(upload, is_sample=True) as given:
        return detect(
            given, **{name: said.get(name) for name in ("encoding", "delimiter", "sheet")}
        )


def sheets_of(upload: Upload) -> tuple[str, ...]:
    """Return the names of a workbook's visible sheets; an empty tuple for any other file."""
    with ExitStack() as stack:
        given = stack.enter_context(open_upload(upload, is_local=True, is_sample=True))
        if ZippedSource.accepts(given):
            given = stack.enter_context(ZippedSource.enter(given))
        return sheet_names(given) if WorkbookSource.accepts(given) else ()


def detect_first(upload: Upload, model: type[Model], sheets: Sequence[str]) -> Found:
    """Detect how to read an upload; of a workbook, use the first sheet that has records."""
    if len(sheets) < SEVERAL:
        return detect_upload(upload, model)
    error: IngestError | None = None
    for sheet in sheets:
        try:
            return detect_upload(upload, model, Layout(source={"sheet": sheet}))
        except IngestError as failure:
            error = error or failure
    raise error or SourceError(f"{upload.name} has no sheet with records.")


def _lift_formats(layout: Layout, detected: Detected) -> Layout:
    """Set the date formats once for the whole file, if all of its columns have the same."""
    said = {column.date_formats for column in detected.columns if column.date_formats}
    if len(said) != 1:
        return layout
    [formats] = said
    if formats == (ISO_DATE,):
        return layout
    fields = {
        name: dataclasses.replace(field, formats=None) for name, field in layout.fields.items()
    }
    read = dataclasses.replace(layout.read, formats=formats)
    return dataclasses.replace(layout, fields=fields, read=read)


def offers(
    upload: Upload, model: type[Model], found: Found, saved: QuerySet[SavedLayout]
) -> list[Offer]:
    """Return the layouts that may be used for a file, the one to begin with first.

    The detected layout comes before layouts that were made for another header, or that refer to
    columns only by position: whether they fit is for the user to decide.
    """
    found_offers = [*_saved_offers(model, found, saved), *_app_offers(upload, model)]
    return [
        *(offer for offer in found_offers if offer.is_exact),
        Offer(name=DETECTED, layout=found.layout),
        *(offer for offer in found_offers if not offer.is_exact),
    ]


def _saved_offers(
    model: type[Model], found: Found, saved: QuerySet[SavedLayout]
) -> Iterator[Offer]:
    for item in saved.filter(model=model._meta.label).order_by("-changed_at"):
        try:
            layout = read_text(item.layout, f"{SAVED}{item.name}")
        except LayoutError:  # written by a later version
            continue
        new, gone = difference(item.columns, found.columns)
        common = len(item.columns) - len(gone)
        if common >= LIKE_ENOUGH * max(len(item.columns), 1):
            is_exact = item.fingerprint == fingerprint_of(found.columns)
            yield Offer(
                name=f"{SAVED}{item.name}", layout=layout, is_exact=is_exact, new=new, gone=gone
            )


def _app_offers(upload: Upload, model: type[Model]) -> Iterator[Offer]:
    for name in layout_names():
        try:
            layout = find_layout(name)
        except LayoutError:  # not a problem of this page
            continue
        if layout.model != model._meta.label or layout.hook is not None:
            continue
        columns, named = read_columns(upload, layout), named_columns(layout)
        if columns is None or not named <= set(columns):
            continue
        try:
            with (
                open_upload(upload, is_sample=True) as given,
                open_source(given, source_options(layout)) as source,
            ):
                layout = complete(layout, model, source).layout
        except IngestError:
            continue
        yield Offer(
            name=name,
            layout=dataclasses.replace(layout, others="ignore", match=None, ignore_columns=()),
            is_exact=len(named) >= NAMED_COLUMNS,
        )


def difference(
    before: Iterable[str], now: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the new columns, and the missing ones."""
    before, now = list(before), list(now)
    return (
        tuple(name for name in now if name not in before),
        tuple(name for name in before if name not in now),
    )


def read_columns(upload: Upload, layout: Layout) -> tuple[str, ...] | None:
    """Return the header of a file as a layout reads it; None if the layout cannot read it."""
    try:
        with (
            open_upload(upload, is_sample=True) as given,
            open_source(given, source_options(layout)) as source,
        ):
            return source.columns
    except (IngestError, TypeError):
        return None


def named_columns(layout: Layout) -> set[str]:
    """Return the source columns that a layout refers to by name."""
    return {
        column
        for field in layout.fields.values()
        for column in columns_of(field)
        if isinstance(column, str)
    }


def columns_of(said: FieldLayout) -> list[Column]:
    """Return the source columns that feed a field."""
    sign = None if said.sign is None else said.sign.column
    single = (said.column, said.debit, said.credit, sign)
    return [*(column for column in single if column is not None), *(said.columns or ())]


def source_options(layout: Layout) -> SourceOptions:
    """Return the layout's options for reading the file."""
    said: Mapping[str, Any] = layout.source
    known = {item.name for item in dataclasses.fields(SourceOptions)}
    options = {name: value for name, value in said.items() if name in known}
    if options.get("columns") is not None:
        options["columns"] = tuple(options["columns"])
    return SourceOptions(**options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """The kind of source that a file is."""

    format: str
    ignores: frozenset[str]
    """Options of sources that have no effect on it."""


def kind_of(upload: Upload, layout: Layout) -> Kind:
    """Return the kind of source of an upload; raise ``IngestError`` if it cannot be opened."""
    with (
        open_upload(upload, is_sample=True) as given,
        open_source(given, source_options(layout)) as source,
    ):
        return Kind(format=source.format, ignores=source.ignores)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FirstRecords:
    """The beginning of a file, as cells."""

    kind: Kind
    columns: tuple[str, ...]
    records: tuple[tuple[int, tuple[Any, ...]], ...]
    """The number of each record, and its cells."""
    refused: tuple[tuple[int, str], ...]
    """Records that could not be parsed, and why."""


def first_records(upload: Upload, layout: Layout, count: int) -> FirstRecords:
    """Return the first records of an upload; raise ``IngestError`` if the layout cannot read it."""
    records: list[tuple[int, tuple[Any, ...]]] = []
    refused: list[tuple[int, str]] = []
    with (
        open_upload(upload, is_sample=True) as given,
        open_source(given, source_options(layout)) as source,
    ):
        for batch in source.batches():
            columns = [list(column[:count]) for column in batch.columns]
            cells = [
                [getattr(cell, "as_py", lambda cell=cell: cell)() for cell in column]
                for column in columns
            ]
            rows = zip(*cells, strict=True) if cells else ()
            records += zip(batch.records[:count], rows, strict=False)
            refused += [(reject.record, reject.reason) for reject in batch.rejects[:count]]
            if len(records) + len(refused) >= count:
                break
        return FirstRecords(
            kind=Kind(format=source.format, ignores=source.ignores),
            columns=source.columns,
            records=tuple(records[:count]),
            refused=tuple(refused[:count]),
        )


def field_named(model: type[Model], name: str) -> Field[Any, Any] | None:
    """Return the model's field that a layout feeds by this name; None if there is none."""
    try:
        found = match_column(model, name, "The layout", "exact")
    except LayoutError:
        return None
    return None if found is None else found.field

"""The views of the steps: what each shows, and how it handles a POST."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS, router, transaction
from django.http import HttpResponseRedirect
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ingest.admin.loads import background
from ingest.admin.loads.progress import whole
from ingest.admin.uploads import rights
from ingest.admin.uploads.forms import FileForm, SaveLayoutForm
from ingest.admin.uploads.mapping import MappingForm
from ingest.admin.uploads.options import OptionsForm
from ingest.admin.uploads.steps import STEPS, place_of, step_after
from ingest.exceptions import IngestError
from ingest.ledger.models import Load
from ingest.results.rejects import cut
from ingest.terminal import safe_line, safe_text
from ingest.uploads.models import SavedLayout, Upload

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

    from ingest.admin.uploads import UploadAdmin
    from ingest.layout import Layout
    from ingest.uploads.layouts import Kind

RECORDS_LOOKED_AT = 10
RECORDS_PREVIEWED = 20
CELL_CHARACTERS = 200
ERROR_CHARACTERS = 2_000
SILENT_SECONDS = 30
"""A dry run reports its progress every second, once its process has started."""
ACTION = "action"
"""The name of the buttons; their values are the actions."""


class _Passed(Exception):  # noqa: N818 - it says what happened
    """The load was confirmed in the meantime, so nothing of it can be changed."""


PAST = (Upload.State.CONFIRMED, Upload.State.FORGOTTEN)
"""The states of uploads that cannot be changed any more."""


class StepView:
    """One step, in one request."""

    name: ClassVar[str]

    def __init__(
        self, admin: UploadAdmin, request: HttpRequest, upload: Upload, model: type[Model]
    ) -> None:
        self.admin = admin
        self.request = request
        self.upload = upload
        self.model = model
        self.error = ""

    def respond(self) -> HttpResponse:
        """Handle a POST, then show the step."""
        if self.request.method == "POST":
            try:
                response = self.post()
            except _Passed:
                return self.admin.current_view(self.request, self.upload.key)
            except IngestError as error:
                self.error = show_error(error)
                response = None
            if response is not None:
                return response
        try:
            shown = self.shown()
        except IngestError as error:  # so that earlier steps can be reached
            shown = {}
            self.error = self.error or show_error(error)
        context = {
            **self.admin.context(self.request, self.upload, self.name),
            "title": _("Load %(file)s") % {"file": safe_line(self.upload.name)},
            "subtitle": STEPS[place_of(self.name)].title,
            "target": self.model._meta.verbose_name_plural,
            **shown,
            "error": self.error,
        }
        return self.admin.page(self.request, self.name, context)

    def post(self) -> HttpResponse | None:
        """Handle the POST; return None to show the step again."""
        raise NotImplementedError

    def shown(self) -> dict[str, Any]:
        """Return the context for the page."""
        raise NotImplementedError

    def layout(self) -> Layout:
        """Return the current layout."""
        from ingest.layout.registry import read_text

        return read_text(self.upload.layout, f"the layout of {self.upload.name}")

    def columns(self) -> tuple[str, ...]:
        """Return the header of the file."""
        return tuple(self.upload.options.get("columns", ()))

    def go_on(self) -> HttpResponse:
        """Go to the next step; later steps must be visited again."""
        self.upload.step = step_after(self.name)
        self.save()
        return HttpResponseRedirect(self.admin.address(self.upload, self.upload.step))

    def save(self) -> None:
        """Save the changes; raise ``_Passed`` if the load is already confirmed."""
        names = ("step", "layout", "options", "state", "check_result")
        facts = {name: getattr(self.upload, name) for name in names}
        if not Upload.objects.filter(pk=self.upload.pk).exclude(state__in=PAST).update(**facts):
            raise _Passed

    def check_allowed(self, layout: Layout) -> None:
        """Raise ``PermissionDenied`` for a layout that the user may not use."""
        for refusal in rights.refusals(self.admin.admin_site, self.request, self.model, layout):
            raise PermissionDenied(refusal)
        if layout.conflict.said():  # only allowed as options, see ``check_conflicts``
            raise PermissionDenied("The layout says what becomes of rows that are there already.")

    def check_conflicts(self, options: dict[str, Any]) -> None:
        """Raise ``PermissionDenied`` if the user may not handle existing rows like this."""
        word = options.get("on_conflict", "")
        if not rights.may_handle(self.admin.admin_site, self.request, self.model, word):
            raise PermissionDenied(f"on_conflict={word!r}")


class FileStep(StepView):
    """What was detected, which can be changed, and the first records as cells."""

    name = "file"
    form: FileForm | None = None

    def post(self) -> HttpResponse | None:
        from ingest.admin.uploads.choosing import set_layout, without_missing
        from ingest.uploads.layouts import first_records

        before = self.layout()
        self.form = self._form(before, posted=self.request.POST)
        if not self.form.is_valid():
            return None
        layout = self.form.to_layout()
        if layout.source.get("sheet") != before.source.get("sheet"):
            return self._look_at_sheet(layout)
        columns = first_records(self.upload, layout, 1).columns
        if columns != self.columns():
            layout = self._matched(without_missing(layout, columns))
        set_layout(self.upload, layout, columns)
        if self.request.POST.get(ACTION) == "look":
            self.upload.step = self.name
            self.save()
            return HttpResponseRedirect(self.admin.address(self.upload, self.name))
        return self.go_on()

    def _matched(self, layout: Layout) -> Layout:
        """Let columns feed the fields of the same name that nothing feeds, as a draft does."""
        from ingest.admin.uploads.choosing import allowed_part
        from ingest.uploads.layouts import detect_upload

        try:
            found = detect_upload(self.upload, self.model, layout).layout
        except IngestError:
            return layout
        found = allowed_part(self.admin.admin_site, self.request, self.model, found)
        return dataclasses.replace(layout, fields={**found.fields, **layout.fields})

    def _form(self, layout: Layout, kind: Kind | None = None, posted: Any = None) -> FileForm:
        from ingest.uploads.layouts import kind_of

        ignores = (kind or kind_of(self.upload, layout)).ignores
        sheets = self.upload.options.get("sheets", ())
        return FileForm(layout, ignores=ignores, sheets=sheets, data=posted)

    def _look_at_sheet(self, layout: Layout) -> HttpResponse:
        """Detect again, for another sheet."""
        from ingest.admin.uploads.choosing import allowed_part, set_layout
        from ingest.uploads.layouts import detect_upload

        found = detect_upload(self.upload, self.model, layout)
        allowed = allowed_part(self.admin.admin_site, self.request, self.model, found.layout)
        set_layout(self.upload, allowed, found.columns)
        self.upload.options["findings"] = list(found.findings)
        self.upload.step = self.name
        self.save()
        return HttpResponseRedirect(self.admin.address(self.upload, self.name))

    def shown(self) -> dict[str, Any]:
        from ingest.uploads.layouts import first_records

        layout, records, form = self.layout(), None, self.form
        try:
            records = first_records(self.upload, layout, RECORDS_LOOKED_AT)
        except IngestError as error:
            self.error = self.error or show_error(error)
        kind = None if records is None else records.kind
        with suppress(IngestError):  # the error is shown already
            form = form or self._form(layout, kind)
        return {
            "form": form,
            "format": "" if kind is None else kind.format,
            "findings": [safe_text(finding) for finding in self.upload.options.get("findings", ())],
            "header": [] if records is None else [safe_line(name) for name in records.columns],
            "records": []
            if records is None
            else [
                (number, [show_cell(cell) for cell in cells]) for number, cells in records.records
            ],
            "refused": []
            if records is None
            else [(number, safe_line(reason)) for number, reason in records.refused],
            "earlier": self._earlier(),
        }

    def _earlier(self) -> list[dict[str, Any]]:
        """Return the loads of the same bytes into the same model."""
        same = Load.objects.filter(fingerprint=self.upload.digest, model=self.upload.model)
        loads = same.exclude(status__in=[Load.Status.DRAFT, Load.Status.WAITING]).order_by("-pk")[
            :5
        ]
        may_view = self.request.user.has_perm("ingest.view_load")
        return [
            {
                "number": str(load.pk),  # an identifier, without thousands separators
                "state": load.get_status_display(),
                "started_at": load.started_at,
                "loaded": whole(load.loaded),
                "link": self.admin.address_of_load(load.pk) if may_view else None,
            }
            for load in loads
        ]


class MappingStep(StepView):
    """Which column feeds which field."""

    name = "mapping"
    form: SaveLayoutForm | None = None

    def post(self) -> HttpResponse | None:
        from ingest.admin.uploads.choosing import set_layout

        if self.request.POST.get(ACTION) == "start":
            return self._start(self.request.POST.get("start", ""))
        mapping = self._mapping()
        layout = mapping.to_layout(self.request.POST)
        self.check_allowed(layout)
        set_layout(self.upload, layout, self.columns())
        self.form = SaveLayoutForm(self.request.POST)
        if self.request.POST.get("name", "").strip():
            self.form = save_form(self.request, self.request.POST)
            if not self.form.is_valid():
                self._stay()
                return None
            keep_layout(self.request, self.form, layout, self.columns(), self.model)
            self.admin.message_user(self.request, _("The layout was saved."), messages.SUCCESS)
        unfed = [row.label for row in self._mapping().rows() if row.is_unfed]
        if unfed:
            self.error = _("Each record needs a value for: %(fields)s.") % {
                "fields": ", ".join(unfed)
            }
        if unfed or not layout.fields:
            self.error = self.error or _("No field is fed.")
            self._stay()
            return None
        try:
            first_rows(self.upload, self.model, layout, 1)
        except IngestError:
            self._stay()
            raise
        return self.go_on()

    def _stay(self) -> None:
        self.upload.step = self.name
        self.save()

    def _start(self, name: str) -> HttpResponse:
        from ingest.admin.uploads.choosing import use

        offer = next((offer for offer in self._offers() if offer.name == name), None)
        if offer is None:
            raise PermissionDenied("That layout is not offered.")
        use(self.admin.admin_site, self.request, self.upload, self.model, offer)
        self._stay()
        return HttpResponseRedirect(self.admin.address(self.upload, self.name))

    @cached_property
    def _found(self) -> Any:
        """What is detected in the file; this step changes nothing that affects it."""
        from ingest.uploads.layouts import Found, detect_upload

        try:
            return detect_upload(self.upload, self.model, self.layout())
        except IngestError:  # the file is read differently from how it looks
            layout = dataclasses.replace(self.layout(), fields={})
            return Found(layout=layout, findings=(), columns=self.columns(), proposals={})

    def _offers(self) -> list[Any]:
        from ingest.uploads.layouts import offers

        saved = rights.readable_layouts(self.request)
        return offers(self.upload, self.model, self._found, saved)

    def _mapping(self) -> MappingForm:
        registered = self.admin.admin_site._registry[self.model]
        return MappingForm(
            layout=self.layout(),
            columns=self.columns(),
            fields=rights.allowed_fields(registered, self.request),
            proposals=self._found.proposals,
        )

    def shown(self) -> dict[str, Any]:
        mapping, offered = self._mapping(), self._offers()
        start = self.upload.options.get("start", "")
        used = next((offer for offer in offered if offer.name == start), None)
        return {
            "rows": mapping.rows(),
            "typed_names": mapping.typed_names,
            "unused": mapping.unused(),
            "offers": [(offer.name, offer_title(offer)) for offer in offered],
            "start": start,
            "new": [] if used is None else [safe_line(name) for name in used.new],
            "gone": [] if used is None else [safe_line(name) for name in used.gone],
            "save_form": self.form or SaveLayoutForm(),
        }


def save_form(request: HttpRequest, posted: Any) -> SaveLayoutForm:
    """Return the form for a name; the user's own layout with that name will be replaced."""
    name = posted.get("name", "").strip().replace("\0", "")
    own = SavedLayout.objects.filter(owner=request.user.pk, name=name)
    return SaveLayoutForm(posted, instance=own.first() or SavedLayout())


def keep_layout(
    request: HttpRequest,
    form: SaveLayoutForm,
    layout: Layout,
    columns: tuple[str, ...],
    model: type[Model],
) -> None:
    """Save a layout for the next file."""
    from ingest.uploads.layouts import fingerprint_of

    saved = form.save(commit=False)
    saved.owner, saved.model, saved.layout = request.user, model._meta.label, layout.to_toml()
    saved.columns, saved.fingerprint = list(columns), fingerprint_of(columns)
    saved.save()


def offer_title(offer: Any) -> str:
    """Return the title of a layout in the list of choices."""
    from ingest.layout.registry import SAVED
    from ingest.uploads.layouts import DETECTED

    if offer.name == DETECTED:
        return _("what was detected")
    if offer.name.startswith(SAVED):
        name = offer.name.removeprefix(SAVED)
        title = _("saved: %(name)s") if offer.is_exact else _("saved: %(name)s (another header)")
        return title % {"name": safe_line(name)}
    return _("layout: %(name)s") % {"name": offer.name}


class OptionsStep(StepView):
    """How the records are loaded."""

    name = "options"
    form: OptionsForm | None = None

    def post(self) -> HttpResponse | None:
        self.form = self._form(self.request.POST)
        if not self.form.is_valid():
            return None
        options = self.form.to_options()
        self.check_conflicts(options)
        if options != self.upload.options.get("load", {}):
            self.upload.options = {**self.upload.options, "load": options}
            self.upload.state, self.upload.check_result = Upload.State.STORED, {}
        first_rows(self.upload, self.model, self.layout(), 1, **options)
        return self.go_on()

    def _form(self, posted: Any = None) -> OptionsForm:
        return OptionsForm(
            self.model,
            self.upload.options.get("load"),
            lambda word: rights.may_handle(self.admin.admin_site, self.request, self.model, word),
            fed=self.layout().fields.keys(),
            of_layout=self.upload.options.get("conflict", {}),
            data=posted,
        )

    def shown(self) -> dict[str, Any]:
        from ingest.layout.text import write_value

        form = self.form or self._form()
        kept = safe_line(write_value(form.kept)) if form.kept else ""
        return {"form": form, "kept": kept}


class PreviewStep(StepView):
    """The first records as they would be stored."""

    name = "preview"

    def post(self) -> HttpResponse | None:
        """Go to the dry run, and begin it."""
        return CheckStep(self.admin, self.request, self.upload, self.model).begin()

    def shown(self) -> dict[str, Any]:
        try:
            found = first_rows(
                self.upload,
                self.model,
                self.layout(),
                RECORDS_PREVIEWED,
                **self.upload.options.get("load", {}),
            )
        except IngestError as error:
            self.error = self.error or show_error(error)
            return {"columns": [], "records": []}
        return {
            "columns": [self._label(name) for name in found.fields],
            "records": preview_rows(found),
            "is_settled": bool(found.outcomes),
        }

    def _label(self, name: str) -> str:
        """Return the name of a field as the step before shows it."""
        field: Any = self.model._meta.get_field(name)
        return safe_line(str(capfirst(field.verbose_name)))


def first_rows(
    upload: Upload, model: type[Model], layout: Layout, count: int, **options: Any
) -> Any:
    """Return the preview of an upload; raise ``IngestError`` if it cannot be loaded like this."""
    from ingest.loading.preview import preview
    from ingest.uploads.storing import open_upload

    with open_upload(upload, is_sample=True) as given:
        return preview(model, given, rows=count, layout=layout, **options)


WORDS = {
    "ok": gettext_lazy("ok"),
    "insert": gettext_lazy("new"),
    "update": gettext_lazy("changed"),
    "unchanged": gettext_lazy("unchanged"),
    "ignored": gettext_lazy("ignored"),
    "skipped": gettext_lazy("skipped"),
}
"""Words for what happens to a record, by ``RecordOutcome.what``."""


def preview_rows(found: Any) -> list[dict[str, Any]]:
    """Return the first records, both accepted and refused, in their order."""
    rows: dict[int, dict[str, Any]] = {}
    outcomes = found.outcomes or [None] * len(found.rows)
    for record, row, outcome in zip(found.records, found.rows, outcomes, strict=True):
        state = "ok" if outcome is None else outcome.what
        changes = {} if outcome is None else outcome.changes
        rows[record] = {
            "record": record,
            "state": state,
            "word": WORDS[state],
            "cells": [
                cell_of(value, changes.get(name))
                for name, value in zip(found.fields, row, strict=True)
            ],
        }
    for reject in found.rejects:
        row = rows.setdefault(
            reject.record,
            {"record": reject.record, "state": "reject", "word": _("refused"), "reasons": []},
        )
        where = safe_line(reject.column or reject.field or "")
        value = "" if reject.column is None else show_cell(reject.value)
        row.setdefault("reasons", []).append(
            {"where": where, "value": value, "reason": safe_line(reject.reason)}
        )
    return [rows[record] for record in sorted(rows)[:RECORDS_PREVIEWED]]


def cell_of(value: Any, change: tuple[Any, Any] | None) -> dict[str, str | None]:
    """Return a stored value and, if an update changes it, the old one."""
    old, new = (None, value) if change is None else change
    return {"old": None if change is None else show_cell(old), "new": show_cell(new)}


def show_error(error: IngestError) -> str:
    """Return an error for a page, shortened, because it may repeat what was posted."""
    return cut(safe_text(str(error)), ERROR_CHARACTERS)


def show_cell(value: Any) -> str:
    """Return a cell for a page, without characters that a browser or a terminal interprets."""
    if value is None:
        return ""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    text = safe_line(text[: CELL_CHARACTERS + 1])
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


class CheckStep(StepView):
    """The dry run of the whole file."""

    name = "check"

    def post(self) -> HttpResponse | None:
        action = self.request.POST.get(ACTION)
        if action == "begin":
            return self.begin()
        if self.upload.state != Upload.State.CHECKED or self._result().get("error"):
            self.error = _("The dry run must be done first.")
            return None
        return self.go_on()

    def begin(self) -> HttpResponse | None:
        """Begin a dry run in the background."""
        from ingest.uploads.running import begin_check

        self.check_allowed(self.layout())
        self.check_conflicts(self.upload.options.get("load", {}))
        background.refuse_immediate(self.upload.size)
        alias = router.db_for_write(Load) or DEFAULT_DB_ALIAS
        with transaction.atomic(using=alias):
            self.upload = Upload.objects.select_for_update().get(pk=self.upload.pk)
            if self.upload.state in PAST:
                raise _Passed
            self.upload.step = self.name
            load = begin_check(self.upload, str(self.request.user.get_username()))
            transaction.on_commit(lambda: self._hand_over(load, alias), using=alias)
        return HttpResponseRedirect(self.admin.address(self.upload, self.name))

    def _hand_over(self, load: Load, alias: str) -> None:
        try:
            background.start(load, alias, waits=False)
        except IngestError as error:
            told = {"error": safe_text(str(error))}
            found = Upload.objects.filter(pk=self.upload.pk, state=Upload.State.CHECKING)
            found.update(state=Upload.State.CHECKED, check_result=told)

    def _result(self) -> dict[str, Any]:
        found: dict[str, Any] = self.upload.check_result
        return found

    def shown(self) -> dict[str, Any]:
        is_running = self.upload.state == Upload.State.CHECKING
        return {
            "is_running": is_running,
            "is_done": self.upload.state == Upload.State.CHECKED,
            "is_silent": is_running and self._silence() > SILENT_SECONDS,
            "progress": self._progress(),
            **told_of_check(self._result(), self.request),
        }

    def _silence(self) -> float:
        seen = self.upload.seen_at
        return 0.0 if seen is None else (timezone.now() - seen).total_seconds()

    def _progress(self) -> dict[str, Any] | None:
        progress = self._result().get("progress")
        if not progress:
            return None
        total = progress.get("bytes_total")
        share = None if not total else min(progress["bytes_read"] / total, 1.0)
        return {
            "rows": whole(progress["rows"]),
            "rejected": whole(progress["rejected"]),
            "share": None if share is None else f"{share:.4f}",
            "percent": "" if share is None else f"{share:.0%}",
        }


ALWAYS_SHOWN = ("read", "inserted", "rejected")
"""Counts that are shown even if they are 0."""


def told_of_check(result: dict[str, Any], request: HttpRequest) -> dict[str, Any]:
    """Return what the pages show of a finished dry run."""
    words = {
        "read": _("records read"),
        "inserted": _("rows would be inserted"),
        "updated": _("rows would be updated"),
        "unchanged": _("rows would stay as they are"),
        "ignored": _("records would be ignored"),
        "deleted": _("rows would be deleted"),
        "rejected": _("records would be refused"),
        "skipped": _("records would be skipped"),
    }
    counts = result.get("counts", {})
    return {
        "check_error": result.get("error", ""),
        "counts": []
        if not counts
        else [
            {"name": name, "word": words[name], "number": whole(counts.get(name, 0))}
            for name in words
            if counts.get(name) or name in ALWAYS_SHOWN
        ],
        "refused_count": counts.get("rejected", 0),
        "good_count": counts.get("read", 0) - counts.get("rejected", 0) - counts.get("skipped", 0),
        "reasons": [
            {**reason, "count": whole(reason["count"])} for reason in result.get("reasons", ())
        ],
        "rejects": result.get("rejects", ()),
        "warnings": result.get("warnings", ()),
        "seconds": result.get("seconds"),
        "may_view_loads": request.user.has_perm("ingest.view_load"),
    }


class ConfirmStep(StepView):
    """The final confirmation, which starts the load."""

    name = "confirm"

    def post(self) -> HttpResponse | None:
        from ingest.uploads.running import confirm

        self.check_allowed(self.layout())
        self.check_conflicts(self.upload.options.get("load", {}))
        if self.upload.state != Upload.State.CHECKED or self.upload.check_result.get("error"):
            return HttpResponseRedirect(self.admin.address(self.upload, "check"))
        told = told_of_check(self.upload.check_result, self.request)
        refused = told["refused_count"]
        if refused and not told["good_count"]:
            return None  # the page says why
        rejects = self.request.POST.get("rejects") == "on"
        if refused and not rejects:
            self.error = _("Select the box to load the other records, or fix the file first.")
            return None
        background.refuse_immediate(self.upload.size)
        alias = router.db_for_write(Load) or DEFAULT_DB_ALIAS
        with transaction.atomic(using=alias):
            is_first = confirm(self.upload, rejects=bool(refused and rejects))
            if is_first:
                load = Load.objects.using(alias).get(upload=self.upload)
                said = _("Loaded %(file)s into %(model)s from the browser.") % {
                    "file": safe_line(self.upload.name),
                    "model": self.upload.model,
                }
                self.admin.log_addition(self.request, load, said)
                transaction.on_commit(lambda: self._hand_over(load, alias), using=alias)
        return HttpResponseRedirect(self.admin.load_address(self.upload))

    def _hand_over(self, load: Load, alias: str) -> None:
        try:
            background.start(load, alias)
        except IngestError as error:
            said = safe_text(str(error))
            waiting = Load.objects.using(alias).filter(pk=load.pk, status=Load.Status.WAITING)
            waiting.update(status=Load.Status.FAILED, error=said, ended_at=timezone.now())
            self.admin.message_user(
                self.request, getattr(error, "without_values", said), messages.ERROR
            )
        else:
            told = _("The load was started. This page shows how far it is.")
            self.admin.message_user(self.request, told, messages.SUCCESS)

    def shown(self) -> dict[str, Any]:
        return {
            **told_of_check(self.upload.check_result, self.request),
            "layout_text": self.upload.layout,
        }


VIEWS: dict[str, type[StepView]] = {
    view.name: view
    for view in (FileStep, MappingStep, OptionsStep, PreviewStep, CheckStep, ConfirmStep)
}

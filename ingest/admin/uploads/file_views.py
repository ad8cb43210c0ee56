"""The views of the steps that settle how a file is read, and what feeds which field."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ingest.admin.loads.progress import whole
from ingest.admin.uploads import rights
from ingest.admin.uploads.forms import FileForm, SaveLayoutForm
from ingest.admin.uploads.mapping import MappingForm
from ingest.admin.uploads.pages import show_cell, show_error, show_offer
from ingest.admin.uploads.step_view import ACTION, StepView, first_rows
from ingest.exceptions import IngestError
from ingest.ledger.models import Load
from ingest.terminal import safe_line, safe_text
from ingest.uploads.models import SavedLayout

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

    from ingest.layout import Layout
    from ingest.uploads.layouts import Kind

RECORDS_LOOKED_AT = 10


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
                "loaded": ngettext("%(rows)s row", "%(rows)s rows", load.loaded)
                % {"rows": whole(load.loaded)},
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
            self.error = self.error or _("Nothing feeds any field.")
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
        from ingest.admin.uploads.choosing import use_layout

        offer = next((offer for offer in self._offers() if offer.name == name), None)
        if offer is None:
            raise PermissionDenied("That layout is not offered.")
        use_layout(self.admin.admin_site, self.request, self.upload, self.model, offer)
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
            "offers": [(offer.name, show_offer(offer)) for offer in offered],
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

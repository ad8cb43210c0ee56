"""The views of the steps that settle how the records are loaded, try it, and start the load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db import DEFAULT_DB_ALIAS, router, transaction
from django.http import HttpResponseRedirect
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ingest.admin.loads import background
from ingest.admin.loads.progress import whole
from ingest.admin.uploads import rights
from ingest.admin.uploads.options import OptionsForm
from ingest.admin.uploads.pages import RECORDS_PREVIEWED, preview_rows, show_check, show_error
from ingest.admin.uploads.step_view import ACTION, PAST, ConfirmedError, StepView, first_rows
from ingest.exceptions import IngestError
from ingest.ledger.models import Load
from ingest.terminal import safe_line, safe_text
from ingest.uploads.models import Upload

if TYPE_CHECKING:
    from django.http import HttpResponse

SILENT_SECONDS = 30
"""A dry run reports its progress every second, once its process has started."""


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
                raise ConfirmedError
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
            **show_check(self._result(), self.request),
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
            "text": ngettext(
                "%(rows)s record read, %(rejected)s refused",
                "%(rows)s records read, %(rejected)s refused",
                progress["rows"],
            )
            % {"rows": whole(progress["rows"]), "rejected": whole(progress["rejected"])},
            "share": None if share is None else f"{share:.4f}",
            "percent": "" if share is None else f"{share:.0%}",
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
        told = show_check(self.upload.check_result, self.request)
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
            told = _("The load has started. This page shows its progress.")
            self.admin.message_user(self.request, told, messages.SUCCESS)

    def shown(self) -> dict[str, Any]:
        return {
            **show_check(self.upload.check_result, self.request),
            "layout_text": self.upload.layout,
        }

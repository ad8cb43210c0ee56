"""The base of the views of the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _

from ingest.admin.uploads import rights
from ingest.admin.uploads.pages import show_error
from ingest.admin.uploads.steps import STEPS, place_of, step_after
from ingest.exceptions import IngestError
from ingest.terminal import safe_line
from ingest.uploads.models import Upload

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

    from ingest.admin.uploads import UploadAdmin
    from ingest.layout import Layout

ACTION = "action"
"""The name of the buttons; their values are the actions."""


class ConfirmedError(Exception):
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
            except ConfirmedError:
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
        """Save the changes; raise ``ConfirmedError`` if the load is already confirmed."""
        names = ("step", "layout", "options", "state", "check_result")
        facts = {name: getattr(self.upload, name) for name in names}
        if not Upload.objects.filter(pk=self.upload.pk).exclude(state__in=PAST).update(**facts):
            raise ConfirmedError

    def check_allowed(self, layout: Layout) -> None:
        """Raise ``PermissionDenied`` for a layout that the user may not use."""
        for refusal in rights.refusals(self.admin.admin_site, self.request, self.model, layout):
            raise PermissionDenied(refusal)
        if layout.conflict.given():  # only allowed as options, see ``check_conflicts``
            raise PermissionDenied("The layout says what becomes of rows that are there already.")

    def check_conflicts(self, options: dict[str, Any]) -> None:
        """Raise ``PermissionDenied`` if the user may not handle existing rows like this."""
        word = options.get("on_conflict", "")
        if not rights.may_handle(self.admin.admin_site, self.request, self.model, word):
            raise PermissionDenied(f"on_conflict={word!r}")


def first_rows(
    upload: Upload, model: type[Model], layout: Layout, count: int, **options: Any
) -> Any:
    """Return the preview of an upload; raise ``IngestError`` if it cannot be loaded like this."""
    from ingest.loading.preview import preview
    from ingest.uploads.storing import open_upload

    with open_upload(upload, is_sample=True) as given:
        return preview(model, given, rows=count, layout=layout, **options)

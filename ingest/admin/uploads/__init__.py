"""Loading a file from the browser: upload, detection, mapping, preview, dry run, confirmation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from ingest import conf
from ingest.admin.addresses import GuardedList
from ingest.admin.sites import address_on
from ingest.admin.uploads import rights
from ingest.admin.uploads.forms import ChooseForm
from ingest.admin.uploads.receiving import receive
from ingest.admin.uploads.steps import NAMES, STEPS, place_of
from ingest.admin.uploads.views import VIEWS
from ingest.admin.uploads.wide_forms import accepts_wide_forms
from ingest.exceptions import IngestError
from ingest.ledger.models import Load
from ingest.uploads.models import Upload
from ingest.uploads.receiving import ReceivingHandler, is_body_too_large, leave_unread
from ingest.uploads.storing import forget, forget_old_uploads

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

    Base = admin.ModelAdmin[Upload]
else:
    Base = admin.ModelAdmin

METHODS = ("GET", "HEAD", "POST")
CREATED = 201
TOO_LARGE = 413
MODEL_VAR = "model"


@admin.register(Upload)
class UploadAdmin(GuardedList, Base):
    """Uploaded files, and the steps from each of them to a load."""

    list_display = ("name", "target", "size_", "state_", "created_at", "load_", "owner")
    list_filter = ("state",)
    list_display_links = ("name",)
    actions = None
    show_full_result_count = False

    class Media:
        css = {"all": ["ingest/admin.css", "ingest/uploads.css"]}
        js = ["ingest/uploads.js"]

    @admin.display(description=gettext_lazy("into"), ordering="model")
    def target(self, upload: Upload) -> str:
        """Show the model."""
        model = rights.find_model_of(upload.model)
        return upload.model if model is None else str(model._meta.verbose_name_plural)

    @admin.display(description=gettext_lazy("bytes"), ordering="size")
    def size_(self, upload: Upload) -> int:
        """Show the size."""
        return upload.size

    @admin.display(description=gettext_lazy("state"), ordering="state")
    def state_(self, upload: Upload) -> str:
        """Show the step or state that it has reached."""
        if upload.state == Upload.State.STORED:
            return str(STEPS[place_of(upload.step)].title)
        return str(upload.get_state_display())

    @admin.display(description=gettext_lazy("load"))
    def load_(self, upload: Upload) -> str:
        """Link to the load, once it is confirmed."""
        if upload.load is None or upload.load.status == Load.Status.DRAFT:
            return ""
        address = self.address_of_load(upload.load.pk)
        if address is None:
            return str(upload.load.pk)
        return format_html('<a href="{}">{}</a>', address, upload.load.pk)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Upload]:
        return rights.readable_uploads(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return rights.may_upload(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return rights.may_upload(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        # Django calls this for each page of the admin, so it does not check every model.
        return rights.may_upload(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [
            # Our handler reads the body, and must be set before the CSRF token is read.
            path("add/", wrap(csrf_exempt(self.choose_view)), name="ingest_upload_add"),
            path("<str:key>/change/", wrap(self.current_view), name="ingest_upload_change"),
            path("<str:key>/forget/", wrap(self.forget_view), name="ingest_upload_forget"),
        ]
        for name in NAMES:
            view = wrap(accepts_wide_forms(partial(self.step_view, name=name)))
            own.append(path(f"<str:key>/{name}/", view, name=f"ingest_upload_{name}"))
        return own + super().get_urls()

    def choose_view(self, request: HttpRequest) -> HttpResponse:
        """Choose a model and a file; the file is written to disk as it arrives."""
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return _PROTECTED(self, request)
        if is_body_too_large(request):
            leave_unread(request)
            return self._refuse_body(request)
        handler = ReceivingHandler(request)
        request.upload_handlers = [handler]
        try:
            return _PROTECTED(self, request, handler)
        finally:
            handler.close()

    def choose(self, request: HttpRequest, handler: ReceivingHandler | None = None) -> HttpResponse:
        """Show the form, or accept the file."""
        models = rights.loadable_models(self.admin_site, request)
        if handler is None:
            form = ChooseForm(models, initial={"model": request.GET.get(MODEL_VAR)})
            return self.page(request, "choose", self._choose_context(request, form))
        form = ChooseForm(models, request.POST, request.FILES)
        if handler.received.is_too_large:
            form.errors["file"] = form.error_class([self._too_large()])
        elif form.is_valid():
            try:
                upload = receive(self.admin_site, request, form.cleaned_data["model"], handler)
            except IngestError as error:
                form.add_error("file", str(error))
            else:
                forget_old_uploads()
                return self._go_to(request, self.address(upload, "file"))
        return self.page(request, "choose", self._choose_context(request, form))

    @staticmethod
    def _go_to(request: HttpRequest, address: str) -> HttpResponse:
        """Redirect to the first step; a script follows the address itself, with its own page."""
        if request.headers.get("X-Requested-With") == "XMLHttpRequest":
            return HttpResponse(status=CREATED, headers={"Location": address})
        return HttpResponseRedirect(address)

    def _choose_context(self, request: HttpRequest, form: ChooseForm) -> dict[str, Any]:
        return {
            **self.context(request, None, ""),
            "title": _("Load a file"),
            "form": form,
            "most_bytes": conf.upload_bytes(),
            "unfinished": self.get_queryset(request)
            .filter(owner=request.user.pk)
            .exclude(state__in=[Upload.State.CONFIRMED, Upload.State.FORGOTTEN])[:10],
        }

    def _refuse_body(self, request: HttpRequest) -> HttpResponse:
        models = rights.loadable_models(self.admin_site, request)
        context = self._choose_context(request, ChooseForm(models))
        response = self.page(request, "choose", {**context, "refusal": self._too_large()})
        response.status_code = TOO_LARGE
        return response

    @staticmethod
    def _too_large() -> str:
        return _("The file is larger than %(bytes)s bytes, the most that may be uploaded.") % {
            "bytes": f"{conf.upload_bytes():,}"
        }

    def current_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """Redirect to the step that was reached."""
        upload = self._find(request, key)
        return HttpResponseRedirect(self._where(upload))

    def forget_view(self, request: HttpRequest, key: str) -> HttpResponse:
        """Delete an upload that is not confirmed, with its file."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        upload = self._find(request, key)
        if upload.owner_id != request.user.pk:
            raise PermissionDenied
        if upload.state in {Upload.State.CONFIRMED, Upload.State.FORGOTTEN}:
            return HttpResponseRedirect(self._where(upload))
        forget(upload)
        self.message_user(request, _("The upload was deleted."), messages.SUCCESS)
        return HttpResponseRedirect(self.list_address())

    def step_view(self, request: HttpRequest, key: str, name: str) -> HttpResponse:
        """Show a step, or handle its POST."""
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        upload = self._find(request, key)
        model = rights.find_model_of(upload.model)
        if model is None or not rights.may_load(self.admin_site, request, model):
            raise PermissionDenied
        is_owner = upload.owner_id == request.user.pk
        if request.method == "POST" and not is_owner:
            raise PermissionDenied
        is_past = upload.state in {Upload.State.CONFIRMED, Upload.State.FORGOTTEN}
        if is_past or place_of(name) > place_of(upload.step):
            return HttpResponseRedirect(self._where(upload))
        return VIEWS[name](self, request, upload, model).respond()

    def _find(self, request: HttpRequest, key: str) -> Upload:
        if not rights.may_upload(request):
            raise PermissionDenied
        upload = (
            rights.readable_uploads(request).filter(pk=key).first() if "\0" not in key else None
        )
        if upload is None:
            raise Http404("There is no such upload.")
        return upload

    def _where(self, upload: Upload) -> str:
        if upload.state in {Upload.State.CONFIRMED, Upload.State.FORGOTTEN}:
            return self.list_address() if upload.load_id is None else self.load_address(upload)
        return self.address(upload, upload.step)

    def address(self, upload: Upload, step: str) -> str:
        """Return the address of a step."""
        site = self.admin_site.name
        return reverse(f"admin:ingest_upload_{step}", args=[upload.key], current_app=site)

    def list_address(self) -> str:
        """Return the address of the list of uploads."""
        return reverse("admin:ingest_upload_changelist", current_app=self.admin_site.name)

    def load_address(self, upload: Upload) -> str:
        """Return the address of the upload's load, or of the list if the site shows no loads."""
        return self.address_of_load(upload.load_id or 0) or self.list_address()

    def address_of_load(self, number: int) -> str | None:
        """Return the address of a load; None if the site shows no loads."""
        return address_on(self.admin_site, Load, "change", number)

    def context(self, request: HttpRequest, upload: Upload | None, name: str) -> dict[str, Any]:
        """Return the context that all pages of an upload share."""
        reached = -1 if upload is None else place_of(upload.step)
        steps = [
            {
                "title": step.title,
                "is_current": step.name == name,
                "link": self.address(upload, step.name)
                if upload is not None and place <= reached
                else None,
            }
            for place, step in enumerate(STEPS)
        ]
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "upload": upload,
            "steps": [
                {"title": _("Model and file"), "is_current": upload is None, "link": None},
                *steps,
            ],
            "is_owner": upload is None or upload.owner_id == request.user.pk,
            "has_view_permission": True,
        }

    def page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        """Return a page of an upload."""
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/ingest/way/{name}.html", context)


_PROTECTED = method_decorator(csrf_protect)(UploadAdmin.choose)


def load_file_address(site: admin.AdminSite, model: type[Model]) -> str | None:
    """Return the address for uploading a file for a model; None if the site takes no uploads."""
    address = address_on(site, Upload, "add")
    return None if address is None else f"{address}?{MODEL_VAR}={model._meta.label}"

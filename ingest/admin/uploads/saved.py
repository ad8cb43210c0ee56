"""Saved layouts: listed, edited as a form, shown and downloaded as TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import content_disposition_header
from django.utils.text import get_valid_filename
from django.utils.translation import gettext as _

from ingest.admin.addresses import GuardedList, read_number
from ingest.admin.uploads import rights
from ingest.admin.uploads.forms import FileForm, SaveLayoutForm
from ingest.admin.uploads.mapping import MappingForm
from ingest.admin.uploads.wide_forms import accepts_wide_forms
from ingest.exceptions import IngestError
from ingest.terminal import safe_text
from ingest.uploads.models import SavedLayout

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest

    from ingest.layout import Layout

    Base = admin.ModelAdmin[SavedLayout]
else:
    Base = admin.ModelAdmin

METHODS = ("GET", "HEAD", "POST")


@admin.register(SavedLayout)
class SavedLayoutAdmin(GuardedList, Base):
    """The saved layouts that a user may use; their owner can change them."""

    list_display = ("name", "model", "owner", "is_shared", "changed_at")
    list_filter = ("is_shared", "model")
    search_fields = ("name",)
    actions = None
    show_full_result_count = False

    class Media:
        css = {"all": ["ingest/admin.css", "ingest/uploads.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[SavedLayout]:
        return rights.readable_layouts(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return rights.may_upload(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return rights.may_upload(request)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False  # a layout is saved in the steps of an upload

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and self._is_own(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and self._is_own(request, obj)

    @staticmethod
    def _is_own(request: HttpRequest, saved: SavedLayout) -> bool:
        return rights.may_upload(request) and saved.owner_id == request.user.pk

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.toml_view)
        own = [path("<int:number>/layout.toml", view, name="ingest_savedlayout_toml")]
        return own + super().get_urls()

    def toml_view(self, request: HttpRequest, number: int) -> HttpResponse:
        """Return the layout as a file for the command."""
        saved = self._find(request, str(number))
        name = get_valid_filename(f"{saved.name}.toml").lstrip(".-")
        headers = {
            "Content-Disposition": content_disposition_header(as_attachment=True, filename=name),
            "X-Content-Type-Options": "nosniff",
        }
        return HttpResponse(
            safe_text(saved.layout),
            content_type="application/toml; charset=utf-8",
            headers=headers,
        )

    def _find(self, request: HttpRequest, key: str) -> SavedLayout:
        if not rights.may_upload(request):
            raise PermissionDenied
        number = read_number(unquote(key))
        saved = self.get_queryset(request).filter(pk=-1 if number is None else number).first()
        if saved is None:
            raise Http404("There is no such layout.")
        return saved

    @method_decorator(accepts_wide_forms)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a layout as TOML and, to its owner, as a form."""
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        saved = self._find(request, object_id)
        model = rights.find_model_of(saved.model)
        if model is None or not rights.may_load(self.admin_site, request, model):
            raise PermissionDenied
        is_own = self._is_own(request, saved)
        if request.method == "POST" and not is_own:
            raise PermissionDenied
        editor = _Editor(self.admin_site, request, saved, model)
        if request.method == "POST" and editor.save():
            self.log_change(request, saved, _("The layout was saved."))
            self.message_user(request, _("The layout was saved."), messages.SUCCESS)
            return HttpResponseRedirect(request.path)
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": str(saved),
            "saved": saved,
            "original": saved,
            "is_owner": is_own,
            "has_view_permission": True,
            "delete_link": reverse(
                "admin:ingest_savedlayout_delete",
                args=[saved.pk],
                current_app=self.admin_site.name,
            ),
            **editor.shown(),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/ingest/way/saved_layout.html", context)


def _ignored(layout: Layout) -> frozenset[str]:
    """Return the options of sources without effect on the format of a layout."""
    from ingest.sources.base import Source

    name = layout.source.get("format", "delimited")
    return next((kind.ignores for kind in Source.registry if kind.format == name), frozenset())


class _Editor:
    """The forms of a saved layout, for one request."""

    def __init__(
        self, site: admin.AdminSite, request: HttpRequest, saved: SavedLayout, model: type[Model]
    ) -> None:
        self._site = site
        self._request = request
        self._saved = saved
        self._model = model
        self._error = ""
        posted = request.POST if request.method == "POST" else None
        self._name = SaveLayoutForm(posted, instance=saved)
        layout = self._layout()
        self._reading = FileForm(layout, ignores=_ignored(layout), data=posted)

    def _layout(self) -> Layout:
        from ingest.layout.registry import read_text

        return read_text(self._saved.layout, str(self._saved))

    def _mapping(self, layout: Layout) -> MappingForm:
        allowed = rights.allowed_fields(self._site._registry[self._model], self._request)
        return MappingForm(layout=layout, columns=self._saved.columns, fields=allowed)

    def save(self) -> bool:
        """Save what was posted; return False if the forms must be shown again."""
        if not (self._name.is_valid() and self._reading.is_valid()):
            return False
        try:
            layout = self._mapping(self._reading.to_layout()).to_layout(self._request.POST)
        except IngestError as error:
            self._error = safe_text(str(error))
            return False
        for refusal in rights.refusals(self._site, self._request, self._model, layout):
            raise PermissionDenied(refusal)
        saved = self._name.save(commit=False)
        saved.layout = layout.to_toml()
        saved.save()
        return True

    def shown(self) -> dict[str, Any]:
        """Return the context for the page."""
        mapping = self._mapping(self._layout())
        return {
            "error": self._error,
            "name_form": self._name,
            "form": self._reading,
            "rows": mapping.rows(),
            "typed_names": mapping.typed_names,
            "layout_text": self._saved.layout,
        }

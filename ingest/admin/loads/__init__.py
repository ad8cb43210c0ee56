"""Loads in the admin, which can be viewed, resumed, cancelled and undone, but not edited."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import (
    FileResponse,
    Http404,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _

from ingest.admin.addresses import GuardedList, read_number
from ingest.admin.large_tables import LargeTableAdmin
from ingest.admin.large_tables.filters import LOAD_VAR
from ingest.admin.loads import progress, stages, wording
from ingest.admin.loads.actions import ACTIONS, LoadAction
from ingest.admin.loads.columns import LIST_DISPLAY, LoadColumns
from ingest.admin.loads.rejects import FILES, RejectPages, as_lines, files_of, open_file
from ingest.admin.loads.resuming import NotResumed
from ingest.admin.sites import address_on
from ingest.exceptions import IngestError
from ingest.ledger.models import Load
from ingest.results import details_of
from ingest.uploads.models import Upload

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    Base = admin.ModelAdmin[Load]
else:
    Base = admin.ModelAdmin

LOADS_ASKED = 200
"""The most loads in one request for progress: more than a page lists."""
CHUNKS_SHOWN = 50
CHOICE = "choice"
"""The name of the checkbox on the page that confirms an action."""
LINES = "application/jsonl"
UPLOAD_LOAD = "ingest.upload_load"
"""The permission to load a file from the browser."""
VIEW_REJECT = "ingest.view_reject"
"""The permission to see rejected values."""


@admin.register(Load)
class LoadAdmin(LoadColumns, GuardedList, Base):
    """Loads, newest first."""

    list_display = [*LIST_DISPLAY]
    list_filter = ["status", "model"]
    search_fields = ["source", "model", "who"]
    list_per_page = 50
    show_full_result_count = False
    actions = None
    change_list_template = "admin/ingest/way/change_list.html"

    class Media:
        css = {"all": ["ingest/admin.css"]}
        js = ["ingest/live.js"]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may_load = request.user.has_perm(UPLOAD_LOAD)
        context = {
            "ingest_list_template": "admin/change_list.html",
            "ingest_load_file": address_on(self.admin_site, Upload, "add") if may_load else None,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        listed = super().get_changelist_instance(request)
        progress.find_stopped(listed.result_list)
        return listed

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        if lookup.partition("__")[0] == "error":  # otherwise it could be guessed letter by letter
            return request is not None and request.user.has_perm(VIEW_REJECT)
        return super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        own = [
            path("progress/", wrap(self.progress_view), name="ingest_load_progress"),
            path(
                "<int:load_id>/rejects.jsonl",
                wrap(self.rejects_view),
                name="ingest_load_rejects",
            ),
            *(
                path(
                    f"<int:load_id>/reject-{name}/",
                    wrap(partial(self.file_view, name=name)),
                    name=f"ingest_load_reject_{name}",
                )
                for name in FILES
            ),
        ]
        for action in ACTIONS:
            view = wrap(partial(self.action_view, action=action))
            own.append(
                path(f"<int:load_id>/{action.name}/", view, name=f"ingest_load_{action.name}")
            )
        return own + super().get_urls()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - Django's signature
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show one load."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_view_permission(request):
            raise PermissionDenied
        load = self.get_object(request, unquote(object_id))
        if load is None:
            raise Http404(_("There is no load %(load)s.") % {"load": object_id})
        context = {**self._context(request, load), **self._parts(request, load)}
        return self._page(request, "load", {**context, **(extra_context or {})})

    def _parts(self, request: HttpRequest, load: Load) -> dict[str, Any]:
        allowed = request.user.has_perm
        chunks = load.chunks.using(load._state.db).order_by("-ordinal")
        return {
            "may_see_error": allowed(VIEW_REJECT),
            "live": {name: progress.live(load, name) for name in progress.texts_of(load)},
            "has_details": bool(details_of(load)),
            "bar": progress.bar(load),
            "is_running": progress.is_underway(load),
            "is_unstarted": progress.is_unstarted(load),
            "kind": progress.kind_of(load),
            "decisions": list(wording.translate_decisions(load.decisions)),
            "pieces": stages.draw(load.stages),
            "picture_width": stages.WIDTH,
            "chunks": Paginator(chunks, CHUNKS_SHOWN).get_page(request.GET.get("chunks"))
            if allowed("ingest.view_chunk")
            else None,
            "rejects": RejectPages(load, request.GET) if allowed("ingest.view_reject") else None,
            "reject_files": files_of(load),
            "reasons": [{**told, "count": f"{told['count']:,}"} for told in load.reasons],
            "actions": [
                action
                for action in ACTIONS
                if allowed(action.permission) and action.refusal(load) is None
            ],
            "rows_link": self._rows_link(request, load),
        }

    def _rows_link(self, request: HttpRequest, load: Load) -> str | None:
        """Return the address of the list of the load's rows, if this site has such a list."""
        try:
            model = apps.get_model(load.model)
        except (LookupError, ValueError):
            return None
        rows_admin = self.admin_site._registry.get(model)
        if not isinstance(rows_admin, LargeTableAdmin):
            return None
        if not rows_admin.has_view_or_change_permission(request):
            return None
        address = address_on(self.admin_site, model, "changelist")
        return f"{address}?{LOAD_VAR}={load.pk}"

    def progress_view(self, request: HttpRequest) -> HttpResponse:
        """Return the progress of the loads named by ``?load=``."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        numbers = map(read_number, request.GET.getlist("load"))
        asked = [number for number in numbers if number is not None]
        loads = list(self.get_queryset(request).filter(pk__in=asked[:LOADS_ASKED]))
        progress.find_stopped(loads)
        return JsonResponse({str(load.pk): progress.as_json(load) for load in loads})

    def rejects_view(self, request: HttpRequest, load_id: int) -> HttpResponseBase:
        """Return the rejects that the ledger keeps, as JSON Lines."""
        load = self._load(request, load_id, "ingest.view_reject")
        return StreamingHttpResponse(
            as_lines(RejectPages(load, request.GET).chosen()),
            content_type=LINES,
            headers={"Content-Disposition": f'attachment; filename="load-{load.pk}-rejects.jsonl"'},
        )

    def file_view(self, request: HttpRequest, load_id: int, name: str) -> HttpResponseBase:
        """Return a file to which the load wrote all its rejects."""
        load = self._load(request, load_id, "ingest.view_reject")
        file = open_file(load, name)
        if file is None:
            raise Http404(_("The file of rejects is no longer on this machine."))
        given = Path(load.reject_log if name == "log" else load.reject_file)
        return FileResponse(
            file,
            as_attachment=True,
            filename=f"load-{load.pk}-reject-{name}{given.suffix}",
            content_type=LINES if name == "log" else "application/octet-stream",
        )

    def action_view(self, request: HttpRequest, load_id: int, action: LoadAction) -> HttpResponse:
        """Ask for confirmation; perform the action on POST."""
        load = self._load(request, load_id, action.permission)
        if request.method not in {"GET", "HEAD", "POST"}:
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        alias = load._state.db or "default"
        refusal, question = action.refusal(load), None
        if request.method != "POST" and refusal is None:
            try:
                question = action.question(load, alias)
            except IngestError as error:
                refusal = wording.translate_refusal(str(error))
        if request.method != "POST" or refusal is not None:
            context = {
                **self._context(request, load),
                "title": _("%(action)s load %(load)s") % {"action": action.title, "load": load.pk},
                "action": action,
                "question": question,
                "refusal": refusal,
            }
            return self._page(request, "confirm", context)
        try:
            told = action.do(load, alias, CHOICE in request.POST)
        except IngestError as error:
            said = wording.translate_refusal(str(error))
            if isinstance(error, NotResumed) and not request.user.has_perm(VIEW_REJECT):
                said = error.without_values
            self.message_user(request, said, messages.ERROR)
        else:
            self.log_change(request, load, told)
            self.message_user(request, told, messages.SUCCESS)
        return HttpResponseRedirect(self._address(load))

    def _load(self, request: HttpRequest, load_id: int, permission: str) -> Load:
        """Return a load, if the user may view it and has the permission."""
        if not (self.has_view_permission(request) and request.user.has_perm(permission)):
            raise PermissionDenied
        load: Load | None = self.get_object(request, str(load_id))
        if load is None:
            raise Http404(_("There is no load %(load)s.") % {"load": load_id})
        return load

    def _address(self, load: Load) -> str:
        return reverse("admin:ingest_load_change", args=[load.pk], current_app=self.admin_site.name)

    def _context(self, request: HttpRequest, load: Load) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": load,
            "load": load,
            "title": _("Load %(load)s") % {"load": load.pk},
            "media": self.media,
            "has_view_permission": True,
        }

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/ingest/load/{name}.html", context)

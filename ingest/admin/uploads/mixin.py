"""A link to load a file next to "Add", in the list of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.template.loader import select_template

from ingest.admin.uploads import load_file_address, rights

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest, HttpResponse

    Base = ModelAdmin[Any]
else:
    Base = object


class LoadFileAdmin(Base):
    """A mixin for a ModelAdmin, placed before it: its list has a link "Load a file".

    The link is shown to users who may load files into the model.
    """

    change_list_template = "admin/ingest/way/change_list.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        model = self.model
        address = None
        if rights.may_load(self.admin_site, request, model):
            address = load_file_address(self.admin_site, model)
        context = {
            "ingest_load_file": address,
            "ingest_list_template": self._list_template(),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def _list_template(self) -> Any:
        own: Any = super().change_list_template
        options = self.model._meta
        names = [own] if isinstance(own, str) else list(own or ())
        names = names or [
            f"admin/{options.app_label}/{options.model_name}/change_list.html",
            f"admin/{options.app_label}/change_list.html",
            "admin/change_list.html",
        ]
        return select_template(names).template

"""Who may load what: checks the permissions of the model, its ModelAdmin and the layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth import get_permission_codename
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ingest.admin.loads import UPLOAD_LOAD
from ingest.ledger.models import Load
from ingest.uploads.models import SavedLayout, Upload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.contrib.admin import AdminSite, ModelAdmin
    from django.db.models import Field, Model, QuerySet
    from django.http import HttpRequest

    from ingest.layout import Layout

CHANGES = {"update": ("change",), "upsert": ("add", "change"), "sync": ("add", "change", "delete")}
"""The permissions that ``on_conflict`` requires besides ``add``."""


def may_upload(request: HttpRequest) -> bool:
    """Return whether the user may load files at all."""
    return bool(request.user.has_perm(UPLOAD_LOAD))


def may_load(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Return whether the user may load files into a model."""
    found = site._registry.get(model)
    return (
        found is not None
        and may_upload(request)
        and _is_loadable(model)
        and found.has_add_permission(request)
        and has_model_permission(request, model, "add")
        and bool(allowed_fields(found, request))
    )


def may_handle(site: AdminSite, request: HttpRequest, model: type[Model], on_conflict: str) -> bool:
    """Return whether the user may run a load with this ``on_conflict``."""
    found = site._registry.get(model)
    for action in CHANGES.get(on_conflict, ()):
        asked = getattr(found, f"has_{action}_permission", None)
        if asked is None or not asked(request) or not has_model_permission(request, model, action):
            return False
    return True


def has_model_permission(request: HttpRequest, model: type[Model], action: str) -> bool:
    """Return whether the user has a permission of the model, regardless of its ModelAdmin."""
    options = model._meta
    name = get_permission_codename(action, options)
    return bool(request.user.has_perm(f"{options.app_label}.{name}"))


def loadable_models(site: AdminSite, request: HttpRequest) -> list[type[Model]]:
    """Return the models that the user may load files into, by their names."""
    found = [model for model in site._registry if may_load(site, request, model)]
    return sorted(found, key=lambda model: str(model._meta.verbose_name))


def find_model_of(label: str) -> type[Model] | None:
    """Return the model with this label; None if it does not exist any more."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        return None


def _is_loadable(model: type[Model]) -> bool:
    is_own = model._meta.app_label != "ingest"
    # The ledger is in the same database as the rows, and uploads are in the ledger's database.
    return is_own and router.db_for_write(model) == router.db_for_write(Load)


def allowed_fields(admin: ModelAdmin[Any], request: HttpRequest) -> dict[str, Field[Any, Any]]:
    """Return the fields that the user may fill in in the model's own admin, by name.

    A key that PostgreSQL generates is normally not included. But rows to update can be found by it,
    so users who may change rows may fill it in, unless the ``ModelAdmin`` excludes it or makes it
    read-only.
    """
    shown = flatten_fieldsets(admin.get_fieldsets(request, None))
    hidden = {*admin.get_readonly_fields(request, None), *(admin.get_exclude(request, None) or ())}
    fields: dict[str, Field[Any, Any]] = {}
    key = admin.model._meta.pk
    if isinstance(key, models.AutoField) and key.name not in hidden and _may_change(admin, request):
        fields[key.name] = key
    for name in shown:
        if not isinstance(name, str) or name in hidden:
            continue
        try:
            field = admin.model._meta.get_field(name)
        except FieldDoesNotExist:  # a method, or a field of a custom form
            continue
        is_column = isinstance(field, models.Field) and field.concrete and not field.many_to_many
        if is_column and field.editable and not field.generated:
            fields[name] = field
    return fields


def _may_change(admin: ModelAdmin[Any], request: HttpRequest) -> bool:
    is_asked = admin.has_change_permission(request)
    return is_asked and has_model_permission(request, admin.model, "change")


def refusals(
    site: AdminSite, request: HttpRequest, model: type[Model], layout: Layout
) -> Iterator[str]:
    """Yield a message for each part of a layout that the user may not use."""
    # Arrow, which layouts need, is not imported before it is used.
    from ingest.uploads.layouts import field_named

    if layout.hook is not None:
        yield _("A layout from the browser runs no function (hook).")
    if layout.others != "ignore":
        yield _("A layout from the browser names every column that it uses.")
    if layout.model not in {None, model._meta.label}:
        yield _("The layout is for %(model)s.") % {"model": layout.model}
    allowed = allowed_fields(site._registry[model], request)
    for name, said in layout.fields.items():
        field = field_named(model, name)
        if field is None or field.name not in allowed:
            yield _("You may not fill in the field %(field)s.") % {"field": name}
        elif said.create is not None:
            yield from refuse_creating(site, request, field, said.create)


def refuse_creating(
    site: AdminSite, request: HttpRequest, field: Any, create: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a message for each reason why the user may not create missing parents like these."""
    parent = field.remote_field.model if field.remote_field is not None else None
    if parent is None or not may_add(site, request, parent):
        yield _("You may not create a missing %(parent)s.") % {
            "parent": field.name if parent is None else capfirst(parent._meta.verbose_name)
        }
        return
    allowed = allowed_fields(site._registry[parent], request)
    for name, value in create.items():
        if name not in allowed:
            yield _("You may not fill in the field %(field)s.") % {"field": f"{field.name}.{name}"}
        elif isinstance(value, dict) and value.get("create") is not None:
            grandparent = parent._meta.get_field(name)
            yield from refuse_creating(site, request, grandparent, value["create"])


def may_add(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Return whether the user may add rows of a model in this admin."""
    found = site._registry.get(model)
    is_asked = found is not None and found.has_add_permission(request)
    return is_asked and has_model_permission(request, model, "add")


def readable_uploads(request: HttpRequest) -> QuerySet[Upload]:
    """Return the uploads that the user may see: all with the permission, otherwise their own."""
    uploads = Upload.objects.select_related("load", "owner")
    if request.user.has_perm("ingest.view_upload"):
        return uploads
    return uploads.filter(owner=request.user.pk)


def readable_layouts(request: HttpRequest) -> QuerySet[SavedLayout]:
    """Return the saved layouts that the user may see."""
    saved = SavedLayout.objects.select_related("owner")
    if request.user.has_perm("ingest.view_savedlayout"):
        return saved
    return saved.filter(models.Q(owner=request.user.pk) | models.Q(is_shared=True))

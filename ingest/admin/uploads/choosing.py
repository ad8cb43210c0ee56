"""Applies a layout to an upload, limited to the owner's permissions and the file's columns."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from ingest.admin.uploads import rights
from ingest.exceptions import SourceError
from ingest.layout.completing import join_lookups
from ingest.layout.definition import Conflict
from ingest.results.rejects import shorten
from ingest.uploads.layouts import columns_of, field_named, read_columns

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.db.models import Model
    from django.http import HttpRequest

    from ingest.layout import FieldLayout, Layout
    from ingest.uploads.layouts import Offer
    from ingest.uploads.models import Upload


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def use_layout(
    site: AdminSite, request: HttpRequest, upload: Upload, model: type[Model], offer: Offer
) -> None:
    """Use a layout for an upload, without the parts that its owner may not use."""
    columns = read_columns(upload, offer.layout) or ()
    layout = allowed_part(site, request, model, offer.layout)
    set_layout(upload, without_missing(layout, columns), columns)
    upload.options["start"] = offer.name
    upload.options["conflict"] = allowed_conflict(site, request, model, offer.layout)
    if upload.options["conflict"]:
        upload.options.pop("load", None)  # the layout's options are filled in


def allowed_conflict(
    site: AdminSite, request: HttpRequest, model: type[Model], layout: Layout
) -> dict[str, Any]:
    """Return a layout's options for existing rows; none if the user may not use them."""
    said = layout.conflict.given()
    if not rights.may_handle(site, request, model, said.get("on_conflict", "")):
        return {}
    found: dict[str, Any] = json.loads(json.dumps(said, default=str))
    return found


def allowed_part(
    site: AdminSite, request: HttpRequest, model: type[Model], layout: Layout
) -> Layout:
    """Return a layout without fields that the user may not fill in or parents not to be created."""
    layout, _joined = join_lookups(layout, model)
    # The conflict options are shown under "How to load", and have their own permission.
    layout = dataclasses.replace(layout, conflict=Conflict())
    allowed = rights.allowed_fields(site._registry[model], request)
    fields: dict[str, FieldLayout] = {}
    for name, said in layout.fields.items():
        field = field_named(model, name)
        if field is None or field.name not in allowed:
            continue
        is_refused = said.create is not None and any(
            rights.refuse_creating(site, request, field, said.create)
        )
        fields[field.name] = dataclasses.replace(said, create=None) if is_refused else said
    return dataclasses.replace(
        layout,
        fields=fields,
        model=model._meta.label,
        about=None,
        hook=None,
        others="ignore",
        match=None,
        ignore_columns=(),
        origin=None,
    )


def without_missing(layout: Layout, columns: tuple[str, ...]) -> Layout:
    """Return a layout without the fields that are fed by missing columns."""
    fields = {
        name: said
        for name, said in layout.fields.items()
        if all(
            column in columns if isinstance(column, str) else column <= len(columns)
            for column in columns_of(said)
        )
    }
    return dataclasses.replace(layout, fields=fields)


def set_layout(upload: Upload, layout: Layout, columns: tuple[str, ...]) -> None:
    """Set how an upload is read, and discard the result of an earlier dry run.

    Raise ``SourceError`` for a header that PostgreSQL cannot store.
    """
    for place, name in enumerate(columns, 1):
        if _UNSTORABLE.search(name):
            raise SourceError(
                _(
                    "The name of column %(number)s has a character that cannot be stored: "
                    "%(name)s. Fix the header of the file, or look whether its encoding is another."
                )
                % {"number": place, "name": shorten(name)}
            )
    upload.layout = layout.to_toml()
    upload.options = {**upload.options, "columns": list(columns)}
    upload.state = upload.State.STORED
    upload.check_result = {}

"""Accepts a received file: it is analyzed, and stored if it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from ingest.admin.loads import background
from ingest.admin.uploads import rights
from ingest.exceptions import SourceError
from ingest.uploads.limits import check_unpacked
from ingest.uploads.models import Upload
from ingest.uploads.storing import SAMPLE, bare_file_name, delete_orphan, keep, keep_sample

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.http import HttpRequest

    from ingest.uploads.receiving import ReceivingHandler


def receive(site: AdminSite, request: HttpRequest, label: str, handler: ReceivingHandler) -> Upload:
    """Store the file of a request, and detect how to read it.

    Raise ``IngestError`` for a file that cannot be loaded; then nothing of it is stored.
    """
    received, file = handler.received, request.FILES["file"]
    if isinstance(file, list):
        raise SourceError(_("Upload one file."))
    if not received.size:
        raise SourceError(_("The file is empty: there is nothing to load."))
    background.refuse_memory()
    name = bare_file_name(received.name)
    check_unpacked(file, name)
    user: Any = request.user
    upload = Upload(owner=user, model=label, name=name, size=received.size, digest=received.digest)
    try:
        sample = keep_sample(file, name)
        upload.options = {} if sample is None else {SAMPLE: sample}
        upload.storage_name = keep(file, name)
        upload.save()
        propose_layout(site, request, upload)
    except BaseException:
        delete_orphan(upload)
        upload.storage_name = ""
        if not upload._state.adding:
            upload.delete()
        raise
    return upload


def propose_layout(site: AdminSite, request: HttpRequest, upload: Upload) -> None:
    """Detect how to read a file, and choose the layout that fits it best."""
    # Arrow, which this needs, is not imported when the server starts.
    from ingest.admin.uploads.choosing import use_layout
    from ingest.uploads.layouts import detect_first, offers, sheets_of

    model = rights.find_model_of(upload.model)
    if model is None:
        raise SourceError(_("There is no model %(model)s.") % {"model": upload.model})
    sheets = sheets_of(upload)
    found = detect_first(upload, model, sheets)
    best = offers(upload, model, found, rights.readable_layouts(request))[0]
    use_layout(site, request, upload, model, best)
    upload.options["sheets"] = list(sheets)
    upload.options["findings"] = list(found.findings)
    if SAMPLE in upload.options:
        upload.options["findings"].append(
            _("Of each large sheet, only the first and the last rows were looked at.")
        )
    upload.save()

"""The admin: loads, uploaded files, and lists of tables of any size."""

from ingest.admin.large_tables import LargeTableAdmin
from ingest.admin.loads import LoadAdmin
from ingest.admin.uploads import UploadAdmin
from ingest.admin.uploads.mixin import LoadFileAdmin
from ingest.admin.uploads.saved import SavedLayoutAdmin

__all__ = ["LargeTableAdmin", "LoadAdmin", "LoadFileAdmin", "SavedLayoutAdmin", "UploadAdmin"]

"""The admin: loads, and the rows of tables of any size."""

from ingest.admin.large_tables import LargeTableAdmin
from ingest.admin.loads import LoadAdmin

__all__ = ["LargeTableAdmin", "LoadAdmin"]

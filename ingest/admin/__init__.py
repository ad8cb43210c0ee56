"""The admin: loads, and the rows of tables of any size."""

from ingest.admin.large_tables import LargeTableAdmin

__all__ = ["LargeTableAdmin"]

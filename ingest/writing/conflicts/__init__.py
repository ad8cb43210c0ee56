"""Load records whose key is already in the table: ignore, update, upsert and sync."""

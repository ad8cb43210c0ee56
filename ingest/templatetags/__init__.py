"""Template tags of ingest's own templates."""

"""What ingest's own templates load."""

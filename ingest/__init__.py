"""Load many rows into any Django model's real PostgreSQL table."""

__version__ = "0.1.0"

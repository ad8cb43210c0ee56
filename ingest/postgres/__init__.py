"""Access to PostgreSQL: connection, session, catalog, encoding and errors."""

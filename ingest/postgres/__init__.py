"""Everything that knows PostgreSQL: connection, session, catalog, encoding, errors."""

"""Records whose key the table already has."""

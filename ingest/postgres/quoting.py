"""Quote identifiers and texts for SQL."""

from __future__ import annotations


def quote_name(name: str) -> str:
    """Quote one identifier for SQL; it may contain any character except U+0000."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Quote a constant for SQL, independent of ``standard_conforming_strings``."""
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unquoted(column: str) -> str:
    """Return a column's name as in the catalog: Django uses a quoted name as it is."""
    is_quoted = len(column) > 1 and column.startswith('"') and column.endswith('"')
    return column[1:-1].replace('""', '"') if is_quoted else column


def quote_db_table(db_table: str) -> str:
    """Quote a model's ``db_table`` as Django does: a name already in quotes stays as it is.

    Quotes inside the name are not doubled: ``ods"."sales`` is the table ``sales`` in the schema
    ``ods``.
    """
    if db_table.startswith('"') and db_table.endswith('"'):
        return db_table
    return f'"{db_table}"'


def double_percent(sql: str) -> str:
    """Double the percent signs in names, which would otherwise stand for parameters."""
    return sql.replace("%", "%%")


def quote_for_parameters(name: str) -> str:
    """Quote one identifier for a statement with ``%s`` parameters."""
    return double_percent(quote_name(name))

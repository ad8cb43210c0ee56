"""Which table a load has written to: its cluster, database and oid, and the type of its key."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.postgres.citus import HAS_CITUS, IS_DISTRIBUTED
from ingest.postgres.quoting import double_percent, quote_db_table, quote_for_parameters, unquoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import Model


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableIdentity:
    """A model's table as it is now, and what identifies it."""

    oid: int
    name: str
    """With its schema, quoted."""
    column: str
    """The key's column."""
    is_partitioned: bool
    next_id: int
    """The approximate id of the next transaction."""
    key_type: str
    equals: str
    identity: str
    """The cluster, the database and the oid."""
    is_heap: bool
    is_distributed: bool
    """Whether Citus keeps its rows: their xmin values are those of other nodes."""

    @property
    def key(self) -> str:
        """The key's column, quoted for a statement with parameters."""
        return quote_for_parameters(self.column)


def with_parents(identity: str, parents: Sequence[int]) -> str:
    """Return a table's identity with the oids of its parents' tables, the nearest first."""
    return "+".join([identity, *map(str, parents)])


def find_table(cursor: Any, model: type[Model]) -> TableIdentity | None:
    """Return the table of a model; None if it, or the column of its key, does not exist."""
    cursor.execute(_TABLE, [quote_db_table(model._meta.db_table), column_of_key(model)])
    row = cursor.fetchone()
    if row is None:
        return None
    oid, schema, name, column, is_partitioned, next_id, has_citus = row
    is_distributed = False
    if has_citus:
        cursor.execute(IS_DISTRIBUTED.format(table="%s::pg_catalog.oid"), [str(oid)])
        [is_distributed] = cursor.fetchone()
    key_type, equals = read_type(cursor, oid, column)
    cursor.execute(IDENTITY.format(table="%s::pg_catalog.oid"), [str(oid)] * 2)
    database, is_heap = cursor.fetchone()
    cursor.execute(MAY_IDENTIFY)
    cluster = ""
    if cursor.fetchone()[0]:
        cursor.execute(CLUSTER)
        [cluster] = cursor.fetchone()
    return TableIdentity(
        oid=oid,
        name=f"{quote_for_parameters(schema)}.{quote_for_parameters(name)}",
        column=column,
        is_partitioned=is_partitioned,
        next_id=next_id,
        key_type=double_percent(key_type),
        equals=double_percent(equals),
        identity=f"{cluster}/{database}/{oid}",
        is_heap=is_heap,
        is_distributed=is_distributed,
    )


def read_type(cursor: Any, table: int, column: str) -> tuple[str, str]:
    """Return the base type of a column, and its equality operator, both with their schemas."""
    cursor.execute(
        KEY_TYPE.format(table="%s::pg_catalog.oid", column="%s::pg_catalog.name"),
        [str(table), unquoted(column)],
    )
    name, equals = cursor.fetchone()
    return name, equals


def column_of_key(model: type[Model]) -> str:
    """Return the name of the key's column; empty for a key of several columns."""
    return unquoted(str(getattr(model._meta.pk, "column", None) or ""))


MAY_IDENTIFY = """
SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
"""
CLUSTER = "SELECT s.system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system() s"
IDENTITY = """
SELECT d.oid::pg_catalog.text, NOT EXISTS (
         SELECT FROM (
           SELECT {table} AS oid
           UNION ALL
           SELECT p.relid FROM pg_catalog.pg_partition_tree({table}) p
         ) part
         JOIN pg_catalog.pg_class k ON k.oid OPERATOR(pg_catalog.=) part.oid
         LEFT JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) k.relam
         WHERE k.relkind OPERATOR(pg_catalog.<>) 'p'
           AND (k.relkind OPERATOR(pg_catalog.<>) 'r' OR a.amname OPERATOR(pg_catalog.<>) 'heap')
       )
FROM pg_catalog.pg_database d
WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
"""
"""The database, and whether PostgreSQL's own storage, which has xmin, holds the whole table."""
_TABLE = """
SELECT c.oid::pg_catalog.int8, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
       a.attname::pg_catalog.text,
       c.relkind OPERATOR(pg_catalog.=) 'p',
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
         ::pg_catalog.text::pg_catalog.int8,
       {has_citus}
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::pg_catalog.oid
  AND a.attname OPERATOR(pg_catalog.=) %s::pg_catalog.name
  AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
""".replace("{has_citus}", HAS_CITUS)
KEY_TYPE = """
WITH RECURSIVE base AS (
  SELECT a.atttypid AS oid, false AS is_base
  FROM pg_catalog.pg_attribute a
  WHERE a.attrelid OPERATOR(pg_catalog.=) {table}
    AND a.attname OPERATOR(pg_catalog.=) {column}
  UNION ALL
  SELECT t.typbasetype, t.typbasetype OPERATOR(pg_catalog.=) 0::pg_catalog.oid
  FROM base b JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.oid
  WHERE t.typtype OPERATOR(pg_catalog.=) 'd'
)
SELECT pg_catalog.concat(pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(t.typname)),
       coalesce((
         SELECT pg_catalog.concat(pg_catalog.quote_ident(s.nspname), '.', o.oprname)
         FROM pg_catalog.pg_opclass k
         JOIN pg_catalog.pg_am h ON h.oid OPERATOR(pg_catalog.=) k.opcmethod
         JOIN pg_catalog.pg_amop m ON m.amopfamily OPERATOR(pg_catalog.=) k.opcfamily
         JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) m.amopopr
         JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) o.oprnamespace
         WHERE h.amname OPERATOR(pg_catalog.=) 'btree' AND k.opcdefault
           AND k.opcintype OPERATOR(pg_catalog.=) t.oid
           AND m.amopstrategy OPERATOR(pg_catalog.=) 3
           AND m.amoplefttype OPERATOR(pg_catalog.=) t.oid
           AND m.amoprighttype OPERATOR(pg_catalog.=) t.oid
       ), 'pg_catalog.=')
FROM base b
JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
WHERE t.typtype OPERATOR(pg_catalog.<>) 'd'
"""
"""The base type of a column and the equality operator of its indexes, both with their schemas."""

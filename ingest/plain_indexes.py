"""Which indexes are all that their definition says, so that it can bring them back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.session import Session
    from ingest.table import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetAsideIndex:
    """One index that is built after the rows are in."""

    name: str
    definition: str
    """The CREATE INDEX statement."""
    comment: str | None
    constraint_kind: str | None
    """``p`` or ``u`` where it serves a primary key or a unique constraint of the same name."""
    constraint_comment: str | None
    is_unique: bool
    keys: tuple[str, ...]
    """Its keys as SQL expressions."""
    predicate: str | None
    """The condition of a partial index, as an SQL expression."""


def read_plain_indexes(
    session: Session, table: Table, *, with_unique: bool, drawn: str | None = None
) -> tuple[SetAsideIndex, ...]:
    """Give the indexes that can be dropped and built again with nothing lost.

    ``with_unique``: those of unique and primary keys, too, where nothing else depends on them; else
    only those that refuse no row, for they have the column whose values are ``drawn``.
    """
    names = [field.name for field in dataclasses.fields(SetAsideIndex)]
    rows = session.fetch(_INDEXES, table.oid, with_unique, drawn)
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return tuple(SetAsideIndex(**{**row, "keys": tuple(row["keys"])}) for row in found)


# Valid and ready, and with nothing that its definition does not say: a tablespace of its own, a
# mark for CLUSTER or the replica identity, statistics targets, an extension or another object that
# depends on it or on its constraint, a partitioned index above it, a label. Nor one that calls a
# function of the user's own: CREATE INDEX calls it as the table's owner and with another
# search_path than COPY does. The unique ones come first: a duplicate is found before the rest.
_INDEXES = """
SELECT c.relname::text, pg_catalog.pg_get_indexdef(i.indexrelid),
       pg_catalog.obj_description(i.indexrelid, 'pg_class'),
       k.contype::text, pg_catalog.obj_description(k.oid, 'pg_constraint'), i.indisunique,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM generate_series(1, i.indnkeyatts) n ORDER BY n),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid
    AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = $1::int8::oid AND c.relkind = 'i' AND NOT c.relispartition
  AND NOT (i.indisexclusion OR i.indisreplident OR i.indisclustered)
  AND (NOT i.indisunique OR i.indimmediate AND NOT coalesce(k.condeferrable, false) AND (
    $2::bool OR EXISTS (SELECT FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = i.indrelid AND a.attname = $3::text
                          AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))))
  AND i.indisvalid AND i.indisready AND i.indislive
  AND c.reltablespace = 0 AND current_setting('default_tablespace') = ''
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = i.indexrelid AND coalesce(a.attstattarget, -1) <> -1)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
                    AND d.refobjid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid = 'pg_catalog.pg_constraint'::regclass
                    AND d.refobjid = k.oid AND d.objid <> i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.deptype IN ('e', 'x', 'P', 'S')
                    AND (d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                         OR d.classid = 'pg_catalog.pg_constraint'::regclass AND d.objid = k.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
                    AND d.refclassid IN ('pg_catalog.pg_proc'::regclass,
                                         'pg_catalog.pg_operator'::regclass))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_seclabel s WHERE s.objoid IN (i.indexrelid, k.oid))
ORDER BY i.indisunique DESC, c.relname::text COLLATE "C"
"""

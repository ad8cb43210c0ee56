"""Which indexes are all that their definition says, so that it can bring them back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.table import REREAD_BY_NAME

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
    session: Session,
    table: Table,
    *,
    with_unique: bool,
    drawn: str | None = None,
    keeps_primary: bool = False,
) -> tuple[SetAsideIndex, ...]:
    """Give the indexes that can be dropped and built again with nothing lost.

    ``with_unique``: those of unique and primary keys, too, where nothing else depends on them; else
    only those that refuse no row, for they have the column whose values are ``drawn``.
    ``keeps_primary``: never that of the primary key.
    """
    names = [field.name for field in dataclasses.fields(SetAsideIndex)]
    given = (table.oid, with_unique, drawn, REREAD_BY_NAME, keeps_primary)
    rows = session.fetch(_INDEXES, *given)
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return tuple(SetAsideIndex(**{**row, "keys": tuple(row["keys"])}) for row in found)


# Valid and ready, and with nothing that its definition does not say: a tablespace of its own, a
# mark for CLUSTER or the replica identity, statistics targets, an extension or another object that
# depends on it or on its constraint, a partitioned index above it, a label. Nor one that calls a
# function of the user's own: CREATE INDEX calls it as the table's owner and with another
# search_path than COPY does. Nor one whose definition does not name each operator. The unique ones
# come first: a duplicate is found before the rest.
_INDEXES = """
SELECT c.relname::pg_catalog.text, pg_catalog.pg_get_indexdef(i.indexrelid),
       pg_catalog.obj_description(i.indexrelid, 'pg_class'),
       k.contype::pg_catalog.text, pg_catalog.obj_description(k.oid, 'pg_constraint'),
       i.indisunique,
       ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, n, false)
             FROM pg_catalog.generate_series(1, i.indnkeyatts) n ORDER BY n),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid)
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid OPERATOR(pg_catalog.=) i.indexrelid
  AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
  AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u,x}'::pg_catalog."char"[])
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND c.relkind OPERATOR(pg_catalog.=) 'i' AND NOT c.relispartition
  AND NOT pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
    OPERATOR(pg_catalog.~) $4::pg_catalog.text
  AND NOT (i.indisexclusion OR i.indisreplident OR i.indisclustered)
  AND NOT (i.indisprimary AND $5::boolean)
  AND (NOT i.indisunique OR i.indimmediate AND NOT coalesce(k.condeferrable, false) AND (
    $2::boolean OR EXISTS (
      SELECT FROM pg_catalog.pg_attribute a
      WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid
        AND a.attname OPERATOR(pg_catalog.=) $3::pg_catalog.name
        AND a.attnum OPERATOR(pg_catalog.=)
            ANY ((i.indkey::smallint[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]))))
  AND i.indisvalid AND i.indisready AND i.indislive
  AND c.reltablespace OPERATOR(pg_catalog.=) 0
  AND pg_catalog.current_setting('default_tablespace') OPERATOR(pg_catalog.=) ''
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid OPERATOR(pg_catalog.=) i.indexrelid
                    AND coalesce(a.attstattarget, -1) OPERATOR(pg_catalog.<>) -1)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid OPERATOR(pg_catalog.=)
                        'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refobjid OPERATOR(pg_catalog.=) i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.refclassid OPERATOR(pg_catalog.=)
                        'pg_catalog.pg_constraint'::pg_catalog.regclass
                    AND d.refobjid OPERATOR(pg_catalog.=) k.oid
                    AND d.objid OPERATOR(pg_catalog.<>) i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.deptype OPERATOR(pg_catalog.=) ANY ('{e,x,P,S}'::pg_catalog."char"[])
                    AND (d.classid OPERATOR(pg_catalog.=)
                         'pg_catalog.pg_class'::pg_catalog.regclass
                         AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
                         OR d.classid OPERATOR(pg_catalog.=)
                            'pg_catalog.pg_constraint'::pg_catalog.regclass
                         AND d.objid OPERATOR(pg_catalog.=) k.oid))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
                    AND d.refclassid OPERATOR(pg_catalog.=) ANY (ARRAY[
                      'pg_catalog.pg_proc'::pg_catalog.regclass,
                      'pg_catalog.pg_operator'::pg_catalog.regclass]::pg_catalog.oid[]))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_seclabel s
                  WHERE s.objoid OPERATOR(pg_catalog.=) ANY (ARRAY[i.indexrelid, k.oid]))
ORDER BY i.indisunique DESC, c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""

"""The operators that compare the values of a type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.postgres.base import Session

_NAMES = {"1": "lt", "2": "lte", "4": "gte", "5": "gt"}
"""Django's names for the comparisons, by the strategy numbers of a B-tree."""


def read_ordering(session: Session, type_oid: int) -> Mapping[str, str]:
    """Return the operators ``lt``, ``lte``, ``gte`` and ``gt`` of a type, each with its schema.

    They are the operators of its default B-tree class. Types without an order, such as ``json`` and
    ``point``, have none.
    """
    rows = session.fetch(_OPERATORS, type_oid)
    operators = {_NAMES[strategy]: operator for strategy, operator, _ in rows}
    element = next((element for *_, element in rows if element is not None), None)
    if element is not None and not read_ordering(session, element):
        return {}
    return operators


# Enums, ranges, composite types and arrays share one class each; varchar and cidr have the class of
# the type to which PostgreSQL casts them without a conversion.
_OPERATORS = """
SELECT x.amopstrategy::pg_catalog.text,
       pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname),
       CASE WHEN p.opcintype OPERATOR(pg_catalog.=) 'pg_catalog.anyarray'::pg_catalog.regtype
            THEN t.typelem::bigint END
FROM pg_catalog.pg_type t
CROSS JOIN LATERAL (
  SELECT c.opcfamily, c.opcintype FROM pg_catalog.pg_opclass c
  JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) c.opcmethod
    AND m.amname OPERATOR(pg_catalog.=) 'btree'
  WHERE c.opcdefault AND (
    c.opcintype OPERATOR(pg_catalog.=) t.oid
    OR c.opcintype OPERATOR(pg_catalog.=) (CASE
      WHEN t.typtype OPERATOR(pg_catalog.=) 'e' THEN 'anyenum'
      WHEN t.typtype OPERATOR(pg_catalog.=) 'r' THEN 'anyrange'
      WHEN t.typtype OPERATOR(pg_catalog.=) 'm' THEN 'anymultirange'
      WHEN t.typtype OPERATOR(pg_catalog.=) 'c' THEN 'record'
      WHEN t.typcategory OPERATOR(pg_catalog.=) 'A' THEN 'anyarray' END)::pg_catalog.regtype
    OR EXISTS (
      SELECT FROM pg_catalog.pg_cast k WHERE k.castsource OPERATOR(pg_catalog.=) t.oid
        AND k.casttarget OPERATOR(pg_catalog.=) c.opcintype
        AND k.castmethod OPERATOR(pg_catalog.=) 'b'
        AND k.castcontext OPERATOR(pg_catalog.=) 'i'))
  ORDER BY c.opcintype OPERATOR(pg_catalog.<>) t.oid, c.opcintype LIMIT 1) p
JOIN pg_catalog.pg_amop x ON x.amopfamily OPERATOR(pg_catalog.=) p.opcfamily
  AND x.amoplefttype OPERATOR(pg_catalog.=) p.opcintype
  AND x.amoprighttype OPERATOR(pg_catalog.=) p.opcintype
  AND x.amopstrategy OPERATOR(pg_catalog.<>) 3  -- "equal"
JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) x.amopopr
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace
WHERE t.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""

"""Tables of Citus, which stores rows in shards: tables on other nodes, over other connections.

Citus lists its tables in ``pg_catalog.pg_dist_partition``. An error of a shard contains the shard's
names, which end in its number, and a refused COPY has neither its SQLSTATE nor a constraint:
``Distribution.own`` replaces them by the table's own.
https://docs.citusdata.com/en/stable/develop/api_metadata.html
"""

from __future__ import annotations

import dataclasses
import re
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ingest.postgres.base import Session
    from ingest.postgres.errors import RowError

INTERNAL_ERROR = "XX000"
"""The SQLSTATE of a COPY that a shard refused: ReportCopyError in multi_copy.c of Citus."""
CUT_NAME = 32
"""The fewest characters that Citus keeps of a name that is too long for the shard's number."""
HAS_CITUS = "pg_catalog.to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
"""Whether the database has the catalog of Citus; only then may its tables be queried."""
SAVEPOINTS = 50
"""How many savepoints may be rolled back within another one. Citus does not release them on the
nodes, where each is one level deeper and has a lock; the end of the outer one releases all."""
WHY_NOT_OURS = "Citus keeps its rows in shards, which do not say which load inserted them"
"""Why a load cannot be undone."""


class OwnName(NamedTuple):
    """A name of the table, which its shards have with a number appended."""

    name: str
    digest: str
    """Replaces the end of a name that is too long for the number."""
    state: str
    """The SQLSTATE of a row that the constraint of this name refuses; empty for a table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distribution:
    """How Citus stores the rows of a table."""

    kind: Literal["distributed", "single shard", "reference", "local"]
    column: str | None
    """The distribution column; None if every row goes to the same shard."""
    names: tuple[OwnName, ...] = dataclasses.field(repr=False)
    """The names of the table, its partitions, their constraints and indexes, and the tables that
    they refer to."""

    def describe(self, table: str) -> str:
        """Return a sentence that describes the table's distribution; ``table`` is quoted."""
        if self.kind == "distributed":
            return f"{table} is a distributed table, with shards by {self.column!r}."
        if self.kind == "single shard":
            return f"{table} is a distributed table with one shard."
        if self.kind == "reference":
            return f"{table} is a reference table, with a copy on every node."
        return f"{table} is a local table that Citus manages."

    def why_not_direct(self, table: str) -> str:
        """Return why neither triggers nor indexes can be left out of a load."""
        article = "a single-shard" if self.kind == "single shard" else f"a {self.kind}"
        return (
            f"{table} is {article} table of Citus: its shards have the triggers and indexes, on "
            "other connections."
        )

    def own(self, refusal: RowError) -> RowError:
        """Return a refusal with the table's own names, SQLSTATE and constraint."""
        message = self._with_own_names(refusal.message)
        # A value may look like a name, but the table's name comes after the values.
        values, bracket, rest = refusal.detail.rpartition(")")
        detail = f"{values}{bracket}{self._with_own_names(rest)}"
        state, constraint = refusal.state, self.own_name(refusal.constraint)
        found = next(
            (
                item
                for item in map(self._find, self._pattern.findall(refusal.message))
                if item is not None and item.state
            ),
            None,
        )
        if found is not None and not constraint:
            constraint = found.name
            state = found.state if state == INTERNAL_ERROR else state
        return refusal._replace(state=state, message=message, detail=detail, constraint=constraint)

    def own_name(self, name: str) -> str:
        """Return the table's own name for a shard's name, and any other name as it is."""
        found = self._find(name)
        return name if found is None else found.name

    def _with_own_names(self, text: str) -> str:
        return self._pattern.sub(lambda found: self.own_name(found[0]), text)

    def _find(self, name: str) -> OwnName | None:
        base, _, shard = name.rpartition("_")
        if not shard.isdecimal() or name in self._by_name:
            return self._by_name.get(name)
        short, _, digest = base.rpartition("_")
        is_short = (item for item in self.names if item.digest == digest)
        return self._by_name.get(base) or next(
            (item for item in is_short if item.name.startswith(short)), None
        )

    @cached_property
    def _by_name(self) -> dict[str, OwnName]:
        return {item.name: item for item in self.names}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Matches shards' names in a message, in any language and quotes."""
        whole = sorted((re.escape(item.name) for item in self.names), key=len, reverse=True)
        cut = [
            f"{re.escape(item.name[:CUT_NAME])}.*?_{item.digest}"
            for item in self.names
            if len(item.name) > CUT_NAME
        ]
        return re.compile(rf"(?:{'|'.join([*whole, *cut])})_[0-9]+(?![0-9])")


def read_distribution(session: Session, oid: int) -> Distribution | None:
    """Return how Citus stores this table; None if it is not a table of Citus."""
    rows = session.fetch(_READ, oid)
    if not rows:
        return None
    [(method, model, is_colocated, column, *lists)] = rows
    kind: Literal["distributed", "single shard", "reference", "local"] = "local"
    if method != _NO_COLUMN:
        kind = "distributed"
    elif model == _EVERYWHERE:
        kind = "reference"
    elif is_colocated:
        kind = "single shard"
    names = tuple(sorted({OwnName(*item) for item in zip(*lists, strict=True)}))
    return Distribution(kind=kind, column=column, names=names)


_NO_COLUMN = "n"
"""pg_dist_partition.partmethod: ``h`` hash, ``r`` range, ``a`` append, ``n`` none."""
_EVERYWHERE = "t"
"""pg_dist_partition.repmodel: ``t`` two-phase commit on every node, ``s`` streaming."""
IS_DISTRIBUTED = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_dist_partition d
  WHERE d.logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) {table})
"""
# partkey is a parser node, {VAR :varno 1 :varattno 7 …}. Citus cuts names that are too long for the
# number to their beginning and a hash (AppendShardIdToName in relay_event_utility.c).
_READ = """
WITH RECURSIVE own (oid) AS (
  SELECT $1::bigint::pg_catalog.oid
  UNION
  SELECT i.inhrelid FROM pg_catalog.pg_inherits i
  JOIN own ON own.oid OPERATOR(pg_catalog.=) i.inhparent
), named (name, state) AS (
  SELECT k.conname::pg_catalog.text,
         CASE WHEN k.contype OPERATOR(pg_catalog.=) 'f' THEN '23503'
              WHEN k.contype OPERATOR(pg_catalog.=) 'c' THEN '23514'
              WHEN k.contype OPERATOR(pg_catalog.=) 'x' THEN '23P01'
              WHEN k.contype OPERATOR(pg_catalog.=) 'n' THEN '23502'
              ELSE '23505' END
  FROM pg_catalog.pg_constraint k JOIN own ON own.oid OPERATOR(pg_catalog.=) k.conrelid
  WHERE k.contype OPERATOR(pg_catalog.<>) 't'
  UNION
  SELECT c.relname::pg_catalog.text,
         CASE WHEN i.indisexclusion THEN '23P01' WHEN i.indisunique THEN '23505' ELSE '' END
  FROM pg_catalog.pg_index i
  JOIN own ON own.oid OPERATOR(pg_catalog.=) i.indrelid
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
  UNION
  SELECT c.relname::pg_catalog.text, '' FROM pg_catalog.pg_class c
  WHERE c.oid OPERATOR(pg_catalog.=) ANY (
    ARRAY(SELECT own.oid FROM own)
    OPERATOR(pg_catalog.||)
    ARRAY(SELECT k.confrelid FROM pg_catalog.pg_constraint k
          JOIN own ON own.oid OPERATOR(pg_catalog.=) k.conrelid))
)
SELECT d.partmethod::pg_catalog.text, d.repmodel::pg_catalog.text,
       d.colocationid OPERATOR(pg_catalog.>) 0, a.attname::pg_catalog.text,
       ARRAY(SELECT n.name FROM named n ORDER BY n.name, n.state),
       ARRAY(SELECT pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.hashtext(n.name)), 8, '0')
             FROM named n ORDER BY n.name, n.state),
       ARRAY(SELECT n.state FROM named n ORDER BY n.name, n.state)
FROM pg_catalog.pg_dist_partition d
LEFT JOIN pg_catalog.pg_attribute a
  ON a.attrelid OPERATOR(pg_catalog.=) d.logicalrelid::pg_catalog.oid
  AND a.attnum OPERATOR(pg_catalog.=)
      pg_catalog.substring(d.partkey, ':varattno ([0-9]+)')::smallint
WHERE d.logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
"""

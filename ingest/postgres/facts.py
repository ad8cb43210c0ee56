"""The rows of ``Table.facts``: what the catalog says of a table, as those who decide by it need it.

The keys stand in the order of the columns of the query in ``catalog_queries``.
"""

from __future__ import annotations

from typing import TypedDict


class DefaultFact(TypedDict):
    """What PostgreSQL puts into a column that is not given; of the sequence, where it draws."""

    column: str
    identity: str
    """``a`` always, ``d`` by default, or empty."""
    expression: str | None
    is_servers_own: bool
    draws: bool
    is_domain: bool
    oid: int | None
    """The sequence's; None where the default is more than the next number of one sequence."""
    name: str
    """The sequence's, quoted and with its schema."""
    step: int
    smallest: int
    greatest: int
    start: int
    cache: int
    cycles: bool
    may_draw: bool
    may_look: bool
    may_set: bool
    may_select: bool


class PlainIndexFact(TypedDict):
    """An index that its definition brings back: see ``index_catalog.DeferredIndex``."""

    name: str
    definition: str
    comment: str | None
    constraint_kind: str | None
    constraint_comment: str | None
    is_unique: bool
    keys: list[str]
    predicate: str | None
    is_primary: bool
    columns: list[str]


class UniqueKeyFact(TypedDict):
    """What no two rows share: see ``suspects.UniqueKey``."""

    name: str
    expressions: list[str]
    operators: list[str]
    predicate: str | None
    columns: list[str]
    plain: list[str]
    parts: list[str]
    """Its names in the partitions, which PostgreSQL reports."""


class CheckFact(TypedDict):
    """A check constraint whose text can be read again."""

    expression: str
    columns: list[str]


class IndexSizeFact(TypedDict):
    """A secondary index, and how large it is."""

    name: str
    columns: list[str]
    """Empty text for an expression."""
    size: int
    """Bytes."""
    method: str
    """``btree``, ``brin`` …"""
    is_clustered: bool


class ParentFact(TypedDict):
    """The table that a foreign key refers to."""

    constraint: str
    kind: str
    """pg_class.relkind."""
    operator: str
    """By which PostgreSQL compares the key, with its schema."""
    types: list[str]
    is_exact: bool
    """Whether equal keys are the same."""
    sees_all: bool
    """False where row security may hide rows from the role."""
    missing_right: str | None
    """The GRANT that the role lacks for locking rows of it."""


class AccessFact(TypedDict):
    """What this transaction may do with the table, and what fires when a row goes in."""

    isolation: str
    sees_all: bool
    missing_right: str | None
    may_select: bool
    trigger: str | None
    replica_trigger: str | None
    function: str | None


class ReplicationRoleFact(TypedDict):
    """Whether triggers can be left out by ``session_replication_role``."""

    server_version: int
    role: str
    may_set: bool
    replication_role: str
    constraint: str | None
    """An internal trigger's that is not a foreign key's, or was changed."""


class IndexRightsFact(TypedDict):
    """Whether indexes may be dropped and built again, and who looks on."""

    missing_right: str | None
    has_event_trigger: bool
    is_subscribed: bool
    is_decoded: bool


class TableFacts(TypedDict):
    """All of them, by the name of the query's part. The last three have one row."""

    defaults: list[DefaultFact]
    plain_indexes: list[PlainIndexFact]
    unique_keys: list[UniqueKeyFact]
    checks: list[CheckFact]
    index_sizes: list[IndexSizeFact]
    parents: list[ParentFact]
    access: list[AccessFact]
    replication_role: list[ReplicationRoleFact]
    index_rights: list[IndexRightsFact]

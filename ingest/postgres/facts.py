"""The rows of ``Table.facts``: details of a table from the catalog, for the modules that use them.

The keys are in the order of the query's columns in ``fact_queries``.
"""

from __future__ import annotations

from typing import TypedDict


class DefaultFact(TypedDict):
    """The default of a column, and the sequence that the default draws from, if it does."""

    column: str
    identity: str
    """``a`` always, ``d`` by default, or empty."""
    expression: str | None
    is_servers_own: bool
    draws: bool
    is_domain: bool
    oid: int | None
    """The sequence's oid; None if the default is more than the next number of one sequence."""
    name: str
    """The sequence's name, quoted and with its schema."""
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
    """An index that can be rebuilt from its definition: see ``index_catalog.DeferredIndex``."""

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
    """A key that no two rows may share: see ``suspects.UniqueKey``."""

    name: str
    expressions: list[str]
    operators: list[str]
    predicate: str | None
    columns: list[str]
    plain: list[str]
    parts: list[str]
    """Its names in the partitions: PostgreSQL reports these."""


class CheckFact(TypedDict):
    """A check constraint whose SQL text means the same when it is run again."""

    expression: str
    columns: list[str]


class IndexSizeFact(TypedDict):
    """A secondary index and its size."""

    name: str
    columns: list[str]
    """An expression is an empty string."""
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
    """The operator by which PostgreSQL compares the key, with its schema."""
    types: list[str]
    is_exact: bool
    """Whether equal keys are always the same text: False with a nondeterministic collation."""
    sees_all: bool
    """False if row security may hide rows from the role."""
    missing_right: str | None
    """The GRANT that the role lacks for locking its rows."""


class AccessFact(TypedDict):
    """What this transaction may do with the table, and what runs when a row is inserted."""

    isolation: str
    sees_all: bool
    missing_right: str | None
    may_select: bool
    trigger: str | None
    replica_trigger: str | None
    function: str | None


class ReplicationRoleFact(TypedDict):
    """Whether ``session_replication_role`` can be used to leave out triggers."""

    server_version: int
    role: str
    may_set: bool
    replication_role: str
    constraint: str | None
    """The constraint of an internal trigger that is not a foreign key's, or that was changed."""


class IndexRightsFact(TypedDict):
    """Whether indexes may be dropped and rebuilt, and what would notice it."""

    missing_right: str | None
    has_event_trigger: bool
    is_subscribed: bool
    is_decoded: bool


class TableFacts(TypedDict):
    """The facts of a table, by the name of the query's part. The last three have one row.

    A fact that was not read is missing: only ``read_table`` reads them all.
    """

    defaults: list[DefaultFact]
    plain_indexes: list[PlainIndexFact]
    unique_keys: list[UniqueKeyFact]
    checks: list[CheckFact]
    index_sizes: list[IndexSizeFact]
    parents: list[ParentFact]
    access: list[AccessFact]
    replication_role: list[ReplicationRoleFact]
    index_rights: list[IndexRightsFact]

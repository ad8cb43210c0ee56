"""Find the reasons why a load cannot write a model, or cannot use a faster path, as sentences.

Only what is certain counts: anything unknown in the catalog is a reason. The table must have been
read in this transaction, and the answer is final only if a lock has kept others from changing the
table since then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.postgres.catalog import quote_name
from ingest.postgres.fact_queries import MAY_SET_ROLE

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db import models

    from ingest.postgres.catalog import Constraint, Table
    from ingest.postgres.encoding import CopyEncoding
    from ingest.postgres.session import Session

KEY_TYPES = frozenset({"int2", "int4", "int8", "text", "uuid"})
"""Types with PostgreSQL's own equality, whose values are equal only if they are identical; varchar
is compared as text."""
FIRST_WITH_PARAMETER_GRANTS = 150_000
"""The server_version_num of PostgreSQL 15, which introduced GRANT … ON PARAMETER."""


def unsupported_reasons(model: type[models.Model], method: str) -> list[str]:
    """Return sentences that say why no load can write the model; an empty list if it can.

    ``method`` is the name that the sentences use.
    """
    reasons = (why_no_table(model), why_not_values(model, method))
    return [reason for reason in reasons if reason is not None]


def why_no_table(model: type[models.Model]) -> str | None:
    """Return why the model has no table that can be written, or None."""
    options = model._meta
    if options.abstract or options.swapped:
        return f"{options.label} has no table of its own."
    return None


def why_not_one_table(model: type[models.Model], method: str) -> str | None:
    """Return which other tables hold fields of the model, or None if its own holds all."""
    options = model._meta
    parents = [
        parent._meta.label
        for parent in (options.concrete_model or model)._meta.get_parent_list()
        if parent._meta.concrete_model is parent
    ]
    if not parents:
        return None
    return (
        f"The method {method!r} writes one table, but {options.label} also has fields in "
        f"the table of {', '.join(parents)}: make its rows with save() of the ORM."
    )


def why_not_values(model: type[models.Model], method: str) -> str | None:
    """Return which fields wrap their values in SQL, or None."""
    options = model._meta
    wrapped = [field.name for field in options.concrete_fields if _wraps_sql(field)]
    if not wrapped:
        return None
    return (
        f"The method {method!r} sends values as they are, but {options.label} has SQL "
        f"around those of {', '.join(wrapped)}: make its rows with bulk_create() of the ORM."
    )


def _wraps_sql(field: models.Field[Any, Any]) -> bool:
    """Return whether a custom field wraps its value in SQL; Django's own fields only cast."""
    return any(
        name in vars(kind) and not kind.__module__.startswith("django.")
        for kind in type(field).__mro__
        for name in ("get_placeholder", "get_placeholder_sql")
    )


def why_not_look_up(table: Table, encoding: CopyEncoding) -> str | None:
    """Return why the rows to which a batch refers cannot be looked up and locked as a set."""
    reasons = (_refuse_key(key, table, encoding) for key in table.foreign_keys)
    return why_not_lock(table) or next(filter(None, reasons), None)


def why_not_lock(table: Table) -> str | None:
    """Return why a lock does not keep the table, and what its rows do, as they were read."""
    if table.distribution is not None:
        return table.distribution.why_not_direct(table.qualified_name)
    if table.kind != "r" or table.is_partition:
        return f"{table.qualified_name} is not an ordinary table."
    [access] = table.facts["access"]
    if access["isolation"] != "read committed":
        return (
            f"the transaction is {access['isolation'].upper()}: it does not see what others have "
            "just changed in the catalog."
        )
    if not access["sees_all"]:
        return f"{table.qualified_name} is under row security."
    if access["missing_right"] is not None:
        return f"the role may not lock {table.qualified_name}: {access['missing_right']}."
    if access["trigger"] is not None:
        return f"the trigger {access['trigger']!r} must fire."
    if access["replica_trigger"] is not None:
        return (
            f"the trigger {access['replica_trigger']!r} must not fire: it is enabled for "
            "session_replication_role = replica alone."
        )
    if access["function"] is not None:
        return f"PostgreSQL calls {access['function']} for each row, which may change other tables."
    return None


def why_not_copy(table: Table, given: Collection[str]) -> str | None:
    """Return why COPY must not write to the table, or not to the given columns.

    Otherwise COPY would have another effect than an INSERT of the ORM.
    """
    name = table.qualified_name
    if table.rules:
        return (
            f"{name} has the rule {table.rules[0]!r} on INSERT, which COPY would pass over: use "
            f"the ORM, or drop it (DROP RULE {quote_name(table.rules[0])} ON {name})."
        )
    if not table.takes_copy:
        kind = "a materialized view" if table.kind == "m" else "a view"
        return (
            f"{name} is {kind}, to which COPY cannot write: load into its table, or give the view "
            "an INSTEAD OF INSERT trigger."
        )
    if table.row_security == "off":
        return (
            f"The policies of {name} hold for the role, and the setting row_security is off: "
            "PostgreSQL refuses every row. SET row_security = on, or load as a role that they do "
            "not hold for."
        )
    for column in table.columns:
        if column.identity == "a" and column.name in given:
            return (
                f"The column {column.name!r} of {name} is GENERATED ALWAYS AS IDENTITY: PostgreSQL "
                "refuses a value from the ORM, too. Leave it out of the source, or run ALTER TABLE "
                f"{name} ALTER {quote_name(column.name)} SET GENERATED BY DEFAULT."
            )
    return None


def why_not_without_triggers(table: Table) -> str | None:
    """Return why PostgreSQL's own triggers on the table may not be disabled."""
    [facts] = table.facts["replication_role"]
    replication_role, constraint = facts["replication_role"], facts["constraint"]
    if replication_role not in {"origin", "local"}:
        return f"session_replication_role is {replication_role!r} already."
    if constraint is not None:
        return (
            f"PostgreSQL checks the constraint {constraint!r} by a trigger too: it is deferrable, "
            "or its trigger is not as PostgreSQL made it."
        )
    return _missing_right(facts["server_version"], facts["role"], may_set=facts["may_set"])


def why_not_leave_out_triggers(session: Session) -> str | None:
    """Return why the session's role may not disable triggers on any table."""
    [(version, role, may_set)] = session.fetch(f"SELECT {MAY_SET_ROLE}")
    return _missing_right(version, role, may_set=may_set)


def _missing_right(version: int, role: str, *, may_set: bool) -> str | None:
    if may_set:
        return None
    if version < FIRST_WITH_PARAMETER_GRANTS:
        return "only a superuser may set session_replication_role before PostgreSQL 15."
    return (
        "the role may not set session_replication_role: "
        f"GRANT SET ON PARAMETER session_replication_role TO {quote_name(role)}."
    )


def _refuse_key(key: Constraint, table: Table, encoding: CopyEncoding) -> str | None:
    if not key.is_enforced:
        return None  # PostgreSQL does not check it either
    if len(key.columns) > 1:
        return f"the foreign key {key.name!r} has more than one column."
    if key.references_oid == table.oid:
        return f"the foreign key {key.name!r} refers to the table itself."
    column = table.column(quote_name(key.columns[0]))
    if column.name not in encoding.names and (column.has_default or column.is_generated):
        return f"PostgreSQL itself gives {column.name!r} of the foreign key {key.name!r} its value."
    [parent] = [item for item in table.facts["parents"] if item["constraint"] == key.name]
    if parent["kind"] != "r":
        return f"{key.references} is not an ordinary table."
    is_known = column.type_name in KEY_TYPES | {"varchar"} and KEY_TYPES.issuperset(parent["types"])
    if parent["operator"] != "pg_catalog.=" or not is_known:
        return f"the foreign key {key.name!r} is of the type {column.sql_type}."
    if not parent["is_exact"]:
        return f"the foreign key {key.name!r} has a collation that takes different texts for equal."
    if not parent["sees_all"]:
        return f"{key.references} is under row security."
    if parent["missing_right"] is not None:
        return f"the role may not lock rows of {key.references}: {parent['missing_right']}."
    return None

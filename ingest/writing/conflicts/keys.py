"""Read the unique keys of a table, and choose the one by which records find their rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.postgres.catalog import REREAD_BY_NAME, concrete_fields_of_table, quote_name
from ingest.postgres.fact_queries import KEY_COLUMNS, KEY_EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django.db import models

    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConflictKey:
    """A unique key of the table."""

    name: str
    """The index's name, which is also that of its constraint."""
    constraint: str | None
    """The constraint that the index serves, or None if it is only an index."""
    expressions: tuple[str, ...]
    """The key as SQL over the table's columns."""
    operators: tuple[str, ...]
    """The equality operator of each expression, with its schema."""
    collatable: tuple[bool, ...]
    predicate: str | None
    """The condition of a partial index."""
    columns: tuple[str, ...]
    """The columns that the expressions read."""
    predicate_columns: tuple[str, ...]
    plain: tuple[str, ...]
    """The columns that make up the key; empty if it has an expression."""
    is_deferrable: bool
    nulls_are_equal: bool
    """Whether it is declared NULLS NOT DISTINCT."""
    is_comparable: bool
    """Whether its expressions can be rewritten independently of the search path."""

    @property
    def arbiter(self) -> str | None:
        """The conflict target after ON CONFLICT; None for a deferrable key, which cannot be one."""
        if self.is_deferrable:
            return None
        if self.constraint is not None:
            return f"ON CONSTRAINT {quote_name(self.constraint)}"
        where = "" if self.predicate is None else f" WHERE {self.predicate}"
        return f"({', '.join(f'({item})' for item in self.expressions)}){where}"

    def describe(self, fields: Mapping[str, str]) -> str:
        """Return its fields for a message; ``fields`` has the field names by column."""
        if self.plain:
            said = ", ".join(fields.get(name, name) for name in self.plain)
        else:
            said = ", ".join(self.expressions)
        return said if self.predicate is None else f"{said} (where {self.predicate})"


def read_keys(session: Session, table: Table) -> list[ConflictKey]:
    """Return the unique keys of a table, with the primary key first.

    Raises ``ConfigurationError`` if the table cannot have any.
    """
    names = [field.name for field in dataclasses.fields(ConflictKey)]
    keys = []
    for row in session.fetch(_KEYS, table.oid, REREAD_BY_NAME):
        facts: dict[str, Any] = dict(zip(names, row, strict=True))
        for name in ("expressions", "operators", "collatable", "columns", "plain"):
            facts[name] = tuple(facts[name])
        # asyncpg supports arrays of texts; for arrays of booleans it would query the catalog.
        facts["collatable"] = tuple(each == "true" for each in facts["collatable"])
        facts["predicate_columns"] = tuple(facts["predicate_columns"])
        keys.append(ConflictKey(**facts))
    if not keys and table.foreign_parts:
        raise ConfigurationError(
            f"on_conflict needs a unique key, and {table.qualified_name} has none: PostgreSQL has "
            "no unique index over rows that are on another server, as those of "
            f"{', '.join(table.foreign_parts)}."
        )
    if table.kind == "v":
        raise ConfigurationError(
            f"on_conflict needs a unique key, and {table.qualified_name} is a view, which has "
            "none: load into its table."
        )
    return [key for key in keys if len(key.expressions) == len(key.operators)]


def choose_key(
    keys: Sequence[ConflictKey],
    model: type[models.Model],
    fed: Collection[str],
    written: Collection[str],
    asked: Sequence[str] | None,
) -> ConflictKey:
    """Return the key with the ``asked`` fields, or else the only key that the source feeds.

    ``fed`` are the columns that the source feeds, and ``written`` all columns that the load writes.
    Raises ``ConfigurationError``, which lists the candidates.
    """
    names = {str(field.column): field.name for field in concrete_fields_of_table(model)}
    label = model._meta.label
    if not keys:
        raise ConfigurationError(
            f"on_conflict needs a unique key, and {label} has none: add a UniqueConstraint."
        )
    usable = [
        key
        for key in keys
        if key.is_comparable
        and set(key.columns) <= set(fed)
        and set(key.predicate_columns) <= set(written)
    ]
    if asked is None:
        return _only_key(usable, keys, model, names)
    if not any(asked):
        raise ConfigurationError(
            f"key (--key) names no field: leave it out, or name one of {label}'s keys: "
            f"{_listed(keys, names)}."
        )
    columns = [column for name in asked for column in _columns_of(name, model)]
    found = [key for key in keys if set(key.columns) == set(columns)]
    chosen = [key for key in found if key in usable]
    if chosen:
        return _widest(chosen)
    said = ", ".join(asked)
    if not found:
        raise ConfigurationError(
            f"{label} has no unique key of {said}. Its keys are: {_listed(keys, names)}."
        )
    if not any(key.is_comparable for key in found):
        raise _not_comparable(found[0], label, names)
    _refuse_computed(found[0], model)
    missing = (set(found[0].columns) - set(fed)) | (set(found[0].predicate_columns) - set(written))
    raise ConfigurationError(
        f"The source does not feed {', '.join(sorted(names.get(it, it) for it in missing))}, which "
        f"the key {said} needs: add it to the source, or name another key."
    )


def _only_key(
    usable: Sequence[ConflictKey],
    keys: Sequence[ConflictKey],
    model: type[models.Model],
    names: Mapping[str, str],
) -> ConflictKey:
    """Return the only usable key, or the widest of several on the same columns."""
    if not usable:
        raise _why_none(keys, model, names)
    if len({frozenset(key.columns) for key in usable}) > 1:
        raise ConfigurationError(
            f"The source feeds several unique keys of {model._meta.label}: "
            f"{_listed(usable, names)}. Choose the one that decides with key=[…] (--key FIELD …)."
        )
    return _widest(usable)


def _widest(keys: Sequence[ConflictKey]) -> ConflictKey:
    """Choose between several indexes on the same columns: prefer one that covers all rows."""
    return min(
        keys,
        key=lambda key: (
            key.predicate is not None,
            not key.plain,
            key.is_deferrable,
            key.constraint is None,
        ),
    )


def _not_comparable(key: ConflictKey, label: str, names: Mapping[str, str]) -> ConfigurationError:
    return ConfigurationError(
        f"The key {key.describe(names)} of {label} cannot decide, because NULLIF, IS DISTINCT FROM "
        "and CASE x WHEN name no operator, and another one may come first in the search path: "
        "write its index with CASE WHEN."
    )


def _why_none(
    keys: Sequence[ConflictKey], model: type[models.Model], names: Mapping[str, str]
) -> ConfigurationError:
    label = model._meta.label
    if not any(key.is_comparable for key in keys):
        return _not_comparable(keys[0], label, names)
    for key in keys:
        _refuse_computed(key, model)
    return ConfigurationError(
        f"The source feeds no unique key of {label} completely. Its keys are: "
        f"{_listed(keys, names)}. Give the source the columns of one of them."
    )


def _refuse_computed(key: ConflictKey, model: type[models.Model]) -> None:
    """Raise ``ConfigurationError`` if PostgreSQL computes a column of a key."""
    for field in concrete_fields_of_table(model):
        if field.generated and str(field.column) in {*key.columns, *key.predicate_columns}:
            raise ConfigurationError(
                f"The key {key.name!r} of {model._meta.label} cannot decide, because no source can "
                f"feed {field.name}, which PostgreSQL computes: add a UniqueConstraint on the "
                "expression itself, which can."
            )


def _listed(keys: Sequence[ConflictKey], names: Mapping[str, str]) -> str:
    return "; ".join(key.describe(names) for key in keys)


def _columns_of(name: str, model: type[models.Model]) -> list[str]:
    """Return the columns of a field; ``customer__number`` means the foreign key ``customer``."""
    fields = {field.name: field for field in concrete_fields_of_table(model)}
    by_attname = {field.attname: field for field in fields.values()}
    field = fields.get(name) or by_attname.get(name) or fields.get(name.partition("__")[0])
    if name == "pk":
        return [str(each.column) for each in model._meta.pk_fields]
    if field is None or ("__" in name and name not in fields and not field.is_relation):
        raise ConfigurationError(
            f"{model._meta.label} has no field {name!r}.{did_you_mean(name, fields)}"
        )
    return [str(field.column)]


_KEYS = (
    "SELECT c.relname::pg_catalog.text, k.conname::pg_catalog.text,"
    + KEY_EXPRESSIONS
    + """       ARRAY(SELECT (u.of OPERATOR(pg_catalog.<>) 0::pg_catalog.oid)::pg_catalog.text
             FROM pg_catalog.unnest(i.indcollation::pg_catalog.oid[])
                  WITH ORDINALITY u(of, place)
             ORDER BY u.place),
       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND (
               a.attnum OPERATOR(pg_catalog.=)
                 ANY ((i.indkey::smallint[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1])
               OR pg_catalog.strpos(i.indexprs::pg_catalog.text, pg_catalog.concat(
                    ':varattno ', a.attnum, ' ')) OPERATOR(pg_catalog.>) 0)),
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid
               AND a.attnum OPERATOR(pg_catalog.>) 0
               AND pg_catalog.strpos(i.indpred::pg_catalog.text, pg_catalog.concat(
                    ':varattno ', a.attnum, ' ')) OPERATOR(pg_catalog.>) 0),
"""
    + KEY_COLUMNS
    + """       NOT i.indimmediate,
       coalesce((pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.->>) 'indnullsnotdistinct')::boolean,
                false),
       NOT pg_catalog.concat(i.indexprs::pg_catalog.text, i.indpred::pg_catalog.text)
         OPERATOR(pg_catalog.~) $2::pg_catalog.text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid OPERATOR(pg_catalog.=) i.indexrelid
  AND k.conrelid OPERATOR(pg_catalog.=) i.indrelid
  AND k.contype OPERATOR(pg_catalog.=) ANY ('{p,u}'::pg_catalog."char"[])
WHERE i.indrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND i.indisunique AND i.indisvalid AND i.indisready AND NOT i.indisexclusion
ORDER BY NOT i.indisprimary, c.relname::pg_catalog.text COLLATE pg_catalog."C"
"""
)

"""Choose which columns of a row are updated, and compare two values of a column."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.postgres.catalog import concrete_fields_of_table, quote_name
from ingest.postgres.ordering import read_ordering

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from django.db import models

    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.session import Session
    from ingest.writing.conflicts.keys import ConflictKey
    from ingest.writing.conflicts.options import ConflictOptions

_IDENTICAL = frozenset(
    {
        *("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "oid", "bit", "varbit"),
        *("text", "varchar", "bpchar", "bytea", "uuid", "jsonb"),
        *("date", "time", "timetz", "timestamp", "timestamptz"),
        *("inet", "cidr", "macaddr", "macaddr8"),
    }
)
"""Types of pg_catalog whose equal values look the same; a numeric's scale makes no difference. All
others are compared by their text: ``xml`` has no operator, a box is equal to another of the same
area, and 30 days are equal to a month. Two different texts of ``json`` may be the same value."""
_IS_PLAIN_JSON = (
    "pg_catalog.length({text}) OPERATOR(pg_catalog.<) 8000 "
    r"AND {text} OPERATOR(pg_catalog.!~) '\\u|[0-9][eE][-+]?[0-9]{{4}}'"
)
"""A text that ``jsonb`` accepts: without refused characters and numbers too long for numeric."""
_COLLATABLE = frozenset({"text", "varchar", "bpchar"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """The columns that an UPDATE sets, as SQL over a row of the table and a record's row."""

    columns: tuple[str, ...]
    """The columns that the source feeds and that are updated."""
    given: tuple[str, ...]
    """All columns that the source feeds, except those of the key."""
    automatic: tuple[str, ...]
    """Columns of ``auto_now`` fields, which are set if one of the others changes."""
    kept: frozenset[str]
    """The columns whose value is kept if the source has NULL."""
    newest: str | None
    greater: str
    """The operator that tests whether a value of ``newest`` is greater than another."""
    types: Mapping[str, Column]

    @property
    def set(self) -> tuple[str, ...]:
        """All columns that are set."""
        return (*self.columns, *self.automatic)

    def differs(self, name: str, old: str, new: str) -> str:
        """Return the condition that two values of a column, given as SQL, differ."""
        return (
            f"(CASE WHEN {old} IS NULL OR {new} IS NULL "
            f"THEN NOT ({old} IS NULL AND {new} IS NULL) "
            f"ELSE NOT {equal_values(self.types[name], old, new)} END)"
        )

    def assignments(self, row: str, record: str) -> str:
        """Return the assignments after SET."""
        given = [f"{quote_name(name)} = {self.value(name, row, record)}" for name in self.columns]
        given += [f"{quote_name(name)} = {record}.{quote_name(name)}" for name in self.automatic]
        return ", ".join(given)

    def differ(self, row: str, record: str) -> str:
        """Return the condition that the record would change the row."""
        return " OR ".join(self._differs(name, row, record) for name in self.columns) or "false"

    def is_newer(self, row: str, record: str) -> str:
        """Return the condition that ``newest`` allows the record to change the row."""
        if self.newest is None:
            return "true"
        name = quote_name(self.newest)
        return (
            f"({record}.{name} IS NOT NULL AND ({row}.{name} IS NULL OR "
            f"{record}.{name} {self.greater} {row}.{name}))"
        )

    def value(self, name: str, row: str, record: str) -> str:
        """Return the new value of a column, as SQL."""
        quoted = quote_name(name)
        if name not in self.kept:
            return f"{record}.{quoted}"
        return f"coalesce({record}.{quoted}, {row}.{quoted})"

    def _differs(self, name: str, row: str, record: str) -> str:
        column, quoted = self.types[name], quote_name(name)
        old, new = f"{row}.{quoted}", f"{record}.{quoted}"
        is_same = equal_values(column, old, new)
        if name in self.kept:
            return f"({new} IS NOT NULL AND ({old} IS NULL OR NOT {is_same}))"
        return self.differs(name, old, new)


def equal_values(column: Column, one: str, other: str) -> str:
    """Return the condition that two values of a column, both not NULL, are the same."""
    is_own = column.type_schema == "pg_catalog"
    element = column.type_name.removeprefix("_")
    collate = ' COLLATE pg_catalog."C"' if element in _COLLATABLE else ""
    if (is_own and element in _IDENTICAL) or column.type_kind in {"e", "r", "m"}:
        return f"({one}{collate} OPERATOR(pg_catalog.=) {other}{collate})"
    # This uses the type's output function, not a user-defined cast.
    texts = [f"(ROW({value}))::pg_catalog.text" for value in (one, other)]
    same = f"{texts[0]} OPERATOR(pg_catalog.=) {texts[1]}"
    if not (is_own and column.type_name == "json"):
        return f"({same})"
    are_plain = " AND ".join(_IS_PLAIN_JSON.format(text=text) for text in texts)
    values = [f"pg_catalog.to_jsonb({value})" for value in (one, other)]
    return (
        f"(CASE WHEN {same} THEN true WHEN {are_plain} "
        f"THEN {values[0]} OPERATOR(pg_catalog.=) {values[1]} ELSE false END)"
    )


def plan_changes(
    session: Session,
    table: Table,
    model: type[models.Model],
    key: ConflictKey,
    given: Sequence[models.Field[Any, Any]],
    options: ConflictOptions,
) -> Changes:
    """Choose the columns to update; ``given`` are the fields that the source feeds.

    Raises ``ConfigurationError`` for a field that cannot be updated.
    """
    fed = {field.name: _column(field, table) for field in given if not field.generated}
    columns = _updated(options, key, model, fed)
    kept = _kept(options, columns, model, fed)
    newest = _newest(options, key, model, fed)
    ordering = {} if newest is None else read_ordering(session, table.column(newest).type_oid)
    if newest is not None and "gt" not in ordering:
        raise ConfigurationError(
            f"newest (--newest) names the field {options.newest!r}, and of two values of its type "
            f"{table.column(newest).sql_type} none is greater: name another field."
        )
    names_fed = {field.name for field in given}
    automatic = [
        _column(field, table)
        for field in concrete_fields_of_table(model)
        if getattr(field, "auto_now", False) and field.name not in names_fed
    ]
    return Changes(
        columns=tuple(dict.fromkeys(columns)),
        given=tuple(name for name in fed.values() if name not in key.plain),
        automatic=tuple(automatic) if options.updates else (),
        kept=frozenset(kept),
        newest=newest,
        greater=ordering.get("gt", ""),
        types={column.name: column for column in table.columns},
    )


def _updated(
    options: ConflictOptions, key: ConflictKey, model: type[models.Model], fed: Mapping[str, str]
) -> list[str]:
    """Return the columns to update; ``fed`` has the column of each field that the source feeds."""
    if options.update_fields is None:
        return [name for name in fed.values() if name not in key.plain]
    option = "update_fields (--update-fields)"
    columns = [_fed_column(name, option, model, fed) for name in options.update_fields]
    of_key = [name for name in columns if name in key.plain]
    if of_key:
        raise ConfigurationError(
            f"{option} names {of_key[0]!r}, which belongs to the key by which rows are found: "
            "leave it out."
        )
    return columns


def _kept(
    options: ConflictOptions,
    columns: Collection[str],
    model: type[models.Model],
    fed: Mapping[str, str],
) -> list[str]:
    """Return the columns to update that keep their value if the source has none."""
    option = "keep_if_null (--keep-if-null)"
    kept = [_fed_column(name, option, model, fed) for name in options.keep_if_null]
    for name, asked in zip(kept, options.keep_if_null, strict=True):
        if name not in columns:
            raise ConfigurationError(
                f"{option} names the field {asked!r}, which is not updated: leave it out."
            )
    return kept


def _newest(
    options: ConflictOptions, key: ConflictKey, model: type[models.Model], fed: Mapping[str, str]
) -> str | None:
    """Return the column whose greater value decides, or None."""
    if options.newest is None:
        return None
    newest = _fed_column(options.newest, "newest (--newest)", model, fed)
    if newest in key.plain:
        raise ConfigurationError(
            f"newest (--newest) names the field {options.newest!r}, which belongs to the key: a "
            "record and its row never differ in it."
        )
    return newest


def _fed_column(name: str, option: str, model: type[models.Model], fed: Mapping[str, str]) -> str:
    """Return the column of a field that an option names; it must be one that the source feeds."""
    every = concrete_fields_of_table(model)
    names = {field.name for field in every}
    by_attname = {field.attname: field.name for field in every}
    known = name if name in names else by_attname.get(name, name)
    if known not in fed:
        why = (
            "which the source does not feed: add it to the source, or leave it out."
            if known in names
            else f"which {model._meta.label} does not have.{did_you_mean(name, names)}"
        )
        raise ConfigurationError(f"{option} names the field {name!r}, {why}")
    return fed[known]


def _column(field: models.Field[Any, Any], table: Table) -> str:
    return table.column(str(field.column)).name

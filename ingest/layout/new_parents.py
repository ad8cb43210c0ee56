"""Create the parents that a load needs and that have no row yet; delete those that no row uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, models

from ingest.layout.lookups import NaturalKey, NaturalKeyLookup
from ingest.layout.text_reader import as_text
from ingest.postgres.catalog import (
    concrete_fields_of_table,
    quote_name,
    read_model_table,
    runs_functions,
)
from ingest.postgres.errors import refusal_of
from ingest.postgres.text_format import as_postgresql_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.layout.lookups import Found
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

Prepared: TypeAlias = "tuple[NaturalKey, models.Model]"


class NewParents:
    """Creates and deletes parents of one foreign key."""

    def __init__(
        self,
        lookup: NaturalKeyLookup,
        constants: Mapping[str, Any] | None,
        *,
        refuses: bool = False,
    ) -> None:
        """``constants``: the values of a new row, besides its key; None if none is created.

        ``refuses``: if PostgreSQL refuses to insert a parent, only that parent is refused.
        """
        self._lookup = lookup
        self._session, self._alias = lookup.session, lookup.alias
        self._parent, self._concrete = lookup.parent, lookup.concrete
        self._table = lookup.table
        self._refuses = refuses
        self._constants = None if constants is None else dict(constants)
        if self._constants is not None:
            self._check_one_table()
            self._session.runs_functions |= self._runs_functions(self._constants)
        self._made: dict[str, Any] | None = None
        self._grandparents: list[_Grandparent] = []
        self._inserted: dict[Any, str] = {}
        self._has_lasting = False
        self.kept = ""
        """Why unused parents were kept; empty if none were."""

    @property
    def can_make(self) -> bool:
        """Return whether missing parents are created."""
        return self._constants is not None

    def prepare(self, keys: Sequence[NaturalKey]) -> tuple[list[Prepared], dict[NaturalKey, str]]:
        """Return instances of missing parents, and the reasons why others cannot be created."""
        if self._made is None:
            self._made = self._resolve_constants()
        exclude = self._have_values()
        refused: dict[NaturalKey, str] = {}
        prepared: list[Prepared] = []
        for key in keys:
            instance = self._parent(**self._made)
            try:
                instance.clean_fields(exclude=exclude)
                for field, text in zip(self._lookup.keys, key, strict=True):
                    setattr(instance, field.attname, field.clean(text, instance))
            except ValidationError as error:
                error.__traceback__ = None
                refused[key] = f"{self._lookup.describe(key, 'it cannot make a')} {_join(error)}"
            else:
                prepared.append((key, instance))
        return prepared, refused

    def make(self, prepared: Sequence[Prepared]) -> tuple[dict[NaturalKey, Found], set[NaturalKey]]:
        """Insert parents with one statement; return them by key, and the keys that were inserted.

        If another session has inserted a row in the meantime, its key is not among the latter.
        """
        self._session.settle()
        self._has_lasting |= bool(self._inserted)  # those of the batch before have been loaded
        self._inserted = {}
        found = self._lookup.select([key for key, _ in prepared])
        missing = [item for item in prepared if item[0] not in found]
        if not missing:
            return found, set()
        for field, grandparent in self._find_grandparents():
            for _, instance in missing:
                setattr(instance, field.attname, grandparent)
        inserted, refused = self._insert(missing)
        found |= self._lookup.select([key for key, _ in missing if key not in refused])
        made = set()
        for key, _ in missing:
            item = found.get(key)
            if item is None:
                found[key] = refused.get(key, self._lookup.describe(key, "there is no"))
            elif isinstance(item, tuple) and str(item[0]) in inserted:
                self._inserted[item[0]] = inserted[str(item[0])]
                made.add(key)
        return found, made

    def take_back(self, values: Sequence[Any]) -> set[Any]:
        """Delete parents that were created for refused records, unless some row refers to them.

        ``values`` are values of the column that the foreign key refers to. Returns those deleted.
        """
        keys = {value: self._inserted[value] for value in values if value in self._inserted}
        if not keys:
            return set()
        self._session.settle()
        self._session.functions_run += self._session.runs_functions
        deleted, error = self._lookup.attempt(self._delete(), list(keys.values()))
        if error is not None:
            reason = refusal_of(error, "", ()).message
            self.kept = (
                f"Parents: rows of {self._parent._meta.label} that were made for refused records "
                f"are kept, because PostgreSQL refuses to delete them: {reason}."
            )
            return set()
        gone = {key for (key,) in deleted}
        taken = {value for value, key in keys.items() if key in gone}
        for value in taken:
            del self._inserted[value]
        if not self._inserted and not self._has_lasting:
            for item in self._grandparents:
                item.new.take_back(list(item.new._inserted))
                self.kept = self.kept or item.new.kept
        return taken

    def _have_values(self) -> set[str]:
        """Return the names of the fields for which a new row gets a value."""
        made = self._made or {}
        return {
            field.name
            for field in self._parent._meta.fields
            if field in self._lookup.keys
            or field.attname in made
            or isinstance((self._constants or {}).get(field.name), dict)
            or field.has_default()
            or field.has_db_default()
            or field.generated
        }

    def _resolve_constants(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        self._grandparents = []
        blank: Any = self._parent()
        if hasattr(blank, "set_unusable_password"):  # nobody can log in as this user
            blank.set_unusable_password()
            made["password"] = blank.password
        for name, value in (self._constants or {}).items():
            field = self._lookup.find_field(name)
            if isinstance(value, dict):
                self._grandparents.append(self._grandparent(field, value))
                continue
            try:
                made[field.attname] = field.to_python(as_text(value))
                field.run_validators(made[field.attname])
            except ValidationError as error:
                raise self._lookup.error(f"{name}: {' '.join(error.messages)}") from error
        if blank.pk is not None:
            made.pop(str(self._parent._meta.pk.attname), None)
        return made

    def _grandparent(self, field: models.Field[Any, Any], rules: dict[str, Any]) -> _Grandparent:
        if not {"constant", "lookup"} <= set(rules) <= {"constant", "lookup", "create"}:
            raise self._lookup.error(
                f"{field.name} must have 'constant' and 'lookup', and may have 'create'."
            )
        names = rules["lookup"]
        lookup = NaturalKeyLookup(
            self._session,
            self._alias,
            self._lookup.layout,
            field,
            lookup=[names] if isinstance(names, str) else names,
        )
        constant = rules["constant"]
        key = tuple(map(as_text, constant if isinstance(constant, list) else [constant]))
        return _Grandparent(field, key, lookup, NewParents(lookup, rules.get("create")))

    def _find_grandparents(self) -> Iterator[tuple[models.Field[Any, Any], Any]]:
        """Yield the fields and keys of the parents' parents, created only when they are needed."""
        for field, key, lookup, new in self._grandparents:
            found: Found | None = lookup.find([key]).get(key)
            if found is None and new.can_make:
                prepared, refused = new.prepare([key])
                found = refused.get(key) or new.make(prepared)[0][key]
            if not isinstance(found, tuple):
                raise self._lookup.error(found or lookup.why_missing(key))
            yield field, found[0]

    def _runs_functions(self, constants: Mapping[str, Any]) -> bool:
        """Return whether inserting the new rows and their own parents may run functions."""
        tables = [self._table, *_tables_made(self._session, self._parent, constants)]
        return any(runs_functions(self._session, table) for table in tables)

    def _insert(self, items: Sequence[Prepared]) -> tuple[dict[str, str], dict[NaturalKey, str]]:
        """Insert rows; return the key of each inserted one by the value that refers to it.

        Also return the reasons for the refused keys.
        """
        connection = connections[self._alias]
        first = items[0][1]
        fields = [
            field
            for field in concrete_fields_of_table(self._parent)
            if not field.generated
            and not (field.primary_key and getattr(first, field.attname) is None)
            and not hasattr(getattr(first, field.attname), "resolve_expression")
        ]
        columns: list[list[str | None]] = [
            [
                as_postgresql_text(
                    field.get_db_prep_save(field.pre_save(instance, add=True), connection),
                    connection,
                )
                for _, instance in items
            ]
            for field in fields
        ]
        names = ", ".join(quote_name(str(field.column)) for field in fields)
        texts = ", ".join(
            f"pg_catalog.unnest(${number}::pg_catalog.text[])"
            for number in range(1, len(fields) + 1)
        )
        given = ", ".join(f"c{number}" for number in range(len(fields)))
        typed = ", ".join(
            f"given.c{number}::{self._lookup.type_of(field)}" for number, field in enumerate(fields)
        )
        sql = (
            f"INSERT INTO {self._table.qualified_name} AS parent ({names}) "
            f"SELECT {typed} FROM ROWS FROM ({texts}) WITH ORDINALITY AS given({given}, place) "
            "ORDER BY given.place ON CONFLICT DO NOTHING "
            f"RETURNING {self._lookup.name_of(self._lookup.field.target_field)}, "
            f"{self._key}::pg_catalog.text"
        )
        return self._send(sql, [key for key, _ in items], columns)

    def _send(
        self, sql: str, keys: list[NaturalKey], columns: list[list[str | None]]
    ) -> tuple[dict[str, str], dict[NaturalKey, str]]:
        """Insert rows with one statement; if it is refused, halve them until the row is found."""
        self._session.functions_run += self._session.runs_functions
        if not self._refuses:
            rows, error = self._session.fetch(sql, *columns), None
        else:
            rows, error = self._lookup.attempt(sql, *columns)
        if error is None:
            return {str(value): key for value, key in rows}, {}
        if len(keys) == 1:
            reason = refusal_of(error, "", ()).message
            return {}, {keys[0]: f"{self._lookup.describe(keys[0], 'it cannot make a')} {reason}."}
        half = len(keys) // 2
        one = self._send(sql, keys[:half], [column[:half] for column in columns])
        other = self._send(sql, keys[half:], [column[half:] for column in columns])
        return one[0] | other[0], one[1] | other[1]

    @property
    def _key(self) -> str:
        return f"parent.{quote_name(str(self._concrete._meta.pk.column))}"

    def _delete(self) -> str:
        """Return the statement that deletes parents to which nothing refers."""
        field = self._lookup.field
        own = read_model_table(self._session, field.model)
        column = quote_name(str(field.column))
        equal = own.column(str(field.column)).equal
        refers = f"{self._lookup.name_of(field.target_field)} {equal} r.{column}"
        referring = {f"{own.qualified_name} AS r WHERE {refers}"}
        for name, columns, keys, equals in self._session.fetch(_REFERRING, self._table.oid):
            equal = " AND ".join(
                f"parent.{quote_name(key)} {operator} r.{quote_name(one)}"
                for one, key, operator in zip(columns, keys, equals, strict=True)
            )
            referring.add(f"{name} AS r WHERE {equal}")
        nothing = "".join(f" AND NOT EXISTS (SELECT FROM {item})" for item in sorted(referring))
        key = self._concrete._meta.pk
        return (
            f"DELETE FROM {self._table.qualified_name} AS parent WHERE {self._key} "
            f"{self._lookup.column_of(key).equal} "
            f"ANY ($1::pg_catalog.text[]::{self._lookup.type_of(key)}[]){nothing} "
            f"RETURNING {self._key}::pg_catalog.text"
        )

    def _check_one_table(self) -> None:
        others = [
            parent._meta.label
            for parent in self._concrete._meta.get_parent_list()
            if parent._meta.concrete_model is parent
        ]
        if others:
            raise self._lookup.error(
                f"it cannot make a {self._parent._meta.verbose_name}, because that also has fields "
                f"in the table of {', '.join(others)}: take 'create' out, and make these rows "
                "before the load."
            )


class _Grandparent(NamedTuple):
    """The parent of new parents."""

    field: models.Field[Any, Any]
    key: NaturalKey
    lookup: NaturalKeyLookup
    new: NewParents


def _join(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(f"{name}: {' '.join(why)}" for name, why in error.message_dict.items())


def _tables_made(
    session: Session, model: type[models.Model], constants: Mapping[str, Any]
) -> Iterator[Table]:
    """Yield the tables in which the constants ask to create missing rows."""
    for name, said in constants.items():
        if not isinstance(said, dict) or not isinstance(said.get("create"), dict):
            continue
        try:
            parent = model._meta.get_field(name).related_model
        except FieldDoesNotExist:
            continue  # reported when the first row is created
        if isinstance(parent, type) and issubclass(parent, models.Model):
            yield read_model_table(session, parent)
            yield from _tables_made(session, parent, said["create"])


# All foreign keys that refer to a table, except those that partitions inherit.
_REFERRING = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u(number, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
              AND a.attnum OPERATOR(pg_catalog.=) u.number ORDER BY u.place),
       ARRAY(SELECT a.attname::pg_catalog.text
             FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u(number, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.confrelid
              AND a.attnum OPERATOR(pg_catalog.=) u.number ORDER BY u.place),
       ARRAY(SELECT pg_catalog.format('OPERATOR(%I.%s)', s.nspname, o.oprname)
             FROM pg_catalog.unnest(k.conpfeqop) WITH ORDINALITY AS u(oid, place)
             JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) u.oid
             JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) o.oprnamespace
             ORDER BY u.place)
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.confrelid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
  AND k.contype OPERATOR(pg_catalog.=) 'f' AND k.conparentid OPERATOR(pg_catalog.=) '0'
ORDER BY 1, k.conname
"""

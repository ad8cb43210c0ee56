"""Natural keys become keys, a set at a time: one query for the unknown ones of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, models
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from psycopg.adapt import PyFormat, Transformer

from ingest.exceptions import did_you_mean
from ingest.guards import runs_functions
from ingest.layout.reading import as_text
from ingest.table import concrete_fields_of_table, quote_name, read_model_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.layout import Layout
    from ingest.session import Session
    from ingest.table import Column, Table

ROWS_CREATED_AT_ONCE = 200
"""Parents in one INSERT: PostgreSQL takes 65,535 parameters."""

NaturalKey: TypeAlias = tuple[str, ...]
Found: TypeAlias = "tuple[Any, ...] | str"
"""The values of the parent's columns, or why there are none."""


class Parents:
    """Finds the rows that one foreign key's natural keys mean."""

    def __init__(  # noqa: PLR0913 - it is built in one place
        self,
        session: Session,
        alias: str,
        layout: Layout,
        field: models.Field[Any, Any],
        *,
        lookup: Sequence[str],
        create: Mapping[str, Any] | None = None,
        copies: Sequence[str] = (),
    ) -> None:
        """Prepare the query; ``copies`` are the parent's fields to be copied."""
        if not isinstance(field, models.ForeignKey):
            raise layout.error(
                ("fields", field.name, "lookup"), f"{field.name} is no foreign key: take it out."
            )
        self._session, self._alias, self._layout, self._field = session, alias, layout, field
        self._parent: type[models.Model] = field.remote_field.model
        self._table = read_model_table(session, self._parent)
        self._keys = [self._find(name) for name in lookup]
        self._constants = None if create is None else dict(create)
        if self._constants is not None:
            session.runs_functions |= self._runs_functions(self._constants)
        self._made: dict[str, Any] | None = None
        wanted = [field.target_field, *(self._find(name) for name in copies)]
        given = ", ".join(
            f"pg_catalog.unnest(${number}::pg_catalog.text[]::{self._type(key)}[])"
            for number, key in enumerate(self._keys, 1)
        )
        names = ", ".join(f"k{number}" for number in range(len(self._keys)))
        columns = ", ".join(f"parent.{quote_name(str(item.column))}" for item in wanted)
        equal = " AND ".join(
            f"parent.{quote_name(str(key.column))} {self._column(key).equal} given.k{number}"
            for number, key in enumerate(self._keys)
        )
        self._sql = (
            f"SELECT given.place, {columns} FROM ROWS FROM ({given}) WITH ORDINALITY "
            f"AS given({names}, place) JOIN {self._table.qualified_name} AS parent ON {equal} "
            "ORDER BY given.place"
        )

    def find(self, keys: Sequence[NaturalKey]) -> list[Found]:
        """Give what each natural key leads to."""
        if not keys:
            return []
        self._session.settle()
        found = self._ask(list(dict.fromkeys(keys)))
        return [found[key] for key in keys]

    def _ask(self, keys: list[NaturalKey]) -> dict[NaturalKey, Found]:
        found = self._select(keys)
        missing = [key for key in keys if key not in found]
        if missing and self._constants is not None:
            refused = self._create(missing)
            found |= self._select([key for key in missing if key not in refused]) | refused
        return {key: found.get(key, self._say(key, "there is no")) for key in keys}

    def _select(self, keys: list[NaturalKey]) -> dict[NaturalKey, Found]:
        found: dict[NaturalKey, Found] = {}
        sent = []
        for key in keys:
            try:
                prepared = [
                    self._prepare(field, text) for field, text in zip(self._keys, key, strict=True)
                ]
            except (ValidationError, TypeError, ValueError, ArithmeticError) as error:
                error.__traceback__ = None  # as in conversion.cleaning
                continue  # what the parent's field refuses is in no row
            sent.append((key, prepared))
        if not sent:
            return found
        columns = [[prepared[place] for _, prepared in sent] for place in range(len(self._keys))]
        for place, *values in self._session.fetch(self._sql, *columns):
            key = sent[int(place) - 1][0]
            found[key] = self._say(key, "there are several") if key in found else tuple(values)
        return found

    def _create(self, keys: list[NaturalKey]) -> dict[NaturalKey, Found]:
        if self._made is None:
            self._made = self._resolve_constants()
        refused: dict[NaturalKey, Found] = {}
        instances = []
        for key in keys:
            given = dict(zip((field.attname for field in self._keys), key, strict=True))
            instance = self._parent(**self._made)
            try:
                instance.clean_fields(exclude=self._have_values())
                for field in self._keys:
                    setattr(instance, field.attname, field.clean(given[field.attname], instance))
            except ValidationError as error:
                why = _join(error)
                refused[key] = f"{self._say(key, 'it cannot make a')} {why}"
            else:
                instances.append(instance)
        for start in range(0, len(instances), ROWS_CREATED_AT_ONCE):
            self._insert(instances[start : start + ROWS_CREATED_AT_ONCE])
        return refused

    def _have_values(self) -> set[str]:
        """Return the names of the fields that a row to be made gets a value for."""
        made = self._made or {}
        return {
            field.name
            for field in self._parent._meta.fields
            if field in self._keys
            or field.attname in made
            or field.has_default()
            or field.has_db_default()
            or field.generated
        }

    def _resolve_constants(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        blank: Any = self._parent()
        if hasattr(blank, "set_unusable_password"):  # a user whom nobody can log in as
            blank.set_unusable_password()
            made["password"] = blank.password
        for name, value in (self._constants or {}).items():
            field = self._find(name)
            if isinstance(value, dict):
                made[field.attname] = self._grandparent(field, value)
                continue
            try:
                made[field.attname] = field.to_python(as_text(value))
                field.run_validators(made[field.attname])
            except ValidationError as error:
                raise self._error(f"{name}: {' '.join(error.messages)}") from error
        if blank.pk is not None:
            made.pop(str(self._parent._meta.pk.attname), None)
        return made

    def _grandparent(self, field: models.Field[Any, Any], said: dict[str, Any]) -> Any:
        if not {"constant", "lookup"} <= set(said) <= {"constant", "lookup", "create"}:
            raise self._error(f"{field.name} must say 'constant' and 'lookup', and may 'create'.")
        lookup = said["lookup"]
        parents = Parents(
            self._session,
            self._alias,
            self._layout,
            field,
            lookup=[lookup] if isinstance(lookup, str) else lookup,
            create=said.get("create"),
        )
        constant = said["constant"]
        key = tuple(map(as_text, constant if isinstance(constant, list) else [constant]))
        [found] = parents.find([key])
        if isinstance(found, str):
            raise self._error(found)
        return found[0]

    def _runs_functions(self, constants: Mapping[str, Any]) -> bool:
        """Say whether the rows to be made, and those that they refer to, may run functions."""
        tables = [self._table, *_tables_made(self._session, self._parent, constants)]
        return any(runs_functions(self._session, table) for table in tables)

    def _insert(self, instances: list[models.Model]) -> None:
        connection = connections[self._alias]
        fields = [
            field
            for field in concrete_fields_of_table(self._parent)
            if not field.generated
            and not (field.primary_key and getattr(instances[0], field.attname) is None)
            and not hasattr(getattr(instances[0], field.attname), "resolve_expression")
        ]
        parameters: list[Any] = []
        rows = []
        for instance in instances:
            marks = []
            for field in fields:
                value = field.get_db_prep_save(field.pre_save(instance, add=True), connection)
                parameters.append(as_postgresql_text(value, connection))
                marks.append(f"${len(parameters)}::pg_catalog.text::{self._type(field)}")
            rows.append(f"({', '.join(marks)})")
        columns = ", ".join(quote_name(str(field.column)) for field in fields)
        self._session.functions_run += self._session.runs_functions
        self._session.fetch(
            f"INSERT INTO {self._table.qualified_name} ({columns}) VALUES {', '.join(rows)} "
            "ON CONFLICT DO NOTHING RETURNING 1",
            *parameters,
        )

    def _prepare(self, field: models.Field[Any, Any], text: str) -> str:
        if "\0" in text:
            raise ValueError(text)
        value = field.get_db_prep_value(field.to_python(text), connections[self._alias])
        return str(value)

    def _find(self, name: str) -> models.Field[Any, Any]:
        try:
            field = self._parent._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if not isinstance(field, models.Field) or not field.concrete:
            known = [item.name for item in self._parent._meta.concrete_fields]
            raise self._error(
                f"{self._parent._meta.label} has no field {name!r}.{did_you_mean(name, known)}"
            )
        return field

    def _type(self, field: models.Field[Any, Any]) -> str:
        return self._column(field).qualified_type

    def _column(self, field: models.Field[Any, Any]) -> Column:
        return self._table.column(str(field.column))

    def _error(self, message: str) -> Exception:
        return self._layout.error(("fields", self._field.name), message)

    def _say(self, key: NaturalKey, what: str) -> str:
        pairs = [f"{field.name} {text!r}" for field, text in zip(self._keys, key, strict=True)]
        return f"{what} {self._parent._meta.verbose_name} with {' and '.join(pairs)}."


def as_postgresql_text(value: Any, connection: Any) -> str | None:
    """Return a value that a field prepared, in PostgreSQL's text format for its type."""
    if value is None:
        return None
    if isinstance(value, str):
        return str(value)  # a member of TextChoices is its value
    if isinstance(value, dict):  # HStoreField's
        return ",".join(
            f"{_quote_hstore(name)}=>{'NULL' if item is None else _quote_hstore(item)}"
            for name, item in value.items()
        )
    adapters = get_adapters_template(settings.USE_TZ, connection.timezone)
    dumped = Transformer(adapters).get_dumper(value, PyFormat.TEXT).dump(value)
    return None if dumped is None else bytes(dumped).decode()


def _quote_hstore(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _join(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(f"{name}: {' '.join(why)}" for name, why in error.message_dict.items())


def _tables_made(
    session: Session, model: type[models.Model], constants: Mapping[str, Any]
) -> Iterator[Table]:
    """Give the tables whose rows the constants say to create where there is none."""
    for name, said in constants.items():
        if not isinstance(said, dict) or not isinstance(said.get("create"), dict):
            continue
        try:
            parent = model._meta.get_field(name).related_model
        except FieldDoesNotExist:
            continue  # it is named as wrong when the first row is made
        if isinstance(parent, type) and issubclass(parent, models.Model):
            yield read_model_table(session, parent)
            yield from _tables_made(session, parent, said["create"])

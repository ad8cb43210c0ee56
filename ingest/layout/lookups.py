"""Look up parents by natural keys, with one query for all unknown keys of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, models
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from psycopg import Binary
from psycopg.adapt import PyFormat, Transformer

from ingest.exceptions import did_you_mean
from ingest.layout.text_reader import as_text
from ingest.postgres.catalog import (
    concrete_fields_of_table,
    quote_name,
    read_model_table,
    runs_functions,
)
from ingest.postgres.errors import may_be_of_row, refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.layout import Layout
    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.session import Session

NaturalKey: TypeAlias = tuple[str, ...]
Prepared: TypeAlias = "tuple[NaturalKey, models.Model]"
Found: TypeAlias = "tuple[Any, ...] | str"
"""The values of the parent's columns, or the reason why there are none."""

_INTEGER_BITS = {"int2": 16, "int4": 32, "int8": 64}
"""By the name of a column's type; Django's fields also read numbers that are out of range."""


class NaturalKeyLookup:
    """Finds parents by the natural keys of one foreign key."""

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
        refuses: bool = False,
    ) -> None:
        """Prepare the query; ``copies`` are the parent's fields to copy.

        ``refuses``: if PostgreSQL refuses to insert a parent, only that parent is refused.
        """
        if not isinstance(field, models.ForeignKey):
            raise layout.error(
                ("fields", field.name, "lookup"), f"{field.name} is no foreign key: take it out."
            )
        self._session, self._alias, self._layout, self._field = session, alias, layout, field
        self._parent: type[models.Model] = field.remote_field.model
        self._concrete: type[models.Model] = self._parent._meta.concrete_model or self._parent
        self._table = read_model_table(session, self._parent)
        self._tables = {self._concrete: ("parent", self._table)}
        self._joins: list[str] = []
        self._refuses = refuses
        self.is_tree = self._concrete is field.model._meta.concrete_model
        """Whether the parents are rows of the loaded table itself."""
        self._keys = [self._find(name) for name in lookup]
        self._constants = None if create is None else dict(create)
        if self._constants is not None:
            self._check_one_table()
            session.runs_functions |= self._runs_functions(self._constants)
        self._made: dict[str, Any] | None = None
        self._grandparents: list[tuple[models.Field[Any, Any], NaturalKey, NaturalKeyLookup]] = []
        self._inserted: dict[Any, str] = {}
        self._has_lasting = False
        self.kept = ""
        """Why unused parents were kept; empty if none were."""
        wanted = [field.target_field, *(self._find(name) for name in copies)]
        given = ", ".join(
            f"pg_catalog.unnest(${number}::pg_catalog.text[]::{self._type(key)}[])"
            for number, key in enumerate(self._keys, 1)
        )
        names = ", ".join(f"k{number}" for number in range(len(self._keys)))
        columns = ", ".join(map(self._name, wanted))
        equal = " AND ".join(
            f"{self._name(key)} {self._column(key).equal} given.k{number}"
            for number, key in enumerate(self._keys)
        )
        self._sql = (
            f"SELECT given.place, {columns} FROM ROWS FROM ({given}) WITH ORDINALITY "
            f"AS given({names}, place), {self._table.qualified_name} AS parent "
            f"{' '.join(self._joins)} WHERE {equal} ORDER BY given.place"
        )

    @property
    def parts(self) -> int:
        """Return the number of fields of a natural key."""
        return len(self._keys)

    @property
    def can_make(self) -> bool:
        """Return whether missing parents are created."""
        return self._constants is not None

    def find(self, keys: Sequence[NaturalKey]) -> dict[NaturalKey, Found]:
        """Return the parents by natural key, without the keys that have no row."""
        if not keys:
            return {}
        self._session.settle()
        return self._select(list(dict.fromkeys(keys)))

    def comparable(self, key: NaturalKey) -> tuple[str, ...] | None:
        """Return a natural key in a form in which keys that PostgreSQL may find equal are equal."""
        try:
            return tuple(
                self._prepare(field, text).rstrip().casefold()
                for field, text in zip(self._keys, key, strict=True)
            )
        except (ValidationError, TypeError, ValueError, ArithmeticError) as error:
            error.__traceback__ = None
            return None

    def why_missing(self, key: NaturalKey) -> str:
        """Return a message that there is no such parent; for a tree, also the cure."""
        said = self._say(key, "there is no")
        if self.is_tree:
            said += " Neither the table nor an earlier record has it: put parents first."
        return said

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
                for field, text in zip(self._keys, key, strict=True):
                    setattr(instance, field.attname, field.clean(text, instance))
            except ValidationError as error:
                error.__traceback__ = None
                refused[key] = f"{self._say(key, 'it cannot make a')} {_join(error)}"
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
        found = self._select([key for key, _ in prepared])
        missing = [item for item in prepared if item[0] not in found]
        if not missing:
            return found, set()
        for field, grandparent in self._find_grandparents():
            for _, instance in missing:
                setattr(instance, field.attname, grandparent)
        inserted, refused = self._insert(missing)
        found |= self._select([key for key, _ in missing if key not in refused])
        made = set()
        for key, _ in missing:
            item = found.get(key)
            if item is None:
                found[key] = refused.get(key, self._say(key, "there is no"))
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
        deleted, error = self._try(self._delete(), list(keys.values()))
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
            for _, _, parents in self._grandparents:
                parents.take_back(list(parents._inserted))
                self.kept = self.kept or parents.kept
        return taken

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
                continue  # no row has a value that the parent's field refuses
            sent.append((key, prepared))
        if not sent:
            return found
        for key, item in self._fetch(sent):
            found[key] = self._say(key, "there are several") if key in found else item
        return found

    def _fetch(
        self, sent: Sequence[tuple[NaturalKey, list[str]]]
    ) -> list[tuple[NaturalKey, Found]]:
        """Query keys with one statement; if it is refused, halve them until the key is found.

        The field may accept a value that its column cannot hold, such as a number out of range.
        """
        columns = [[prepared[place] for _, prepared in sent] for place in range(len(self._keys))]
        rows, error = self._try(self._sql, *columns)
        if error is None:
            return [(sent[int(place) - 1][0], tuple(values)) for place, *values in rows]
        if len(sent) == 1:
            [(key, _)] = sent
            reason = refusal_of(error, "", ()).message
            return [(key, f"{self._say(key, 'there is no')} PostgreSQL says: {reason}.")]
        half = len(sent) // 2
        return [*self._fetch(sent[:half]), *self._fetch(sent[half:])]

    def _have_values(self) -> set[str]:
        """Return the names of the fields for which a new row gets a value."""
        made = self._made or {}
        return {
            field.name
            for field in self._parent._meta.fields
            if field in self._keys
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
            field = self._find(name)
            if isinstance(value, dict):
                self._grandparents.append(self._grandparent(field, value))
                continue
            try:
                made[field.attname] = field.to_python(as_text(value))
                field.run_validators(made[field.attname])
            except ValidationError as error:
                raise self._error(f"{name}: {' '.join(error.messages)}") from error
        if blank.pk is not None:
            made.pop(str(self._parent._meta.pk.attname), None)
        return made

    def _grandparent(
        self, field: models.Field[Any, Any], said: dict[str, Any]
    ) -> tuple[models.Field[Any, Any], NaturalKey, NaturalKeyLookup]:
        if not {"constant", "lookup"} <= set(said) <= {"constant", "lookup", "create"}:
            raise self._error(f"{field.name} must say 'constant' and 'lookup', and may 'create'.")
        lookup = said["lookup"]
        parents = NaturalKeyLookup(
            self._session,
            self._alias,
            self._layout,
            field,
            lookup=[lookup] if isinstance(lookup, str) else lookup,
            create=said.get("create"),
        )
        constant = said["constant"]
        key = tuple(map(as_text, constant if isinstance(constant, list) else [constant]))
        return field, key, parents

    def _find_grandparents(self) -> Iterator[tuple[models.Field[Any, Any], Any]]:
        """Yield the fields and keys of the parents' parents, created only when they are needed."""
        for field, key, parents in self._grandparents:
            found: Found | None = parents.find([key]).get(key)
            if found is None and parents.can_make:
                prepared, refused = parents.prepare([key])
                found = refused.get(key) or parents.make(prepared)[0][key]
            if not isinstance(found, tuple):
                raise self._error(found or parents.why_missing(key))
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
            f"given.c{number}::{self._type(field)}" for number, field in enumerate(fields)
        )
        sql = (
            f"INSERT INTO {self._table.qualified_name} AS parent ({names}) "
            f"SELECT {typed} FROM ROWS FROM ({texts}) WITH ORDINALITY AS given({given}, place) "
            "ORDER BY given.place ON CONFLICT DO NOTHING "
            f"RETURNING {self._name(self._field.target_field)}, {self._key}::pg_catalog.text"
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
            rows, error = self._try(sql, *columns)
        if error is None:
            return {str(value): key for value, key in rows}, {}
        if len(keys) == 1:
            reason = refusal_of(error, "", ()).message
            return {}, {keys[0]: f"{self._say(keys[0], 'it cannot make a')} {reason}."}
        half = len(keys) // 2
        one = self._send(sql, keys[:half], [column[:half] for column in columns])
        other = self._send(sql, keys[half:], [column[half:] for column in columns])
        return one[0] | other[0], one[1] | other[1]

    def _try(
        self, sql: str, *parameters: Any
    ) -> tuple[list[tuple[Any, ...]], BaseException | None]:
        """Run a statement; roll it back and return the error if that may be caused by a row."""
        session = self._session
        session.execute("SAVEPOINT ingest_parents")
        try:
            rows, refused = session.fetch(sql, *parameters), None
        except Exception as error:
            if not may_be_of_row(error):
                raise
            session.execute("ROLLBACK TO SAVEPOINT ingest_parents")
            rows, refused = [], error
            error.__traceback__ = None
        session.execute("RELEASE SAVEPOINT ingest_parents")
        return rows, refused

    @property
    def _key(self) -> str:
        return f"parent.{quote_name(str(self._concrete._meta.pk.column))}"

    def _delete(self) -> str:
        """Return the statement that deletes parents to which nothing refers."""
        field = self._field
        own = read_model_table(self._session, field.model)
        column = quote_name(str(field.column))
        equal = own.column(str(field.column)).equal
        refers = f"{self._name(field.target_field)} {equal} r.{column}"
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
            f"{self._column(key).equal} ANY ($1::pg_catalog.text[]::{self._type(key)}[]){nothing} "
            f"RETURNING {self._key}::pg_catalog.text"
        )

    def _prepare(self, field: models.Field[Any, Any], text: str) -> str:
        if "\0" in text:
            raise ValueError(text)
        value = field.get_db_prep_value(field.to_python(text), connections[self._alias])
        bits = _INTEGER_BITS.get(self._column(field).type_name)
        if bits and not -(1 << bits - 1) <= int(value) < 1 << bits - 1:
            raise ValueError(text)
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
        return self._place(field)[1].column(str(field.column))

    def _name(self, field: models.Field[Any, Any]) -> str:
        return f"{self._place(field)[0]}.{quote_name(str(field.column))}"

    def _place(self, field: models.Field[Any, Any]) -> tuple[str, Table]:
        """Return the alias and the table of a parent's field, which may be an inherited field."""
        holder = field.model._meta.concrete_model or field.model
        below = self._concrete
        for ancestor in (
            () if holder in self._tables else self._concrete._meta.get_base_chain(holder)
        ):
            link = below._meta.parents.get(ancestor)
            if link is None:  # a proxy has no table
                continue
            if ancestor not in self._tables:
                alias = f"ancestor{len(self._tables)}"
                table = read_model_table(self._session, ancestor)
                self._tables[ancestor] = alias, table
                key = ancestor._meta.pk
                self._joins.append(
                    f"JOIN {table.qualified_name} AS {alias} "
                    f"ON {self._tables[below][0]}.{quote_name(str(link.column))} "
                    f"{table.column(str(key.column)).equal} {alias}.{quote_name(str(key.column))}"
                )
            below = ancestor
        return self._tables[holder]

    def _check_one_table(self) -> None:
        others = [
            parent._meta.label
            for parent in self._concrete._meta.get_parent_list()
            if parent._meta.concrete_model is parent
        ]
        if others:
            raise self._error(
                f"it cannot make a {self._parent._meta.verbose_name}, because that also has fields "
                f"in the table of {', '.join(others)}: take 'create' out, and make these rows "
                "before the load."
            )

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
        return str(value)  # also for members of TextChoices
    if isinstance(value, dict):  # HStoreField's
        return ",".join(
            f"{_quote_hstore(name)}=>{'NULL' if item is None else _quote_hstore(item)}"
            for name, item in value.items()
        )
    if isinstance(value, Binary):  # psycopg would escape it for a literal
        return f"\\x{bytes(value.obj).hex()}"
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

"""Look up parents by natural keys, with one query for all unknown keys of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import connections, models

from ingest.exceptions import did_you_mean
from ingest.postgres.catalog import quote_name, read_model_table
from ingest.postgres.errors import may_be_of_row, refusal_of
from ingest.postgres.rights import is_of_rights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.layout import Layout
    from ingest.postgres.catalog import Column, Table
    from ingest.postgres.session import Session

NaturalKey: TypeAlias = tuple[str, ...]
Found: TypeAlias = "tuple[Any, ...] | str"
"""The values of the parent's columns, or the reason why there are none."""

_INTEGER_BITS = {"int2": 16, "int4": 32, "int8": 64}
"""By the name of a column's type; Django's fields also read numbers that are out of range."""


class NaturalKeyLookup:
    """Finds parents by the natural keys of one foreign key."""

    def __init__(
        self,
        session: Session,
        alias: str,
        layout: Layout,
        field: models.Field[Any, Any],
        *,
        lookup: Sequence[str],
        copies: Sequence[str] = (),
    ) -> None:
        """Prepare the query; ``copies`` are the parent's fields to copy."""
        if not isinstance(field, models.ForeignKey):
            raise layout.error(
                ("fields", field.name, "lookup"), f"{field.name} is not a foreign key: take it out."
            )
        self.session, self.alias, self.layout, self.field = session, alias, layout, field
        self.parent: type[models.Model] = field.remote_field.model
        self.concrete: type[models.Model] = self.parent._meta.concrete_model or self.parent
        self.table = read_model_table(session, self.parent)
        self._tables = {self.concrete: ("parent", self.table)}
        self._joins: list[str] = []
        self.is_tree = self.concrete is field.model._meta.concrete_model
        """Whether the parents are rows of the loaded table itself."""
        self.keys = [self.find_field(name) for name in lookup]
        wanted = [field.target_field, *(self.find_field(name) for name in copies)]
        given = ", ".join(
            f"pg_catalog.unnest(${number}::pg_catalog.text[]::{self.type_of(key)}[])"
            for number, key in enumerate(self.keys, 1)
        )
        names = ", ".join(f"k{number}" for number in range(len(self.keys)))
        columns = ", ".join(map(self.name_of, wanted))
        equal = " AND ".join(
            f"{self.name_of(key)} {self.column_of(key).equal} given.k{number}"
            for number, key in enumerate(self.keys)
        )
        self._sql = (
            f"SELECT given.place, {columns} FROM ROWS FROM ({given}) WITH ORDINALITY "
            f"AS given({names}, place), {self.table.qualified_name} AS parent "
            f"{' '.join(self._joins)} WHERE {equal} ORDER BY given.place"
        )

    @property
    def parts(self) -> int:
        """Return the number of fields of a natural key."""
        return len(self.keys)

    def find(self, keys: Sequence[NaturalKey]) -> dict[NaturalKey, Found]:
        """Return the parents by natural key, without the keys that have no row."""
        if not keys:
            return {}
        self.session.settle()
        return self.select(list(dict.fromkeys(keys)))

    def comparable(self, key: NaturalKey) -> tuple[str, ...] | None:
        """Return a natural key in a form in which keys that PostgreSQL may find equal are equal."""
        try:
            return tuple(
                self._prepare(field, text).rstrip().casefold()
                for field, text in zip(self.keys, key, strict=True)
            )
        except (ValidationError, TypeError, ValueError, ArithmeticError) as error:
            error.__traceback__ = None
            return None

    def why_missing(self, key: NaturalKey) -> str:
        """Return a message that there is no such parent; for a tree, also the cure."""
        reason = self.describe(key, "there is no")
        if self.is_tree:
            reason += " Neither the table nor an earlier record has it: put parents first."
        return reason

    def select(self, keys: list[NaturalKey]) -> dict[NaturalKey, Found]:
        """Do the same as ``find``, on a session that is settled."""
        found: dict[NaturalKey, Found] = {}
        sent = []
        for key in keys:
            try:
                prepared = [
                    self._prepare(field, text) for field, text in zip(self.keys, key, strict=True)
                ]
            except (ValidationError, TypeError, ValueError, ArithmeticError) as error:
                error.__traceback__ = None  # as in conversion.cleaning
                continue  # no row has a value that the parent's field refuses
            sent.append((key, prepared))
        if not sent:
            return found
        for key, item in self._fetch(sent):
            found[key] = self.describe(key, "there are several") if key in found else item
        return found

    def _fetch(
        self, sent: Sequence[tuple[NaturalKey, list[str]]]
    ) -> list[tuple[NaturalKey, Found]]:
        """Query keys with one statement; if it is refused, halve them until the key is found.

        The field may accept a value that its column cannot hold, such as a number out of range.
        """
        columns = [[prepared[place] for _, prepared in sent] for place in range(len(self.keys))]
        rows, error = self.attempt(self._sql, *columns)
        if error is None:
            return [(sent[int(place) - 1][0], tuple(values)) for place, *values in rows]
        if is_of_rights(error):  # whatever the keys: policies hide rows without an error
            raise error
        if len(sent) == 1:
            [(key, _)] = sent
            reason = refusal_of(error, "", ()).message
            return [(key, f"{self.describe(key, 'there is no')} PostgreSQL says: {reason}.")]
        half = len(sent) // 2
        return [*self._fetch(sent[:half]), *self._fetch(sent[half:])]

    def attempt(
        self, sql: str, *parameters: Any
    ) -> tuple[list[tuple[Any, ...]], BaseException | None]:
        """Run a statement; roll it back and return the error if that may be caused by a row."""
        session = self.session
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

    def find_field(self, name: str) -> models.Field[Any, Any]:
        """Return the parent's field of this name, or raise ``LayoutError``."""
        try:
            field = self.parent._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if not isinstance(field, models.Field) or not field.concrete:
            known = [item.name for item in self.parent._meta.concrete_fields]
            raise self.error(
                f"{self.parent._meta.label} has no field {name!r}.{did_you_mean(name, known)}"
            )
        return field

    def type_of(self, field: models.Field[Any, Any]) -> str:
        """Return the type of a field's column, with its schema."""
        return self.column_of(field).qualified_type

    def column_of(self, field: models.Field[Any, Any]) -> Column:
        """Return a field's column."""
        return self._place(field)[1].column(str(field.column))

    def name_of(self, field: models.Field[Any, Any]) -> str:
        """Return the name of a field's column in the query, with the alias of its table."""
        return f"{self._place(field)[0]}.{quote_name(str(field.column))}"

    def error(self, message: str) -> Exception:
        """Return a ``LayoutError`` about this look-up."""
        return self.layout.error(("fields", self.field.name), message)

    def describe(self, key: NaturalKey, what: str) -> str:
        """Return a sentence about a parent that begins with ``what``, such as "there is no"."""
        pairs = [f"{field.name} {text!r}" for field, text in zip(self.keys, key, strict=True)]
        return f"{what} {self.parent._meta.verbose_name} with {' and '.join(pairs)}."

    def _prepare(self, field: models.Field[Any, Any], text: str) -> str:
        if "\0" in text:
            raise ValueError(text)
        value = field.get_db_prep_value(field.to_python(text), connections[self.alias])
        bits = _INTEGER_BITS.get(self.column_of(field).type_name)
        if bits and not -(1 << bits - 1) <= int(value) < 1 << bits - 1:
            raise ValueError(text)
        return str(value)

    def _place(self, field: models.Field[Any, Any]) -> tuple[str, Table]:
        """Return the alias and the table of a parent's field, which may be an inherited field."""
        holder = field.model._meta.concrete_model or field.model
        below = self.concrete
        for ancestor in (
            () if holder in self._tables else self.concrete._meta.get_base_chain(holder)
        ):
            link = below._meta.parents.get(ancestor)
            if link is None:  # a proxy has no table
                continue
            if ancestor not in self._tables:
                alias = f"ancestor{len(self._tables)}"
                table = read_model_table(self.session, ancestor)
                self._tables[ancestor] = alias, table
                key = ancestor._meta.pk
                self._joins.append(
                    f"JOIN {table.qualified_name} AS {alias} "
                    f"ON {self._tables[below][0]}.{quote_name(str(link.column))} "
                    f"{table.column(str(key.column)).equal} {alias}.{quote_name(str(key.column))}"
                )
            below = ancestor
        return self._tables[holder]

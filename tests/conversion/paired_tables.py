"""Two tables for each model: one that `save()` fills, one that COPY fills."""

import dataclasses
import json
import re

import psycopg
from django.contrib.postgres.fields import ArrayField
from django.db import DEFAULT_DB_ALIAS, connection

from ingest.conversion import Converter
from ingest.conversion.cleaning import NANOSECONDS
from ingest.conversion.cures import FORMATS, MARKS, NO_JSON, NO_NAN, WHOLE, WORDS
from ingest.exceptions import null_cure
from ingest.postgres.catalog import quote_name
from ingest.postgres.session import CopyTarget, DjangoSession, adaptation_context
from ingest.results.rejects import REASON_SHOWN
from ingest.sources import Batch
from tests.conversion.orm_values import Verdict, values_of, verdict, verdicts
from tests.whole_table import whole_table


def definition(model):
    sql, parameters = connection.schema_editor().table_sql(model)
    assert not parameters
    return sql.replace("CREATE TABLE", "CREATE TEMP TABLE IF NOT EXISTS", 1)


def without_sign_of_zero(row, field):
    """Forget what psycopg loses when it writes -0.0 into the statement: a meant difference."""
    if row is not None and field.db_type(connection) in {"real", "double precision"}:
        return row.replace("(-0,", "(0,")
    return row


def is_cut_by_the_orm(verdict):
    """Return whether an array's text was refused that the ORM's cast cuts: a meant difference."""
    [message] = verdict.messages or [""]
    return message.startswith("value too long for type character varying") and "[]" in message


def is_cast_by_the_orm(value, verdict):
    """Return whether bytes were refused that PostgreSQL 18 casts to integers, as meant."""
    refused = verdict.messages == ("the column's type integer[] cannot hold it",)
    return refused and "b'" in repr(value)


def with_items_read(value, field):
    """Return a list with its items as their field reads them: what is stored, as meant, of a list
    that the ORM itself refuses.
    """
    if not isinstance(field, ArrayField):
        return None if value is None else field.to_python(value)
    if isinstance(value, str):
        value = json.loads(value)
    return None if value is None else [with_items_read(item, field.base_field) for item in value]


def is_cut_by_python(verdict):
    """Return whether nanoseconds were refused, which Python's values cut: a meant difference."""
    return verdict.messages == (NANOSECONDS,)


def is_same_message(mine, theirs):
    """Return whether both say the same; of long values the beginnings are repeated only.

    What can be done about it is said by ingest alone.
    """
    [message], full = mine.messages or [""], " ".join(theirs.messages)
    for cure in (WHOLE, MARKS, FORMATS, WORDS, NO_JSON, NO_NAN, null_cure("null").strip()):
        message = message.removesuffix(f" {cure}")
    shown = ".*".join(map(re.escape, message.split("…")))
    is_shortened = len(full) > REASON_SHOWN and "…" in message and not message.endswith("…")
    return message == full or (is_shortened and re.fullmatch(shown, full, re.DOTALL) is not None)


def parents_of(model):
    return [field.related_model for field in model._meta.fields if field.is_relation]


@dataclasses.dataclass
class Twins:
    """A model's table and its twin, with the converter between them."""

    model: type
    is_judged_by_postgresql: bool = False
    """Whether PostgreSQL may refuse what the field accepts."""

    def __post_init__(self):
        self.next_position = 1
        self.name = self.model._meta.db_table
        self.twin = f"{self.name}_twin"[-63:]
        with connection.cursor() as cursor:
            for parent in parents_of(self.model):
                cursor.execute(definition(parent))
            cursor.execute(definition(self.model))
            for constraint in self._unique_constraints(cursor):
                cursor.execute(
                    f"ALTER TABLE {quote_name(self.name)} DROP CONSTRAINT {quote_name(constraint)}"
                )
            cursor.execute(f"CREATE INDEX ON {quote_name(self.name)} (position)")
            cursor.execute(
                f"CREATE TEMP TABLE {quote_name(self.twin)} "
                f"(LIKE {quote_name(self.name)} INCLUDING ALL)"
            )
        self.session = DjangoSession(DEFAULT_DB_ALIAS)
        table = whole_table(self.session, self.model)
        self.schema = table.schema
        self.converter = Converter(
            table=table,
            fields=[self.model._meta.get_field(name) for name in ("position", "value")],
            alias=DEFAULT_DB_ALIAS,
            context=adaptation_context(DEFAULT_DB_ALIAS, table),
        )

    def _unique_constraints(self, cursor):
        cursor.execute(
            "SELECT conname FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
            [quote_name(self.name)],
        )
        return [name for (name,) in cursor.fetchall()]

    def compare(self, cells):
        """Return the differences between the ORM and the conversion, one sentence for each."""
        field = self.model._meta.get_field("value")
        values = values_of(cells, field)
        first, self.next_position = self.next_position, self.next_position + len(values)
        positions = range(first, self.next_position)
        got = self.converted(cells, positions)
        want = verdicts(self.model, values, first)
        want_rows, got_rows = self.rows(first)
        found = []
        for place, (position, value) in enumerate(zip(positions, values, strict=True)):
            mine = dataclasses.replace(got[place], stored=got_rows.get(position))
            theirs = dataclasses.replace(want[place], stored=want_rows.get(position))
            if self.is_judged_by_postgresql:
                # A field without a type of its own: a meant difference.
                got_row = without_sign_of_zero(mine.stored, field)
                if None not in (got_row, theirs.stored) and got_row != theirs.stored:
                    found.append(f"{value!r}: {mine} is not {theirs}")
            elif (
                is_cut_by_the_orm(mine) or is_cast_by_the_orm(value, mine) or is_cut_by_python(mine)
            ):
                continue
            elif (
                isinstance(field, ArrayField)
                and isinstance(value, list | tuple | str)
                and mine.stored is not None
                and theirs.stored is None
            ):
                read = with_items_read(value, field)
                verdict(self.model, read, position)
                stored = self.rows(position)[0].get(position)
                if mine.stored != stored:
                    found.append(f"{value!r}: {mine} is not {stored!r}, as of {read!r}")
            elif without_sign_of_zero(mine.stored, field) != theirs.stored:
                found.append(f"{value!r}: {mine} is not {theirs}")
            elif theirs.messages and not is_same_message(mine, theirs):
                found.append(f"{value!r}: {mine.messages} is not {theirs.messages}")
        return found

    def converted(self, cells, positions):
        batch = Batch(source="rows", records=positions, columns=(list(positions), cells.column))
        typed = self.converter.convert(batch)
        refused = {reject.record: reject.reason for reject in typed.rejects}
        assert typed.rows.num_rows == len(typed.records) == len(positions) - len(refused)
        if typed.rows.num_rows:
            self._copy(typed)
        return [
            Verdict(messages=(refused[position],)) if position in refused else Verdict()
            for position in positions
        ]

    def _copy(self, typed):
        encoding = self.converter.encoding
        target = CopyTarget(
            schema=self.schema, table=self.twin, columns=encoding.names, format=encoding.format
        )
        parts = [typed.rows]
        if self.is_judged_by_postgresql:
            parts = [typed.rows.slice(row, 1) for row in range(typed.rows.num_rows)]
        for rows in parts:
            try:
                copied = self.session.start_copy(target, encoding.encode(rows)).result()
                assert copied == rows.num_rows
            except psycopg.DatabaseError:
                if not self.is_judged_by_postgresql:
                    raise

    def rows(self, first):
        """Return what PostgreSQL shows of the rows: by `save()`, and by COPY."""
        tables = quote_name(self.name), quote_name(self.twin)
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT false, position, t::text FROM {tables[0]} t WHERE position >= %s "
                f"UNION ALL SELECT true, position, t::text FROM {tables[1]} t WHERE position >= %s",
                [first, first],
            )
            found = cursor.fetchall()
        return tuple(
            {position: row for is_of_twin, position, row in found if is_of_twin == is_twin}
            for is_twin in (False, True)
        )

    def stored_nulls(self):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {quote_name(self.twin)} WHERE value IS NULL")
            return cursor.fetchone()[0]

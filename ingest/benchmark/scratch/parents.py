"""The rows that foreign keys refer to: copied from the real tables, or generated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.color import no_style
from django.db import connections, models

from ingest.benchmark.data import Keys, RowMaker, made_fields
from ingest.benchmark.scratch import definitions
from ingest.benchmark.scratch.copying import plain_names
from ingest.exceptions import BenchmarkError
from ingest.plurals import counted
from ingest.postgres.catalog import find_table, quote_name, read_table
from ingest.postgres.session import DjangoSession

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.benchmark.scratch.tables import ScratchTables

    Field = models.Field[Any, Any]

COPIED_ROWS = 100_000
"""The most rows copied from a referenced table: enough for a realistic check of keys."""
MADE_ROWS = 1_000
"""The number of rows generated for a referenced table that has none."""


class ParentRows:
    """Fills the scratch tables that the model's table refers to, before triggers are added."""

    def __init__(self, tables: ScratchTables, seed: int) -> None:
        self._tables = tables
        self._seed = seed
        self._session = DjangoSession(tables.alias)
        self._edges: list[tuple[Any, ...]] = []
        self._copies = tables.copier.copies if tables.copier else {}
        self._root = next(iter(self._copies), 0)
        if self._copies:
            with plain_names(tables.alias):
                self._edges = self._session.fetch(definitions.EDGES, list(self._copies))

    def copy_some(self) -> None:
        """Copy rows of the referenced tables, and all rows that those refer to."""
        for child, parent, _, referenced in self._edges:
            if child == self._root != parent:
                rows = self._insert(parent, referenced, f"LIMIT {COPIED_ROWS}")
                if rows == COPIED_ROWS:
                    self._tables.scratch.notes.append(
                        f"Only {rows:,} rows of {self._copies[parent].original} were copied."
                    )
        self._copy_closure()

    def copy_referenced(self, name: str, columns: set[str]) -> None:
        """Copy the rows that rows in the table ``name`` refer to through the given columns.

        Raise ``BenchmarkError`` for a reference to a missing row.
        """
        for child, parent, referring, referenced in self._edges:
            if child == self._root != parent and set(referring) <= columns:
                self._insert(parent, referenced, _found_in(name, referring, referenced))
                self._check_found(name, parent, referring, referenced)
        self._copy_closure()

    def make_missing(self, fields: Sequence[Field], count: int) -> None:
        """Generate rows for referenced tables that are empty or have too few for ``count``."""
        for field in fields:
            if self._is_outward(field):
                needed = count if field.unique else 1
                self._ensure(field.related_model, needed, {self._tables.model})

    def keys(self, fields: Sequence[Field], model: type[models.Model] | None = None) -> list[Keys]:
        """Return the keys that the model's fields may have."""
        keys = []
        for field in fields:
            if not field.is_relation or field.related_model in (model, self._tables.model):
                continue
            parent: Any = field.related_model
            if find_table(self._session, parent._meta.db_table) is None:
                continue
            rows = parent._base_manager.using(self._tables.alias)
            rows = rows.complex_filter(field.get_limit_choices_to())  # type: ignore[attr-defined]
            name = field.target_field.attname  # type: ignore[attr-defined]
            values = list(rows.order_by("pk").values_list(name)[:COPIED_ROWS])
            if values:
                keys.append(Keys(fields=(field.attname,), values=values))
        return keys

    def _is_outward(self, field: Field) -> bool:
        return field.is_relation and field.related_model in self._tables.names

    def _ensure(self, model: Any, needed: int, above: set[Any]) -> None:
        manager = model._base_manager.using(self._tables.alias)
        [(present,)] = self._session.fetch(
            f"SELECT pg_catalog.count(*) FROM {self._tables.names[model]}"
        )
        if present >= needed or model in above:
            return
        fields, notes = made_fields(model)
        self._tables.scratch.notes.extend(notes)
        missing = max(needed, MADE_ROWS) - present
        for field in fields:
            if self._is_outward(field):
                self._ensure(field.related_model, missing if field.unique else 1, {*above, model})
        oid = find_table(self._session, self._tables.names[model])
        assert oid is not None  # noqa: S101 - it was created a moment ago
        maker = RowMaker(
            model=model,
            fields=fields,
            table=read_table(self._session, oid),
            alias=self._tables.alias,
            seed=self._seed,
            keys=self.keys(fields, model),
        )
        names = [field.attname for field in fields]
        connection = connections[self._tables.alias]
        with connection.cursor() as cursor:
            for sql in connection.ops.sequence_reset_sql(no_style(), [model]):
                cursor.execute(sql)
        manager.bulk_create(
            [model(**dict(zip(names, row, strict=True))) for row in maker.make(missing)]
        )
        self._tables.scratch.notes.append(
            f"{counted(missing, 'row')} of {model._meta.label} "
            f"{'was' if missing == 1 else 'were'} made up."
        )

    def _copy_closure(self) -> None:
        is_growing = True
        while is_growing:
            is_growing = False
            for child, parent, referring, referenced in self._edges:
                if self._root not in (child, parent):
                    found = _found_in(self._copies[child].name, referring, referenced)
                    is_growing |= self._insert(parent, referenced, found) > 0

    def _insert(self, oid: int, referenced: Sequence[str], condition: str) -> int:
        copy = self._copies[oid]
        with plain_names(self._tables.alias):
            columns = self._session.fetch(definitions.COPIED_COLUMNS, oid, self._root)
        for name, leads_back, is_required in columns:
            if leads_back and is_required:
                raise BenchmarkError(
                    f"{copy.original} and {self._copies[self._root].original} refer to each other "
                    f"by columns that cannot be empty ({name}): a benchmark cannot start there."
                )
        names = ", ".join(quote_name(name) for name, *_ in columns)
        # A column that refers to the measured table, which is empty, must be empty too.
        values = ", ".join(
            "NULL" if leads_back else f"o.{quote_name(name)}" for name, leads_back, _ in columns
        )
        known = _equal("k", "o", referenced, referenced)
        where = condition if condition.startswith("AND") else ""
        limit = "" if where else condition
        with connections[self._tables.alias].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {copy.name} ({names}) OVERRIDING SYSTEM VALUE "
                f"SELECT {values} FROM {copy.original} o "
                f"WHERE NOT EXISTS (SELECT FROM {copy.name} k WHERE {known}) {where} {limit}"
            )
            return int(cursor.rowcount)

    def _check_found(
        self, name: str, parent: int, referring: Sequence[str], referenced: Sequence[str]
    ) -> None:
        copy = self._copies[parent]
        is_given = " AND ".join(f"r.{quote_name(column)} IS NOT NULL" for column in referring)
        missing = self._session.fetch(
            f"SELECT {', '.join(f'r.{quote_name(it)}::pg_catalog.text' for it in referring)} "
            f"FROM {name} r WHERE {is_given} AND NOT EXISTS (SELECT FROM {copy.name} o "
            f"WHERE {_equal('r', 'o', referring, referenced)}) LIMIT 1"
        )
        for values in missing:
            raise BenchmarkError(
                f"The source refers to {', '.join(referring)} = {', '.join(values)}, which is not "
                f"in {copy.original}: load those rows first."
            )


def _found_in(name: str, referring: Sequence[str], referenced: Sequence[str]) -> str:
    return f"AND EXISTS (SELECT FROM {name} r WHERE {_equal('r', 'o', referring, referenced)})"


def _equal(left: str, right: str, left_names: Sequence[str], right_names: Sequence[str]) -> str:
    return " AND ".join(
        f"{left}.{quote_name(one)} OPERATOR(pg_catalog.=) {right}.{quote_name(other)}"
        for one, other in zip(left_names, right_names, strict=True)
    )

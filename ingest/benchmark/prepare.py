"""From the options to tables, rows and a reference that are ready for measuring."""

from __future__ import annotations

import dataclasses
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models, transaction

from ingest.benchmark.data import RowMaker, made_fields
from ingest.benchmark.data.keys import give_keys
from ingest.benchmark.methods.base import Target
from ingest.benchmark.methods.prepared_rows import clean_rows
from ingest.benchmark.probes import add_triggers, try_rows
from ingest.benchmark.scratch import open_scratch
from ingest.benchmark.scratch.parents import ParentRows
from ingest.benchmark.scratch.reset import TableState
from ingest.benchmark.scratch.tables import build_tables, redirect
from ingest.benchmark.verification import Reference
from ingest.exceptions import BenchmarkError, RecordsRefused
from ingest.layout import match_fields
from ingest.layout.transform import find_transform
from ingest.loading.pipeline import make_converter
from ingest.plurals import counted
from ingest.postgres.catalog import read_settled_table
from ingest.postgres.session import open_session
from ingest.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ingest.benchmark.methods.base import Row
    from ingest.benchmark.options import BenchmarkOptions
    from ingest.benchmark.scratch.tables import ScratchTables

    Fields = tuple[models.Field[Any, Any], ...]


WARM_UP_ROWS = 1_000
"""More would not warm up anything else: libraries are imported and statements planned by then."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Material:
    """What the methods are measured with."""

    tables: ScratchTables
    target: Target
    rows: Sequence[Row]
    """The rows of the largest size; a smaller size uses the first of them."""
    files: Mapping[int, Path]
    """CSV files with the first rows, by their number; empty if all start from rows in memory."""
    sizes: Sequence[int]
    """The numbers of rows, in ascending order."""
    reference: Reference
    table_state: TableState


@contextmanager
def prepare(options: BenchmarkOptions, say: Callable[[str], None]) -> Iterator[Material]:
    """Yield the material; during the block the models lead to the scratch schema."""
    fields: Fields = ()
    rows: list[Row] = []
    sizes = sorted(set(options.rows))
    notes = []
    if options.source is not None:
        say(f"reading {options.source}")
        fields, rows = read_rows(options.model, options.source, using=options.database)
        if not rows:
            raise BenchmarkError(f"{options.source} has no rows to measure with.")
        if options.existing and len(rows) < sizes[-1] + options.existing:
            raise BenchmarkError(
                f"{options.source} has {counted(len(rows), 'row')}, but --rows and --existing "
                f"together ask for {sizes[-1] + options.existing:,}."
            )
        if len(rows) < sizes[-1]:
            notes.append(
                f"{options.source} has {counted(len(rows), 'row')}: more were not measured."
            )
        sizes = sorted({min(size, len(rows)) for size in sizes})
    with open_scratch(options.database) as scratch:
        say("copying the tables")
        with _explained():
            tables = build_tables(scratch, options.model)
        scratch.notes.extend(notes)
        with redirect(tables.names):
            say("making the rows")
            rows = rows[: sizes[-1] + options.existing]
            with tempfile.TemporaryDirectory(prefix="ingest-") as folder:
                with _explained():
                    material = _fill(options, tables, fields, rows, sizes)
                    if options.from_file and material.target.fields:
                        say("writing the rows to a file")
                        material = _with_files(material, Path(folder))
                yield material


def read_rows(
    model: type[models.Model], source: Any, *, using: str = DEFAULT_DB_ALIAS
) -> tuple[tuple[models.Field[Any, Any], ...], list[Row]]:
    """Read a source into memory as rows of cleaned Python values, with their fields.

    Raise ``RecordsRefused`` for the first batch with a record that a field refuses.
    """
    rows: list[Row] = []
    with open_source(source) as opened, open_session(using) as session, session.transaction():
        table = read_settled_table(session, model)
        # A header such as customer__number looks up a parent, as when a file is loaded.
        transform = find_transform(None, model, opened, session, using)
        converter = make_converter(model, opened, using, table, transform)
        batches = opened.batches()
        for batch in batches if transform is None else transform.apply(batches):
            good, rejects = clean_rows(converter, batch)
            if rejects or batch.refused:
                raise RecordsRefused([*batch.refused, *rejects])
            rows.extend(good)
        if transform is not None:
            return tuple(transform.fields), rows
        return match_fields(model, opened.columns, opened.name), rows


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, psycopg.Error) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise BenchmarkError(
            f"PostgreSQL refuses what the scratch schema needs: {reason}."
        ) from error


def _fill(
    options: BenchmarkOptions,
    tables: ScratchTables,
    fields: Fields,
    rows: list[Row],
    sizes: list[int],
) -> Material:
    parents = ParentRows(tables, options.seed)
    with transaction.atomic(using=options.database):
        if rows:
            fields, rows = _with_keys(options, tables, fields, rows, sizes[-1])
            reference = Reference(tables, fields)
            reference.fill(rows)
            table = tables.read_table()
            columns = {table.column(str(field.column)).name for field in fields}
            parents.copy_referenced(reference.name, columns)
        else:
            fields, notes = made_fields(tables.model)
            tables.scratch.notes.extend(notes)
            rows = _make_rows(options, tables, parents, fields, sizes[-1] + options.existing)
            fields, rows = _with_keys(options, tables, fields, rows, sizes[-1])
            reference = Reference(tables, fields)
            reference.fill(rows)
        if tables.copier is not None:
            tables.copier.copy_foreign_keys()
    try_rows(tables, reference)
    add_triggers(tables, reference)
    with connections[options.database].cursor() as cursor:
        cursor.execute("ANALYZE " + ", ".join(dict.fromkeys(tables.names.values())))
    target = Target(
        model=tables.model, alias=options.database, table=tables.read_table(), fields=fields
    )
    if options.existing:
        reference.keep_for_existing(sizes[-1], replaced=options.overlap is not None)
    return Material(
        tables=tables,
        target=target,
        rows=rows[: sizes[-1]],
        files={},
        sizes=sizes,
        reference=reference,
        table_state=TableState(tables, reference, options.existing),
    )


def _with_keys(
    options: BenchmarkOptions, tables: ScratchTables, fields: Fields, rows: list[Row], given: int
) -> tuple[Fields, list[Row]]:
    if options.overlap is None:
        return fields, rows
    return give_keys(tables.model, fields, rows, given, options.overlap, options.seed)


def _with_files(material: Material, folder: Path) -> Material:
    files = {}
    for count in {*material.sizes, *(min(size, WARM_UP_ROWS) for size in material.sizes)}:
        files[count] = folder / f"{count}.csv"
        material.reference.write_file(files[count], count)
    return dataclasses.replace(material, files=files)


def _make_rows(
    options: BenchmarkOptions,
    tables: ScratchTables,
    parents: ParentRows,
    fields: Fields,
    count: int,
) -> list[Row]:
    parents.copy_some()
    parents.make_missing(fields, count)
    maker = RowMaker(
        model=tables.model,
        fields=fields,
        table=tables.read_table(),
        alias=options.database,
        seed=options.seed,
        keys=parents.keys(fields),
    )
    return maker.make(count)

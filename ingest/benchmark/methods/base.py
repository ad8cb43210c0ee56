"""The base of methods: ways to get rows into a model's table, to be compared with each other.

A new method is one new file in this folder. Its class describes its capabilities as class
attributes; ``Method.refusals`` turns each missing capability that a model needs into a sentence
before the first row.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ingest.benchmark.methods.prepared_rows import clean_rows
from ingest.conversion import Converter
from ingest.exceptions import RecordsRefused, UnsupportedModelError
from ingest.plurals import counted
from ingest.postgres.session import adaptation_context
from ingest.sources import SourceOptions, open_source
from ingest.writing.preconditions import why_no_table, why_not_one_table, why_not_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from django.db.models import Field, Model

    from ingest.conversion.slow_fields import SlowField
    from ingest.postgres.catalog import Table

Row = tuple[Any, ...]
"""Python values of the target's fields, in their order, as a model instance would hold them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """The target of rows: a model's table on one database, and the fields that are given."""

    model: type[Model]
    alias: str
    """The alias in ``settings.DATABASES``."""
    table: Table
    """The table in the catalog: a benchmark's copy, or the real one."""
    fields: tuple[Field[Any, Any], ...]
    """The fields that the rows have values for; all others are filled as by the ORM."""

    def converter(self, *, has_postgres_text: bool = False) -> Converter:
        """Return a converter for batches whose columns are these fields.

        ``has_postgres_text``: the cells are from a file that PostgreSQL wrote.
        """
        return Converter(
            table=self.table,
            fields=self.fields,
            alias=self.alias,
            context=adaptation_context(self.alias, self.table),
            judges_unfed=False,  # like save(), which the methods are compared with
            has_postgres_text=has_postgres_text,
        )


OF_POSTGRES = SourceOptions(format="postgres-csv")
"""Options for the benchmark's files: arrays, ranges, bytes and NULL as PostgreSQL writes them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Where one run spent its time."""

    seconds: float
    """Seconds of the whole run, from the open source to the commit."""
    stages: Mapping[str, float]
    """Seconds of each stage; some stages overlap with the server's work."""
    fields: Mapping[str, float]
    """Seconds of the conversion of each field."""
    slow_fields: tuple[SlowField, ...] = ()
    """The fields that validated their values one at a time."""


class Method(ABC):
    """A way to get rows into a table. It is a context manager, which connects on entry."""

    name: ClassVar[str]
    """Its name in the command, the report and the docs."""
    summary: ClassVar[str]
    """One line for the help."""
    place: ClassVar[int]
    """Its position in lists and plots: 10 for the simplest way, the highest number for the
    fastest."""
    driver: ClassVar[str]
    """The client of PostgreSQL: ``django`` or ``asyncpg``."""
    supports_multi_table_inheritance: ClassVar[bool] = False
    """Whether it can write a model whose fields are in more than one table."""
    supports_sql_around_values: ClassVar[bool] = False
    """Whether it can write a field that wraps SQL around its value, with ``get_placeholder``."""
    benchmark_row_cap: ClassVar[int | None] = None
    """The most rows worth waiting for in a benchmark; None: no cap."""
    _registry: ClassVar[dict[str, type[Method]]] = {}

    def __init_subclass__(cls, *, registers: bool = True) -> None:
        super().__init_subclass__()
        if registers and "name" in vars(cls):
            Method._registry[cls.name] = cls

    def __init__(self, target: Target) -> None:
        reasons = self.refusals(target.model)
        if reasons:
            raise UnsupportedModelError(" ".join(reasons))
        self.target = target
        self.decisions: list[str] = []
        """The decisions made on the way, a sentence each."""
        self.costs: Costs | None = None
        """Where the last run spent its time, if the method knows."""

    @classmethod
    def registered(cls) -> dict[str, type[Method]]:
        """Return all methods by name."""
        return dict(cls._registry)

    @classmethod
    def refusals(cls, model: type[Model]) -> list[str]:
        """Return sentences that say why it cannot write the model; an empty list if it can."""
        reasons = [why_no_table(model)]
        if not cls.supports_multi_table_inheritance:
            reasons.append(why_not_one_table(model, cls.name))
        if not cls.supports_sql_around_values:
            reasons.append(why_not_values(model, cls.name))
        return [reason for reason in reasons if reason is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def write(self, rows: Iterable[Row]) -> int:
        """Write the rows to the table in one transaction, committed on return.

        ``rows`` are sequences of Python values in the order of ``target.fields``, read once. Return
        the number of rows that PostgreSQL counted. On any error nothing is written: ``ValueError``
        for a row of the wrong length, otherwise an error of ingest, Django or the driver.
        """
        return self.write_checked(self._checked(rows))

    def write_file(self, path: str) -> int:
        """Write the rows of a CSV file that PostgreSQL's COPY wrote, like ``write``.

        Its first line names the target's fields, in their order. Each cell is cleaned by its field.
        """
        converter = self.target.converter(has_postgres_text=True)

        def rows() -> Iterator[Row]:
            for batch in source.batches():
                good, rejects = clean_rows(converter, batch)
                if rejects:
                    raise RecordsRefused(rejects)
                yield from good

        with open_source(path, OF_POSTGRES) as source:
            return self.write_checked(rows())

    @abstractmethod
    def write_checked(self, rows: Iterable[Row]) -> int:
        """Do the work of ``write`` for rows of the right length."""

    def _checked(self, rows: Iterable[Row]) -> Iterator[Row]:
        width = len(self.target.fields)
        for number, row in enumerate(rows, 1):
            if len(row) != width:
                raise ValueError(
                    f"Row {number:,} has {counted(len(row), 'value')} for "
                    f"{counted(width, 'field')}: "
                    f"{', '.join(field.attname for field in self.target.fields)}."
                )
            yield row

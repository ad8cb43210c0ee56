"""What a method is: a way to get rows into a model's table, to be compared with the others.

A new method is one new file in this folder. Its class answers the questions below as class
attributes; ``Method.refusals`` turns each "no" that matters for a model into a sentence before the
first row.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ingest.benchmark.methods.prepared_rows import clean_rows
from ingest.conversion import Converter
from ingest.exceptions import RecordsRefused, UnsupportedModelError
from ingest.postgres.session import adaptation_context
from ingest.sources import SourceOptions, open_source
from ingest.writing.copy import why_no_table, why_not_one_table, why_not_values

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
    """Where rows go: a model's table on one database, and the fields that are given."""

    model: type[Model]
    alias: str
    """The database's name in ``settings.DATABASES``."""
    table: Table
    """The table as the catalog has it; a benchmark's copy of it, or the real one."""
    fields: tuple[Field[Any, Any], ...]
    """The fields that the rows have values for; all others get what the ORM would give them."""

    def converter(self, *, has_postgres_text: bool = False) -> Converter:
        """Plan how batches whose columns are these fields become typed ones.

        ``has_postgres_text``: the cells are those of a file that PostgreSQL wrote.
        """
        return Converter(
            table=self.table,
            fields=self.fields,
            alias=self.alias,
            context=adaptation_context(self.alias, self.table),
            judges_unfed=False,  # as save(), which the methods are compared with
            has_postgres_text=has_postgres_text,
        )


OF_POSTGRES = SourceOptions(format="postgres-csv")
"""How the benchmark's files are read: arrays, ranges, bytes and NULL as PostgreSQL writes them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Where one run spent its time."""

    seconds: float
    """Of the whole run, from the open source to committed."""
    stages: Mapping[str, float]
    """Seconds of each stage; some stages overlap work of the server."""
    fields: Mapping[str, float]
    """Seconds of the conversion of each field."""
    slow_fields: tuple[SlowField, ...] = ()
    """The fields whose values were judged one at a time."""


class Method(ABC):
    """A way to get rows into a table. Use it as a context manager: that is when it connects."""

    name: ClassVar[str]
    """The word for it in the command, the report and the docs."""
    summary: ClassVar[str]
    """One line for the help."""
    place: ClassVar[int]
    """Where it stands in lists and plots: the plainest way is 10, the fastest the highest."""
    driver: ClassVar[str]
    """Who talks to PostgreSQL: ``django`` or ``asyncpg``."""
    supports_multi_table_inheritance: ClassVar[bool] = False
    """Whether it can write a model whose fields lie in more than one table."""
    supports_sql_around_values: ClassVar[bool] = False
    """Whether it can write a field that wraps SQL around its value, with ``get_placeholder``."""
    benchmark_row_cap: ClassVar[int | None] = None
    """More rows than this are not worth waiting for in a benchmark; None: no cap."""
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
        """What was decided on the way, a sentence each."""
        self.costs: Costs | None = None
        """Where the last run spent its time, for a method that knows."""

    @classmethod
    def registered(cls) -> dict[str, type[Method]]:
        """Return every method by its name."""
        return dict(cls._registry)

    @classmethod
    def refusals(cls, model: type[Model]) -> list[str]:
        """Return in sentences why this method cannot write the model; an empty list if it can."""
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
        """Put the rows into the table in one transaction that is committed on return.

        ``rows`` are sequences of Python values in the order of ``target.fields``, read once. Gives
        the number of rows that PostgreSQL counted. On any error nothing is written: ``ValueError``
        for a row of the wrong length, else an error of ingest, Django or the driver.
        """
        return self.write_checked(self._checked(rows))

    def write_file(self, path: str) -> int:
        """Do what ``write`` does with the rows of a CSV file that PostgreSQL's COPY wrote.

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
                    f"Row {number:,} has {len(row)} values, but there are {width} fields: "
                    f"{', '.join(field.attname for field in self.target.fields)}."
                )
            yield row

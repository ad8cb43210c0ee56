"""The temporary tables of a load with ``on_conflict``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.writing.staging import temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.conversion import TypedBatch
    from ingest.postgres.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True)
class TemporaryTables:
    """The names of a load's temporary tables, with their schema; see ``statements``."""

    work: str
    seen: str
    repeated: str
    todo: str
    refused: str
    fresh: str
    noted: str
    marks: str

    @classmethod
    def named(cls) -> TemporaryTables:
        """Return new names."""
        return cls(
            **{
                field.name: f"pg_temp.{temporary_name(field.name)}"
                for field in dataclasses.fields(cls)
            }
        )


@dataclasses.dataclass(kw_only=True)
class SeenKeys:
    """The keys of the records that a load has written, kept from one chunk to the next."""

    tables: TemporaryTables = dataclasses.field(default_factory=TemporaryTables.named)
    recall: Callable[[Session, str, str], list[str]] | None = None
    """Copies the keys of earlier chunks, which another session may have committed, into a temporary
    table with this unique index; returns the names of the files from which they come."""
    sources: list[str] = dataclasses.field(default_factory=list)
    """The name of each file, or of the source, by its number on the server."""
    last_record: int = 0

    def number_of(self, batch: TypedBatch) -> int:
        """Return the number of the file from which a batch comes."""
        is_next = not self.sources or batch.source != self.sources[-1]
        if is_next or batch.records[0] <= self.last_record:
            self.sources.append(batch.source)
        self.last_record = batch.records[-1]
        return len(self.sources) - 1

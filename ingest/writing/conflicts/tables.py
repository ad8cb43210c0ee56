"""The temporary tables of a load that settles conflicts."""

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
    """The temporary tables of one load, with their schema."""

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
        """Choose their names."""
        return cls(
            **{
                field.name: f"pg_temp.{temporary_name(field.name)}"
                for field in dataclasses.fields(cls)
            }
        )


@dataclasses.dataclass(kw_only=True)
class SeenKeys:
    """The keys of the records that a load has settled, from one chunk to the next."""

    tables: TemporaryTables = dataclasses.field(default_factory=TemporaryTables.named)
    recall: Callable[[Session, str, str], list[str]] | None = None
    """Puts the keys of earlier chunks, which another session may have committed, into a temporary
    table with this unique index; gives the names of the files that they come from."""
    sources: list[str] = dataclasses.field(default_factory=list)
    """The name of each file, or of the source, by the number that the server has of it."""
    last_record: int = 0

    def number_of(self, batch: TypedBatch) -> int:
        """Return the number of the file that a batch comes from."""
        is_next = not self.sources or batch.source != self.sources[-1]
        if is_next or batch.records[0] <= self.last_record:
            self.sources.append(batch.source)
        self.last_record = batch.records[-1]
        return len(self.sources) - 1

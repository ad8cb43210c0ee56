"""A batch to which a layout has been applied."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from ingest.sources.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from ingest.layout.cells import Cells


class Made(NamedTuple):
    """The parents that one field's look-up created for a batch."""

    parents: frozenset[int]
    """The places of the created parents among all known parents."""
    places: pa.Array
    """The place of each record's parent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MappedBatch(Batch):
    """A batch with a column for each field, and the original cells for its rejects."""

    given: tuple[Cells, ...] = ()
    """The source's columns, unchanged."""
    names: tuple[str, ...] = ()
    """The names of these columns."""
    made: Mapping[str, Made] = dataclasses.field(default_factory=dict)
    """The parents that were created for it, by field."""

    @property
    def source_columns(self) -> tuple[Cells, ...]:
        """The source's own columns, without those of a hook, which come before them."""
        return self.given[len(self.names) :] or self.given

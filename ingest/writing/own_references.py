"""Find refused rows whose parents, rows of the same table, come later in the batch.

PostgreSQL checks a foreign key at the end of a statement, so one COPY takes them. Rows that are
tried one by one, because another row is refused, would lack their parents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from ingest.postgres.catalog import Table
    from ingest.writing.refused_rows import RefusedRow


class OwnReferences:
    """The foreign keys of a table that refer to itself."""

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        """``names``: the columns that are sent."""
        self._keys = {
            key.name: key
            for key in table.constraints
            if key.kind == "f"
            and key.references_oid == table.oid
            and {*key.columns, *key.referenced_columns} <= set(names)
        }

    def find_later(self, rows: pa.RecordBatch, refused: Sequence[RefusedRow]) -> set[int]:
        """Return the places of refused rows whose parents were inserted, or are such rows too."""
        waiting = {row.place: row.constraint for row in refused if row.constraint in self._keys}
        if not waiting:
            return set()
        out = {row.place for row in refused}
        places = range(rows.num_rows)
        names = set(waiting.values())
        parents = {name: _keys_of(rows, self._keys[name].referenced_columns) for name in names}
        wanted = {name: _keys_of(rows, self._keys[name].columns) for name in names}
        later = set(waiting)
        while later:
            there = {
                name: {parents[name][at] for at in places if at not in out or at in later}
                for name in names
            }
            lacking = {at for at in later if wanted[waiting[at]][at] not in there[waiting[at]]}
            if not lacking:
                break
            later -= lacking
        return later


def _keys_of(rows: pa.RecordBatch, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(rows.column(name).to_pylist() for name in columns), strict=True))

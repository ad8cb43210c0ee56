"""Apply a layout's rules for whole records: the hook, skipped and continuation records."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from django.utils.module_loading import import_string

from ingest.exceptions import LayoutError
from ingest.layout.cells import as_raw, is_raw, is_text, place_of, texts_of
from ingest.sources.cell_text import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.layout.cells import Cells
    from ingest.layout.definition import Column, Condition, Layout
    from ingest.sources import Batch


class Hook:
    """The function that a layout applies to whole batches."""

    def __init__(self, layout: Layout, path: str) -> None:
        self._path = path
        try:
            self._function: Callable[[pa.RecordBatch], pa.RecordBatch] = import_string(path)
        except ImportError as error:
            raise layout.error(("hook",), f"the hook {path!r} cannot be found: {error}") from error

    def call(self, batch: Batch, names: Sequence[str]) -> tuple[Batch, tuple[str, ...]]:
        """Return the batch that the function returns, and the names of its columns."""
        given = pa.RecordBatch.from_arrays(
            [_as_array(cells) for cells in batch.columns], names=list(names)
        )
        cells = dict(zip(names, batch.columns, strict=True))
        got = self._function(given)
        if not isinstance(got, pa.RecordBatch) or got.num_rows != given.num_rows:
            raise LayoutError(
                f"The hook {self._path!r} must give a pyarrow.RecordBatch of {given.num_rows:,} "
                "rows, as many as it was given. Leave records out with 'skip'."
            )
        columns = tuple(
            cells[name]
            if name in cells and names.count(name) == 1 and _is_unchanged(column, given, name)
            else as_raw(column)
            if pa.types.is_string(column.type)
            else column
            for name, column in zip(got.schema.names, got.columns, strict=True)
        )
        return dataclasses.replace(batch, columns=columns), tuple(got.schema.names)


class Selection:
    """Leaves out records, and joins continuation records to the record before them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def columns(self) -> list[Column]:
        """The source columns that it reads."""
        said = self._layout.continuation
        conditions = [it for rule in self._layout.skip for it in (rule.when or (rule,))]
        conditions += [] if said is None else said.when
        appended = [] if said is None else said.append
        return [*appended, *(it.column for it in conditions if it.column is not None)]

    def leave_out(self, batch: Batch, names: Sequence[str]) -> Batch:
        """Return the batch without the records to skip."""
        if not self._layout.skip:
            return batch
        if batch.misfits and self._layout.hook is None:  # a hook makes other columns
            batch = self._leave_out_misfits(batch, names)
        if not len(batch.records):
            return batch
        drop = self._skips(batch.columns, names)
        return without(batch, drop) if pc.any(drop).as_py() else batch

    def _leave_out_misfits(self, batch: Batch, names: Sequence[str]) -> Batch:
        """Return the batch without the refused records to skip.

        In a record with too few cells the others count as empty, and in one with too many the
        excess cells are ignored.
        """
        split = {
            record: cells
            for record in dict.fromkeys(reject.record for reject in batch.rejects)
            if record in batch.misfits
            and (cells := batch.split_misfit(record, batch.misfits[record])) is not None
        }
        if not split:
            return batch
        width = len(names)
        rows = [([*cells[:width]] + [None] * width)[:width] for cells in split.values()]
        drop = self._skips([list(column) for column in zip(*rows, strict=True)], names)
        gone = {record for record, fits in zip(split, drop.to_pylist(), strict=True) if fits}
        return dataclasses.replace(
            batch,
            rejects=tuple(reject for reject in batch.rejects if reject.record not in gone),
            misfits={
                record: given for record, given in batch.misfits.items() if record not in gone
            },
            skipped=batch.skipped + len(gone),
        )

    def _skips(self, columns: Sequence[Cells], names: Sequence[str]) -> pa.BooleanArray:
        """Return the records to which at least one rule applies."""
        drop = None
        for rule in self._layout.skip:
            fits = None
            for condition in rule.when or (rule,):
                holds = self._fits(condition, columns, names, "skip")
                fits = holds if fits is None else pc.and_(fits, holds)
            if rule.when and rule.invert:
                fits = pc.invert(fits)
            drop = fits if drop is None else pc.or_(drop, fits)
        return drop

    def put_together(
        self, batches: Iterator[tuple[Batch, tuple[str, ...]]]
    ) -> Iterator[tuple[Batch, tuple[str, ...]]]:
        """Add the texts of continuation records to the record before them."""
        said = self._layout.continuation
        if said is None:
            yield from batches
            return
        held: Batch | None = None
        names: tuple[str, ...] = ()
        for following, names in batches:
            if held is not None and held.source != following.source:
                yield held, names
                held = None
            batch = following if held is None else _concatenate(held, following)
            if not len(batch.records):
                held = None
                yield batch, names
                continue
            goes_on = None
            for condition in said.when:
                fits = self._fits(condition, batch.columns, names, "continuation")
                goes_on = fits if goes_on is None else pc.and_(goes_on, fits)
            places = [
                place_of(self._layout, column, names, ("continuation", "append"))
                for column in said.append
            ]
            whole = _joined(batch, goes_on, places, said.join)
            # The next batch may continue its last record.
            last = whole.records[-1]
            ready, held = whole.split(last - 1)
            gone_on = sum(number > last for number in batch.records)
            yield dataclasses.replace(ready, skipped=whole.skipped - gone_on), names
            held = dataclasses.replace(held, skipped=gone_on)
        if held is not None:
            yield held, names

    def _fits(
        self, condition: Condition, columns: Sequence[Cells], names: Sequence[str], key: str
    ) -> pa.BooleanArray:
        if condition.column is None:  # the layout is checked when it is made
            raise AssertionError(condition)
        place = place_of(self._layout, condition.column, names, (key, "column"))
        texts, undecodable = texts_of(columns[place])
        if undecodable is not None:  # such a cell is not empty
            texts = pc.if_else(undecodable, "\ufffd", texts)
        texts = pc.utf8_trim_whitespace(pc.fill_null(texts, ""))
        fits = pa.array([True] * len(texts)) if len(texts) else pa.array([], pa.bool_())
        if condition.equals is not None:
            fits = pc.and_(fits, pc.is_in(texts, value_set=pa.array(condition.equals)))
        if condition.empty is not None:
            is_empty = pc.equal(texts, "")
            fits = pc.and_(fits, is_empty if condition.empty else pc.invert(is_empty))
        if condition.matches is not None:
            try:
                fits = pc.and_(fits, pc.match_substring_regex(texts, condition.matches))
            except pa.ArrowInvalid as error:
                raise self._layout.error(
                    (key, "matches"), f"the pattern {condition.matches!r} cannot be used: {error}"
                ) from error
        return pc.invert(fits) if condition.invert else fits


def without(batch: Batch, drop: pa.BooleanArray) -> Batch:
    """Return the batch without the marked records, which are counted as skipped."""
    kept = pc.indices_nonzero(pc.invert(drop))
    gone: frozenset[int] = frozenset()
    if batch.padded or batch.cut:
        gone = frozenset(batch.records[it] for it in pc.indices_nonzero(drop).to_pylist())
    return dataclasses.replace(
        batch,
        padded=batch.padded - gone,
        cut=batch.cut - gone,
        records=[batch.records[place] for place in kept.to_pylist()],
        columns=tuple(_take(cells, kept) for cells in batch.columns),
        skipped=batch.skipped + len(batch.records) - len(kept),
    )


def _joined(batch: Batch, goes_on: pa.BooleanArray, places: list[int], join: str) -> Batch:
    flags = goes_on.to_pylist()
    columns = list(batch.columns)
    for place in places:
        texts = _pieces(columns[place])
        first = 0
        parts: dict[int, list[Any]] = {}
        for at, flag in enumerate(flags):
            if not flag or at == 0:
                first = at
            elif texts[at] and texts[at].strip():
                parts.setdefault(first, [texts[first]] if texts[first] else []).append(texts[at])
        if parts:
            columns[place] = _replaced(columns[place], parts, join)
    # The first record of a source has no record before it.
    drop = pa.array([flag and at > 0 for at, flag in enumerate(flags)], pa.bool_())
    return without(dataclasses.replace(batch, columns=tuple(columns)), drop)


def _pieces(cells: Cells) -> list[Any]:
    """Return the texts of cells; for a text file its bytes, which may not be valid text."""
    if isinstance(cells, list):
        return [text_of(value) for value in cells]
    found = cells if is_raw(cells) else texts_of(cells)[0]
    return list(found.to_pylist())


def _replaced(cells: Cells, parts: dict[int, list[Any]], join: str) -> Cells:
    """Return the cells with joined ``parts`` at their places; the others are unchanged."""
    separator: Any = join.encode() if is_raw(cells) else join
    values = list(cells) if isinstance(cells, list) else list(cells.to_pylist())
    for at, pieces in parts.items():
        values[at] = separator.join(pieces)
    if isinstance(cells, pa.Array) and is_text(cells):
        return pa.array(values, cells.type)
    return values


def _concatenate(held: Batch, following: Batch) -> Batch:
    columns = tuple(
        pa.concat_arrays([first, second])
        if isinstance(first, pa.Array)
        and isinstance(second, pa.Array)
        and first.type == second.type
        else [*_values(first), *_values(second)]
        for first, second in zip(held.columns, following.columns, strict=True)
    )
    return dataclasses.replace(
        following,
        records=[*held.records, *following.records],
        columns=columns,
        rejects=(*held.rejects, *following.rejects),
        misfits={**held.misfits, **following.misfits},
        padded=held.padded | following.padded,
        cut=held.cut | following.cut,
        skipped=held.skipped + following.skipped,
        byte_span=(held.byte_span[0], following.byte_span[1]),
    )


def _values(cells: Cells) -> list[Any]:
    if isinstance(cells, list):
        return cells
    values = cells.to_pylist()
    if not is_raw(cells):
        return list(values)
    # Invalid bytes become surrogates, which are refused later.
    return [None if cell is None else cell.decode(errors="surrogateescape") for cell in values]


def _take(cells: Cells, places: pa.Array) -> Cells:
    if isinstance(cells, list):
        return [cells[place] for place in places.to_pylist()]
    return cells.take(places)


def _is_unchanged(column: pa.Array, given: pa.RecordBatch, name: str) -> bool:
    """Return whether a hook returned a column unchanged.

    Then the source's own cells are used: in an Arrow array of JSON objects, each object has the
    keys of all of them.
    """
    before = given.column(name)
    return bool(column.type == before.type and column.equals(before))


def _as_array(cells: Cells) -> pa.Array:
    """Return the cells as an array for a hook; values of several types become texts."""
    if not is_raw(cells):
        if not isinstance(cells, list):
            return cells
        try:
            return pa.array(cells)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            texts, undecodable = texts_of(cells)
        if undecodable is None:
            return texts
        # Half surrogate pairs become bytes, which are refused later.
        values = [text_of(value) for value in cells]
        return pa.array([value and value.encode(errors="surrogatepass") for value in values])
    texts, undecodable = texts_of(cells)
    return texts if undecodable is None else cells

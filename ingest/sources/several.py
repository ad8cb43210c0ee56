"""Several files, read one after the other: a list of paths, or a pattern such as ``2026-*.csv``."""

from __future__ import annotations

import dataclasses
import glob
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ingest.exceptions import SourceError, did_you_mean
from ingest.results.rejects import shorten
from ingest.sources.addresses import (
    bare_address,
    is_address,
    is_address_pattern,
    without_credentials,
)
from ingest.sources.base import Source, SourceOptions, find_kind, open_source
from ingest.sources.batch import Batch, Position
from ingest.sources.files import STDIN
from ingest.sources.fingerprints import DIGEST_BYTES, stamp
from ingest.sources.remote import facts_of
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ingest.sources.fingerprints import Stamp
    from ingest.sources.remote import Facts
    from ingest.sources.writers import RecordWriter

WHOLE_BYTES = 64 << 20
"""A larger file at an address is split into chunks, for which it must be opened."""
ASKED_AT_ONCE = 16
"""How many requests for files' sizes are sent at the same time."""


class SeveralSource(Source):
    """Files with the same columns, each of any format; one is open at a time.

    A batch has the name of its file, and its records are numbered within that file.
    """

    format = "several"
    place = 5
    holds_others = True

    def __init__(
        self,
        files: Sequence[str | Path],
        options: SourceOptions,
        listed: Mapping[str, Facts] | None = None,
    ) -> None:
        """Open the first file; ``listed`` has the known facts of files at addresses."""
        self._files = files
        self._options = options
        # Before a file is open: some storages share one position in a file among all readers.
        self._stamps = _read_stamps(files, listed or {})
        kinds = {find_kind(file, options.format) for file in files}
        self.ignores = frozenset.intersection(*(kind.ignores for kind in kinds if kind))
        self._place = 0
        self._is_read = False
        """Whether the current file has been read, or a part of it."""
        self._current = open_source(files[0], options)
        self.columns = self._current.columns
        self._find_writer = self._current.writer
        self._notes: tuple[str, ...] = ()
        # Of files in archives and elsewhere, only an open one shows its kind.
        self.reads_by_text = self._current.reads_by_text or any(
            kind.reads_by_text for kind in kinds if kind
        )
        self.has_json_numbers = self._current.has_json_numbers or any(
            kind.has_json_numbers for kind in kinds if kind
        )
        self.has_postgres_text = self._current.has_postgres_text
        first, last = shown_name(files[0]), shown_name(files[-1])
        self.name = first if len(files) == 1 else f"{len(files):,} files from {first} to {last}"
        self._sizes = [size for size, *_ in self._stamps]
        if None in self._sizes:
            self._sizes = []
        if self._sizes:
            *self._starts, self.bytes_total = accumulate(self._sizes, initial=0)
        if self._stamps and not any(map(is_address, files)):
            self.paths = tuple(map(Path, files))
        elif self._stamps and all(known for _, known, *_ in self._stamps):
            self.identity = _identity(files, self._stamps)
        self._bytes_before = 0
        """The bytes read of earlier files, if the sizes are not known."""

    @classmethod
    def accepts(cls, given: Any) -> bool:
        if is_address(given):
            return is_address_pattern(given)
        if isinstance(given, str):
            return glob.has_magic(given) and not Path(given).exists()
        is_list = isinstance(given, list | tuple) and bool(given)
        return is_list and all(isinstance(file, str | Path) for file in given)

    @classmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        files, listed = find_files(given)
        return cls(files, options, listed)

    @cached_property
    def places(self) -> Sequence[Path | str]:
        if not self.identity:
            return self.paths
        return [str(file) if is_address(file) else Path(file) for file in self._files]

    def stamps(self) -> list[Stamp]:
        return self._stamps if self.identity else super().stamps()

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The notes of the files that were read since the batches were last asked for."""
        return (*self._notes, *self._current.notes)

    def batches(self) -> Iterator[Batch]:
        yield from self.batches_after(Position())

    def batches_after(self, position: Position) -> Iterator[Batch]:
        yield from self.batches_between(position, None)

    def batches_between(self, start: Position, stop: Position | None) -> Iterator[Batch]:
        end = len(self._files)
        if stop is not None:
            is_at_the_start = not stop.record and stop.byte is None
            end = stop.file if is_at_the_start else stop.file + 1
        self._notes = ()
        for number in range(start.file, end):
            if number > start.file:
                self._notes += self._current.notes
            if number != self._place or self._is_read:
                self._open(number)
            self._is_read = True
            position = start if number == start.file else Position()
            order, end_of_file = self._order(), self._bytes_before
            for batch in self._current.batches_after(dataclasses.replace(position, file=0)):
                span = self._byte_span(number, batch.byte_span)
                end_of_file = span[1]
                yield dataclasses.replace(
                    batch,
                    byte_span=span,
                    columns=tuple(batch.columns[place] for place in order),
                    source=self._current.name,
                    split_misfit=_in_order(order, batch.split_misfit),
                    find_position=_in_file(number, batch.find_position),
                )
            self._bytes_before = end_of_file

    def _byte_span(self, number: int, span: tuple[int, int]) -> tuple[int, int]:
        """Return a span of the current file as a span of all files together."""
        start, stop = span
        if not self._sizes:
            return self._bytes_before + start, self._bytes_before + stop
        before, size = self._starts[number], self._sizes[number]
        total = max(self._current.bytes_total or size, 1)  # for an archive, the size of its member
        return before + size * start // total, before + size * stop // total

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:
        """Yield ends within the files, and after a file that cannot be split the next one's start.

        The number of records in such a file is not known.
        """
        if not self.places:
            return None
        if len(self.places) == 1:
            with open_source(self.places[0], self._options) as source:
                if source.find_ends(Position(), records) is None:
                    return None
        return self._ends(start, records)

    def _ends(self, start: Position, records: int) -> Iterator[Position]:
        for number, place in enumerate(self.places[start.file :], start.file):
            if isinstance(place, str) and (self._stamps[number][0] or 0) <= WHOLE_BYTES:
                yield Position(file=number + 1)
                continue
            first = dataclasses.replace(start, file=0) if number == start.file else Position()
            with open_source(place, self._options) as source:
                ends = source.find_parts(first, records)
                if ends is None:
                    yield Position(file=number + 1)
                    continue
                for end in ends:
                    yield dataclasses.replace(end, file=number)

    def each_file(self) -> Iterator[Source]:
        for number, file in enumerate(self._files):
            if number == self._place:
                yield self._current
            else:
                with open_source(file, self._options) as source:
                    yield source

    def check_unchanged(self) -> None:
        self._current.check_unchanged()

    def writer(self, suffix: str = "") -> RecordWriter:
        """Return the writer of the first file."""
        return self._find_writer(suffix)

    def close(self) -> None:
        self._current.close()

    def _open(self, number: int) -> None:
        self._current.check_unchanged()
        self._current.close()
        self._current = open_source(self._files[number], self._options)
        self._place = number
        self._is_read = False

    def _order(self) -> Sequence[int]:
        """Return the places of the first file's columns in the current file."""
        mine, theirs = self.columns, self._current.columns
        if mine == theirs:
            return range(len(mine))
        where = f"{self._current.name}, unlike {shown_name(self._files[0])},"
        for name in theirs:
            if theirs.count(name) > mine.count(name):
                raise SourceError(
                    f"{where} has a column {shorten(name)}.{did_you_mean(name, mine)} "
                    "Files that are loaded together must have the same columns."
                )
        for name in mine:
            if mine.count(name) != theirs.count(name):
                raise SourceError(
                    f"{where} has no column {name!r}.{did_you_mean(name, theirs)} "
                    "Files that are loaded together must have the same columns."
                )
            if mine.count(name) > 1:
                raise SourceError(
                    f"{where} has its columns in another order, and two of them are called "
                    f"{name!r}: rename one."
                )
        return [theirs.index(name) for name in mine]


def shown_name(file: str | Path) -> str:
    """Return a file's name for messages and the ledger: an address without its credentials."""
    return safe_line(bare_address(str(file)) if is_address(file) else str(file))


def _in_file(number: int, find_position: Callable[[int], Position]) -> Callable[[int], Position]:
    return lambda record: dataclasses.replace(find_position(record), file=number)


def _in_order(
    order: Sequence[int], split_misfit: Callable[[int, Any], Sequence[Any] | None]
) -> Callable[[int, Any], Sequence[Any] | None]:
    """Let the cells of a misfit stand in the order of the first file's columns, too."""
    if isinstance(order, range):
        return split_misfit

    def split(record: int, given: Any) -> Sequence[Any] | None:
        cells = split_misfit(record, given)
        if cells is None:
            return None
        known = [cells[place] if place < len(cells) else None for place in order]
        return [*known, *cells[len(order) :]]

    return split


def expand(given: str | Sequence[str | Path]) -> list[str | Path]:
    """Return the files that a pattern, or a list of paths and patterns, matches.

    A pattern of addresses is not expanded.
    """
    files: list[str | Path] = []
    for item in [given] if isinstance(given, str) else given:
        is_pattern = SeveralSource.accepts(item) and not is_address(item)
        files += _like(item) if is_pattern else [item]
    return files


def find_files(given: Any) -> tuple[list[str | Path], dict[str, Facts]]:
    """Return all files that the patterns match, and the facts that listings have about them."""
    files: list[str | Path] = []
    listed: dict[str, Facts] = {}
    for file in expand(given):
        if not is_address_pattern(file):
            files.append(file)
            continue
        from ingest.sources.address_patterns import list_files  # few sources need it

        for address, facts in list_files(str(file)):
            files.append(address)
            if facts is not None:
                listed[address] = facts
    return files, listed


def _like(pattern: Any) -> list[str | Path]:
    found = sorted(name for name in glob.glob(pattern, recursive=True) if not Path(name).is_dir())  # noqa: PTH207 - a pattern may be absolute
    if not found:
        raise SourceError(f"No file matches {pattern!r}.")
    return list(found)


def _read_stamps(files: Sequence[str | Path], listed: Mapping[str, Facts]) -> list[Stamp]:
    """Return the stamp of each file; empty if one of them cannot be read again."""
    here = [file for file in files if not is_address(file)]
    if STDIN in map(str, here) or not all(Path(file).is_file() for file in here):
        return []
    away = [str(file) for file in files if is_address(file) and file not in listed]
    if away:
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            listed = {**listed, **dict(zip(away, pool.map(facts_of, away), strict=True))}
    return [list(listed[str(file)]) if is_address(file) else stamp(Path(file)) for file in files]


def _identity(files: Sequence[str | Path], stamps: Sequence[Stamp]) -> str:
    names = [without_credentials(str(file)) if is_address(file) else "" for file in files]
    known = [[name, *found] for name, found in zip(names, stamps, strict=True)]
    return blake2b(json.dumps(known).encode(), digest_size=DIGEST_BYTES).hexdigest()

"""A chunk as a small value of JSON, and what became of it: all that goes to a worker and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ingest import exceptions
from ingest.conversion.slow_fields import SlowField
from ingest.exceptions import IngestError, Outcome, RecordsRefused
from ingest.results import Counts
from ingest.results.rejects import Reject, as_json
from ingest.sources import Position
from ingest.sources.fingerprints import digest_of_part, stamp
from ingest.sources.remote import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources import Source
    from ingest.sources.fingerprints import Stamp

SMALL_BYTES = 128 << 10
"""Files that cannot be cut are put together in one chunk as long as they have fewer bytes."""

IN, WAITING, UNWANTED, FAILED = "in", "not its turn", "not wanted", "failed"
"""What may have become of a chunk."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a chunk lies in the source."""

    ordinal: int
    start: Position
    stop: Position
    records: int | None
    """How many there are in it; None: it has whole files, and who reads them counts."""
    read_before: int | None
    """Records of the source before it, where that is known."""

    @property
    def files(self) -> range:
        """The numbers of the files that it lies in."""
        return range(self.start.file, self.stop.file + (self.records is not None))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Where a chunk lies, and how it is to be loaded."""

    cut: Cut
    files: Sequence[Any]
    """What its files must be, as ``identify`` gives it."""
    refused_before: int
    """Records refused of the chunks that were known to be in."""
    run: int
    alias: str
    settings: str
    state: dict[str, Any]
    """The session's state, as the ledger keeps it."""
    is_ordered: bool
    """Whether it may be committed only after the chunk before."""
    by_content: bool
    """Whether files are told by their content: they may be copies on another machine."""
    retries: int
    attempt: int
    """Tells the tries of a chunk apart: some executors take equal calls for one."""

    def to_json(self) -> str:
        """Return what ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the chunk again."""
        said = json.loads(text)
        cut = said.pop("cut")
        start, stop = Position(**cut.pop("start")), Position(**cut.pop("stop"))
        return cls(cut=Cut(start=start, stop=stop, **cut), **said)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a chunk."""

    state: str
    counts: Counts = dataclasses.field(default_factory=Counts)
    decisions: Sequence[str] = ()
    slow_fields: Sequence[SlowField] = ()
    stages: dict[str, float] = dataclasses.field(default_factory=dict)
    error: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Return what ``from_json`` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the answer again."""
        said = json.loads(text)
        counts = Counts(**said.pop("counts"))
        slow_fields = [SlowField(**field) for field in said.pop("slow_fields")]
        return cls(counts=counts, slow_fields=slow_fields, **said)


def describe(error: Exception, *, may_pass: bool) -> dict[str, Any]:
    """Return an error as JSON; ``may_pass``: the same load may succeed when it is tried again."""
    told: dict[str, Any] = {"kind": type(error).__name__, "may_pass": may_pass}
    if isinstance(error, RecordsRefused):
        told["rejects"] = [
            {name: as_json(value) for name, value in vars(reject).items()}
            for reject in error.rejects
        ]
    if isinstance(error, IngestError):
        outcome = [error.outcome.value, error.outcome_text]
        return {**told, "message": error.message, "outcome": outcome}
    return {**told, "message": f"{type(error).__name__}: {error}", "outcome": None}


def error_of(told: dict[str, Any]) -> IngestError:
    """Return the error again."""
    kind = getattr(exceptions, told["kind"], None)
    error: IngestError
    if "rejects" in told:
        error = RecordsRefused([Reject(**reject) for reject in told["rejects"]])
    elif (
        isinstance(kind, type)
        and issubclass(kind, IngestError)
        and (told["may_pass"] or kind is not exceptions.ConnectionFailed)
    ):
        error = kind(told["message"])
    else:
        error = IngestError(told["message"])
    if told["outcome"] is not None:
        outcome, text = told["outcome"]
        error.with_outcome(Outcome(outcome), text)
    return error


def cut(
    source: Source, rows: int, *, start: Position, ordinal: int, read_before: int
) -> Iterator[Cut]:
    """Yield where the chunks lie after a position: always the same for the same files.

    A chunk has so many rows, or less where its file ends; small files are put together.
    """
    held: Cut | None = None
    sizes = [size for size, *_ in source.stamps()]
    before: int | None = read_before
    for stop in source.find_parts(start, rows) or ():
        is_whole = not stop.record and stop.file > start.file
        same = stop.file == start.file
        records = None if is_whole else stop.record - (start.record if same else 0)
        piece = Cut(ordinal=ordinal, start=start, stop=stop, records=records, read_before=before)
        if held is not None and _fit(held, piece, rows, sizes):
            count = None if held.records is None else held.records + (records or 0)
            held = dataclasses.replace(held, stop=stop, records=count)
        else:
            if held is not None:
                yield held
                ordinal += 1
            held = dataclasses.replace(piece, ordinal=ordinal)
        before = None if before is None or records is None else before + records
        start = stop
    if held is not None:
        yield held


def _fit(first: Cut, second: Cut, rows: int, sizes: Sequence[int | None]) -> bool:
    """Return whether two pieces, of other files, are small enough for one chunk."""
    if first.stop.file == second.stop.file:
        return False
    if first.records is not None and second.records is not None:
        return first.records + second.records <= rows
    if first.records is not None or second.records is not None:
        return False
    found = sizes[first.start.file : second.stop.file]
    return sum(SMALL_BYTES if size is None else size for size in found) <= SMALL_BYTES


def identify(
    places: Sequence[Path | str],
    cut: Cut,
    *,
    by_content: bool,
    known: Sequence[Stamp] | None = None,
) -> list[Any]:
    """Return values that differ if the files of a chunk do.

    A file at an address has its server's stamp; ``known`` has those that need not be asked for.
    """
    start, stop = cut.start, cut.stop
    first = places[start.file]
    if by_content and start.file == stop.file and stop.byte is not None and isinstance(first, Path):
        return [digest_of_part(first, start.byte or 0, stop.byte)]
    found: list[Any] = []
    for number in cut.files:
        place = places[number]
        if isinstance(place, str):
            found.append(known[number] if known is not None else list(facts_of(place)))
        else:
            found.append(_digest(place) if by_content else stamp(place))
    return found


def _digest(path: Path) -> str:
    known = stamp(path)
    key = (str(path), *known)
    if key not in _digests:
        _digests.clear()  # the chunks of a file follow one another
        _digests[key] = digest_of_part(path, 0, known[0])
    return _digests[key]


_digests: dict[tuple[Any, ...], str] = {}

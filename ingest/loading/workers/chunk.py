"""Chunks and their results as small JSON values: all that is sent to a worker and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ingest import exceptions
from ingest.conversion.slow_fields import SlowField
from ingest.exceptions import IngestError, Outcome, RecordsRefused, ServerFailed
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
"""Files that cannot be cut share a chunk as long as they have fewer bytes than this in total."""

IN, WAITING, UNWANTED, FAILED = "in", "not its turn", "not wanted", "failed"
"""The possible results of a chunk."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cut:
    """The position of a chunk in the source."""

    ordinal: int
    start: Position
    stop: Position
    records: int | None
    """The number of its records. None: it has whole files, and the process that reads them
    counts."""
    read_before: int | None
    """Records of the source before it, if known."""

    @property
    def files(self) -> range:
        """The numbers of the files that it spans."""
        return range(self.start.file, self.stop.file + (self.records is not None))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """The position of a chunk, and how to load it."""

    cut: Cut
    files: Sequence[Any]
    """The values of ``identify`` that its files must have."""
    known_read: int
    """Records read in the chunks that were known to be committed."""
    known_refused: int
    """Those of them that were refused."""
    run: int
    alias: str
    settings: str
    state: dict[str, Any]
    """The session's state, as stored in the ledger."""
    is_ordered: bool
    """Whether it may be committed only after the chunk before."""
    by_content: bool
    """Whether files are identified by their content: they may be copies on another machine."""
    retries: int
    attempt: int
    """Distinguishes attempts at one chunk: some executors treat equal calls as one."""

    def to_json(self) -> str:
        """Return the chunk as JSON for ``from_json``."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the chunk from its JSON."""
        said = json.loads(text)
        cut = said.pop("cut")
        start, stop = Position(**cut.pop("start")), Position(**cut.pop("stop"))
        return cls(cut=Cut(start=start, stop=stop, **cut), **said)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """The result of a chunk."""

    state: str
    counts: Counts = dataclasses.field(default_factory=Counts)
    decisions: Sequence[str] = ()
    slow_fields: Sequence[SlowField] = ()
    stages: dict[str, float] = dataclasses.field(default_factory=dict)
    error: dict[str, Any] | None = None

    def to_json(self) -> str:
        """Return the answer as JSON for ``from_json``."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the answer from its JSON."""
        said = json.loads(text)
        counts = Counts(**said.pop("counts"))
        slow_fields = [SlowField(**field) for field in said.pop("slow_fields")]
        return cls(counts=counts, slow_fields=slow_fields, **said)


def describe(error: Exception, *, may_pass: bool) -> dict[str, Any]:
    """Return an error as JSON; ``may_pass``: the same load may succeed when it is retried."""
    told: dict[str, Any] = {"kind": type(error).__name__, "may_pass": may_pass}
    if isinstance(error, RecordsRefused):
        told["rejects"] = [
            {name: as_json(value) for name, value in vars(reject).items()}
            for reject in error.rejects
        ]
    if isinstance(error, IngestError):
        told["outcome"] = [error.outcome.value, error.outcome_text]
        return {**told, "message": error.message, "sqlstate": getattr(error, "sqlstate", None)}
    return {**told, "message": f"{type(error).__name__}: {error}", "outcome": None}


def error_of(told: dict[str, Any]) -> IngestError:
    """Return the error from its JSON."""
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
    if isinstance(error, ServerFailed):
        error.sqlstate = told["sqlstate"]
    if told["outcome"] is not None:
        outcome, text = told["outcome"]
        error.with_outcome(Outcome(outcome), text)
    return error


def cut(
    source: Source, rows: int, *, start: Position, ordinal: int, read_before: int
) -> Iterator[Cut]:
    """Yield the chunks after a position: always the same ones for the same files.

    A chunk has this many records, or fewer if its file ends; small files share a chunk.
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
    """Return whether two pieces of different files are small enough to share a chunk."""
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
    """Return values that identify the files of a chunk, and change if a file does.

    A file at an address is identified by its server's stamp; ``known`` has the stamps that need not
    be requested.
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

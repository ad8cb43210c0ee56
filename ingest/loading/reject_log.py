"""The log of a load's rejects, and the limit on their number."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import weakref
from typing import IO, TYPE_CHECKING, Any, cast

from ingest.exceptions import ConfigurationError, TooManyRejects
from ingest.loading.append_file import AppendFile
from ingest.plurals import counted
from ingest.results.reasons import ReasonCounts
from ingest.results.rejects import Reject, as_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from ingest.loading.output_files import OutputFile
    from ingest.results.reasons import Reason

REJECT_LOG = "The reject log"
HOPELESS_RECORDS = 1_000
"""If the first records are all refused, up to this number, the file or the layout is the wrong
one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RejectLimit:
    """How many records may be refused before the load is rolled back."""

    number: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str | int | None) -> Self:
        """Parse ``100`` or ``2.5%``; raise ``ConfigurationError`` for anything else."""
        if text is None:
            return cls()
        shown = str(text).strip()
        try:
            limit = (
                cls(percent=float(shown.removesuffix("%")))
                if shown.endswith("%")
                else cls(number=int(shown))
            )
        except ValueError:
            limit = cls(number=-1)
        if (limit.number or 0) < 0 or not 0 <= (limit.percent or 0) <= 100:  # noqa: PLR2004
            raise ConfigurationError(
                f"The reject limit {shown!r} is neither a number of records nor a percentage: "
                "give one such as 100 or 2.5%."
            )
        return limit

    def check(self, refused: int, read: int, first: Reject | None) -> None:
        """Raise ``TooManyRejects`` if more records, or all records, are refused.

        ``first`` is the first reject since the last check.
        """
        if first is not None and refused == read >= HOPELESS_RECORDS:
            raise TooManyRejects(
                f"All of the first {read:,} records are refused: the file or its layout is "
                f"probably the wrong one. The last batch begins with: {first}"
            )
        self.check_number(refused, read, first)

    def check_number(self, refused: int, read: int, first: Reject | None) -> None:
        """Raise ``TooManyRejects`` if more records are refused; they need not be the first ones."""
        if self.number is not None and refused > self.number:
            raise self.too_many(refused, read, first)

    def too_many(self, refused: int, read: int, first: Reject | None) -> TooManyRejects:
        """Return the error for too many rejects."""
        allowed = f"{self.percent:g}%" if self.number is None else f"{self.number:,}"
        return TooManyRejects(
            f"{counted(read, 'record was', 'records were')} read, and {refused:,} refused: the "
            f"limit is {allowed}. The first of these: {first}"
        )


class RejectLog:
    """Writes rejects as JSON Lines, counts the records, and iterates over the rejects in order."""

    def __init__(
        self,
        output: OutputFile | None,
        limit: RejectLimit,
        mark: Mapping[str, Any] | None = None,
    ) -> None:
        """``output`` is the file to write; None: a temporary file.

        ``mark``: continue the existing log from this mark.
        """
        self._limit = limit
        # In a file from the start: a load may refuse more records than memory holds.
        if output is None:
            self._file = AppendFile(_temporary(), _TEMPORARY, lasts=False)
        else:
            name = f"{REJECT_LOG} {output.path!r}"
            self._file = AppendFile(output.file, name, lasts=True, publish=output.publish)
        # The rejects can be read as long as something refers to the log.
        weakref.finalize(self, self._file.close)
        self._counts: ReasonCounts | None = None if mark else ReasonCounts()
        """None: the reasons are counted when they are needed."""
        self.records = 0
        """Records refused; one may have several reasons."""
        if mark:
            self.rewind(mark)

    def add(self, rejects: Sequence[Reject], read: int) -> None:
        """Write the rejects of one batch; ``read`` records have been read by then.

        Raise ``TooManyRejects`` if the limit is exceeded.
        """
        self._write(rejects)
        self.records += _count(rejects)
        self._limit.check(self.records, read, rejects[0] if rejects else None)

    def append(self, lines: bytes) -> list[Reject]:
        """Append the log of a committed chunk; return its rejects."""
        rejects = [Reject(**json.loads(line)) for line in lines.splitlines()]
        if self._counts is not None:
            for reject in rejects:
                self._counts.add(reject)
        self._file.write(lines)
        self.records += _count(rejects)
        return rejects

    def text(self) -> bytes:
        """Return all that is written, for ``append``."""
        return b"".join(self._file.lines())

    def flush(self) -> None:
        """Let other readers see what is written."""
        self._file.flush()

    def mark(self) -> dict[str, Any]:
        """Return the position up to which it is written now."""
        return {**self._file.mark(), "records": self.records}

    def rewind(self, mark: Mapping[str, Any]) -> None:
        """Remove what was written after a mark."""
        self._file.rewind(mark)
        self._counts = None if mark["records"] else ReasonCounts()
        self.records = mark["records"]

    def restore(self, rejects: Iterable[Reject], records: int) -> None:
        """Add the known rejects of an earlier attempt, which had refused this many records."""
        self._write(rejects)
        self.records = records

    def finish(self, read: int) -> None:
        """Check the limit once more, when all records have been read."""
        percent = self._limit.percent
        if percent is not None and self.records * 100 > percent * read:
            raise self._limit.too_many(self.records, read, next(iter(self), None))
        self._file.flush()

    def reasons(self) -> tuple[Reason, ...]:
        """Return the reasons with the number of times each occurred."""
        if self._counts is None:
            self._counts = ReasonCounts(self)
        return self._counts.reasons()

    def __iter__(self) -> Iterator[Reject]:
        for line in self._file.lines():
            yield Reject(**json.loads(line))

    def _write(self, rejects: Iterable[Reject]) -> None:
        for reject in rejects:
            told = {name: as_json(value) for name, value in vars(reject).items()}
            if self._counts is not None:
                self._counts.add(reject)
            self._file.write(f"{json.dumps(told, allow_nan=False)}\n".encode())


def _count(rejects: Iterable[Reject]) -> int:
    """Return the number of records that these rejects belong to."""
    return len({(reject.source, reject.record) for reject in rejects})


_TEMPORARY = f"The temporary file of the rejects, in {tempfile.gettempdir()},"


def _temporary() -> IO[bytes]:
    try:
        return cast("IO[bytes]", tempfile.TemporaryFile())
    except OSError as error:
        raise ConfigurationError(f"{_TEMPORARY} cannot be written: {error.strerror}.") from error

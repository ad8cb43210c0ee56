"""A file of refused records in the source's own format, to be mended and loaded again."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError, IngestError
from ingest.marked_file import MarkedFile
from ingest.sources.base import Source
from ingest.sources.files import COMPRESSIONS
from ingest.sources.several import SeveralSource, expand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.rejects import Reject
    from ingest.sources import Batch
    from ingest.sources.rewriting import RecordWriter


class RejectFile:
    """Writes each refused record once, with all its reasons, in the order of the source."""

    def __init__(
        self,
        file: IO[bytes],
        writer: RecordWriter,
        mark: Mapping[str, int] | None = None,
        path: str | Path | None = None,
    ) -> None:
        """``mark``: go on with the file that is there, from where it was marked."""
        self._file = MarkedFile(file, f"The reject file {str(path)!r}", lasts=path is not None)
        self._writer = writer
        head = writer.head()  # also where it stands there already: a byte-order mark comes once
        if mark is None:
            self._file.write(head)
        else:
            self.rewind(mark)

    def add(self, rejects: Sequence[Reject], batch: Batch) -> None:
        """Write the refused records of one batch; ``rejects`` are in the order of the records."""
        columns = batch.source_columns
        for record, group in groupby(rejects, lambda reject: reject.record):
            reasons = " ".join(map(_reason, group))
            if record in batch.misfits:
                written = self._writer.misfit(batch.misfits[record], reasons)
            else:
                place = bisect_left(batch.records, record)
                written = self._writer.record([cells[place] for cells in columns], reasons)
            self._file.write(written)

    def append(self, written: bytes) -> None:
        """Write what another reject file of the same source has written."""
        self._file.write(written)

    def mark(self) -> dict[str, int]:
        """Give the place up to which it is written now."""
        return {"bytes": self._file.mark()}

    def rewind(self, mark: Mapping[str, int]) -> None:
        """Forget what was written after a mark."""
        self._file.rewind(mark["bytes"])

    def end(self) -> None:
        """Write what stands after the last record."""
        if not self._file.is_closed:
            self._file.write(self._writer.tail())
            self._file.close()


@contextmanager
def open_reject_file(
    path: str | Path | None,
    writer: RecordWriter,
    given: Any,
    said: str | None,
    mark: Mapping[str, int] | None = None,
) -> Iterator[RejectFile | None]:
    """Open the file, or give None where no path is given.

    ``given`` is the source, which the file must not overwrite; ``said`` is the format that its
    options say, if any; ``mark``: go on with the file that is there. Raises ``ConfigurationError``
    for a name that a load could not read again.
    """
    if path is None:
        yield None
        return
    _check(Path(path), writer, given, said)
    try:
        file = Path(path).open("r+b" if mark else "wb")  # noqa: SIM115 - it is closed below
    except FileNotFoundError as error:
        if not mark:
            raise ConfigurationError(
                f"The reject file {str(path)!r} cannot be written: {error.strerror}."
            ) from error
        raise IngestError(
            f"The reject file {str(path)!r}, which this load has begun, is gone: bring it back, or "
            "take away what is in and load again."
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"The reject file {str(path)!r} cannot be written: {error.strerror}."
        ) from error
    with ExitStack() as stack:
        stack.callback(file.close)
        rejects = RejectFile(file, writer, mark, path)
        try:
            yield rejects
        except BaseException:
            with suppress(IngestError):  # what is wrong has been said
                rejects.end()
            raise
        rejects.end()


def _check(path: Path, writer: RecordWriter, given: Any, said: str | None) -> None:
    shown = str(path)
    for source in _paths(given):
        if path.exists() and source.exists() and path.samefile(source):
            raise ConfigurationError(
                f"The reject file {shown!r} is the source itself: give it another name."
            )
    if path.suffix.lower() in COMPRESSIONS:
        raise ConfigurationError(
            f"The reject file {shown!r} is not compressed: leave out {path.suffix}."
        )
    format_by_name = next(kind.format for kind in Source.registry if kind.accepts(path))
    if said is None and format_by_name != writer.format:
        name = path.with_suffix(_SUFFIXES[writer.format]).name
        raise ConfigurationError(
            f"The rejects are written as {_WORDS[writer.format]}, and the name {shown!r} would be "
            f"taken for another format: call the file {name!r}."
        )


_SUFFIXES = {"delimited": ".csv", "jsonl": ".jsonl"}
_WORDS = {"delimited": "delimited text", "jsonl": "JSON Lines"}


def _paths(given: Any) -> list[Path]:
    if SeveralSource.accepts(given):
        return [Path(item) for item in expand(given)]
    return [Path(given)] if isinstance(given, str | Path) else []


def _reason(reject: Reject) -> str:
    reason = reject.reason if reject.column is None else f"{reject.column}: {reject.reason}"
    return reason if reason.endswith(".") else f"{reason}."

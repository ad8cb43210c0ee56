"""A file of refused records in the source's own format, to fix and load again."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ingest.exceptions import ConfigurationError, IngestError
from ingest.loading.append_file import AppendFile
from ingest.loading.output_files import is_null
from ingest.sources.base import Source
from ingest.sources.files import COMPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.loading.output_files import OutputFile, OutputFiles
    from ingest.results.rejects import Reject
    from ingest.sources import Batch
    from ingest.sources.writers import RecordWriter


REJECT_FILE = "The reject file"


class RejectFile:
    """Writes each refused record once, with all its reasons, in the order of the source."""

    def __init__(
        self,
        file: IO[bytes],
        writer: RecordWriter,
        mark: Mapping[str, Any] | None = None,
        output: OutputFile | None = None,
    ) -> None:
        """``mark``: continue the existing file from this mark.

        ``output`` owns the ``file``, if the file is kept.
        """
        name = REJECT_FILE if output is None else f"{REJECT_FILE} {output.path!r}"
        publish = None if output is None else output.publish
        self._file = AppendFile(file, name, lasts=output is not None, publish=publish)
        self._writer = writer
        self.is_empty = mark is None
        """Whether it has no record."""
        head = writer.head()  # even if the file has it already: a byte-order mark is written once
        if mark is None:
            self._file.write(head)
        else:
            self.rewind(mark)

    def add(self, rejects: Sequence[Reject], batch: Batch) -> None:
        """Write the refused records of one batch; ``rejects`` are in the order of the records."""
        columns = batch.source_columns
        self.is_empty = False
        for record, group in groupby(rejects, lambda reject: reject.record):
            reasons = " ".join(map(_reason, group))
            if record in batch.misfits:
                written = self._writer.misfit(batch.misfits[record], reasons)
            else:
                place = bisect_left(batch.records, record)
                written = self._writer.record([cells[place] for cells in columns], reasons)
            self._file.write(written)

    def append(self, written: bytes) -> None:
        """Append what another reject file of the same source contains."""
        self.is_empty &= not written
        self._file.write(written)

    def mark(self) -> dict[str, Any]:
        """Return the position up to which it is written now."""
        return self._file.mark()

    def rewind(self, mark: Mapping[str, Any]) -> None:
        """Remove what was written after a mark."""
        self._file.rewind(mark)

    def end(self) -> None:
        """Write what follows the last record, and close the file."""
        if not self._file.is_closed:
            self._file.write(self._writer.tail())
            self._file.flush()
            self._file.close()


@contextmanager
def open_reject_file(
    path: str | Path | None,
    writer: RecordWriter,
    outputs: OutputFiles,
    said: str | None,
    mark: Mapping[str, Any] | None = None,
) -> Iterator[RejectFile | None]:
    """Open the file and yield it; yield None if the path is None or the null device.

    ``outputs`` know which files must not be written. ``said`` is the format given in the source's
    options, if any. ``mark``: continue the existing file. Raise ``ConfigurationError`` for a name
    that a load could not read again.
    """
    if path is None or is_null(path):
        yield None
        return
    _check(Path(path), writer, said)
    if mark and not mark["bytes"]:  # an empty file cannot be identified as this one
        mark = None
    if mark and not Path(path).exists():
        raise IngestError(
            f"The reject file {str(path)!r}, which this load has begun, is gone: restore it, or "
            "undo the load and load again."
        )
    output = outputs.open(path, REJECT_FILE, is_ours=bool(mark))
    with ExitStack() as stack:
        stack.callback(output.release)
        stack.callback(output.file.close)
        rejects = RejectFile(output.file, writer, mark, output)
        try:
            yield rejects
        except BaseException:
            # An older file is kept if nothing was refused.
            if not (rejects.is_empty and output.replaced):
                with suppress(IngestError):  # the error has been reported
                    rejects.end()
            raise
        rejects.end()


def _check(path: Path, writer: RecordWriter, said: str | None) -> None:
    shown = str(path)
    if path.suffix.lower() in COMPRESSIONS:
        raise ConfigurationError(
            f"The reject file {shown!r} is not compressed: leave out {path.suffix}."
        )
    format_by_name = next(kind.format for kind in Source.registry if kind.accepts(path))
    is_other = writer.format == "workbook" and path.suffix.lower() != _SUFFIXES["workbook"]
    if is_other or (said is None and format_by_name != writer.format):
        name = path.with_suffix(_SUFFIXES[writer.format]).name
        raise ConfigurationError(
            f"The rejects are written as {_WORDS[writer.format]}, and the name {shown!r} would be "
            f"taken for another format: call the file {name!r}."
        )


def suffix_for(writer: RecordWriter, name: str, *, in_chunks: bool) -> str:
    """Return the suffix of a reject file, by which a load can read it again.

    It is that of the source's ``name`` if the rejects are written in the same format.
    """
    if writer.format == "workbook":  # written at the end, by another package
        return ".csv" if in_chunks or find_spec("xlsxwriter") is None else ".xlsx"
    path = Path(name)
    while path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    own = path.suffix.lower()
    named = next(kind.format for kind in Source.registry if kind.accepts(Path(f"rejects{own}")))
    return own if own and named == writer.format else _SUFFIXES[writer.format]


_SUFFIXES = {"delimited": ".csv", "jsonl": ".jsonl", "workbook": ".xlsx"}
_WORDS = {"delimited": "delimited text", "jsonl": "JSON Lines", "workbook": "a workbook"}


def _reason(reject: Reject) -> str:
    reason = reject.reason if reject.column is None else f"{reject.column}: {reject.reason}"
    return reason if reason.endswith(".") else f"{reason}."

"""What a source is: where rows come from, as batches of raw cells.

A new source is one new file in this folder. ``open_source`` asks each class in turn whether it
``accepts`` what it was given.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ingest.exceptions import ConfigurationError, SourceError, did_you_mean
from ingest.results.rejects import Reject
from ingest.sources.batch import Position
from ingest.sources.django_files import plain_file
from ingest.sources.writers import JsonLinesWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from ingest.sources.batch import Batch
    from ingest.sources.writers import RecordWriter


class Source(ABC):
    """Where rows come from. Use it as a context manager; it is read once."""

    format: ClassVar[str]
    """The word for it in ``SourceOptions.format`` and in the docs."""
    place: ClassVar[int]
    """Which class is asked first whether it accepts a source: the smallest."""
    name: str
    """How messages call this source: the file's name, or what kind of iterable it is."""
    columns: tuple[str, ...]
    """The names of the source columns, in order."""
    bytes_total: int | None = None
    """The size of the input in bytes, where it is known."""
    preamble: str = ""
    """The text that stands before the header or the first record, where there is any."""
    file_name: str = ""
    """The file's name without its folder, where it is one file that has a name."""
    paths: tuple[Path, ...] = ()
    """The files that it reads, where all of them can be read again."""
    identity: str = ""
    """What stays the same as long as a file that is not among ``paths`` does, if it is known."""
    is_of_files: ClassVar[bool] = False
    """Whether it is the content of one file."""
    has_postgres_text: bool = False
    """Whether its cells are texts that PostgreSQL wrote, and nulls are NULL."""
    reads_by_text: bool = False
    """Whether a field reads a typed value as it would read its text; then 1.5 is no integer."""
    notes: tuple[str, ...] = ()
    """What the user should know of the records that were read, a sentence each."""
    ignores: frozenset[str] = frozenset()
    """Those of ``SourceOptions`` that say nothing to this kind of source, by name."""
    holds_others: ClassVar[bool] = False
    """Whether it holds sources of any format."""
    registry: ClassVar[list[type[Source]]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "format" in cls.__dict__:
            Source.registry.append(cls)
            Source.registry.sort(key=lambda source: source.place)

    @property
    def read_format(self) -> str:
        """The format that its records are read in, as messages name it."""
        return self.format

    @classmethod
    @abstractmethod
    def accepts(cls, given: Any) -> bool:
        """Return whether this class can read what was given."""

    @classmethod
    @abstractmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        """Open what was given; the column names are known afterwards."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Yield the records, a batch at a time; nothing holds the whole input."""

    def go_to(self, position: Position) -> bool:  # noqa: ARG002
        """Let ``batches`` begin after this position, which a batch of the same source gave.

        Gives False where the source must be read from its beginning to get there.
        """
        return False

    def batches_after(self, position: Position) -> Iterator[Batch]:
        """Yield the records after a position, a batch at a time."""
        if position == Position() or self.go_to(position):
            yield from self.batches()
        else:
            for batch in self.batches():
                yield batch.split(position.record)[1]

    def batches_between(self, start: Position, stop: Position | None) -> Iterator[Batch]:  # noqa: ARG002
        """Yield the records after a position; of several files no more than up to ``stop``'s."""
        return self.batches_after(start)

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:  # noqa: ARG002
        """Yield the position after every so many records from a position on, up to the end.

        None where the records must be read to be told apart.
        """
        return None

    def find_parts(self, start: Position, records: int) -> Iterator[Position] | None:
        """Yield the ends of parts that several processes read, of so many records or less."""
        return self.find_ends(start, records)

    def each_file(self) -> Iterator[Source]:
        """Yield the sources of the single files, each as its batches call it."""
        yield self

    def check_unchanged(self) -> None:
        """Raise ``SourceError`` where the file is no longer what it was when it was opened."""

    def writer(self, suffix: str = "") -> RecordWriter:  # noqa: ARG002
        """Return what writes refused records so that a source with the same options reads them.

        ``suffix``: that of the file's name, where the source has several formats to choose from.
        """
        return JsonLinesWriter(self.columns)

    def reject(self, record: int, value: Any, reason: str, line: int | None = None) -> Reject:
        """Return the reject of a record that could not be read into cells."""
        return Reject(
            source=self.name,
            record=record,
            column=None,
            field=None,
            value=value,
            reason=reason,
            kind="parse",
            line=line,
        )

    def close(self) -> None:
        """Let go of files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


LENIENCIES = ("pad", "cut")
"""The words of ``SourceOptions.lenient``."""

OF_WORKBOOKS = frozenset({"sheet"})
"""The options of workbooks alone."""
OF_DELIMITED_TEXT = frozenset(
    {
        *("delimiter", "quote", "doubled_quotes", "escape", "comment"),
        *("header", "skip_records", "trailer_records", "trailer_pattern"),
    }
)
"""The options of text whose cells have no names of their own."""
OF_FILES = OF_WORKBOOKS | OF_DELIMITED_TEXT | {"encoding", "lenient"}
"""The options that say nothing to a source whose cells have names and types."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How a source is to be read."""

    format: str | None = None
    """What kind of source it is, as in ``Source.format``; None: told by what was given."""
    columns: tuple[str, ...] | None = None
    """The names of the columns: those of a delimited file, or of tuples; of any other source, whose
    values have names, the columns to take."""
    encoding: str = "utf-8"
    """The text's encoding: any codec Python knows."""
    delimiter: str = ","
    """What stands between the cells of a delimited file: one ASCII character."""
    quote: str = '"'
    """What a cell is wrapped in where it holds a delimiter, a quote or a line end; empty: none."""
    doubled_quotes: bool = True
    """Whether a quote that is written twice stands for itself inside a quoted cell."""
    escape: str | None = None
    """The character that takes its meaning from the next one, inside and outside of quotes."""
    skip_records: int = 0
    """Records before the header, or before the first record where there is no header; blank lines
    are not counted."""
    header: bool | None = None
    """Whether the first record names the columns. None: yes, unless ``columns`` does. Columns that
    nothing names are called by their position, ``1``, ``2`` …"""
    trailer_records: int = 0
    """Records at the end that are to be left out; blank lines are not counted."""
    trailer_pattern: str | None = None
    """A regular expression (RE2): the first record whose text it matches begins the trailer, which
    goes on to the end. It is searched for in the cells, joined by the delimiter."""
    comment: str | None = None
    """What a line begins with that is no record of a delimited file, such as ``#``. Such a line is
    passed over like a blank one, before the header too; inside a quoted cell it is text."""
    lenient: tuple[str, ...] = ()
    """What to do with records of a delimited file that have another number of cells than there
    are columns, and with records of JSON Lines that have other keys: ``pad`` fills the missing
    cells with empty ones, ``cut`` drops the surplus ones, whatever they hold. The records are
    counted in ``LoadResult.padded`` and ``LoadResult.cut``."""
    sheet: str | int | None = None
    """The sheet of a workbook: its name, or its number from 1. None: the only one that has data."""

    def __post_init__(self) -> None:
        said: Any = self.lenient
        words = said.split(",") if isinstance(said, str) else list(said or ())
        words = [word.strip() if isinstance(word, str) else word for word in words]
        for word in words:
            if word not in LENIENCIES:
                raise ConfigurationError(
                    f"lenient is {said!r}: say 'pad' (fill records that are too short), 'cut' "
                    "(cut records that are too long) or both, 'pad,cut'."
                )
        lenient = tuple(word for word in LENIENCIES if word in words)
        object.__setattr__(self, "lenient", lenient)

    @property
    def is_postgres_csv(self) -> bool:
        """Return whether PostgreSQL wrote the cells, so that unquoted empty ones are NULL."""
        return self.format == "postgres-csv"

    @property
    def has_header(self) -> bool:
        """Return whether the first record names the columns."""
        return self.columns is None if self.header is None else self.header


def choose_columns(
    names: Sequence[str], chosen: tuple[str, ...] | None, source: str
) -> tuple[str, ...]:
    """Return the columns to take, or ``SourceError`` for one that the source does not have."""
    for name in chosen or ():
        if name not in names:
            raise SourceError(f"{source} has no column {name!r}.{did_you_mean(name, names)}")
    return chosen or tuple(names)


def open_source(given: Any, options: SourceOptions | None = None) -> Source:
    """Open a path, a file, several files, an Arrow stream or an iterable as a ``Source``.

    A string with ``*``, ``?`` or ``[`` that names no file is a pattern for several.

    Raises ``SourceError`` where it cannot be read, ``ConfigurationError`` for options that cannot
    work and ``TypeError`` for anything that is no source.
    """
    options = options or SourceOptions()
    given = plain_file(given, options.encoding)
    kind = find_kind(given, options.format)
    if kind is not None:
        return kind.open(given, options)
    raise TypeError(
        f"{type(given).__name__!r} is no source: give a path or several, a file opened for reading "
        "bytes, an iterable of dicts, tuples or model instances, or an Arrow table or stream."
    )


def find_kind(given: Any, name: str | None = None) -> type[Source] | None:
    """Return the kind of source that reads what was given, or reads it in the format named."""
    kinds = Source.registry if name is None else _kinds_of(name)
    return next((kind for kind in kinds if kind.accepts(given) or kind.format == name), None)


def _kinds_of(name: str) -> list[type[Source]]:
    formats = [kind.format for kind in Source.registry]
    if name not in formats:
        raise ConfigurationError(
            f"There is no format {name!r}.{did_you_mean(name, formats)} "
            f"The formats are {', '.join(sorted(formats))}."
        )
    return [kind for kind in Source.registry if kind.holds_others or kind.format == name]

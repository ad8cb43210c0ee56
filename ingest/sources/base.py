"""The base class of sources, which read records as batches of raw cells.

A new source is one new file in this folder. ``open_source`` takes the first class that ``accepts``
its argument.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from ingest.exceptions import ConfigurationError, SourceError, did_you_mean
from ingest.results.rejects import Reject
from ingest.sources.batch import Position
from ingest.sources.django_files import plain_file
from ingest.sources.fingerprints import stamp
from ingest.sources.writers import JsonLinesWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from ingest.sources.batch import Batch
    from ingest.sources.fingerprints import Stamp
    from ingest.sources.writers import RecordWriter


class Source(ABC):
    """A source of records. Use it as a context manager; it is read once."""

    format: ClassVar[str]
    """Its name in ``SourceOptions.format`` and in the docs."""
    place: ClassVar[int]
    """The order in which classes are tried: the smallest first."""
    name: str
    """The source's name in messages: the file's name, or the kind of iterable."""
    columns: tuple[str, ...]
    """The names of the source columns, in order."""
    bytes_total: int | None = None
    """The size of the input in bytes, if it is known."""
    preamble: str = ""
    """The text before the header or the first record, if there is any."""
    file_name: str = ""
    """The file's name without its folder, if the source is one file with a name."""
    paths: tuple[Path, ...] = ()
    """The files that it reads, if all of them can be read again."""
    identity: str = ""
    """A value that stays the same while a file that is not among ``paths`` does, if one is
    known."""
    is_of_files: ClassVar[bool] = False
    """Whether it is the content of one file."""
    has_postgres_text: bool = False
    """Whether PostgreSQL wrote its cells as text, and nulls are NULL."""
    reads_by_text: bool = False
    """Whether a field reads a typed value as it would read its text; 1.5 is then not an integer."""
    has_json_numbers: bool = False
    """Whether a ``Decimal`` is a number of JSON, which a ``JSONField`` stores as a float."""
    notes: tuple[str, ...] = ()
    """Notes for the user about the records that were read, a sentence each."""
    ignores: frozenset[str] = frozenset()
    """The names of the ``SourceOptions`` that have no meaning for this kind of source."""
    holds_others: ClassVar[bool] = False
    """Whether it contains sources of any format."""
    registry: ClassVar[list[type[Source]]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "format" in cls.__dict__:
            Source.registry.append(cls)
            Source.registry.sort(key=lambda source: source.place)

    @property
    def places(self) -> Sequence[Path | str]:
        """The files, if another process can read all of them, too; an address is a ``str``."""
        return self.paths

    def stamps(self) -> list[Stamp]:
        """Return the present stamp of each of ``places``."""
        return [stamp(path) for path in self.paths]

    @property
    def read_format(self) -> str:
        """The format of its records, as messages name it."""
        return self.format

    @classmethod
    @abstractmethod
    def accepts(cls, given: Any) -> bool:
        """Return whether this class can read the given object."""

    @classmethod
    @abstractmethod
    def open(cls, given: Any, options: SourceOptions) -> Self:
        """Open the given object; the column names are known afterwards."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Yield the records in batches, without holding the whole input in memory."""

    def go_to(self, position: Position) -> bool:  # noqa: ARG002
        """Let ``batches`` begin after a position that a batch of the same source returned.

        Return False if the source can only be read from its beginning.
        """
        return False

    def batches_after(self, position: Position) -> Iterator[Batch]:
        """Yield the records after a position, in batches."""
        if position == Position() or self.go_to(position):
            yield from self.batches()
        else:
            for batch in self.batches():
                yield batch.split(position.record)[1]

    def batches_between(self, start: Position, stop: Position | None) -> Iterator[Batch]:  # noqa: ARG002
        """Yield the records after a position; several files are read up to ``stop``'s file."""
        return self.batches_after(start)

    def find_ends(self, start: Position, records: int) -> Iterator[Position] | None:  # noqa: ARG002
        """Yield the position after every ``records`` records, from ``start`` to the end.

        Return None if the positions cannot be found without parsing the records.
        """
        return None

    def find_parts(self, start: Position, records: int) -> Iterator[Position] | None:
        """Yield the ends of parts of up to ``records`` records that processes read in parallel."""
        return self.find_ends(start, records)

    def each_file(self) -> Iterator[Source]:
        """Yield the source of each file, with the name that its batches have."""
        yield self

    def check_unchanged(self) -> None:
        """Raise ``SourceError`` if the file has changed since it was opened."""

    def writer(self, suffix: str = "") -> RecordWriter:  # noqa: ARG002
        """Return a writer of refused records that a source with the same options can read.

        ``suffix``: the suffix of the file's name, for sources with a choice of several formats.
        """
        return JsonLinesWriter(self.columns)

    def reject(self, record: int, value: Any, reason: str, line: int | None = None) -> Reject:
        """Return the reject for a record that could not be split into cells."""
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
        """Close the source's files."""

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
"""The options that only workbooks have."""
OF_DELIMITED_TEXT = frozenset(
    {
        *("delimiter", "quote", "doubled_quotes", "escape", "comment"),
        *("header", "skip_records", "trailer_records", "trailer_pattern"),
    }
)
"""The options of text whose cells have no names of their own."""
OF_FILES = OF_WORKBOOKS | OF_DELIMITED_TEXT | {"encoding", "lenient"}
"""The options that have no meaning for a source whose cells have names and types."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options for reading a source."""

    format: str | None = None
    """The kind of source, as in ``Source.format``; None: detected."""
    columns: tuple[str, ...] | None = None
    """The names of the columns of a delimited file or of tuples. For any other source, whose values
    have names: the columns to read."""
    encoding: str = "utf-8"
    """The text's encoding: any codec Python knows."""
    delimiter: str = ","
    """The separator between the cells of a delimited file: one ASCII character."""
    quote: str = '"'
    """The character around cells that contain a delimiter, a quote or a line end; empty: none."""
    doubled_quotes: bool = True
    """Whether a doubled quote inside a quoted cell means one quote."""
    escape: str | None = None
    """The character that escapes the next one, inside and outside of quotes."""
    skip_records: int = 0
    """Records to skip before the header, or before the first record if there is no header; blank
    lines are not counted."""
    header: bool | None = None
    """Whether the first record names the columns. None: yes, unless ``columns`` is given. Columns
    without names are named by their position, ``1``, ``2`` …"""
    trailer_records: int = 0
    """Records to leave out at the end; blank lines are not counted."""
    trailer_pattern: str | None = None
    """A regular expression (RE2). The first record that it matches, and all after it, are the
    trailer. It is searched for in the cells, joined by the delimiter."""
    comment: str | None = None
    """The beginning of comment lines in a delimited file, such as ``#``. They are skipped like
    blank lines, before the header too; inside a quoted cell they are text."""
    lenient: tuple[str, ...] = ()
    """How to treat records of a delimited file with too few or too many cells, and records of JSON
    Lines with other keys: ``pad`` adds empty cells for missing ones, ``cut`` drops extra cells,
    empty or not. The records are counted in ``LoadResult.padded`` and ``LoadResult.cut``."""
    sheet: str | int | None = None
    """The sheet of a workbook: its name, or its number from 1. None: the only one with data."""

    def __post_init__(self) -> None:
        said: Any = self.lenient
        words = said.split(",") if isinstance(said, str) else list(said or ())
        words = [word.strip() if isinstance(word, str) else word for word in words]
        for word in words:
            if word not in LENIENCIES:
                raise ConfigurationError(
                    f"lenient is {said!r}: use 'pad' (fill records that are too short), 'cut' "
                    "(cut records that are too long) or both, 'pad,cut'."
                )
        lenient = tuple(word for word in LENIENCIES if word in words)
        object.__setattr__(self, "lenient", lenient)

    @property
    def is_postgres_csv(self) -> bool:
        """Whether PostgreSQL wrote the cells, so that unquoted empty ones are NULL."""
        return self.format == "postgres-csv"

    @property
    def has_header(self) -> bool:
        """Whether the first record names the columns."""
        return self.columns is None if self.header is None else self.header


def choose_columns(
    names: Sequence[str], chosen: tuple[str, ...] | None, source: str
) -> tuple[str, ...]:
    """Return the columns to read; raise ``SourceError`` for one that the source does not have."""
    for name in chosen or ():
        if name not in names:
            raise SourceError(f"{source} has no column {name!r}.{did_you_mean(name, names)}")
    return chosen or tuple(names)


def open_source(given: Any, options: SourceOptions | None = None) -> Source:
    """Open a path, a file, several files, an Arrow stream or an iterable as a ``Source``.

    A string with ``*``, ``?`` or ``[`` that is not the name of a file is a pattern for several.

    Raises ``SourceError`` if it cannot be read, ``ConfigurationError`` for options that cannot work
    and ``TypeError`` for any other object.
    """
    options = options or SourceOptions()
    given = plain_file(given, options.encoding)
    kind = find_kind(given, options.format)
    if kind is not None:
        return kind.open(given, options)
    lazy = [name for name in ("collect", "compute") if callable(getattr(given, name, None))]
    run_it = f" Give the result of its {lazy[0]}() instead." if lazy else ""
    raise TypeError(
        f"{type(given).__name__!r} is not a source: give a path or several, a file opened in "
        "binary mode, an iterable of dicts, tuples or model instances, or an Arrow table or stream."
        f"{run_it}"
    )


def find_kind(given: Any, name: str | None = None) -> type[Source] | None:
    """Return the class of source that reads the given object, as the format ``name`` if given."""
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

"""Everything ingest raises, in one tree.

    IngestError
    ├── ConfigurationError          settings, options or a model that cannot work
    │   ├── ConnectionOptionError   a database option that asyncpg cannot honour
    │   ├── LayoutError             source columns that do not fit the model's fields
    │   └── UnsupportedModelError   a model that a method cannot write
    ├── ConnectionFailed            the server did not let us in, or went away
    ├── SourceError                 a source that cannot be read
    ├── RecordsRefused              records that the model's fields refused
    ├── ConstraintRefused           rows that PostgreSQL refused
    ├── TooManyRejects              more records were refused than the limit allows
    ├── ServerFailed                PostgreSQL could not go on, for no row's fault
    ├── LedgerError                 a load that cannot be taken up, or not be undone
    ├── LoadCancelled               somebody asked for the end of a load
    ├── CountMismatch               read, loaded, rejected and skipped do not add up
    └── BenchmarkError              a benchmark that cannot be run

Misuse of a Python signature stays ``TypeError`` or ``ValueError``. A class's docstring is its
default message.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.rejects import Reject

REJECTS_SHOWN = 20
"""How many bad records an error message lists: a screenful."""


class IngestError(Exception):
    """The load failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class ConfigurationError(IngestError):
    """The settings or options cannot work."""


class ConnectionOptionError(ConfigurationError):
    """A database option cannot be translated for asyncpg."""


class LayoutError(ConfigurationError):
    """The source's columns do not fit the model's fields."""


class UnsupportedModelError(ConfigurationError):
    """The method cannot write this model."""


class ConnectionFailed(IngestError):  # noqa: N818 - it says what happened
    """The connection to PostgreSQL failed."""


class SourceError(IngestError):
    """The source cannot be read."""


class RecordsRefused(IngestError):  # noqa: N818 - it says what happened
    """Records were refused; nothing was loaded."""

    def __init__(self, rejects: Sequence[Reject]) -> None:
        self.rejects = tuple(rejects)
        shown = [str(reject) for reject in self.rejects[:REJECTS_SHOWN]]
        rest = len(self.rejects) - len(shown)
        if rest:
            shown.append(f"… and {rest:,} more in the same batch.")
        super().__init__("\n".join([*shown, "Nothing was loaded."]))

    def __reduce__(self) -> tuple[type[RecordsRefused], tuple[Sequence[Reject]]]:
        return type(self), (self.rejects,)


class ConstraintRefused(IngestError):  # noqa: N818 - it says what happened
    """PostgreSQL refused a row; nothing was loaded."""


class TooManyRejects(IngestError):  # noqa: N818 - it says what happened
    """More records were refused than the limit allows; nothing was loaded."""


class ServerFailed(IngestError):  # noqa: N818 - it says what happened
    """PostgreSQL could not go on; nothing was loaded."""


class LedgerError(IngestError):
    """The load cannot be taken up."""


class LoadCancelled(IngestError):  # noqa: N818 - it says what happened
    """The load was cancelled, as somebody asked. Nothing was loaded."""


class CountMismatch(IngestError):  # noqa: N818 - it says what happened
    """The counts of the two ends differ; nothing was loaded."""


class BenchmarkError(IngestError):
    """The benchmark cannot be run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which of the ``known`` names come nearest to ``name``, as the end of a message.

    Gives ``" Did you mean 'x' or 'y'?"``, or an empty string where nothing is near.
    """
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""

"""Everything ingest raises, in one tree.

    IngestError
    ├── ConfigurationError          settings, options or a model that cannot work
    │   ├── ConnectionOptionError   a database option that asyncpg cannot honour
    │   ├── LayoutError             source columns that do not fit the model's fields
    │   └── UnsupportedModelError   a model that a method cannot write
    ├── ConnectionFailed            the server refused the connection, or it was lost
    ├── SourceError                 a source that cannot be read
    ├── RecordsRefused              records that the model's fields refused
    ├── ConstraintRefused           rows that PostgreSQL refused
    ├── TooManyRejects              more records were refused than the limit allows
    ├── DeletesRefused              rows that sync must not delete
    ├── ServerFailed                PostgreSQL failed for a reason that is not a row
    ├── LedgerError                 a load that cannot be resumed or undone
    ├── LoadCancelled               a load that was cancelled on request
    ├── CountMismatch               read, loaded, rejected and skipped do not add up
    └── BenchmarkError              a benchmark that cannot be run

Misuse of a Python signature stays ``TypeError`` or ``ValueError``. A class's docstring is its
default message. ``IngestError.outcome`` says which rows of the load are in the table.
"""

from __future__ import annotations

import enum
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from ingest.results.reasons import ReasonCounts, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Self

    from ingest.results.rejects import Reject

REJECTS_SHOWN = 20
"""How many bad records an error message lists: a screenful."""


class Outcome(enum.Enum):
    """Which rows of a failed load are in the table."""

    NOTHING = "nothing"
    """No row: the transaction was rolled back, or never began."""
    CHUNKS = "chunks"
    """The rows of the chunks that were committed before the failure."""
    ALL = "all"
    """All rows: a later step failed."""
    UNKNOWN = "unknown"
    """Unknown: the connection was lost while PostgreSQL committed."""


NOTHING_LOADED = "Nothing was loaded."
SEE_ALL = (
    'To see every refused record, load with on_error="reject", dry_run=True, or in the command '
    "with --on-error reject --dry-run."
)
UNKNOWN_OUTCOME = (
    "It is not known whether the rows are in the table: check that before you load again."
)


class IngestError(Exception):
    """The load failed."""

    outcome: Outcome = Outcome.NOTHING
    """Which rows of the load are in the table."""
    outcome_text: str = ""
    """The sentence about the outcome that follows the message, or an empty string."""
    outcome_separator: ClassVar[str] = " "
    """The separator between the message, the outcome and the next step."""
    next_step: str = ""
    """The last sentence, which says what to do next, or an empty string."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)

    @property
    def message(self) -> str:
        """What went wrong, without the outcome and the next step."""
        return super().__str__()

    def with_outcome(self, outcome: Outcome, text: str) -> Self:
        """Set the outcome and the sentence that describes it; return the error itself."""
        self.outcome, self.outcome_text = outcome, text
        return self

    def __str__(self) -> str:
        parts = (self.message, self.outcome_text, self.next_step)
        return self.outcome_separator.join(filter(None, parts))


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
    """Records were refused."""

    outcome_text = NOTHING_LOADED
    outcome_separator = "\n"
    next_step = SEE_ALL

    def __init__(self, rejects: Sequence[Reject]) -> None:
        self.rejects = tuple(rejects)
        if len(self.rejects) <= REJECTS_SHOWN:
            shown = [str(reject) for reject in self.rejects]
        else:
            shown = [
                *lines_of(ReasonCounts(self.rejects).reasons(), REJECTS_SHOWN),
                f"These are the {len(self.rejects):,} rejects of one batch.",
            ]
        super().__init__("\n".join(shown))

    def __reduce__(
        self,
    ) -> tuple[type[RecordsRefused], tuple[Sequence[Reject]], dict[str, Any]]:
        return type(self), (self.rejects,), vars(self)


class ConstraintRefused(IngestError):  # noqa: N818 - it says what happened
    """PostgreSQL refused a row."""

    outcome_text = NOTHING_LOADED
    next_step = SEE_ALL


class TooManyRejects(IngestError):  # noqa: N818 - it says what happened
    """More records were refused than the limit allows."""

    outcome_text = NOTHING_LOADED
    outcome_separator = "\n"


class DeletesRefused(IngestError):  # noqa: N818 - it says what happened
    """Rows were to be deleted that must not be."""

    outcome_text = NOTHING_LOADED


class ServerFailed(IngestError):  # noqa: N818 - it says what happened
    """PostgreSQL could not continue."""

    outcome_text = NOTHING_LOADED
    sqlstate: str | None = None
    """PostgreSQL's code of the error, if there is one.
    https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class LedgerError(IngestError):
    """The load cannot be resumed or undone."""


class LoadCancelled(IngestError):  # noqa: N818 - it says what happened
    """The load was cancelled, as somebody asked."""

    outcome_text = NOTHING_LOADED


class CountMismatch(IngestError):  # noqa: N818 - it says what happened
    """The counts of the two ends differ."""

    outcome_text = NOTHING_LOADED


class BenchmarkError(IngestError):
    """The benchmark cannot be run."""


_NULL_WORDS = frozenset(
    [
        *("null", "(null)", "<null>", "[null]", "\\n", "none", "nil", "nan"),
        *("n/a", "#n/a", "na", "n.a.", "unknown", "-", "--", "?", "."),
        *("0000-00-00", "0000-00-00 00:00:00"),
    ]
)
"""Words that files have in empty cells, in lower case."""


def null_cure(text: str) -> str:
    """Return how to load a cell as an empty one, after a blank, if that is probably what it is."""
    if text.strip().casefold() not in _NULL_WORDS:
        return ""
    return " To load it as an empty cell, set null in the layout, or give --null to the command."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the ``known`` names closest to ``name``, as the end of a message.

    For example ``" Did you mean 'x' or 'y'?"``, or an empty string if none is close.
    """
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""

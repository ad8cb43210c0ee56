"""What an undo would do, and what an undo did."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.exceptions import LedgerError
from ingest.plurals import counted, noun

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from ingest.ledger.models import Load


@dataclasses.dataclass(frozen=True, kw_only=True)
class UndoPlan:
    """What an undo of a load would delete, restore and re-insert, and what it would keep."""

    load: Load
    model: str
    """The model's label."""
    source: str
    """The file as it was named, or the kind of iterable."""
    day: dt.date
    """When the load began, in the current time zone."""
    rows: int
    """Rows that the load inserted."""
    deletable: int
    """Rows that are still as the load inserted them."""
    changed: int
    """Rows that have a key of the load and are not as it left them: somebody has updated them, or
    has reused their keys for other rows. They are never deleted or restored."""
    gone: int
    """Rows of the load whose keys no row has any more."""
    updated: int = 0
    """Rows that the load changed."""
    restorable: int = 0
    """Rows that are still as the load changed them, and get their old values back."""
    removed: int = 0
    """Rows that the load deleted."""
    missing: int = 0
    """Rows that the load deleted and whose keys are free: they are inserted again."""
    changed_keys: tuple[str, ...] = ()
    """The keys of a few of the rows that were changed."""
    may_be_hidden: bool = False
    """Whether policies of the table apply to the role: missing rows may only be hidden."""
    reason: str | None = None
    """Why no row can be proved to be the load's, or None if it can."""
    lost: str | None = None
    """Why the rows that the load changed or deleted cannot be restored, or None if they can."""

    @property
    def refusal(self) -> str | None:
        """Why the load cannot be undone without ``keep_changed``, or None if it can."""
        return self._refuse(keep_changed=False)

    def check(self, *, keep_changed: bool) -> None:
        """Raise ``LedgerError`` if the load must not be undone with this ``keep_changed``."""
        refusal = self._refuse(keep_changed=keep_changed)
        if refusal is not None:
            raise LedgerError(refusal)

    def _refuse(self, *, keep_changed: bool) -> str | None:
        if self.reason is not None and (self.rows or self.updated or self.removed):
            return (
                f"Load {self.load.pk} cannot be undone, because {self.reason}: its rows cannot be "
                "distinguished from other rows. Nothing was deleted: delete them by hand."
            )
        if self.lost is not None:
            return (
                f"Load {self.load.pk} cannot be undone, because {self.lost}. Nothing was changed."
            )
        if self.changed and not keep_changed:
            did = "left" if self.updated or self.removed else "inserted"
            rows, keys = counted(self.changed, "row"), self._name_changed()
            what = noun(
                self.changed,
                f"{rows} with its keys is not as it {did} it ({keys}): it was changed since, or is "
                "another row with the same key. Nothing was deleted: --keep-changed keeps it",
                f"{rows} with its keys are not as it {did} them ({keys}): they were changed since, "
                "or are other rows with the same keys. Nothing was deleted: --keep-changed keeps "
                "them",
            )
            return f"Load {self.load.pk} is not undone: {what} and undoes the others."
        if self.gone and self.may_be_hidden and not keep_changed:
            what = noun(
                self.gone,
                f"{self.gone:,} of its rows is gone, or row security hides it",
                f"{self.gone:,} of its rows are gone, or row security hides them",
            )
            return (
                f"Load {self.load.pk} is not undone: {what} from the role of the load. Nothing was "
                "deleted: --keep-changed deletes the rows that are seen."
            )
        return None

    @property
    def question(self) -> str:
        """The question to confirm an undo, such as ``Delete 3 rows``, without its question mark."""
        counts = {
            "delete": self.deletable,
            "restore": self.restorable,
            "put back": self.missing,
        }
        parts = [f"{verb} {counted(count, 'row')}" for verb, count in counts.items() if count]
        asked = ", ".join(parts) or "delete 0 rows"
        return f"{asked[0].upper()}{asked[1:]}"

    def _name_changed(self) -> str:
        return name_keys(self.changed_keys, self.changed)

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """The plan as pairs of a name and a value."""
        known = (
            ("model", self.model),
            ("file", self.source),
            ("day", self.day.isoformat()),
            ("rows", f"{self.rows:,}"),
        )
        if self.reason is not None:  # what became of the rows is not known
            return known
        changed = f"{self.changed:,}"
        if self.changed:
            changed += f" ({self._name_changed()})"
        return (
            *known,
            ("to delete", f"{self.deletable:,}"),
            *self._facts_of_old_rows(),
            ("changed since", changed),
            ("gone or hidden" if self.may_be_hidden else "gone", f"{self.gone:,}"),
        )

    def _facts_of_old_rows(self) -> Iterator[tuple[str, str]]:
        if self.updated:
            yield "to restore", f"{self.restorable:,} of {self.updated:,} that it updated"
        if self.removed:
            yield "to put back", f"{self.missing:,} of {self.removed:,} that it deleted"

    def __str__(self) -> str:
        lines = [f"  {name:<14} {value}" for name, value in self.facts]
        return "\n".join([f"Load {self.load.pk}", *lines])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did."""

    load: Load
    deleted: int
    """Rows deleted."""
    gone: int
    """Rows of the load that others had already deleted."""
    restored: int = 0
    """Rows that got their old values back."""
    put_back: int = 0
    """Rows inserted again that the load had deleted."""
    kept: int = 0
    """Rows with a key of the load that were changed since and were kept."""
    kept_keys: tuple[str, ...] = ()
    """The keys of a few of the kept rows."""

    def __str__(self) -> str:
        shown = f"Load {self.load.pk} is undone: {counted(self.deleted, 'row')} deleted"
        if self.restored:
            shown += f", {self.restored:,} restored"
        if self.put_back:
            shown += f", {self.put_back:,} put back"
        if self.gone:
            shown += f", {counted(self.gone, 'was', 'were')} gone already"
        if self.kept:
            were = noun(self.kept, "was", "were")
            keys = name_keys(self.kept_keys, self.kept)
            shown += f", {self.kept:,} changed since {were} kept ({keys})"
        return f"{shown}."


def name_keys(keys: Sequence[str], count: int) -> str:
    """Return a phrase that names a few of ``count`` rows by their keys."""
    return f"with the {noun(count, 'key')} {shown_keys(keys, count)}"


def shown_keys(keys: Sequence[str], count: int) -> str:
    """Return the keys of a few of ``count`` rows, separated by commas."""
    named = ", ".join(key if len(key) <= 40 else f"{key[:39]}…" for key in keys)  # noqa: PLR2004
    return f"{named}{', …' if count > len(keys) else ''}"

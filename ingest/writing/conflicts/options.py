"""Options for records whose row is already in the table."""

from __future__ import annotations

import dataclasses
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

from ingest.exceptions import (
    NOTHING_LOADED,
    ConfigurationError,
    Outcome,
    UnsupportedModelError,
)
from ingest.postgres.several_tables import link_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db import models

    from ingest.conversion.defaults import Inserts

OnConflict = Literal["error", "ignore", "update", "upsert", "sync"]
"""``error``: PostgreSQL refuses the record. ``ignore``: the table's row is kept. ``update``: it is
updated, and a record without a row is refused. ``upsert``: it is updated, and a record without a
row is inserted. ``sync``: like ``upsert``, and rows that the source does not have are deleted."""
Duplicates = Literal["reject", "first", "last"]
"""Which of several records with the same key counts; with ``reject``, later ones are refused."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConflictOptions:
    """How a load handles records whose row is already in the table."""

    mode: OnConflict
    key: Sequence[str] | None = None
    """The fields of the unique key to use; None means the only key that the source feeds."""
    update_fields: Sequence[str] | None = None
    """The fields that are updated; None means all that the source feeds, except the key's."""
    keep_if_null: Sequence[str] = ()
    """Fields whose value in the table is kept if the source has NULL."""
    newest: str | None = None
    """Rows are updated only if the source's value of this field is greater."""
    duplicates: Duplicates = "reject"
    scope: Mapping[str, Any] | Sequence[str] | str | None = None
    """The rows that ``sync`` may delete: fields and values, or ``all``."""
    max_deletes: str | int | None = None
    """How many rows, or which share of the scope, ``sync`` may delete."""

    @property
    def inserts(self) -> bool:
        """Whether a record without a row is inserted."""
        return self.mode != "update"

    @property
    def fills(self) -> Inserts:
        """Which rows are inserted, and so need the fields that the source does not have."""
        return "some" if self.inserts else "none"

    @property
    def updates(self) -> bool:
        """Whether rows of the table are updated."""
        return self.mode != "ignore"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """The fields that have a value in each record, and those that lack one."""

    fields: Sequence[models.Field[Any, Any]]
    """The fields that the source feeds, constants included."""
    lacking: Mapping[str, str]
    """Required fields that nothing feeds, by name, with a message that says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeleteLimit:
    """How many rows may be deleted."""

    rows: int | None = None
    share: Decimal | None = None
    """A share of the rows in the scope, from 0 to 1."""

    @classmethod
    def parse(cls, given: str | int | None) -> DeleteLimit:
        """Parse a number of rows, or a share such as ``2.5%``; None means 10 %."""
        text = DEFAULT_LIMIT if given is None else str(given).strip()
        is_share = text.endswith("%")
        try:
            number = Decimal(text.removesuffix("%").strip())
        except InvalidOperation:
            number = Decimal(-1)
        # Each test relies on those before it: NaN has no order, 1e999999 fills the memory.
        is_limit = (
            not isinstance(given, bool)
            and number.is_finite()
            and 0 <= number <= (_WHOLE if is_share else _MOST_ROWS)
            and (is_share or number == int(number))
        )
        if not is_limit:
            raise ConfigurationError(
                f"max_deletes is {given!r}: give a number of rows, such as 100, or a share of the "
                "scope's rows, such as 2.5%."
            )
        return cls(share=number / _WHOLE) if is_share else cls(rows=int(number))

    def allows(self, deleted: int, rows: int) -> bool:
        """Return whether ``deleted`` of these ``rows`` may be deleted."""
        if self.share is not None:
            return deleted <= self.share * rows
        return self.rows is None or deleted <= self.rows


def refuse_several_tables(model: type[models.Model]) -> NoReturn:
    """Raise ``UnsupportedModelError`` for a model whose rows lie in several tables."""
    link = cast("models.ForeignKey[Any, Any]", link_of(model._meta.concrete_model or model))
    label, parent = model._meta.label, link.remote_field.model._meta.label
    raise UnsupportedModelError(
        f"on_conflict settles the rows of one table, and {label} also has fields in the table of "
        f"{parent}. Load the file twice: into {parent} with the parent's fields, then into {label} "
        f"with its own, and with a column {link.name}__FIELD by which the parent's row is looked "
        f"up, or {link.name} with its key."
    ).with_outcome(Outcome.NOTHING, NOTHING_LOADED)


DEFAULT_LIMIT = "10%"
NOTHING_TO_KEEP = (
    "The source has no records, and sync would delete every row of the scope: see whether it is "
    "the right one."
)
_WHOLE = 100
_MOST_ROWS = 2**63 - 1
"""PostgreSQL counts rows in a bigint."""

"""Which source column feeds which field: the rows of the form, and the layout from them."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ingest.exceptions import LayoutError
from ingest.results.rejects import cut, shorten
from ingest.terminal import safe_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.db.models import Field
    from django.http import QueryDict

    from ingest.layout import FieldLayout, Layout

NOTHING, CONSTANT, KEPT, TYPED = "", "constant", "kept", "typed"
COLUMN = "column:"
"""The prefix of a column's position, from 1: its name may be any text."""
SOURCE, VALUE, LOOKUP, FORMATS, NAME = "source-", "constant-", "lookup-", "formats-", "typed-"
"""Prefixes of the names of the form's inputs; the field's name follows."""
BY_KEY = ""
CONSTANT_CHARACTERS = 1_000
MANY_COLUMNS = 200
"""With more columns than this, names are typed, with suggestions, instead of chosen. A page with
all of them for each field of a large model would have ten megabytes."""
MOST_CHOICES = 20
"""The values of a field with more choices are not listed."""
NAME_CHARACTERS = 100
"""The most characters of a column's name in a choice."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MappingRow:
    """The row of the form for one field."""

    name: str
    label: str
    help: str
    is_required: bool
    choice: str
    choices: tuple[tuple[str, str], ...]
    constant: str
    lookup: str
    lookups: tuple[tuple[str, str], ...]
    """The ways to look up a parent; empty if the field is not a foreign key."""
    formats: str
    takes_formats: bool
    kept: str
    """The parts of the layout for which the form has no inputs, as TOML; may be empty."""
    guess: str

    @property
    def is_unfed(self) -> bool:
        """Whether each record needs a value, and nothing provides one."""
        return self.is_required and self.choice == NOTHING


@dataclasses.dataclass(kw_only=True)
class MappingForm:
    """The form that maps columns to fields."""

    layout: Layout
    columns: Sequence[str]
    fields: Mapping[str, Field[Any, Any]]
    proposals: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Proposals for fields that nothing feeds yet, by field name."""

    @property
    def typed_names(self) -> list[str]:
        """The names that can be typed; none for a file with few columns."""
        return [title for _, title in self._titles] if len(self.columns) > MANY_COLUMNS else []

    @cached_property
    def _titles(self) -> list[tuple[int, str]]:
        """The positions of the columns, and their titles on the page."""
        return [
            (place, cut(safe_line(name), NAME_CHARACTERS) or str(place))
            for place, name in enumerate(self.columns, 1)
        ]

    def rows(self) -> list[MappingRow]:
        """Return a row for each field, required ones first."""
        rows = [self._row(field) for field in self.fields.values()]
        return sorted(rows, key=lambda row: not row.is_required)

    def unused(self) -> list[str]:
        """Return the columns that feed nothing."""
        from ingest.uploads.layouts import columns_of

        used = {
            place
            for said in self.layout.fields.values()
            for column in columns_of(said)
            if (place := self._place(column)) is not None
        }
        return [title for place, title in self._titles if place not in used]

    def to_layout(self, posted: QueryDict) -> Layout:
        """Return the posted layout; raise an error for a field or column that is not offered."""
        for name in posted:
            for prefix in (SOURCE, VALUE, LOOKUP, FORMATS, NAME):
                if name.startswith(prefix) and name.removeprefix(prefix) not in self.fields:
                    raise PermissionDenied(f"The field {name.removeprefix(prefix)} is not offered.")
        fields = {
            name: said
            for name, field in self.fields.items()
            if (said := self._said(field, posted)) is not None
        }
        return dataclasses.replace(self.layout, fields=fields)

    def _row(self, field: Field[Any, Any]) -> MappingRow:
        from ingest.layout.definition import dump
        from ingest.layout.drafting import is_needed
        from ingest.layout.text import write_value

        said = self._base(field)
        is_in = field.name in self.layout.fields
        place = None if said is None else self._simple_place(said)
        is_constant = said is not None and self._is_constant(said)
        kept = ""
        if said is not None and place is None and not is_constant:
            kept = safe_line(write_value(dump(said)))
        choice = NOTHING
        if said is not None and is_in:
            choice = KEPT if kept else CONSTANT if is_constant else f"{COLUMN}{place}"
        proposal = None if is_in else self.proposals.get(field.name)
        is_many = len(self.columns) > MANY_COLUMNS
        offered = [it for it in self._titles if not is_many or it[0] == place]
        choices = [
            (NOTHING, _("(nothing: the default)") if not is_needed(field) else "---------"),
            *((f"{COLUMN}{at}", title) for at, title in offered),
            *([(TYPED, _("(the column entered here)"))] if is_many else []),
            (CONSTANT, _("(one value for all)")),
        ]
        if kept:
            choices.append((KEPT, _("(as the layout says)")))
        return MappingRow(
            name=field.name,
            label=str(capfirst(field.verbose_name)),
            help=_help(field),
            is_required=is_needed(field),
            choice=choice,
            choices=tuple(choices),
            constant="" if said is None or said.constant is None else str(said.constant),
            lookup=(said.lookup or (BY_KEY,))[0] if said is not None and not kept else BY_KEY,
            lookups=tuple(lookups_of(field)),
            formats=", ".join((said.formats if said is not None else None) or ()),
            takes_formats=isinstance(field, models.DateField),
            kept=kept,
            guess="" if proposal is None else str(proposal.reason),
        )

    def _base(self, field: Field[Any, Any]) -> FieldLayout | None:
        said = self.layout.fields.get(field.name)
        if said is None and field.name in self.proposals:
            said = self.proposals[field.name].layout
        return said

    def _said(self, field: Field[Any, Any], posted: QueryDict) -> FieldLayout | None:
        from ingest.admin.uploads.forms import words
        from ingest.layout import FieldLayout
        from ingest.layout.constants import fed

        choice, base = posted.get(f"{SOURCE}{field.name}", NOTHING), self._base(field)
        typed = posted.get(f"{NAME}{field.name}", "").strip()
        if choice == TYPED or (choice == NOTHING and typed):
            choice = self._typed(typed, field)
        if choice == NOTHING:
            return None
        if choice == KEPT:
            if base is None or self._simple_place(base) or self._is_constant(base):
                raise SuspiciousOperation(f"Nothing is said of {field.name} to be kept.")
            return base
        lookup = posted.get(f"{LOOKUP}{field.name}", BY_KEY)
        if lookup not in {BY_KEY, *(name for name, _label in lookups_of(field))}:
            raise PermissionDenied(f"{field.name} cannot be looked up by {lookup!r}.")
        if choice == CONSTANT:
            constant = posted.get(f"{VALUE}{field.name}", "")[:CONSTANT_CHARACTERS]
            return FieldLayout(constant=constant, lookup=(lookup,) if lookup else None)
        is_simple = base is not None and (self._simple_place(base) or self._is_constant(base))
        column = self._column(choice)
        said = fed(base if is_simple else None, column=column)
        create = said.create if lookup and said.lookup == (lookup,) else None
        formats = words(posted.get(f"{FORMATS}{field.name}", ""))
        return dataclasses.replace(
            said, lookup=(lookup,) if lookup else None, create=create, formats=formats
        )

    def _column(self, choice: str) -> str | int:
        place = choice.removeprefix(COLUMN)
        if not (choice.startswith(COLUMN) and place.isascii() and place.isdecimal()):
            raise SuspiciousOperation(f"There is no choice {choice!r}.")
        number = int(place[:9])
        if not 1 <= number <= len(self.columns):
            raise SuspiciousOperation(f"There is no column {number}.")
        name = self.columns[number - 1]
        is_own = self._has_names() and name and list(self.columns).count(name) == 1
        return name if is_own else number

    def _has_names(self) -> bool:
        source = self.layout.source
        return source.get("header", "columns" not in source) is not False

    def _typed(self, text: str, field: Field[Any, Any]) -> str:
        """Return the choice for a typed name; raise ``LayoutError`` if no single column matches."""
        found = [place for place, title in self._titles if title == text]
        if text.isascii() and text.isdecimal() and not found:
            found = [place for place, _title in self._titles if str(place) == text]
        if len(found) != 1:
            said = (
                _("%(field)s: there is no column %(name)s.")
                if not found
                else _("%(field)s: several columns are called %(name)s: enter the number of one.")
            )
            label = capfirst(field.verbose_name)
            raise LayoutError(said % {"field": label, "name": shorten(text)})
        return f"{COLUMN}{found[0]}"

    def _place(self, column: str | int) -> int | None:
        if isinstance(column, int):
            return column if column <= len(self.columns) else None
        return list(self.columns).index(column) + 1 if column in self.columns else None

    def _simple_place(self, said: FieldLayout) -> int | None:
        """Return the position of the only column that feeds a field unchanged, otherwise None."""
        if said.column is None or not _says_only(said, {"column", "lookup", "create"}):
            return None
        return None if len(said.lookup or ()) > 1 else self._place(said.column)

    def _is_constant(self, said: FieldLayout) -> bool:
        is_plain = isinstance(said.constant, str | int | float) and len(said.lookup or ()) <= 1
        return is_plain and _says_only(said, {"constant", "lookup"})


def _says_only(said: FieldLayout, names: set[str]) -> bool:
    from ingest.layout import Reading

    reading = {item.name for item in dataclasses.fields(Reading)}
    return all(
        getattr(said, item.name) is None
        for item in dataclasses.fields(said)
        if item.name not in names | reading
    )


def _help(field: Field[Any, Any]) -> str:
    """Return the help text of a field, and the values that it accepts if these are few."""
    values = [safe_line(str(value)) for value, _label in field.flatchoices if value]
    if not 0 < len(values) <= MOST_CHOICES:
        return str(field.help_text)
    said = _("One of: %(values)s.") % {"values": ", ".join(values)}
    return f"{field.help_text} {said}".strip()


def lookups_of(field: Field[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the ways to look up the parents of a foreign key: its key, and unique fields."""
    if not isinstance(field, models.ForeignKey):
        return
    parent: Any = field.remote_field.model
    target = field.target_field
    yield BY_KEY, _("by its key (%(key)s)") % {"key": capfirst(target.verbose_name)}
    for item in parent._meta.concrete_fields:
        is_natural = item.unique and not item.primary_key and item != target
        if is_natural and item.remote_field is None:
            yield item.name, _("by %(field)s") % {"field": capfirst(item.verbose_name)}

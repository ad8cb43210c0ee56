"""Draft a layout from what was detected in a file and from a model's fields."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from django.db import models

from ingest.exceptions import LayoutError
from ingest.layout.definition import Condition, FieldLayout, Layout, Reading, Sign, dump
from ingest.layout.matching import match_column
from ingest.layout.signs import find_sides, is_balance, sign_words, truth_words
from ingest.layout.text import write_key, write_value
from ingest.layout.text_reader import NUMBERS
from ingest.postgres.catalog import concrete_fields_of_table
from ingest.postgres.several_tables import all_fields, is_link
from ingest.sources import SourceOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.layout.definition import Column
    from ingest.layout.signs import Pair
    from ingest.sources.detection import Detected, DetectedColumn

    Field = models.Field[Any, Any]


_FRACTIONS = (models.DecimalField, models.FloatField)
_FIELDS_OWN_TRUTHS = {"True", "t", "1", "False", "f", "0"}
"""The texts that BooleanField.to_python reads: django/db/models/fields/__init__.py."""
_DAYS = (models.DateField,)  # DateTimeField is one


def draft(found: Detected, model: type[models.Model]) -> Draft:
    """Draft a layout for the model from what was detected.

    A column feeds the field with the same name; case, white space, accents and punctuation are
    ignored. A column such as ``account__number`` looks up a parent. Nothing else is guessed, with
    one exception: if there is only one column of dates (or numbers) and only one such required
    field, they are matched.
    """
    columns = list(_named(found.columns, has_names=found.options.has_header))
    fields = [field for field in all_fields(model) if not (field.generated or is_link(field))]
    fed = dict(_fitting(columns, fields))
    for field, (name, column) in _certain(columns, fields, fed):
        fed[field.name] = (name, column)
    read = _reading(found)
    proposals = dict(_signed(columns, fields, fed))
    for name in proposals:  # somebody must confirm them
        fed.pop(name, None)
    used = {name for name, _ in fed.values()}
    said = {
        field.name: _fed(field, *fed[field.name], read) for field in fields if field.name in fed
    }
    for name, field, parents_field in _parents_fields(columns, fields, model):
        before = said.get(field.name)
        if name not in used and _may_look_up(before, parents_field):
            used.add(name)
            said[field.name] = _with_lookup(before, name, parents_field)
    return Draft(
        layout=Layout(
            model=model._meta.label,
            source=_changed_options(found),
            read=read,
            skip=_skipped(found, columns),
            fields={field.name: said[field.name] for field in fields if field.name in said},
        ),
        findings=found.findings,
        missing=tuple(field for field in fields if is_needed(field) and field.name not in said),
        unused=tuple(
            (name, column)
            for name, column in columns
            if name not in used and (column.name or column.is_known)
        ),
        guesses={
            field.name: guess
            for field in fields
            if field.name in fed and (guess := _guess(field, fed[field.name][1]))
        },
        proposals=proposals,
    )


def _parents_fields(
    columns: Sequence[tuple[Column, DetectedColumn]],
    fields: Sequence[Field],
    model: type[models.Model],
) -> Iterator[tuple[Column, Field, str]]:
    """Yield each column that names a parent's field, such as ``account__number``, with both."""
    for name, _ in columns:
        try:
            found = match_column(model, str(name), "the file")
        except LayoutError:  # it may name several fields: the draft shows that it feeds none
            continue
        if found is not None and found.lookup is not None and found.field in fields:
            yield name, found.field, found.lookup


def _may_look_up(before: FieldLayout | None, parents_field: str) -> bool:
    """Return whether one more column may look up the parent: not if a column has its key."""
    return before is None or (before.lookup is not None and parents_field not in before.lookup)


def _with_lookup(before: FieldLayout | None, name: Column, parents_field: str) -> FieldLayout:
    """Return a foreign key's layout that also looks its parent up by one more column."""
    if before is None:
        return FieldLayout(column=name, lookup=(parents_field,))
    columns = before.columns or (before.column or "",)
    return FieldLayout(columns=(*columns, name), lookup=(*(before.lookup or ()), parents_field))


def _skipped(
    found: Detected, columns: Sequence[tuple[Column, DetectedColumn]]
) -> tuple[Condition, ...]:
    """Return the condition that skips a header that is repeated within the table."""
    if found.repeated_header is None:
        return ()
    place, text = found.repeated_header
    return (Condition(column=columns[place][0], equals=(text,)),)


def _guess(field: Field, column: DetectedColumn) -> str | None:
    """Return another way in which the column's cells could be read, or None."""
    if isinstance(field, _DAYS) and column.other_date_format is not None:
        return f'or formats = ["{column.other_date_format}"]'
    if isinstance(field, NUMBERS) and column.unclear_mark is not None:
        mark = write_value(column.unclear_mark)
        return f"or decimal = {mark}" if column.decimal_mark is None else f"or thousands = [{mark}]"
    return None


def _signed(
    columns: Sequence[tuple[Column, DetectedColumn]],
    fields: Sequence[Field],
    fed: Mapping[str, tuple[Column, DetectedColumn]],
) -> Iterator[tuple[str, Proposal]]:
    """Propose how the only required amount gets its sign.

    A word in another column, or one column for each side, says whether money goes out or comes in.
    Which of them is negative depends on whose books these are.
    """
    needy = [field for field in fields if isinstance(field, _FRACTIONS) and is_needed(field)]
    if len(needy) != 1:
        return
    [field] = needy
    sides = find_sides([column.name for _, column in columns])
    if sides is not None and field.name not in fed:
        debit, credit = (columns[place] for place in sides)
        if all(column.is_number or not column.is_known for _, column in (debit, credit)):
            yield field.name, _two_sides(debit, credit)
            return
    amount = fed.get(field.name) or _only_fraction(columns, fed)
    marked = [(name, pair) for name, column in columns if (pair := sign_words(column)) is not None]
    if amount is None or amount[1].has_negative or len(marked) != 1:
        return
    [(name, (negative, positive))] = marked
    yield (
        field.name,
        Proposal(
            layout=FieldLayout(
                column=amount[0], sign=Sign(column=name, negative=negative, positive=positive)
            ),
            reason=f"the amounts have no sign, and {name!r} seems to say which go out",
        ),
    )


def _only_fraction(
    columns: Sequence[tuple[Column, DetectedColumn]],
    fed: Mapping[str, tuple[Column, DetectedColumn]],
) -> tuple[Column, DetectedColumn] | None:
    """Return the only column of numbers with decimals that feeds nothing, or None."""
    used = {name for name, _ in fed.values()}
    found = [
        (name, column)
        for name, column in _amounts(columns)
        if name not in used and column.decimal_mark is not None
    ]
    return found[0] if len(found) == 1 else None


def _two_sides(
    debit: tuple[Column, DetectedColumn], credit: tuple[Column, DetectedColumn]
) -> Proposal:
    is_negative = debit[1].has_negative
    return Proposal(
        layout=FieldLayout(
            debit=debit[0], credit=credit[0], debit_is_negative=True if is_negative else None
        ),
        reason="the debits have a minus" if is_negative else "the debits become negative",
    )


def _reading(found: Detected) -> Reading:
    """Return how the numbers of the file are read, for all fields."""
    decimal = found.decimal_mark if found.decimal_mark != "." else None
    thousands = {column.thousands_mark for column in found.columns} - {None, decimal or "."}
    signs = dict.fromkeys(sign for column in found.columns for sign in column.currency)
    return Reading(
        strip=True if any(column.is_padded for column in found.columns) else None,
        decimal=decimal,
        thousands=tuple(sorted(map(str, thousands))) or None,
        currency=tuple(signs) or None,
    )


def _named(
    columns: Sequence[DetectedColumn], *, has_names: bool
) -> Iterator[tuple[Column, DetectedColumn]]:
    """Yield each column with its name, or with its position if the name is missing or repeated."""
    names = [column.name for column in columns]
    for place, column in enumerate(columns, 1):
        is_own = has_names and column.name and names.count(column.name) == 1
        yield (column.name if is_own else place), column


def _fitting(
    columns: Sequence[tuple[Column, DetectedColumn]], fields: Sequence[Field]
) -> Iterator[tuple[str, tuple[Column, DetectedColumn]]]:
    taken: set[Column] = set()
    for field in fields:
        if _is_own_key(field):
            continue
        names = [field.name, field.attname, str(field.column), str(field.verbose_name)]
        for alike in (str, _bare):
            wanted = {alike(name) for name in names}
            fits = [
                (name, column)
                for name, column in columns
                if alike(column.name) in wanted and name not in taken and _may_feed(column, field)
            ]
            if len(fits) == 1:
                taken.add(fits[0][0])
                yield field.name, fits[0]
                break


def _is_own_key(field: Field) -> bool:
    """Return whether the field is a primary key that is generated or merely called ``id``.

    In a file, a column with that name is the number that another system gave to the record.
    """
    if not field.primary_key or field.remote_field is not None:
        return False
    return not is_needed(field) or _bare(field.name) == "id"


def _bare(name: str) -> str:
    """Return a name in lower case, with only its letters and digits and without accents."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[\W_]|[\u0300-\u036f]", "", plain)


def _may_feed(column: DetectedColumn, field: Field) -> bool:
    """Return whether cells like these can be values of the field."""
    if not column.is_known or isinstance(field, models.ForeignKey):
        return True
    if isinstance(field, _DAYS):
        return bool(column.date_formats)
    return column.is_number or not isinstance(field, NUMBERS)


def _certain(
    columns: Sequence[tuple[Column, DetectedColumn]],
    fields: Sequence[Field],
    fed: dict[str, tuple[Column, DetectedColumn]],
) -> Iterator[tuple[Field, tuple[Column, DetectedColumn]]]:
    """Match the only column of a kind with the only required field of that kind."""
    dates = [item for item in columns if item[1].date_formats]
    for kinds, found in ((_DAYS, dates), (_FRACTIONS, list(_amounts(columns)))):
        needy = [field for field in fields if isinstance(field, kinds) and is_needed(field)]
        is_free = not {name for name, _ in fed.values()} & {name for name, _ in found}
        if is_free and len(needy) == len(found) == 1 and needy[0].name not in fed:
            yield needy[0], found[0]


def _amounts(
    columns: Sequence[tuple[Column, DetectedColumn]],
) -> Iterator[tuple[Column, DetectedColumn]]:
    """Yield the columns of numbers, and empty columns beside one: a debit may have its credit."""
    for place, (name, column) in enumerate(columns):
        beside = (*columns[max(place - 1, 0) : place], *columns[place + 1 : place + 2])
        is_side = not column.is_known and any(other.is_number for _, other in beside)
        is_amount = column.is_number and not column.is_running
        if (is_amount or (is_side and column.name)) and not is_balance(column.name):
            yield name, column


def is_needed(field: Field) -> bool:
    """Return whether each record must have a value."""
    makes_its_own = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    is_drawn = isinstance(field, models.AutoField) or field.has_default()
    is_drawn |= getattr(field, "db_default", models.NOT_PROVIDED) is not models.NOT_PROVIDED
    return not (field.null or field.blank or makes_its_own or is_drawn)


def _fed(field: Field, name: Column, column: DetectedColumn, read: Reading) -> FieldLayout:
    if isinstance(field, _DAYS):
        return FieldLayout(column=name, formats=_formats(field, column) or None)
    if isinstance(field, models.BooleanField) and (words := _unknown_truths(column)):
        true, false = words
        return FieldLayout(column=name, true=true or None, false=false or None)
    if isinstance(field, models.ForeignKey):
        key = natural_key(field)
        is_natural = column.is_known and not column.is_number and key is not None
        return FieldLayout(column=name, lookup=(str(key),) if is_natural else None)
    if not isinstance(field, NUMBERS):
        return FieldLayout(column=name)
    usual = read.decimal or "."
    mark = column.decimal_mark or usual
    if mark == usual and (column.is_plain or read != Reading()):
        return FieldLayout(column=name)
    # A field with a decimal mark also reads signs on either side of a number.
    own = () if column.thousands_mark is None else (column.thousands_mark,)
    is_other = mark in (read.thousands or ()) or not set(own) <= set(read.thousands or ())
    return FieldLayout(column=name, decimal=mark, thousands=own if is_other else None)


def _unknown_truths(column: DetectedColumn) -> Pair | None:
    """Return the words for true and for false, unless the field itself reads all of them."""
    words = truth_words(column)
    return None if words is None or set(column.words) <= _FIELDS_OWN_TRUTHS else words


def _formats(field: Field, column: DetectedColumn) -> tuple[str, ...]:
    """Return the formats, unless the field itself reads them."""
    has_time = isinstance(field, models.DateTimeField)
    is_own = [
        form.startswith("%Y-%m-%d") and "%p" not in form if has_time else form == "%Y-%m-%d"
        for form in column.date_formats
    ]
    return () if all(is_own) else column.date_formats


def _changed_options(found: Detected) -> dict[str, Any]:
    """Return the options that differ from the defaults."""
    usual = SourceOptions()
    options = found.options
    if found.trailer_pattern is not None:  # next month's trailer may have another length
        options = dataclasses.replace(
            options, trailer_pattern=found.trailer_pattern, trailer_records=0
        )
    changed = {
        item.name: getattr(options, item.name)
        for item in dataclasses.fields(options)
        if item.name != "format" and getattr(options, item.name) != getattr(usual, item.name)
    }
    if changed.get("header"):
        del changed["header"]
    return changed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposal for how to feed a field."""

    layout: FieldLayout
    reason: str
    """Why it is proposed, and what to check."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft:
    """A layout, and the information that is needed to complete it."""

    layout: Layout
    """The certain part."""
    findings: tuple[str, ...]
    """Sentences about what was detected and why."""
    missing: tuple[Field, ...]
    """Required fields that nothing feeds."""
    unused: tuple[tuple[Column, DetectedColumn], ...]
    """Source columns that feed nothing."""
    guesses: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Alternatives to what was guessed for a field, by its name."""
    proposals: Mapping[str, Proposal] = dataclasses.field(default_factory=dict)
    """What may feed a missing field, by its name; somebody must confirm it."""

    def to_toml(self) -> str:
        """Return a layout's file, with everything else as comments."""
        head = dataclasses.replace(self.layout, fields={})
        lines = [*(f"# {finding}" for finding in self.findings), "", head.to_toml().rstrip()]
        lines += ["", "[fields]"]
        lines += [
            f"{write_key(name)} = {write_value(_shortest(said))}{self._guess(name)}"
            for name, said in self.layout.fields.items()
        ]
        if self.missing:
            lines += [
                "# Each record needs these too. Write a column in, or give one value for all:"
            ]
            lines += [f"# {self._suggest(field)}" for field in self.missing]
        if self.unused:
            lines += ["# Source columns that feed nothing:"]
            lines += [f"# {write_value(name)}{_kind(column)}" for name, column in self.unused]
        return "\n".join(lines).replace("\r", " ") + "\n"

    def _guess(self, name: str) -> str:
        guess = self.guesses.get(name)
        return "" if guess is None else f"  # a guess: {guess}"

    def _suggest(self, field: Field) -> str:
        proposal = self.proposals.get(field.name)
        if proposal is None:
            return _suggest(field)
        said = write_value(_shortest(proposal.layout))
        return f"{write_key(field.name)} = {said}  # {proposal.reason}"


def natural_key(field: models.ForeignKey[Any, Any]) -> str | None:
    """Return the name of the parent's only unique text field, or None."""
    parent: Any = field.remote_field.model
    unique = [
        item.name
        for item in concrete_fields_of_table(parent)
        if item.unique and not item.primary_key and isinstance(item, models.CharField)
    ]
    return unique[0] if len(unique) == 1 else None


def _shortest(said: FieldLayout) -> Any:
    dumped = dump(said)
    if said.column is not None:
        dumped = {"column": said.column, **dumped}
    return said.column if list(dumped) == ["column"] else dumped


def _suggest(field: Field) -> str:
    if isinstance(field, models.ForeignKey):
        key = natural_key(field)
        label = field.remote_field.model._meta.label
        lookup = "" if key is None else f', lookup = "{key}"'
        return f'{write_key(field.name)} = {{constant = ""{lookup}}}  # which {label}'
    sides = '  # or {debit = "", credit = ""}' if isinstance(field, NUMBERS) else ""
    return f'{write_key(field.name)} = ""{sides}'


def _kind(column: DetectedColumn) -> str:
    if column.date_formats:
        return f": dates as {', '.join(column.date_formats)}"
    if (pair := sign_words(column)) is not None:
        out, into = (", ".join(words) or "no word" for words in pair)
        return f": words for money out ({out}) and in ({into})"
    if not column.is_number:
        return ""
    marks = [mark for mark in (column.decimal_mark, column.thousands_mark) if mark]
    return f": numbers{' with ' if marks else ''}{' and '.join(map(repr, marks))}"

"""What a layout says: frozen values that can be written as TOML and read again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeAlias

from ingest.exceptions import LayoutError
from ingest.layout import text
from ingest.layout.parsing import Parser, read_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Column: TypeAlias = "str | int"
"""A source column: its name, or its position, counted from 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How text is read. None: as the whole layout says, or not at all."""

    strip: bool | None = None
    """Take blanks off both ends."""
    null: tuple[str, ...] | None = None
    """Words that mean the same as an empty cell."""
    true: tuple[str, ...] | None = None
    """Words for true, in a boolean field. Case and blanks around them do not count."""
    false: tuple[str, ...] | None = None
    """Words for false, in a boolean field. Case and blanks around them do not count."""
    formats: tuple[str, ...] | None = None
    """How dates and times are written, as in Python's ``strptime``; the first that fits counts."""
    pivot: int | None = None
    """The first two-digit year that is in the 1900s; 69 as in POSIX where nothing is said."""
    year: int | None = None
    """The year of dates that are written without one."""
    timezone: str | None = None
    """The time zone of times that are written without one, such as ``Europe/Prague``."""
    decimal: str | None = None
    """The decimal mark of numbers; a full stop where only other keys of numbers are given."""
    thousands: tuple[str, ...] | None = None
    """The marks between groups of three digits. A blank stands for the narrow and the
    no-break space too, an apostrophe for the typographic one."""
    currency: tuple[str, ...] | None = None
    """Currency signs and codes that may stand before or after a number."""
    grouping: str | None = None
    """``indian``: the thousands marks stand as in ``12,34,567.00``."""
    exponent: bool | None = None
    """Read numbers such as ``1.5E+3``."""
    places: str | None = None
    """What becomes of decimals that the field has no places for: ``exact``, the record is refused;
    ``zeros``, zeros are dropped; ``round``, they are rounded, half to even."""
    whole: bool | None = None
    """Read ``3.0`` as the whole number that it is, in an integer field."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sign:
    """The sign of a number, said by another column."""

    column: Column
    negative: tuple[str, ...] = ()
    """Words that turn the number's sign."""
    positive: tuple[str, ...] = ()
    """Words that leave it. Where both are given any other word is refused."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldLayout(Reading):
    """Where one field's value comes from, and how its text is read."""

    column: Column | None = None
    pattern: str | None = None
    """A regular expression (RE2) with one group: the part of the column's cell that is meant."""
    preamble: str | None = None
    """Such an expression for the text before the header: one value for all records of a file."""
    file_name: str | None = None
    """Such an expression for the file's name: one value for all records of a file."""
    columns: tuple[Column, ...] | None = None
    """Several columns: their texts are joined, or together they are a natural key."""
    join: str | None = None
    """What stands between joined texts, a blank if nothing is said; empty ones are left out."""
    debit: Column | None = None
    """The column of what goes out; its sign is turned."""
    credit: Column | None = None
    """The column of what comes in."""
    debit_is_negative: bool | None = None
    """Whether debits are written with a minus already."""
    sign: Sign | None = None
    constant: Any = None
    """The value of every record, as text that the field itself understands."""
    default: Any = None
    """The value where the cell is empty, as text that the field itself understands."""
    values: Mapping[str, Any] | None = None
    """What each code stands for; other text is left as it is."""
    otherwise: Any = None
    """What any text stands for that ``values`` does not have and that is not empty."""
    lookup: tuple[str, ...] | None = None
    """The fields of the parent that the columns are looked up in: its natural key."""
    create: Mapping[str, Any] | None = None
    """Make missing parents, with these values for their other fields; a table is a constant that
    is looked up in turn."""
    copy: str | None = None
    """A field of a parent that was looked up: ``account.user``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """What is true of some records; all that is said must hold."""

    column: Column | None = None
    """The source column that the rest is about."""
    equals: tuple[str, ...] | None = None
    """The cell is one of these texts."""
    matches: str | None = None
    """The regular expression (RE2) is found in the cell."""
    empty: bool | None = None
    """The cell is empty or blank (or, for false, is not)."""
    invert: bool | None = None
    """Turn the whole condition round."""
    when: tuple[Condition, ...] = ()
    """In place of a column, and in ``skip`` only: several conditions, all of which must hold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """Records that go on with the one before."""

    when: tuple[Condition, ...]
    """The conditions that hold for such a record, all of them."""
    append: tuple[Column, ...]
    """The columns whose text is added to that of the record before."""
    join: str = " "
    """What stands between the texts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conflict:
    """What becomes of records whose row the table has: the options of ``load`` of these names."""

    on_conflict: str | None = None
    key: tuple[str, ...] | None = None
    update_fields: tuple[str, ...] | None = None
    keep_if_null: tuple[str, ...] | None = None
    newest: str | None = None
    duplicates: str | None = None
    scope: Any = None
    max_deletes: Any = None
    keep_old: bool | None = None

    def said(self) -> dict[str, Any]:
        """Return what is said, by the option's name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Which source column feeds which field of a model, and how its text is read."""

    fields: Mapping[str, FieldLayout] = dataclasses.field(default_factory=dict)
    """By the field's name."""
    model: str | None = None
    """The model it is for, where it is for one only."""
    about: str | None = None
    """What it is for, in a sentence."""
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Options of the source, as in ``SourceOptions``; the caller's own come first."""
    conflict: Conflict = dataclasses.field(default_factory=Conflict)
    """What becomes of records whose row the table has; the caller's own options come first."""
    read: Reading = dataclasses.field(default_factory=Reading)
    """What holds for every field it fits."""
    skip: tuple[Condition, ...] = ()
    """A record that one of these fits is left out, and counted as skipped."""
    continuation: Continuation | None = None
    hook: str | None = None
    """The dotted path of a function over a whole Arrow batch of the source's columns; it gives a
    batch of as many rows."""
    others: str = "ignore"
    """Source columns that nothing names: ``ignore`` them, or ``match`` them with fields by name."""
    match: str | None = None
    """How columns that nothing names are matched with fields: by name; else, where one field only
    fits, without regard to case, blanks, hyphens and underscores, by its ``verbose_name`` or
    column, too. ``loose`` does that in the order of these names; ``exact`` never does."""
    ignore_columns: tuple[Column, ...] = ()
    """Source columns that are left out on purpose, where the others are matched; ``rest`` are
    those that fit no field."""
    origin: text.Origin | None = dataclasses.field(default=None, repr=False, compare=False)
    """The file that it was read from, for messages."""
    asked: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """Keys of ``read`` that the caller asked for, with the option's name: each must fit a field. It
    is no part of a file."""

    def __post_init__(self) -> None:
        if self.others not in {"ignore", "match"}:
            raise self.error(("others",), f"'others' is {self.others!r}: say 'ignore' or 'match'.")
        if self.match not in {None, "loose", "exact"}:
            raise self.error(("match",), f"'match' is {self.match!r}: say 'loose' or 'exact'.")
        for key in ("match", "ignore_columns"):
            if getattr(self, key) and self.others != "match":
                raise self.error(
                    (key,),
                    f"{key!r} has no effect: the layout leaves out the columns that it does not "
                    'name. Take it out, or say others = "match".',
                )
        for rule in self.skip:
            self._check_rule(rule)
        for condition in () if self.continuation is None else self.continuation.when:
            self._check_condition("continuation", condition)

    def _check_rule(self, rule: Condition) -> None:
        if not rule.when:
            self._check_condition("skip", rule)
            return
        said = (rule.column, rule.equals, rule.matches, rule.empty)
        if any(item is not None for item in said):
            raise self.error(
                ("skip", "when"),
                "a rule of skip has a column and what is true of it, or 'when' with several such "
                "conditions: put all of them into 'when'.",
            )
        for condition in rule.when:
            self._check_condition("skip", condition)

    def _check_condition(self, key: str, condition: Condition) -> None:
        if condition.column is None or condition.when:
            raise self.error((key,), f"{key} lacks the key 'column'.")

    @classmethod
    def from_toml(cls, path: str | Path) -> Layout:
        """Read a layout from a file, or raise ``LayoutError`` with the line and the key."""
        document, origin = read_document(path)
        return cls.from_document(document, origin)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], origin: text.Origin) -> Layout:
        """Make a layout of what a TOML file says."""
        kinds = (Reading, Sign, FieldLayout, Condition, Continuation, Conflict)
        parser = Parser({kind.__name__: kind for kind in kinds}, origin)
        layout: Layout = parser.make(cls, document)
        return layout

    def to_toml(self) -> str:
        """Return the text of a file that ``from_toml`` reads as an equal layout."""
        return text.write(dump(self))

    def error(self, keys: tuple[str, ...], message: str) -> LayoutError:
        """Return the error that names the file and the line of a key."""
        return LayoutError(message if self.origin is None else self.origin.say(keys, message))

    def reading_of(self, name: str) -> FieldLayout:
        """Return what is said of a field, completed by what is said of all."""
        said = self.fields[name]
        general = {
            field.name: getattr(self.read, field.name)
            for field in dataclasses.fields(Reading)
            if getattr(said, field.name) is None
        }
        return dataclasses.replace(said, **general)


def dump(value: Any) -> Any:
    """Return a layout or a part of it as TOML's kinds of values, without what is not said."""
    if dataclasses.is_dataclass(value):
        pairs = (
            (field.name, getattr(value, field.name), field.default)
            for field in dataclasses.fields(value)
            if field.name not in {"origin", "asked"}
        )
        return {
            name: dump(item)
            for name, item, default in pairs
            if item is not None
            and item != default
            and (item != {} or name == "create")
            and item not in (Reading(), Conflict())
        }
    if isinstance(value, tuple | list):
        return [dump(item) for item in value]
    return {key: dump(item) for key, item in value.items()} if isinstance(value, dict) else value

"""The content of a layout: frozen dataclasses that can be written as TOML and read again."""

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
    """How text is read. None: as set for the whole layout, or not at all."""

    strip: bool | None = None
    """Remove white space from both ends."""
    null: tuple[str, ...] | None = None
    """Words that mean the same as an empty cell."""
    true: tuple[str, ...] | None = None
    """Words for true in a boolean field. Case and surrounding white space are ignored."""
    false: tuple[str, ...] | None = None
    """Words for false in a boolean field. Case and surrounding white space are ignored."""
    formats: tuple[str, ...] | None = None
    """The formats of dates and times, as in Python's ``strptime``; the first that fits counts."""
    pivot: int | None = None
    """The first two-digit year in the 1900s; the default is 69, as in POSIX."""
    year: int | None = None
    """The year of dates that are written without one."""
    timezone: str | None = None
    """The time zone of times that are written without one, such as ``Europe/Prague``."""
    decimal: str | None = None
    """The decimal mark of numbers; a full stop if only other keys of numbers are given."""
    thousands: tuple[str, ...] | None = None
    """The marks between groups of three digits. A space also stands for the narrow and the
    no-break space, and an apostrophe for the typographic one."""
    currency: tuple[str, ...] | None = None
    """Currency signs and codes that may stand before or after a number."""
    grouping: str | None = None
    """``indian``: the digits are grouped as in ``12,34,567.00``."""
    exponent: bool | None = None
    """Read numbers such as ``1.5E+3``."""
    places: str | None = None
    """What to do with more decimals than the field has places: ``exact`` refuses the record,
    ``zeros`` drops zeros, ``round`` rounds half to even."""
    whole: bool | None = None
    """Read ``3.0`` as a whole number, in an integer field."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sign:
    """The sign of a number, from another column."""

    column: Column
    negative: tuple[str, ...] = ()
    """Words that reverse the number's sign."""
    positive: tuple[str, ...] = ()
    """Words that keep it. If both are given, any other word is refused."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldLayout(Reading):
    """Where one field's value comes from, and how its text is read."""

    column: Column | None = None
    pattern: str | None = None
    """A regular expression (RE2) with one group: the part of the column's cell to use."""
    preamble: str | None = None
    """The same for the text before the header: one value for all records of a file."""
    file_name: str | None = None
    """The same for the file's name: one value for all records of a file."""
    columns: tuple[Column, ...] | None = None
    """Several columns: their texts are joined, or together they are a natural key."""
    join: str | None = None
    """The text between joined texts, a space by default; empty texts are left out."""
    debit: Column | None = None
    """The column of outgoing amounts; their sign is reversed."""
    credit: Column | None = None
    """The column of incoming amounts."""
    debit_is_negative: bool | None = None
    """Whether debits already have a minus."""
    sign: Sign | None = None
    constant: Any = None
    """The value of every record, as text that the field itself reads."""
    default: Any = None
    """The value for an empty cell, as text that the field itself reads."""
    values: Mapping[str, Any] | None = None
    """The meaning of each code; other text is left unchanged."""
    otherwise: Any = None
    """The meaning of any text that is not in ``values`` and not empty."""
    lookup: tuple[str, ...] | None = None
    """The fields of the parent in which the columns are looked up: its natural key."""
    create: Mapping[str, Any] | None = None
    """Create missing parents, with these values for their other fields; a table is a constant that
    is itself looked up."""
    copy: str | None = None
    """A field of a parent that another field looks up: ``account.user``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition for records; all keys that are given must hold."""

    column: Column | None = None
    """The source column to test."""
    equals: tuple[str, ...] | None = None
    """The cell is one of these texts."""
    matches: str | None = None
    """The regular expression (RE2) is found in the cell."""
    empty: bool | None = None
    """The cell is empty or only white space (or, for false, is not)."""
    invert: bool | None = None
    """Negate the whole condition."""
    when: tuple[Condition, ...] = ()
    """Instead of a column, and only in ``skip``: several conditions that must all hold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Continuation:
    """Records that continue the record before them."""

    when: tuple[Condition, ...]
    """The conditions that must all hold for such a record."""
    append: tuple[Column, ...]
    """The columns whose text is appended to that of the record before."""
    join: str = " "
    """The text between the joined texts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conflict:
    """What to do with records whose row is already in the table: options of ``load``, by name."""

    on_conflict: str | None = None
    key: tuple[str, ...] | None = None
    update_fields: tuple[str, ...] | None = None
    keep_if_null: tuple[str, ...] | None = None
    newest: str | None = None
    duplicates: str | None = None
    scope: Any = None
    max_deletes: Any = None
    keep_old: bool | None = None

    def given(self) -> dict[str, Any]:
        """Return the given options, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Which source column feeds which field of a model, and how its text is read."""

    fields: Mapping[str, FieldLayout] = dataclasses.field(default_factory=dict)
    """By the field's name."""
    model: str | None = None
    """The model it is for, if it is for only one."""
    about: str | None = None
    """What it is for, in a sentence."""
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Options of the source, as in ``SourceOptions``; the caller's options override them."""
    conflict: Conflict = dataclasses.field(default_factory=Conflict)
    """What to do with records whose row is already in the table; the caller's options override
    it."""
    read: Reading = dataclasses.field(default_factory=Reading)
    """How the text of all fields is read; each key applies to the fields of its kind."""
    skip: tuple[Condition, ...] = ()
    """A record to which one of these applies is left out, and counted as skipped."""
    continuation: Continuation | None = None
    hook: str | None = None
    """The dotted path of a function that takes an Arrow batch of the source's columns and returns
    a batch with the same number of rows."""
    others: str = "ignore"
    """Unnamed source columns: ``ignore`` them, or ``match`` them with fields by name."""
    match: str | None = None
    """How unnamed columns are matched with fields: by exact name; if there is none, and only one
    field fits, also by ``verbose_name`` or column, without regard to case, white space, hyphens and
    underscores. ``loose`` takes the first that fits, in the order of these names; ``exact`` matches
    only exact names."""
    ignore_columns: tuple[Column, ...] = ()
    """Source columns that are left out on purpose when the others are matched; ``rest`` means
    those that match no field."""
    origin: text.Origin | None = dataclasses.field(default=None, repr=False, compare=False)
    """The file that it was read from, for messages."""
    asked: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)
    """Keys of ``read`` that the caller set, with the option's name: each must apply to a field.
    They are not part of a layout's file."""

    def __post_init__(self) -> None:
        if self.others not in {"ignore", "match"}:
            raise self.error(("others",), f"'others' is {self.others!r}: use 'ignore' or 'match'.")
        if self.match not in {None, "loose", "exact"}:
            raise self.error(("match",), f"'match' is {self.match!r}: use 'loose' or 'exact'.")
        for key in ("match", "ignore_columns"):
            if getattr(self, key) and self.others != "match":
                raise self.error(
                    (key,),
                    f"{key!r} has no effect: the layout leaves out the columns that it does not "
                    'name. Take it out, or set others = "match".',
                )
        self._check_lists()
        for rule in self.skip:
            self._check_rule(rule)
        for condition in () if self.continuation is None else self.continuation.when:
            self._check_condition("continuation", condition)

    def _check_lists(self) -> None:
        """Refuse empty lists that would change the meaning of what they belong to.

        An empty list of words or marks is allowed: the field then has none of those in ``read``.
        """
        places: list[tuple[tuple[str, ...], Any]] = [(("read",), self.read)]
        places += [(("fields", name), said) for name, said in self.fields.items()]
        places += [(("skip",), it) for rule in self.skip for it in (rule, *rule.when)]
        if self.continuation is not None:
            places.append((("continuation",), self.continuation))
            places += [(("continuation", "when"), it) for it in self.continuation.when]
        for keys, said in places:
            for key, cure in _NEVER_EMPTY.items():
                value = getattr(said, key, None)
                if value is None or len(value) or (key == "when" and isinstance(said, Condition)):
                    continue
                column = getattr(said, "column", None)
                of = "" if column is None else f" (column {column!r})"
                raise self.error(
                    (*keys, key), f"{key!r} of {'.'.join(keys)}{of} is an empty list: {cure}."
                )

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
        """Make a layout from the content of a TOML file."""
        kinds = (Reading, Sign, FieldLayout, Condition, Continuation, Conflict)
        parser = Parser({kind.__name__: kind for kind in kinds}, origin)
        layout: Layout = parser.make(cls, document)
        return layout

    def to_toml(self) -> str:
        """Return the text of a file that ``from_toml`` reads as an equal layout."""
        return text.write(dump(self))

    def error(self, keys: tuple[str, ...], message: str) -> LayoutError:
        """Return an error that names the file and the line of a key."""
        return LayoutError(message if self.origin is None else self.origin.say(keys, message))

    def reading_of(self, name: str) -> FieldLayout:
        """Return the layout of a field, completed by the reading rules for all fields."""
        rules = self.fields[name]
        general = {
            field.name: getattr(self.read, field.name)
            for field in dataclasses.fields(Reading)
            if getattr(rules, field.name) is None
        }
        return dataclasses.replace(rules, **general)


_NEVER_EMPTY = {
    "formats": "give at least one, such as '%d.%m.%Y', or leave the key out, and the field reads "
    "its usual formats",
    "columns": "name at least one column, or leave the key out",
    "lookup": "name at least one field of the parent, or leave the key out",
    "equals": "give at least one text, or empty = true for an empty cell",
    "when": "give at least one condition, or leave 'continuation' out",
    "append": "name at least one column, or leave the records out with 'skip'",
}
"""Keys whose list must have an item, and what to do about an empty one."""


def dump(value: Any) -> Any:
    """Return a layout or a part of it as TOML values, without the keys that are not set."""
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

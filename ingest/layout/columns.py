"""Pick the cells of one field from the source columns and read them."""

from __future__ import annotations

import dataclasses
import functools
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import null_cure
from ingest.layout.cells import as_raw, is_text, map_distinct, place_of, refusals_of, texts_of
from ingest.layout.extracting import Pattern
from ingest.layout.formats import digits_needed, has_year
from ingest.layout.numbers import turn
from ingest.layout.text_reader import KINDS, KINDS_READ, FieldTextReader, as_text
from ingest.sources.batch import CellText

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models

    from ingest.layout.cells import Cells
    from ingest.layout.definition import Column, Layout

_ZERO = r"^[+-]?0*\.?0*$"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picked:
    """The cells of one field in a batch, with null for those that the layout refuses."""

    cells: Cells
    refused: Sequence[tuple[int, str]] = ()
    """The places of cells that the layout could not read, and why."""


class Picker:
    """Picks and reads the cells of one field."""

    def __init__(self, layout: Layout, name: str, field: models.Field[Any, Any]) -> None:
        self._layout, self._name, self.field = layout, name, field
        self._rules = rules = layout.reading_of(name)
        self._reader = FieldTextReader(layout, name, field)
        _check_effects(layout, name, field)
        single = () if rules.column is None else (rules.column,)
        self.columns: tuple[Column, ...] = rules.columns or single
        sides = [column for column in (rules.debit, rules.credit) if column is not None]
        given = [self.columns, sides, rules.constant, rules.copy, rules.preamble, rules.file_name]
        if sum(item not in ((), [], None) for item in given) != 1:
            raise layout.error(
                ("fields", name),
                f"{name} must have exactly one of 'column', 'columns', 'debit' and 'credit', "
                "'constant', 'copy', 'preamble' or 'file_name'.",
            )
        self._pattern = self._find_pattern()
        self.feeding: tuple[Column, ...] = self.columns or tuple(sides)
        if (sides or rules.sign) and self._reader.number is None:
            raise layout.error(
                ("fields", name), f"{name} is no number: it has neither sides nor a sign."
            )

    def is_read_by(self, key: str) -> bool:
        """Return whether a key of ``Reading`` applies to this field."""
        if key == "formats":
            return bool(self._reader.formats)
        kinds = KINDS.get(key)
        return kinds is None or isinstance(self.field, kinds)

    def pick(self, columns: Sequence[Cells], names: Sequence[str], rows: int) -> Picked:
        """Return the field's cells of a batch."""
        rules = self._rules
        if rules.constant is not None:
            return Picked(cells=pa.repeat(pa.scalar(as_text(rules.constant).encode()), rows))
        places = [self._place(column, names) for column in self.feeding]
        if rules.debit is not None or rules.credit is not None:
            return self._from_sides([columns[place] for place in places])
        given = columns[places[0]]
        if len(places) == 1 and not self._changes:
            return Picked(cells=given)
        if len(places) == 1 and not is_text(given) and self._pattern is None:
            return self._pick_typed(given, columns, names)
        if len(places) > 1:
            texts, undecodable = self._join([columns[place] for place in places])
        else:
            texts, bad = texts_of(given)
            undecodable = refusals_of(given, bad)
        texts, unfit = self._extract(texts)
        numbers, refused = self._read(texts, is_prepared=len(places) > 1)
        refused = _first_reasons(undecodable, unfit, refused)
        if rules.sign is not None:
            place = self._place(rules.sign.column, names, "sign")
            numbers, unsigned = self._sign(numbers, columns[place])
            refused = _first_reasons(refused, unsigned)
        return Picked(cells=as_raw(_emptied(numbers, refused)), refused=refused)

    def _pick_typed(self, given: Cells, columns: Sequence[Cells], names: Sequence[str]) -> Picked:
        """Pick typed cells: apply the layout's rules, but do not parse numbers and dates again.

        A value that no rule changes is kept. Texts among typed values are read.
        """
        values = given if isinstance(given, list) else given.to_pylist()
        texts, undecodable = texts_of(given)
        prepared = self._reader.prepare(texts)
        is_typed = [value is not None and not isinstance(value, str) for value in values]
        is_as_given = pc.equal(prepared, texts)
        is_word = self._reader.is_word(prepared)
        if is_word is not None:  # such as 1, to which the layout may give another meaning
            is_bool = pa.array([isinstance(value, bool) for value in values], pa.bool_())
            is_as_given = pc.and_(is_as_given, pc.or_(is_bool, pc.invert(is_word)))
        stays = pa.array(
            [
                typed and as_given
                for typed, as_given in zip(is_typed, is_as_given.to_pylist(), strict=True)
            ],
            pa.bool_(),
        )
        left = pc.if_else(stays, pa.scalar(None, pa.string()), prepared)
        read, refused = self._read(left, is_prepared=True, given=texts, completes=False)
        refused = _first_reasons(refusals_of(given, undecodable), refused)
        bad = pa.array([place for place, _ in refused], pa.int64())
        is_bad = pc.is_in(pa.arange(0, len(values)), value_set=bad)
        read = pc.if_else(stays, prepared, read)
        is_counted = self._reader.number is not None
        if self._reader.number is not None:
            read = self._reader.number.fit(read)
        completed = self._reader.complete(read)
        completed = pc.if_else(is_bad, pa.scalar(None, pa.string()), completed)
        if self._rules.sign is not None:
            place = self._place(self._rules.sign.column, names, "sign")
            completed, unsigned = self._sign(completed, columns[place])
            refused = _first_reasons(refused, unsigned)
        if is_counted:  # all numbers are texts here
            return Picked(cells=as_raw(completed), refused=refused)
        cells = [
            self._reader.read_typed(value) if kept else None if text is None else CellText(text)
            for value, kept, text in zip(
                values, stays.to_pylist(), completed.to_pylist(), strict=True
            )
        ]
        return Picked(cells=cells, refused=refused)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about values that were changed while reading."""
        number = self._reader.number
        if number is None or number.rounded is None:
            return ()
        before, after = number.rounded
        warning = (
            f"Warning: numbers of {self._name} were rounded to the places of the field, half to "
            f"even, as the layout asks: the first was {before}, and is now {after}."
        )
        return (warning,)

    def read_key(self, cells: Cells) -> tuple[pa.Array, list[tuple[int, str]]]:
        """Return the texts of a natural key, and which cells have none, and why.

        These cannot be decoded, or the pattern does not match them.
        """
        texts, undecodable = texts_of(cells)
        texts, unfit = self._extract(pc.fill_null(texts, ""))
        unfit = _first_reasons(refusals_of(cells, undecodable), unfit)
        return map_distinct(pc.fill_null(texts, ""), self._prepare_key), unfit

    def read_one(self, text: str) -> tuple[str, str | None]:
        """Return a text shared by all records in the field's form, and the reason if refused."""
        if self._rules.lookup:
            return self._prepare_key(pa.array([text], pa.string()))[0].as_py(), None
        read, refused = self._read(pa.array([text], pa.string()), is_prepared=False)
        return read[0].as_py() or "", refused[0][1] if refused else None

    @property
    def origin(self) -> tuple[str, Pattern] | None:
        """The key and the pattern that find a value shared by all records of a file, or None."""
        for key in ("preamble", "file_name"):
            pattern = getattr(self._rules, key)
            if pattern is not None:
                return key, Pattern(self._layout, ("fields", self._name, key), pattern)
        return None

    def _prepare_key(self, texts: pa.Array) -> pa.Array:
        return self._reader.complete(self._reader.prepare(texts))

    def _find_pattern(self) -> Pattern | None:
        pattern = self._rules.pattern
        if pattern is None:
            return None
        keys = ("fields", self._name, "pattern")
        if len(self.columns) != 1:
            raise self._layout.error(
                keys, f"'pattern' of {self._name} takes a part of one cell: give one 'column'."
            )
        return Pattern(self._layout, keys, pattern)

    def _extract(self, texts: pa.Array) -> tuple[pa.Array, list[tuple[int, str]]]:
        """Return the parts that the pattern finds, and the texts that it does not match."""
        pattern = self._pattern
        if pattern is None:
            return texts, []

        def extract(distinct: pa.Array) -> tuple[pa.Array, pa.Array]:
            parts, fits = pattern.apply(distinct)
            is_nothing = self._reader.is_nothing(distinct)
            fits = pc.or_(fits, is_nothing)
            found = pc.if_else(is_nothing, distinct, parts)
            return pc.if_else(fits, found, pa.scalar(None, pa.string())), fits

        parts, fits = map_distinct(texts, extract)
        bad = pc.fill_null(pc.invert(fits), False)
        reason = f"has no part that fits the pattern {pattern.text!r}."
        return parts, [
            (place, f"“{texts[place].as_py()}” {reason}")
            for place in pc.indices_nonzero(bad).to_pylist()
        ]

    @property
    def _changes(self) -> bool:
        has_more = self._rules.sign is not None or self._pattern is not None
        return self._reader.changes or has_more

    def _place(self, column: Column, names: Sequence[str], key: str = "") -> int:
        return place_of(self._layout, column, names, ("fields", self._name, *filter(None, [key])))

    def _join(self, columns: Sequence[Cells]) -> tuple[pa.Array, list[tuple[int, str]]]:
        """Return the joined texts, and the places with a part that cannot be decoded."""
        join = " " if self._rules.join is None else self._rules.join
        read = [texts_of(cells) for cells in columns]
        undecodable = _first_reasons(
            *(refusals_of(cells, bad) for cells, (_, bad) in zip(columns, read, strict=True))
        )
        texts = [map_distinct(part, self._reader.prepare) for part, _ in read]
        nothing = pa.scalar(None, pa.string())
        parts = [pc.if_else(pc.equal(text, ""), nothing, text) for text in texts]
        # Arrow returns null for a row whose parts are all skipped.
        is_empty = functools.reduce(pc.and_, map(pc.is_null, parts))
        parts[0] = pc.if_else(is_empty, "", parts[0])
        joined = pc.binary_join_element_wise(*parts, join, null_handling="skip")
        return joined, undecodable

    def _read(
        self,
        texts: pa.Array,
        *,
        is_prepared: bool,
        given: pa.Array | None = None,
        completes: bool = True,
    ) -> tuple[pa.Array, list[tuple[int, str]]]:
        """Return the texts as read, and the refused places; reasons show ``given``, if set."""

        def read_distinct(distinct: pa.Array) -> tuple[pa.Array, pa.Array | None]:
            return self._reader.read(distinct if is_prepared else self._reader.prepare(distinct))

        if self._reader.reads_nothing:
            texts = pc.fill_null(texts, "")
        read, readable = map_distinct(texts, read_distinct)
        refused: list[tuple[int, str]] = []
        complete = self._reader.complete if completes else _same
        if readable is None or pc.all(readable).as_py() is not False:
            return complete(read), refused
        bad = pc.fill_null(pc.invert(readable), False)
        shown = texts if given is None else given
        refused = [
            (place, self._reason(shown[place].as_py()))
            for place in pc.indices_nonzero(bad).to_pylist()
        ]
        read = pc.if_else(bad, pa.scalar(None, pa.string()), read)
        return pc.if_else(bad, read, complete(read)), refused

    def _sign(self, numbers: pa.Array, cells: Cells) -> tuple[pa.Array, list[tuple[int, str]]]:
        sign = self._rules.sign
        if sign is None:
            return numbers, []
        texts, bad = texts_of(cells)
        undecodable = refusals_of(cells, bad)
        words = pc.utf8_trim_whitespace(pc.fill_null(texts, ""))
        negative = pc.is_in(words, value_set=pa.array(sign.negative, pa.string()))
        positive = pc.is_in(words, value_set=pa.array(sign.positive, pa.string()))
        if not sign.negative:
            negative = pc.invert(positive)
        elif not sign.positive:
            positive = pc.invert(negative)
        signed = pc.if_else(negative, turn(numbers), numbers)
        unknown = pc.indices_nonzero(pc.invert(pc.or_(negative, positive))).to_pylist()
        if not unknown:
            return signed, undecodable
        signed = pc.if_else(pc.or_(negative, positive), signed, pa.scalar(None, pa.string()))
        reason = f"The layout does not know this sign in the column {sign.column!r}: "
        return signed, _first_reasons(
            undecodable, [(place, f"{reason}{words[place].as_py()!r}.") for place in unknown]
        )

    def _from_sides(self, columns: Sequence[Cells]) -> Picked:
        read = []
        refused: list[tuple[int, str]] = []
        for cells in columns:
            numbers, bad = self._read_side(cells)
            read.append(numbers)
            refused = _first_reasons(refused, bad)
        if self._rules.debit is not None and not self._rules.debit_is_negative:
            read[0] = turn(read[0])
        if len(read) == 1:
            side = "debit" if self._rules.credit is None else "credit"
            amount = self._reader.complete(read[0])
            return self._refuse_empty(amount, refused, f"The {side} column is empty.")
        debit, credit = read
        no_debit, no_credit = _is_nothing(debit), _is_nothing(credit)
        debit_counts = pc.or_(pc.invert(no_debit), pc.equal(credit, ""))
        amount = pc.if_else(debit_counts, debit, credit)
        both = pc.fill_null(pc.invert(pc.or_(no_debit, no_credit)), False)
        refused += [
            (place, "There is an amount both in the debit and in the credit column.")
            for place in pc.indices_nonzero(both).to_pylist()
        ]
        amount = self._reader.complete(amount)
        return self._refuse_empty(
            amount, refused, "Both the debit and the credit column are empty."
        )

    def _refuse_empty(self, amount: pa.Array, refused: list[tuple[int, str]], what: str) -> Picked:
        """Refuse records without an amount if the field requires one, and say what to do."""
        known = {place for place, _ in refused}
        if not (self.field.null or self.field.blank):
            cure = (
                f"{what} Give a value for {self._name} with the key 'default' of its layout, or "
                "leave such records out with [[skip]]."
            )
            empty = pc.indices_nonzero(pc.equal(amount, "")).to_pylist()
            refused = [*refused, *((place, cure) for place in empty if place not in known)]
        places = pa.array([place for place, _ in refused], pa.int64())
        is_refused = pc.is_in(pa.arange(0, len(amount)), value_set=places)
        return Picked(
            cells=as_raw(pc.if_else(is_refused, pa.scalar(None, pa.string()), amount)),
            refused=refused,
        )

    def _read_side(self, cells: Cells) -> tuple[pa.Array, list[tuple[int, str]]]:
        texts, undecodable = texts_of(cells)
        texts = pc.fill_null(texts, "")
        read, readable = map_distinct(
            texts, lambda distinct: self._reader.read(self._reader.prepare(distinct))
        )
        bad = pc.indices_nonzero(pc.fill_null(pc.invert(readable), False)).to_pylist()
        return pc.fill_null(read, ""), _first_reasons(
            refusals_of(cells, undecodable),
            [(place, self._reason(texts[place].as_py())) for place in bad],
        )

    def _reason(self, text: str) -> str:
        rules = self._rules
        if self._reader.number is None:
            formats = self._reader.formats
            shown = " or ".join(map(repr, formats or ("ISO 8601",)))
            zero = ", lacks a leading zero" if any(map(digits_needed, formats)) else ""
            return (
                f"“{text}” cannot be read as {shown}: it is written in another way{zero}, or there "
                f"is no such date or time.{null_cure(text)}"
            )
        messages = self.field.error_messages
        message = messages.get("invalid", "“%(value)s” cannot be read.")
        try:
            message = str(message) % {"value": text}
        except (KeyError, TypeError, ValueError):
            message = str(message)
        marks = f"the decimal mark {rules.decimal or '.'!r}"
        if rules.thousands:
            marks += f" and between thousands {' or '.join(map(repr, rules.thousands))}"
        return f"{message} The layout reads numbers with {marks}.{null_cure(text)}"


_NEEDS = {
    "join": "columns",
    "otherwise": "values",
    "create": "lookup",
    "debit_is_negative": "debit",
}
"""Keys of a field that have an effect only together with another key."""


def _check_effects(layout: Layout, name: str, field: models.Field[Any, Any]) -> None:
    """Raise ``LayoutError`` if a key of this field has no effect."""
    rules = layout.fields[name]
    for key, kinds in KINDS.items():
        if getattr(rules, key) is not None and not isinstance(field, kinds):
            raise layout.error(
                ("fields", name, key),
                f"{key} has no effect: {name} is not {KINDS_READ[key]}. Leave it out.",
            )
    for key, other in _NEEDS.items():
        if getattr(rules, key) is not None and getattr(rules, other) is None:
            raise layout.error(
                ("fields", name, key), f"{key} has no effect: {name} says no {other}. Leave it out."
            )
    read = layout.reading_of(name)
    formats = read.formats or ()
    for key, has_effect, lacks in (
        ("grouping", read.thousands, "has no thousands to group"),
        ("pivot", any("%y" in item for item in formats), "has no format with %y"),
        ("year", not all(map(has_year, formats)), "has no format without a year"),
    ):
        if getattr(rules, key) is not None and not has_effect:
            raise layout.error(
                ("fields", name, key), f"{key} has no effect: {name} {lacks}. Leave it out."
            )


def _first_reasons(*refused: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return each refused place once, with the first reason."""
    reasons: dict[int, str] = {}
    for place, reason in chain.from_iterable(refused):
        reasons.setdefault(place, reason)
    return list(reasons.items())


def _emptied(texts: pa.Array, refused: Sequence[tuple[int, str]]) -> pa.Array:
    """Return the texts, with null for the refused ones."""
    if not refused:
        return texts
    places = pa.array([place for place, _ in refused], pa.int64())
    is_refused = pc.is_in(pa.arange(0, len(texts)), value_set=places)
    return pc.if_else(is_refused, pa.scalar(None, pa.string()), texts)


def _same(texts: pa.Array) -> pa.Array:
    return texts


def _is_nothing(numbers: pa.Array) -> pa.BooleanArray:
    return pc.match_substring_regex(numbers, _ZERO)

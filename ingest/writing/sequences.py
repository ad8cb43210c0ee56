"""Find the sequences of a table's columns, and move them past keys that were given.

PostgreSQL draws from a sequence only for keys that are not given. Without a move, the next row that
the ORM saves would repeat a key of the load.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest.postgres.quoting import quote_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ingest.conversion import TypedBatch
    from ingest.postgres.catalog import Table
    from ingest.postgres.session import Session

SINGLE_STEPS = 100_000
"""Up to this many steps, a sequence is moved by drawing from it, which can never move it backwards;
drawing this many takes some 20 ms."""
EXACT_IN_JSON = 2**53
"""Clients that read numbers as JavaScript does cannot represent larger keys exactly. So no single
key moves a sequence from below this number to a number above it."""
_TYPE_LIMITS = {"int2": 2**15 - 1, "int4": 2**31 - 1, "int8": 2**63 - 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence, as in pg_sequence, and what the load's role may do with it."""

    oid: int
    name: str
    """The name with its schema, quoted if necessary."""
    step: int
    smallest: int
    greatest: int
    start: int
    cache: int
    cycles: bool
    may_draw: bool
    may_look: bool
    """Whether the role may read its position."""
    may_set: bool
    may_select: bool

    def position(self, session: Session) -> int:
        """Return the number that was drawn last."""
        if self.may_select:
            [(last, is_called)] = session.fetch(f"SELECT last_value, is_called FROM {self.name}")
            return int(last) if is_called else int(last) - self.step
        [(last,)] = session.fetch(_LAST_VALUE, self.oid)
        return self.start - self.step if last is None else int(last)

    def earliest(self, session: Session) -> int:
        """Return the earliest position from which this session may draw.

        With a CACHE, the session may still hold numbers before the sequence's own position.
        """
        return self.position(session) - (self.cache - 1) * self.step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Default:
    """The default that PostgreSQL stores in a column that is not given."""

    column: str
    is_identity: bool
    expression: str | None
    """The default as SQL, with names that the session's search path finds."""
    is_servers_own: bool
    """Whether it uses only PostgreSQL's own functions and operators."""
    draws: bool
    """Whether the default draws from any sequence, according to the catalog."""
    sequence: Sequence | None
    """The sequence, if the default is its next number and nothing else."""
    limit: int | None
    """The greatest number of the column's type; None if it is not an integer type."""
    is_domain: bool


def defaults_of(table: Table) -> dict[str, Default]:
    """Return the defaults of a table's columns, by column name."""
    found = {}
    names = [field.name for field in dataclasses.fields(Sequence)]
    for row in table.facts["defaults"]:
        column = row["column"]
        values: dict[str, Any] = {**row}
        limit = _TYPE_LIMITS.get(table.column(quote_name(column)).type_name)
        is_exact = row["oid"] is not None and limit is not None
        found[column] = Default(
            column=column,
            is_identity=row["identity"] != "",
            expression=row["expression"],
            is_servers_own=row["is_servers_own"],
            draws=row["draws"],
            sequence=Sequence(**{name: values[name] for name in names}) if is_exact else None,
            limit=limit,
            is_domain=row["is_domain"],
        )
    return found


class Sequences:
    """Moves the sequences of explicitly given keys past the greatest of them.

    Call ``note`` for inserted rows, ``plan`` after all rows of a transaction, and ``move`` just
    before its COMMIT: like every draw from a sequence, a move is not rolled back.

    A sequence follows a key only if that leaves at least as many numbers as it skips. Otherwise one
    huge key would use up the sequence for everybody.
    """

    def __init__(
        self,
        session: Session,
        defaults: Mapping[str, Default],
        given: Collection[str],
    ) -> None:
        self._session = session
        self.decisions: dict[str, None] = {}
        """Sentences about what was decided."""
        self._followed: list[_Followed] = []
        for name in given:
            default = defaults.get(name)
            if default is None or default.sequence is None or default.limit is None:
                continue
            sequence = default.sequence
            if sequence.may_look and (sequence.may_draw or sequence.may_set):
                position = sequence.earliest(session)
                self._followed.append(_Followed(name, sequence, default.limit, position))
            else:
                self._decide(
                    f"Sequence {sequence.name}: not moved past the given keys, because the role "
                    f"may not: GRANT USAGE, UPDATE ON SEQUENCE {sequence.name}."
                )

    def begin(self) -> None:
        """Forget the keys of a transaction that was rolled back."""
        for item in self._followed:
            item.forget()

    def note(self, batch: TypedBatch, refused: Collection[int]) -> None:
        """Note the keys of an inserted batch, except those at the refused places."""
        for item in self._followed:
            keys = batch.rows.column(item.column)
            if refused:
                out = pa.array(list(refused), pa.int64())
                keys = keys.filter(pc.invert(pc.is_in(pa.arange(0, len(keys)), value_set=out)))
            item.note(keys)

    def plan(self) -> None:
        """Decide how far to move each sequence."""
        for item in self._followed:
            item.plan(item.sequence.earliest(self._session) if item.has_keys else item.position)
            name = item.sequence.name
            if item.goal is not None and not self._may_reach(item):
                item.goal = None
                self._decide(
                    f"Sequence {name}: not moved past the given keys, because the role may not "
                    f"set it: GRANT UPDATE ON SEQUENCE {name}."
                )
            elif item.goal is not None:
                self._decide(f"Sequence {name}: moved past the given keys.")
            if item.skipped is not None and not item.has_told:
                item.has_told = True
                self._decide(
                    f"Sequence {name}: not moved past the given key {item.skipped}, because that "
                    "would leave too few numbers for other rows."
                )

    @property
    def has_moves(self) -> bool:
        """Whether any sequence must be moved."""
        return any(item.goal is not None for item in self._followed)

    def move(self) -> None:
        """Move each sequence as planned, never backwards."""
        for item in self._followed:
            if item.goal is not None:
                _move(self._session, item)
            item.keep()

    def _decide(self, sentence: str) -> None:
        self.decisions[sentence] = None

    @staticmethod
    def _may_reach(item: _Followed) -> bool:
        is_near = item.steps_from(item.position) <= SINGLE_STEPS
        return item.sequence.may_set or (is_near and item.sequence.may_draw)


class _Followed:
    """A sequence and the given keys that it may have to follow.

    Everything is measured in *room*: how many numbers are left beyond a key, in the direction of
    the sequence. Rooms of the same bit length form a zone: a key in a zone always leaves more than
    half of the room of any other key there. So only the first and the last key of each zone are
    kept.
    """

    def __init__(self, column: str, sequence: Sequence, limit: int, position: int) -> None:
        self.column = column
        self.sequence = sequence
        self.position = position
        self._is_up = sequence.step > 0
        bound = min(sequence.greatest, limit) if self._is_up else max(sequence.smallest, -limit - 1)
        end = self._turn(bound)
        if abs(position) < EXACT_IN_JSON:
            end = min(end, 2 * EXACT_IN_JSON)
        self._end = end
        self.noted: dict[int, tuple[int, int]] = {}
        self._left: dict[int, tuple[int, int]] = {}
        """Keys that were too far away when an earlier transaction was committed."""
        self.goal: int | None = None
        self.skipped: int | None = None
        """The first of the keys that it does not follow."""
        self._beyond: int | None = None
        self.has_told = False

    def _turn(self, number: int) -> int:
        """Reverse the order of numbers if the sequence goes down; this is its own inverse."""
        return number if self._is_up else ~number

    @property
    def has_keys(self) -> bool:
        return bool(self.noted or self._left)

    def forget(self) -> None:
        """Forget the keys that were noted since the last committed transaction."""
        self.noted.clear()
        self.goal = self.skipped = self._beyond = None

    def note(self, keys: pa.Array) -> None:
        """Note the given keys; those before the sequence's position are ignored."""
        if not self._is_up:
            keys = pc.bit_wise_not(pc.cast(keys, pa.int64()))
        position = self._turn(self.position)
        least, greatest = pc.min_max(keys).as_py().values()
        if greatest is None or greatest <= position:
            return
        if least <= position:
            keys = keys.filter(pc.greater(keys, position))
        while len(keys):
            least, greatest = pc.min_max(keys).as_py().values()
            if greatest > self._end:
                first = pc.min(keys.filter(pc.greater(keys, self._end))).as_py()
                self._beyond = first if self._beyond is None else min(self._beyond, first)
                keys = keys.filter(pc.less_equal(keys, self._end))
                continue
            room = self._end - greatest
            zone_begin = self._end - (2 ** room.bit_length() - 1)
            if least < zone_begin:
                is_inside = pc.greater_equal(keys, zone_begin)
                least = pc.min(keys.filter(is_inside)).as_py()
                keys = keys.filter(pc.invert(is_inside))
            else:
                keys = keys[:0]
            _widen(self.noted, room, self._end - least)

    def plan(self, position: int) -> None:
        """Find the key that the sequence must follow from its position."""
        self.position = position
        zones = dict(self._left)
        for least, most in self.noted.values():
            _widen(zones, least, most)
        start = room = self._end - self._turn(position)
        self.skipped = None
        for zone in sorted(zones, reverse=True):
            least, most = zones[zone]
            if least >= room:
                continue
            if 2 * most < room:
                self.skipped = self._turn(self._end - most)
                break
            room = least
        if self.skipped is None and self._beyond is not None:
            self.skipped = self._turn(self._beyond)
        self.goal = self._turn(self._end - room) if room < start else None

    def keep(self) -> None:
        """Keep the keys that are still beyond the sequence, for later transactions."""
        reached = self.position if self.goal is None else self.goal
        for least, most in self.noted.values():
            if self._end - self._turn(reached) > least:
                _widen(self._left, least, most)
        self.forget()

    def steps_from(self, position: int) -> int:
        """Return how many numbers to draw from a position so that the next is past the goal."""
        goal = self.position if self.goal is None else self.goal
        return (goal - position) // self.sequence.step


def _widen(zones: dict[int, tuple[int, int]], least: int, most: int) -> None:
    known = zones.get(least.bit_length(), (least, most))
    zones[least.bit_length()] = min(known[0], least), max(known[1], most)


def _move(session: Session, item: _Followed) -> None:
    sequence = item.sequence
    position = _drawn_last(session, sequence)
    while (steps := item.steps_from(position)) > 0:
        if steps <= SINGLE_STEPS and sequence.may_draw:
            [(least, greatest)] = session.fetch(_DRAW, sequence.oid, steps)
            position = greatest if sequence.step > 0 else least
        else:
            # Other loads wait here, and nobody draws so many numbers during one statement.
            session.fetch(_ONE_LOAD_AT_A_TIME, sequence.oid)
            goal = position + steps * sequence.step
            session.fetch(_SET_UP if sequence.step > 0 else _SET_DOWN, sequence.oid, goal)
            return


def _drawn_last(session: Session, sequence: Sequence) -> int:
    """Return the position from which this session would draw; with a CACHE, by drawing once."""
    if sequence.cache > 1 and sequence.may_draw:
        [(drawn, _)] = session.fetch(_DRAW, sequence.oid, 1)
        return int(drawn)
    return sequence.position(session)


_LAST_VALUE = """
SELECT pg_catalog.pg_sequence_last_value($1::bigint::pg_catalog.oid::pg_catalog.regclass)
"""
_ONE_LOAD_AT_A_TIME = """
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(
  pg_catalog.concat('ingest moves ', $1::bigint), 0))::pg_catalog.text
"""
_DRAW = """
SELECT pg_catalog.min(d.key), pg_catalog.max(d.key) FROM (
  SELECT pg_catalog.nextval((SELECT $1::bigint::pg_catalog.oid::pg_catalog.regclass)) AS key
  FROM pg_catalog.generate_series(1, $2::bigint)
) d
"""
_SET_UP = """
SELECT pg_catalog.setval(s.sequence, greatest(
  $2::bigint, pg_catalog.pg_sequence_last_value(s.sequence)))
FROM (SELECT $1::bigint::pg_catalog.oid::pg_catalog.regclass) s(sequence)
"""
_SET_DOWN = """
SELECT pg_catalog.setval(s.sequence, least(
  $2::bigint, pg_catalog.pg_sequence_last_value(s.sequence)))
FROM (SELECT $1::bigint::pg_catalog.oid::pg_catalog.regclass) s(sequence)
"""

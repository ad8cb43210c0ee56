"""Read PostgreSQL's text format of arrays, ranges, bytes and hstore as Python values.

Sources: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO,
https://www.postgresql.org/docs/current/rangetypes.html#RANGETYPES-IO,
https://www.postgresql.org/docs/current/hstore.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.fields import ArrayField, HStoreField, RangeField
from django.db import models

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[str], Any]

_QUOTED = r'"((?:[^"\\]|\\.|"")*+)"'
_ITEM = re.compile(rf'[{{,]?\s*(?:{_QUOTED}|([^{{}},"]++))', re.DOTALL)
_BOUNDS = re.compile(
    rf'([\[(])(?:{_QUOTED}|([^,"]*+)),(?:{_QUOTED}|([^,"\])]*+))([\])])', re.DOTALL
)
_PAIR = re.compile(rf"{_QUOTED}=>(?:{_QUOTED}|NULL)(?:, |$)", re.DOTALL)
_ESCAPED = re.compile(r'\\(.)|"(")', re.DOTALL)


def find_reader(field: models.Field[Any, Any]) -> Reader | None:
    """Return a reader of PostgreSQL's text format for a field, or None if the field can read it.

    A reader raises ``ValueError`` for a text that PostgreSQL would not write.
    """
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    if isinstance(field, ArrayField):
        return _array_reader(field)
    if isinstance(field, RangeField):
        return _range_reader(field)
    if isinstance(field, HStoreField):
        return _read_hstore
    return _read_bytes if isinstance(field, models.BinaryField) else None


def _array_reader(field: ArrayField[Any, Any]) -> Reader:
    base = field.base_field
    while isinstance(base, ArrayField):
        base = base.base_field
    read_item = find_reader(base) or base.to_python
    if isinstance(base, models.JSONField):
        decoder = base.decoder

        def read_item(text: str) -> Any:
            return json.loads(text, cls=decoder)

    def read(text: str) -> list[Any]:
        found: list[Any] = []
        open_lists: list[list[Any]] = []
        # An array whose first index is not 1 begins with its bounds, as in [0:1]={1,2}.
        at = text.index("{") if text.startswith("[") else 0
        while at < len(text):
            if text[at] == "{" or text[at : at + 2] == ",{":
                at += 1 + (text[at] == ",")
                inner: list[Any] = []
                (open_lists[-1] if open_lists else found).append(inner)
                open_lists.append(inner)
            elif text[at] == "}" and open_lists:
                open_lists.pop()
                at += 1
            else:
                item = _ITEM.match(text, at)
                if item is None or not open_lists:
                    raise ValueError(text)
                is_null = item[1] is None and item[2].upper() == "NULL"
                given = item[2] if item[1] is None else _unescape(item[1])
                open_lists[-1].append(None if is_null else read_item(given))
                at = item.end()
        if open_lists or len(found) != 1:
            raise ValueError(text)
        [array] = found
        return list(array)

    return read


def _range_reader(field: RangeField[Any]) -> Reader:
    base: Any = field.base_field
    kind: Any = field.range_type

    def read(text: str) -> Any:
        if text == "empty":
            return kind(empty=True)
        found = _BOUNDS.fullmatch(text)
        if found is None:
            raise ValueError(text)
        left, lower_quoted, lower, upper_quoted, upper, right = found.groups()
        bounds = [
            base.to_python(bare or None if quoted is None else _unescape(quoted))
            for quoted, bare in ((lower_quoted, lower), (upper_quoted, upper))
        ]
        return kind(*bounds, left + right)

    return read


def _read_hstore(text: str) -> dict[str, str | None]:
    pairs: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            raise ValueError(text)
        pairs[_unescape(found[1])] = None if found[2] is None else _unescape(found[2])
        at = found.end()
    return pairs


def _read_bytes(text: str) -> bytes:
    if not text.startswith("\\x"):
        raise ValueError(text)
    return bytes.fromhex(text[2:])


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda found: found[1] or found[2], text)

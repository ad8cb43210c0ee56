"""JSON documents, in the form that PostgreSQL's jsonb receives.

jsonb forgets how a document was written: blanks, escapes, the order of keys and all but the last of
equal ones. So a text may be sent as it is where Python, which the ORM has read and write it, would
change nothing else: no fraction that ``repr()`` writes in another way, no half of a surrogate pair.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from django.core.validators import EMPTY_VALUES

from ingest.conversion.kernels.base import Kernel, Mask, is_all

if TYPE_CHECKING:
    from django.db import models

    from ingest.postgres.encoding import ColumnEncoding

DEPTHS = (2, 3)
"""Lists and objects within each other that the patterns know. A pattern grows fourfold with each:
that of three takes RE2 twice as long as that of two, and that of four ten times as long."""
_HEX = "[0-9a-fA-F]"
ESCAPED = (
    r"\\u(?:"
    rf"00(?:0[1-9a-fA-F]|[1-9a-fA-F]{_HEX})|0[1-9a-fA-F]{_HEX}{{2}}"
    rf"|[1-9a-cA-CefEF]{_HEX}{{3}}|[dD][0-7]{_HEX}{{2}}"
    rf"|[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}})"
)
"""A character by its number: not U+0000, and both halves of a surrogate pair or none."""
_ESCAPE = rf'(?:\\["\\/bfnrt]|{ESCAPED})'
_STRING = r'"[^"\\\x00-\x1f]*"'
"""Without escapes: see ``_is_certain``."""
_INTEGER = "-?(?:0|[1-9][0-9]{0,17})"
_FRACTION = r"-?(?:0|[1-9][0-9]{0,6})\.(?:[0-9]|[0-9]{1,7}[1-9])"
"""At most 15 digits, which a float keeps, and no zero behind the last, which it does not."""
_SCALAR = f"{_STRING}|{_INTEGER}|{_FRACTION}|true|false|null"
_SUSPECT = r"\\u0000|\\u[dD][89a-fA-F]|NaN|Infinity"
"""What Python writes and jsonb has not."""
_NO_VALUES = [json.dumps(value) for value in EMPTY_VALUES if not isinstance(value, tuple)]
_WRITING = ("__init__", "encode", "iterencode", "item_separator", "key_separator")
"""What an encoder has from ``json`` that writes nothing but JSON."""
_PLAIN_TYPES = {dict, list, str, int, float, bool}


def _documents(depth: int) -> str:
    if depth == 0:
        return f"(?:{_SCALAR})"
    value = _documents(depth - 1)
    pair = f"{_STRING}: ?{value}"
    return rf"(?:{_SCALAR}|\[(?:{value}(?:, ?{value})*)?\]|\{{(?:{pair}(?:, ?{pair})*)?\}})"


_CERTAIN = [rf"\A{_documents(depth)}\z" for depth in DEPTHS]


class JSONKernel(Kernel):
    """JSONField in a column of jsonb: what it makes are the bytes that are sent."""

    python_type = dict

    def __init__(
        self, field: models.Field[Any, Any], checks: list[Any], encoding: ColumnEncoding
    ) -> None:
        super().__init__(field, checks)
        self._prefix = pa.scalar(encoding.dump("") if encoding.dump else b"")
        self._encoder = field.encoder  # type: ignore[attr-defined]
        self._decoder = field.decoder  # type: ignore[attr-defined]
        empty = ["null"] if field.blank else _NO_VALUES
        # What is left of them with ``blank`` differs in what is stored.
        self._left = pa.array([*empty, '""'])

    @classmethod
    def takes(cls, field: Any, encoding: ColumnEncoding) -> bool:
        """Return whether the column is of jsonb, and what the field's encoder writes is JSON.

        One of the user's own may prepare values as it likes, and no more.
        """
        encoder = field.encoder or json.JSONEncoder
        return (
            encoding.column.type_name == "jsonb"
            and inspect.isclass(encoder)
            and all(
                getattr(encoder, name, None) == getattr(json.JSONEncoder, name) for name in _WRITING
            )
        )

    @staticmethod
    def stores(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind))

    def read(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Read the cells of a text file: each is a document."""
        if self._encoder is not None or self._decoder is not None:
            return self._written([self._rewrite(cell) for cell in text.to_pylist()])
        mask = pc.and_not(_is_certain(text), pc.is_in(text, value_set=self._left))
        if is_all(mask):
            return self._bytes(text), None
        places = pc.fill_null(pc.invert(mask), False)
        rest = text.filter(places).to_pylist()
        rewritten, known = self._written([self._rewrite(cell) for cell in rest])
        documents = pc.replace_with_mask(self._bytes(text), places, rewritten)
        return documents, mask if known is None else pc.replace_with_mask(mask, places, known)

    def parse(self, text: pa.Array) -> tuple[pa.Array, Mask]:
        """Take typed texts: each is a document of one text."""
        return self._written([self._write(value) for value in text.to_pylist()])

    def adopt(self, values: pa.Array) -> tuple[pa.Array, Mask] | None:
        if pa.types.is_nested(values.type) or pa.types.is_boolean(values.type):
            return self._written([self._write(value) for value in values.to_pylist()])
        return None

    def from_python(self, values: list[Any]) -> tuple[pa.Array, Mask] | None:
        return self._written([self._write(value) for value in values])

    def judge(self, values: pa.Array) -> Mask:  # noqa: ARG002 - it has no validator
        return None

    def _rewrite(self, cell: str | None) -> str | None:
        """Read and write a document as the ORM does; None where the field is to judge."""
        if cell is None:
            return None
        try:
            return self._write(json.loads(cell, cls=self._decoder))
        except (ValueError, RecursionError):
            return None

    def _write(self, value: Any) -> str | None:
        if type(value) not in _PLAIN_TYPES:
            return None
        try:
            written = json.dumps(value, cls=self._encoder)
            if not written.isascii():
                written.encode()  # half of a surrogate pair cannot be
        except Exception:  # noqa: BLE001 - whatever the field's encoder raises
            return None
        return written

    def _written(self, documents: list[str | None]) -> tuple[pa.Array, Mask]:
        """Return the bytes of documents that Python has written, and which of them jsonb takes."""
        text = pa.array(documents, pa.string())
        mask = pc.invert(pc.match_substring_regex(text, _SUSPECT))
        mask = pc.and_not(mask, pc.is_in(text, value_set=self._left))
        return self._bytes(text), pc.fill_null(mask, False)

    def _bytes(self, text: pa.Array) -> pa.Array:
        return pc.binary_join_element_wise(self._prefix, pc.cast(text, pa.binary()), b"")


def _is_certain(text: pa.Array) -> pa.BooleanArray:
    """Return which texts are documents that may be sent as they are."""
    mask = pc.match_substring_regex(text, _CERTAIN[0])
    for pattern in _CERTAIN[1:]:
        if is_all(mask):
            return mask
        places = pc.fill_null(pc.invert(mask), False)
        # Where an escape may stand, any letter may, and nowhere else: the pattern is a tenth.
        letters = pc.replace_substring_regex(text.filter(places), _ESCAPE, "x")
        found = pc.match_substring_regex(letters, pattern)
        mask = pc.replace_with_mask(mask, places, found)
    return mask

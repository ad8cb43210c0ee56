"""A kernel for JSON documents, in the format that PostgreSQL's jsonb receives.

jsonb does not keep how a document was written: white space, escapes, the order of keys, and all but
the last of equal keys. The ORM parses a document in Python and writes it again. So a text may be
sent unchanged if that would change nothing else: it has no fraction that ``repr()`` writes in
another way, and no lone surrogate.
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
"""The depths of nesting for which there is a pattern. A pattern grows fourfold with each level: RE2
takes twice as long for three levels as for two, and ten times as long for four."""
_HEX = "[0-9a-fA-F]"
ESCAPED = (
    r"\\u(?:"
    rf"00(?:0[1-9a-fA-F]|[1-9a-fA-F]{_HEX})|0[1-9a-fA-F]{_HEX}{{2}}"
    rf"|[1-9a-cA-CefEF]{_HEX}{{3}}|[dD][0-7]{_HEX}{{2}}"
    rf"|[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}})"
)
"""A character escaped by its number: not U+0000, and surrogates only in pairs."""
_ESCAPE = rf'(?:\\["\\/bfnrt]|{ESCAPED})'
_STRING = r'"[^"\\\x00-\x1f]*"'
"""A string without escapes: see ``_is_certain``."""
_INTEGER = "-?(?:0|[1-9][0-9]{0,17})"
_FRACTION = r"-?(?:0|[1-9][0-9]{0,6})\.(?:[0-9]|[0-9]{1,7}[1-9])"
"""A fraction of at most 15 digits, which a float keeps, and without trailing zeros, which it does
not keep."""
_SCALAR = f"{_STRING}|{_INTEGER}|{_FRACTION}|true|false|null"
_SUSPECT = r"\\u0000|\\u[dD][89a-fA-F]|NaN|Infinity"
"""What Python may write and jsonb cannot hold."""
_NO_VALUES = [json.dumps(value) for value in EMPTY_VALUES if not isinstance(value, tuple)]
_WRITING = ("__init__", "encode", "iterencode", "item_separator", "key_separator")
"""The attributes that an encoder must inherit from ``json``, so that it writes valid JSON."""
_PLAIN_TYPES = {dict, list, str, int, float, bool}


def _documents(depth: int) -> str:
    if depth == 0:
        return f"(?:{_SCALAR})"
    value = _documents(depth - 1)
    pair = f"{_STRING}: ?{value}"
    return rf"(?:{_SCALAR}|\[(?:{value}(?:, ?{value})*)?\]|\{{(?:{pair}(?:, ?{pair})*)?\}})"


_CERTAIN = [rf"\A{_documents(depth)}\z" for depth in DEPTHS]


class JSONKernel(Kernel):
    """JSONField in a jsonb column; its values are the bytes that are sent."""

    python_type = dict

    def __init__(
        self, field: models.Field[Any, Any], checks: list[Any], encoding: ColumnEncoding
    ) -> None:
        super().__init__(field, checks)
        self._prefix = pa.scalar(encoding.dump("") if encoding.dump else b"")
        self._encoder = field.encoder  # type: ignore[attr-defined]
        self._decoder = field.decoder  # type: ignore[attr-defined]
        empty = ["null"] if field.blank else _NO_VALUES
        # With ``blank``, only these are stored in another way.
        self._left = pa.array([*empty, '""'])

    @classmethod
    def takes(cls, field: Any, encoding: ColumnEncoding) -> bool:
        """Return whether the column is jsonb and the field's encoder writes valid JSON.

        A custom encoder may convert values in ``default()``, but not change how JSON is written.
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
        """Convert the cells of a text file: each is a document."""
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
        """Convert typed strings: each is a document that is one string."""
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
        """Parse and write a document as the ORM does; return None if the field must judge it."""
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
                written.encode()  # fails for a lone surrogate
        except Exception:  # noqa: BLE001 - whatever the field's encoder raises
            return None
        return written

    def _written(self, documents: list[str | None]) -> tuple[pa.Array, Mask]:
        """Return the bytes of documents written by Python, and which of them jsonb accepts."""
        text = pa.array(documents, pa.string())
        mask = pc.invert(pc.match_substring_regex(text, _SUSPECT))
        mask = pc.and_not(mask, pc.is_in(text, value_set=self._left))
        return self._bytes(text), pc.fill_null(mask, False)

    def _bytes(self, text: pa.Array) -> pa.Array:
        return pc.binary_join_element_wise(self._prefix, pc.cast(text, pa.binary()), b"")


def _is_certain(text: pa.Array) -> pa.BooleanArray:
    """Return which texts are documents that may be sent unchanged."""
    mask = pc.match_substring_regex(text, _CERTAIN[0])
    for pattern in _CERTAIN[1:]:
        if is_all(mask):
            return mask
        places = pc.fill_null(pc.invert(mask), False)
        # Escapes are valid exactly where letters are. Replacing them with a letter makes the
        # pattern ten times smaller.
        letters = pc.replace_substring_regex(text.filter(places), _ESCAPE, "x")
        found = pc.match_substring_regex(letters, pattern)
        mask = pc.replace_with_mask(mask, places, found)
    return mask

"""Encodes typed batches as the bytes of one COPY; it does no I/O.

The encoding of a column is chosen by its type in the catalog, never by the data's type: binary COPY
does not check types of equal width. pgpq encodes common types, a column at a time. For any other
type psycopg makes the bytes of each value, which are passed on as an Arrow binary column. If a
table has a type that not even psycopg can write in binary (tsvector, a composite type), all of its
columns use COPY's text format, and PostgreSQL reads the values as literals.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg.adapt import AdaptersMap, Dumper, PyFormat, Transformer
from psycopg.pq import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg.abc import AdaptContext

    from ingest.postgres.catalog import Column
    from ingest.postgres.steps import CopyFormat

BYTEA_OID = 17
"""From pg_type.dat; the same in every version."""
PIECE_ROWS = 8_192
"""Rows encoded at a time, so that the encoder holds no second copy of the whole batch."""
MAX_DECIMAL128_DIGITS = 38
"""Digits that an Arrow decimal128 holds; psycopg writes wider numerics."""

_NATIVE = {
    "bool": pa.bool_(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "uuid": pa.binary(16),
    # The binary format of all of these is plain text.
    "bpchar": pa.string(),
    "citext": pa.string(),
    "text": pa.string(),
    "varchar": pa.string(),
}
_LITERAL_PREFIX = {"json": b"", "jsonb": b"\x01", "name": b""}
"""Types whose binary form is these bytes and then the literal: jsonb_recv expects a version."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnEncoding:
    """The encoding of one column's values."""

    column: Column
    arrow_type: pa.DataType
    """The Arrow type that a typed batch must have for this column."""
    dump: Callable[[Any], bytes] | None = None
    """Makes the bytes of one prepared value, if ``arrow_type`` holds such bytes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyEncoding:
    """The encoding of the rows of a COPY."""

    columns: tuple[ColumnEncoding, ...]
    format: CopyFormat
    drawn: str | None = None
    """The column whose values the load drew from its sequence, in the order of the rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the table's columns, in order."""
        return tuple(item.column.name for item in self.columns)

    @property
    def given(self) -> tuple[str, ...]:
        """The names of the columns whose values come from the source or the model."""
        return tuple(name for name in self.names if name != self.drawn)

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Return the bytes of one whole COPY with the batch's rows."""
        return _encode_binary(batch) if self.format == "binary" else _encode_text(batch)


def choose_encoding(columns: Sequence[Column], context: AdaptContext | None) -> CopyEncoding:
    """Choose the encoding of each column; ``context`` has psycopg's adapters of custom types."""
    transformer = Transformer(context)
    binary = [_binary_encoding(column, transformer) for column in columns]
    if all(binary):
        return CopyEncoding(columns=tuple(filter(None, binary)), format="binary")
    transformer = Transformer(literal_adapters(context))
    text = tuple(_text_encoding(column, transformer) for column in columns)
    return CopyEncoding(columns=text, format="text")


def literal_adapters(context: AdaptContext | None) -> AdaptersMap:
    """Return the context's adapters, changed so that they write literals without a connection.

    psycopg lets libpq escape a bytea, which doubles its apostrophes if there is no connection.
    """
    adapters = AdaptersMap(context.adapters if context else psycopg.adapters)
    for kind in (bytes, bytearray, memoryview, psycopg.Binary):
        adapters.register_dumper(kind, _HexDumper)
    return adapters


class _HexDumper(Dumper):
    oid = BYTEA_OID

    def dump(self, obj: Any) -> bytes:
        return b"\\x" + bytes(getattr(obj, "obj", obj)).hex().encode()


def decode(
    encoding: CopyEncoding, batch: pa.RecordBatch, context: AdaptContext | None
) -> list[tuple[Any, ...]]:
    """Return the rows of a typed batch as the Python values that the table would return."""
    transformer = Transformer(context)
    form = Format.BINARY if encoding.format == "binary" else Format.TEXT
    columns = []
    for item, cells in zip(encoding.columns, batch.columns, strict=True):
        values = cells.to_pylist()
        if item.dump is not None:
            loader = transformer.get_loader(item.column.type_oid, form)
            values = [None if value is None else loader.load(value) for value in values]
        elif item.arrow_type == _NATIVE["uuid"]:
            values = [None if value is None else UUID(bytes=value) for value in values]
        columns.append(values)
    return list(zip(*columns, strict=True))


def _native_type(column: Column) -> pa.DataType | None:
    if column.type_kind == "e":
        return pa.string()
    if column.type_name == "numeric" and column.type_modifier >= 0:
        # PostgreSQL packs precision and scale so: numeric_in in src/backend/utils/adt/numeric.c.
        precision = (column.type_modifier - 4) >> 16 & 0xFFFF
        scale = ((column.type_modifier - 4) & 0x7FF ^ 0x400) - 0x400
        if precision <= MAX_DECIMAL128_DIGITS and 0 <= scale <= precision:
            return pa.decimal128(precision, scale)
        return None
    return _NATIVE.get(column.type_name)


def _binary_encoding(column: Column, transformer: Any) -> ColumnEncoding | None:
    native = _native_type(column)
    if native is not None:
        return ColumnEncoding(column=column, arrow_type=native)
    try:
        dumper = transformer.adapters.get_dumper_by_oid(column.type_oid, Format.BINARY)
    except psycopg.ProgrammingError:
        return None

    def dump(value: Any) -> bytes:
        if isinstance(value, str):
            return _dump_literal(value, column)
        return bytes(dumper(type(value), transformer).dump(value) or b"")

    return ColumnEncoding(column=column, arrow_type=pa.binary(), dump=dump)


def _dump_literal(value: str, column: Column) -> bytes:
    """Return the binary form of a literal, for the types whose binary form contains it."""
    if column.type_name not in _LITERAL_PREFIX:
        # A dumper would misread the text: an array's as a list of letters.
        raise TypeError(f"text cannot be written as {column.sql_type} in binary")
    return _LITERAL_PREFIX[column.type_name] + value.encode()


def _text_encoding(column: Column, transformer: Any) -> ColumnEncoding:
    native = _native_type(column)
    if native not in (None, pa.binary(), _NATIVE["uuid"]):
        return ColumnEncoding(column=column, arrow_type=native)

    def dump(value: Any) -> bytes:
        if isinstance(value, str):
            return value.encode()
        try:
            kind = transformer.adapters.get_dumper_by_oid(column.type_oid, Format.TEXT)
            dumper: Any = kind(type(value), transformer)
        except psycopg.ProgrammingError:
            dumper = transformer.get_dumper(value, PyFormat.TEXT)
        return bytes(dumper.dump(value))

    return ColumnEncoding(column=column, arrow_type=pa.binary(), dump=dump)


def _encode_binary(batch: pa.RecordBatch) -> bytes:
    # A new encoder for each batch: after an error an encoder cannot be used again.
    encoder = ArrowToPostgresBinaryEncoder(batch.schema)
    header = encoder.write_header()
    starts = range(0, batch.num_rows, PIECE_ROWS)
    pieces = [encoder.write_batch(batch.slice(at, PIECE_ROWS)) for at in starts]
    return b"".join((header, *pieces, encoder.finish()))


def _encode_text(batch: pa.RecordBatch) -> bytes:
    columns = [_escape(pc.cast(column, pa.string())) for column in batch.columns]
    lines = pc.binary_join_element_wise(
        *columns, "\t", null_handling="replace", null_replacement="\\N"
    )
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()


def _escape(cells: pa.Array) -> pa.Array:
    # https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        cells = pc.replace_substring(cells, plain, escaped)
    return cells

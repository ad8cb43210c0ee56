"""Reads text in any encoding as UTF-8."""

from __future__ import annotations

import codecs
import re
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingest.exceptions import SourceError

if TYPE_CHECKING:
    from ingest.sources.files import InputFile

CHUNK_BYTES = 2 << 20
"""Bytes read from the file at a time."""
_UTF8 = {"utf-8", "utf-8-sig", "ascii"}

# An undecodable byte is replaced by this noncharacter and two hexadecimal digits, because the
# parser needs valid UTF-8.
MARK = "\ufdef"
_MARKED = re.compile(MARK.encode() + b"([0-9a-f]{2})")
_MARK_BYTES = MARK.encode()
_MARKED_MARK = b"".join(_MARK_BYTES + b"%02x" % byte for byte in _MARK_BYTES)
_KEEP = "ingest.keep"
LONE_SURROGATE = "a lone surrogate is not a character, but half of one."
_TWICE = "compressed data, and was compressed twice: decompress it once"
_OTHER_FILES = {
    b"PK\x03\x04": "a workbook or a zip archive: name it .xlsx, .ods or .zip, or give its format",
    b"\xd0\xcf\x11\xe0": "an old workbook: name it .xls; or one with a password: save it without",
    b"%PDF": "a PDF: there may be an export as CSV where it comes from",
    b"PAR1": "a Parquet file: name it .parquet, or give its format",
    b"ARROW1": "an Arrow file: load its table, which pyarrow.feather.read_table(FILE) gives",
    b"\xff\xff\xff\xff": "a stream of Arrow: load what pyarrow.ipc.open_stream(FILE) gives",
    b"SQLite format 3": "a SQLite database: load its rows from a cursor",
    b"7z\xbc\xaf'\x1c": "a 7z archive: extract the file from it",
    b"Rar!\x1a\x07": "a RAR archive: extract the file from it",
    **dict.fromkeys((b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"), _TWICE),
    **dict.fromkeys((b"BZh%d1AY&SY" % level for level in range(1, 10)), _TWICE),
}
"""Other files that users give instead of text, by their first bytes."""
_TAR, _TAR_AT = (b"ustar\0", b"ustar  \0"), 257
"""With the zero byte: "mustard" may be anywhere in a text."""
_FIRST_NON_ASCII = 0x80
_C1 = bytes(range(0x80, 0xA0))
"""Bytes that are control characters in ISO 8859, and letters and marks in Windows' encodings."""
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE_BYTES = 64
"""First bytes that are looked at where there is no mark: ASCII in UTF-16 has a zero for each."""
_WIDE_LEAST = 8


def _keep(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):  # a lone surrogate, which a few codecs return
        return (_MARK_BYTES + b"ff") * (error.end - error.start), error.end
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(f"{MARK}{byte:02x}" for byte in bad), error.end


codecs.register_error(_KEEP, _keep)


class TextReader:
    """A file in any encoding, read as valid UTF-8 without a byte-order mark.

    An undecodable byte is marked; ``restore`` puts it back, so that the error can name the record
    that contains it.
    """

    def __init__(self, file: InputFile, encoding: str) -> None:
        self._file = file
        self._pending = b""
        self._cut_off = b""
        self._ended = False
        self.closed = False
        self._reading = Lock()
        self.first_byte = 0
        """The byte of the file at which the text begins, after a byte-order mark."""
        self.has_undecodable = False
        """Whether an undecodable byte was read."""
        self.has_controls = False
        """Whether the encoding is of ISO 8859, and made a control character of a byte that other
        encodings have letters for."""
        self._bytes_of_text = 1.0
        """The number of bytes in the file for each byte of the text that was read last."""
        codec = find_codec(encoding, file.name)
        # ASCII is UTF-8, and UTF-8 needs no decoding: that saves a copy of the whole text.
        self._is_narrow = not codec.name.startswith(("utf-16", "utf-32"))
        self._may_be_cp1252 = codec.name.startswith("iso8859-")
        self._decoder = None if codec.name in _UTF8 else codec.incrementaldecoder(errors=_KEEP)
        self._skip_byte_order_mark()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end of the text."""
        with self._reading:
            return b"" if self.closed else self._read(size)

    def close(self) -> None:
        """Stop reading, and wait for a read that is running in another thread.

        pyarrow reads ahead in threads of its own. One that is still in Python code when the
        interpreter exits would keep it from exiting.
        """
        self.closed = True
        self._file.close()
        with self._reading:
            pass

    def _read(self, size: int) -> bytes:
        parts, wanted = [], size
        while wanted and not self.is_exhausted():
            part = self._pending if size < 0 else self._pending[:wanted]
            self._pending = self._pending[len(part) :]
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def is_exhausted(self) -> bool:
        """Return whether all text has been read."""
        if not self._pending:
            self._pending = self._next()
        return not self._pending

    def read_chunk(self) -> bytes:
        """Return the text that is available, about ``CHUNK_BYTES``; none at the end."""
        self.is_exhausted()
        given, self._pending = self._pending, b""
        return given

    def put_back(self, text: bytes) -> None:
        """Put text back, to be read next."""
        self._pending = text + self._pending

    def go_to(self, byte: int) -> None:
        """Continue reading at this byte of the file."""
        self._file.go_to(byte)
        self._pending, self._cut_off, self._ended = b"", b"", False
        if self._decoder is not None:
            self._decoder.reset()

    def byte_before(self, waiting: int) -> int:
        """Return the byte of the file at which the last ``waiting`` bytes of the text begin.

        It is an estimate if the file is compressed or not UTF-8.
        """
        ahead = waiting + len(self._pending) + len(self._cut_off)
        return max(self._file.bytes_read - round(ahead * self._bytes_of_text), 0)

    def bytes_in_file(self, text: bytes) -> int:
        """Return how many bytes of the file a part of the text takes.

        It is exact for UTF-8 and for encodings with one byte per character.
        """
        if self._decoder is None:
            if not self.has_undecodable:
                return len(text)
            return len(text) - (len(_MARK_BYTES) + 1) * text.count(_MARK_BYTES)
        if text.isascii():
            return len(text)
        letters = text.decode()
        return len(letters) - 2 * letters.count(MARK)

    def _skip_byte_order_mark(self) -> None:
        self._pending = self._next()
        while 0 < len(self._pending) < len(codecs.BOM_UTF8):
            more = self._next()
            if not more:
                break
            self._pending += more
        if self._pending.startswith(codecs.BOM_UTF8):
            self._pending = self._pending.removeprefix(codecs.BOM_UTF8)
            self.first_byte = len(codecs.BOM_UTF8)

    def _next(self) -> bytes:
        while not self._ended:
            before = self._file.bytes_read
            chunk = self._file.read(CHUNK_BYTES)
            self._ended = not chunk
            if before == 0:
                check_is_text(chunk, self._file.name)
                if self._is_narrow:
                    _check_is_narrow(chunk, self._file.name)
            if self._decoder is None:
                given = self._checked(chunk)
            else:
                if self._may_be_cp1252 and not (self.has_controls or chunk.isascii()):
                    self.has_controls = len(chunk.translate(None, _C1)) < len(chunk)
                text = self._decode(self._decoder, chunk)
                given = text.encode(errors=_KEEP)
                self.has_undecodable |= _MARK_BYTES in given
            if given:
                # For uncompressed UTF-8 it stays 1, even if the chunk's end was cut off.
                if self._decoder is not None or self._file.is_compressed or self.has_undecodable:
                    self._bytes_of_text = (self._file.bytes_read - before) / len(given)
                return given
        return b""

    def _decode(self, decoder: codecs.IncrementalDecoder, chunk: bytes) -> str:
        try:
            return decoder.decode(chunk, final=self._ended)
        except UnicodeError as error:
            raise SourceError(
                f"{self._file.name} does not begin with a byte-order mark, which would say how its "
                "encoding is meant: name it exactly, such as utf-16-le or utf-16-be."
            ) from error

    def _checked(self, chunk: bytes) -> bytes:
        """Return a chunk of UTF-8 with invalid bytes marked; a cut character waits for its rest."""
        chunk = self._cut_off + chunk if self._cut_off else chunk
        cut = 0 if self._ended else _length_of_cut_character(chunk)
        chunk, self._cut_off = (chunk[:-cut], chunk[-cut:]) if cut else (chunk, b"")
        # Searching for the first byte alone is a hundred times as fast.
        has_mark = _MARK_BYTES[:1] in chunk and _MARK_BYTES in chunk
        if chunk.isascii() or (not has_mark and _is_utf8(chunk)):
            return chunk
        self.has_undecodable = True
        # The mark itself, which text should not contain, is marked like an undecodable byte.
        parts = [part.decode(errors=_KEEP).encode() for part in chunk.split(_MARK_BYTES)]
        return _MARKED_MARK.join(parts)


def check_is_text(head: bytes, name: str) -> None:
    """Raise ``SourceError`` if the first bytes, decompressed, are those of another known file."""
    for magic, what in _OTHER_FILES.items():
        if head.startswith(magic):
            raise SourceError(f"{name} is not text, but {what}.")
    if head.startswith(_TAR, _TAR_AT):
        raise SourceError(f"{name} is not text, but a tar archive: extract the file from it.")


def _check_is_narrow(head: bytes, name: str) -> None:
    """Raise ``SourceError`` where these first bytes are UTF-16 or UTF-32, which was not said."""
    found = next((wide for mark, wide in _WIDE_MARKS if head.startswith(mark)), None)
    if found is None:
        units = head[:_WIDE_BYTES]
        even, odd = units[::2].count(0), units[1::2].count(0)
        if len(units) >= _WIDE_LEAST and max(even, odd) > len(units) / 4 and not min(even, odd):
            found = "utf-16-le" if odd else "utf-16-be"
    if found is not None:
        raise SourceError(f"{name} is in the encoding {found}: use --encoding {found}.")


def find_codec(encoding: str, name: str) -> codecs.CodecInfo:
    """Find the codec of an encoding, or raise ``SourceError``; ``name`` is the source's."""
    try:
        codec = codecs.lookup(encoding)
        b"a".decode(encoding, "replace")  # fails for a bytes-to-bytes codec such as base64
    except (LookupError, UnicodeError) as error:
        raise SourceError(
            f"There is no encoding {encoding!r} for {name}: use a codec that Python knows, "
            "such as utf-8, cp1252 or utf-16."
        ) from error
    return codec


def restore(text: bytes) -> bytes:
    """Put back the marked bytes; one in the range of ASCII becomes 0xFF."""
    return _MARKED.sub(_byte, text)


def show(text: str) -> str:
    r"""Return text with its marked bytes shown as in messages: ``\\xe9``."""
    return re.sub(MARK + "([0-9a-f]{2})", r"\\x\1", text)


def _byte(match: re.Match[bytes]) -> bytes:
    byte = int(match[1], 16)
    return bytes([byte if byte >= _FIRST_NON_ASCII else 0xFF])


def find_undecodable(cells: pa.Array) -> list[int]:
    """Return the places of the cells of a binary array that are not valid UTF-8."""
    # Arrow only reports whether such cells exist, so this looks at their bytes.
    is_ascii = pc.string_is_ascii(cells.view(pa.string()))
    suspects = pc.indices_nonzero(pc.fill_null(pc.invert(is_ascii), False))
    texts = zip(suspects.to_pylist(), cells.take(suspects).to_pylist(), strict=True)
    return [place for place, text in texts if not _is_text(text)]


def why_undecodable(cell: bytes | str) -> str:
    """Return why a cell that is not valid UTF-8, or a text that cannot be encoded, is refused."""
    if isinstance(cell, str):
        return LONE_SURROGATE
    try:
        cell.decode()
    except UnicodeDecodeError as error:
        return (
            f"byte 0x{cell[error.start]:02X} is not valid in the source's encoding: specify "
            "the file's encoding"
        )
    raise AssertionError(cell)  # Arrow and Python agree on what UTF-8 is


def _is_text(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(chunk: bytes) -> bool:
    offsets = pa.py_buffer(len(chunk).to_bytes(8, "little").rjust(16, b"\0"))
    whole = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(chunk)])
    try:
        whole.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _length_of_cut_character(chunk: bytes) -> int:
    """Return the number of bytes at the end that are an incomplete character."""
    for length in (1, 2, 3):
        byte = chunk[-length] if length <= len(chunk) else 0
        if byte < _FIRST_NON_ASCII:
            return 0
        if byte >= 0xC0:  # noqa: PLR2004 - the first byte of a character, which says its length
            whole = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004
            return length if length < whole else 0
    return 0

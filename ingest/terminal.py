r"""Escapes text for a terminal and for a log.

Text from a file, a name or PostgreSQL may contain characters that a terminal obeys (ESC and the
other control characters), that end a line, or that reverse the order of the text
(https://trojansource.codes). They are shown as in TOML and JSON, for example ``\u001b``.
"""

from __future__ import annotations

import re

_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and line feed, DEL, C1
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # invisible, line ends, directions
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible, too
    "\ud800-\udfff"  # surrogates: bytes of a name that are not UTF-8
)
_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_IN_LINE = re.compile(f"[\t\n{_UNSAFE}]")


def safe_text(text: str) -> str:
    """Escape the characters that a terminal would obey, except tabs and line feeds."""
    return text if text.isascii() and text.isprintable() else _IN_TEXT.sub(_escape, text)


def safe_line(text: str) -> str:
    """Escape the characters that a terminal would obey or that would end the line."""
    return text if text.isascii() and text.isprintable() else _IN_LINE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    known = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
    code = ord(match.group())
    return known.get(match.group()) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")  # noqa: PLR2004

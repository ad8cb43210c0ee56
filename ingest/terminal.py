r"""Text made safe for a terminal and for a log.

What comes from a file, from a name or from PostgreSQL may hold characters that a terminal obeys
(ESC and the other control characters), that end a line, or that turn the order of the text round
(https://trojansource.codes). They are shown as ``\u001b``, which is how TOML and JSON write them.
"""

from __future__ import annotations

import re

_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # invisible, line ends, directions
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible, too
    "\ud800-\udfff"  # no text: bytes of a name that are not UTF-8
)
_IN_TEXT = re.compile(f"[{_UNSAFE}]")
_IN_LINE = re.compile(f"[\t\n{_UNSAFE}]")


def safe_text(text: str) -> str:
    """Escape what a terminal would obey; tabs and line feeds stay."""
    return text if text.isascii() and text.isprintable() else _IN_TEXT.sub(_escape, text)


def safe_line(text: str) -> str:
    """Escape what a terminal would obey, and what would end the line."""
    return text if text.isascii() and text.isprintable() else _IN_LINE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    known = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
    code = ord(match.group())
    return known.get(match.group()) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")  # noqa: PLR2004

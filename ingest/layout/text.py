"""TOML as text: find the line of a key, and write values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """The file that a layout was read from."""

    name: str
    text: str

    def say(self, keys: tuple[str, ...], message: str) -> str:
        """Return a message that begins with the file and the line of a key."""
        line = find_line(self.text, keys)
        where = self.name if line is None else f"{self.name}, line {line}"
        return f"{where}: {message}"


def find_line(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line, from 1, of the key at a path of keys, or None.

    tomllib does not report positions, so each key is searched for after the one before it.
    """
    place = 0
    found: int | None = None
    for key in keys:
        name = re.escape(key)
        pattern = rf"^[^#\n]*?(?<![\w-])[\"']?{name}[\"']?(?![\w-])\s*[=.\]]"
        match = re.compile(pattern, re.MULTILINE).search(text, _start_of_line(text, place))
        if match is None:
            continue
        place = match.end() - 1
        found = text.count("\n", 0, match.end() - 1) + 1
    return found


def _start_of_line(text: str, place: int) -> int:
    return text.rfind("\n", 0, place) + 1


def write(document: dict[str, Any]) -> str:
    """Write a document: first plain values, then tables, with one line for each of their keys."""
    plain = {key: value for key, value in document.items() if not _is_table(value)}
    lines = [f"{write_key(key)} = {write_value(value)}" for key, value in plain.items()]
    for key, value in document.items():
        if key in plain:
            continue
        tables = value if isinstance(value, list) else [value]
        mark = ("[[", "]]") if isinstance(value, list) else ("[", "]")
        for table in tables:
            lines += ["", f"{mark[0]}{write_key(key)}{mark[1]}"]
            lines += [f"{write_key(name)} = {write_value(item)}" for name, item in table.items()]
    return "\n".join(lines).lstrip("\n") + "\n"


def write_value(value: Any) -> str:
    """Write one value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inner = ", ".join(f"{write_key(key)} = {write_value(item)}" for key, item in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a TOML basic string, except for DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def write_key(key: str) -> str:
    """Write a key, quoted if necessary."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else write_value(key)


def _is_table(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict)

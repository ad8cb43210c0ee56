"""Make frozen dataclasses from a TOML document, with errors that name the line and the key."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ingest.exceptions import LayoutError, did_you_mean
from ingest.layout.text import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_document(path: str | Path) -> tuple[dict[str, Any], Origin]:
    """Read a TOML file, or raise ``LayoutError``."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a Traversable may come too
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"The layout {str(path)!r} cannot be read: {error}") from error
    import tomllib  # most loads read no document

    origin = Origin(name=str(path), text=text)
    try:
        return tomllib.loads(text), origin
    except tomllib.TOMLDecodeError as error:
        raise LayoutError(f"{path} is not valid TOML: {error}") from error


class Parser:
    """Makes dataclasses from TOML tables; ``kinds`` are the possible dataclasses, by name."""

    def __init__(self, kinds: Mapping[str, type[Any]], origin: Origin) -> None:
        self._kinds = kinds
        self._origin = origin

    def make(self, kind: type[Any], table: Any, path: tuple[str, ...] = ()) -> Any:
        """Make one dataclass from a table, or raise ``LayoutError``."""
        if not isinstance(table, dict):
            raise self.error(path, f"{_show(path)} must be a table.")
        known = {item.name: str(item.type) for item in dataclasses.fields(kind)}
        known.pop("asked", None)
        origin = {} if known.pop("origin", None) is None else {"origin": self._origin}
        values = {}
        for key, value in table.items():
            here = (*path, key)
            if key not in known:
                where = f" in {_show(path)}" if path else ""
                raise self.error(here, f"there is no key {key!r}{where}.{did_you_mean(key, known)}")
            values[key] = self._value(known[key].removesuffix(" | None"), value, here)
        required = [
            item.name
            for item in dataclasses.fields(kind)
            if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        ]
        for name in required:
            if name not in values:
                raise self.error(path, f"{_show(path)} lacks the key {name!r}.")
        return kind(**values, **origin)

    def error(self, path: tuple[str, ...], message: str) -> LayoutError:
        """Return an error that names the file and the line."""
        return LayoutError(self._origin.say(path, message))

    def _value(self, kind: str, value: Any, path: tuple[str, ...]) -> Any:
        if kind.startswith("tuple[") and kind[6:].partition(",")[0] in self._kinds:
            inner = self._kinds[kind[6:].partition(",")[0]]
            return tuple(
                self.make(inner, item, path)
                for item in (value if isinstance(value, list) else [value])
            )
        if kind == "Mapping[str, FieldLayout]":
            return self._fields(value, path)
        if kind in self._kinds:
            return self.make(self._kinds[kind], value, path)
        return self._plain(kind, value, path)

    def _fields(self, table: Any, path: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise self.error(path, f"{_show(path)} must be a table.")
        kind = self._kinds["FieldLayout"]
        tables = {
            name: item if isinstance(item, dict) else {"column": item}
            for name, item in table.items()
        }
        return {name: self.make(kind, item, (*path, name)) for name, item in tables.items()}

    def _plain(self, kind: str, value: Any, path: tuple[str, ...]) -> Any:
        test, words = _TESTS[kind]
        if kind.startswith("tuple[") and not isinstance(value, list):
            value = [value]
        if not test(value):
            raise self.error(path, f"{_show(path)} must be {words}, not {value!r}.")
        return tuple(value) if kind.startswith("tuple[") else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_column(value: Any) -> bool:
    return _is_text(value) or (_is_number(value) and value > 0)


_COLUMN = "a column's name or its position from 1"
_TESTS: dict[str, tuple[Any, str]] = {
    "str": (_is_text, "text"),
    "int": (_is_number, "a whole number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "Column": (_is_column, _COLUMN),
    "tuple[Column, ...]": (lambda value: all(map(_is_column, value)), f"a list, each {_COLUMN}"),
    "tuple[str, ...]": (lambda value: all(map(_is_text, value)), "text or a list of texts"),
    "Mapping[str, Any]": (lambda value: isinstance(value, dict), "a table"),
    "Any": (lambda value: not isinstance(value, list), "one value"),
}


def _show(path: tuple[str, ...]) -> str:
    return ".".join(path) or "the layout"

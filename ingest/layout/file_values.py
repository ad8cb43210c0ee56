"""Find values shared by all records of a file, in its preamble or its name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ingest.layout.columns import Picker
    from ingest.layout.definition import Layout
    from ingest.sources import Batch, Source

_SHOWN = {"preamble": "(the preamble)", "file_name": "(the file's name)"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileValue:
    """A value shared by all records of a file."""

    original: str
    """The text as it is in the file's preamble or name."""
    text: str
    """The text in the form that the field reads."""


class FileValues:
    """The values that a layout finds in the preambles and names of a source's files."""

    def __init__(self, layout: Layout, pickers: Mapping[str, Picker], source: Source) -> None:
        """Search each file once; raise ``LayoutError`` for a pattern that does not match."""
        self._layout = layout
        self._source = source
        self._keys: dict[str, str] = {}
        self._values: dict[str, dict[str, FileValue]] = {}
        for name, picker in pickers.items():
            if picker.origin is not None:
                self._keys[name] = picker.origin[0]
                self._values[name] = {}
        if not self._keys:
            return
        for file in source.each_file():
            for name, key in self._keys.items():
                self._values[name][file.name] = self._find(name, key, pickers[name], file)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __contains__(self, name: str) -> bool:
        return name in self._keys

    def text(self, name: str, batch: Batch) -> str:
        """Return the value of a batch's file, in the form that the field reads."""
        return self._of(name, batch).text

    def original(self, name: str, batch: Batch) -> str:
        """Return the value of a batch's file as it is in the file's preamble or name."""
        return self._of(name, batch).original

    def values_of(self, name: str) -> Iterator[tuple[str, FileValue]]:
        """Return the value of each file, with the file's name."""
        yield from self._values.get(name, {}).items()

    def shown(self, name: str) -> str:
        """Return the text that messages show instead of a source column."""
        return _SHOWN[self._keys[name]] if name in self._keys else "(the layout)"

    def _of(self, name: str, batch: Batch) -> FileValue:
        return self._values[name][batch.source]

    def _find(self, name: str, key: str, picker: Picker, file: Source) -> FileValue:
        keys = ("fields", name, key)
        text = file.preamble if key == "preamble" else file.file_name
        if not text:
            why = (
                "it has no text before the header: set skip_records"
                if key == "preamble"
                else "it is not a file with a name"
            )
            raise self._layout.error(
                keys, f"{name} cannot be found in the {_words(key)} of {file.name}: {why}."
            )
        origin = picker.origin
        part = None if origin is None else origin[1].find(text)
        if part is None:
            pattern = getattr(self._layout.fields[name], key)
            raise self._layout.error(
                keys,
                f"{name} cannot be found in the {_words(key)} of {file.name}: the pattern "
                f"{pattern!r} does not match {shorten(text)}.",
            )
        read, reason = picker.read_one(part)
        if reason is not None:
            raise self._layout.error(keys, f"{name}, in the {_words(key)} of {file.name}: {reason}")
        return FileValue(original=part, text=read)


def _words(key: str) -> str:
    return key.replace("_", " ")

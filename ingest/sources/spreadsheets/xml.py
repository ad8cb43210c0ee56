"""Parses the XML of workbooks in pieces, and refuses entity declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from ingest.exceptions import SourceError
from ingest.sources.archive import read_member

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterable


def parse(
    blocks: Iterable[bytes],
    name: str,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Call functions for the elements of the XML; tag names are passed without their prefixes.

    Raises ``SourceError`` if it is damaged, or declares a document type: entities could make a
    small file a huge one, or read other files, and no workbook needs them.
    """
    parser = make_parser(name)
    parser.StartElementHandler = lambda tag, found: start(tag.rpartition(":")[2], found)
    if end is not None:
        parser.EndElementHandler = lambda tag: end(tag.rpartition(":")[2])
    if text is not None:
        parser.CharacterDataHandler = text
    feed(parser, blocks, name)


def read_targets(archive: zipfile.ZipFile, member: str, name: str) -> dict[str, str]:
    """Return the targets of a member with relationships, by their ids."""
    targets: dict[str, str] = {}

    def take(tag: str, found: dict[str, str]) -> None:
        if tag == "Relationship":
            targets[found.get("Id", "")] = found.get("Target", "")

    parse(read_member(archive, member, name), name, take)
    return targets


def make_parser(name: str) -> Any:
    """Return an expat parser that refuses a document type."""

    def refuse(*_: Any) -> None:
        raise SourceError(f"{name} has XML with a document type, which no workbook needs.")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    return parser


def feed(parser: Any, blocks: Iterable[bytes], name: str) -> None:
    """Parse all blocks; raise ``SourceError`` if the XML is damaged."""
    try:
        for block in blocks:
            parser.Parse(block, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise SourceError(
            f"{name} is damaged: its XML cannot be read ({error}). Open it with a spreadsheet "
            "program and save it again."
        ) from error

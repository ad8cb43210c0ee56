"""Named layouts: those that the installed apps keep in a folder ``layouts``."""

from __future__ import annotations

from pathlib import Path

from django.apps import apps

from ingest.exceptions import LayoutError, did_you_mean
from ingest.layout.definition import Layout

FOLDER = "layouts"


def find_layout(given: Layout | str | Path) -> Layout:
    """Find a layout: one that is at hand, a path that ends in ``.toml``, or a name.

    Raises ``LayoutError`` for a name that no installed app has.
    """
    if isinstance(given, Layout):
        return given
    if isinstance(given, Path) or given.endswith(".toml"):
        return Layout.from_toml(given)
    known = layout_names()
    if given not in known:
        raise LayoutError(
            f"There is no layout {given!r}.{did_you_mean(given, known)} Give a file whose name "
            f"ends in .toml, or a name that an app has in its folder {FOLDER}: {', '.join(known)}."
        )
    return Layout.from_toml(known[given])


def layout_names() -> dict[str, Path]:
    """Return the files of the named layouts, by name; the first app that has a name keeps it."""
    found: dict[str, Path] = {}
    for app in apps.get_app_configs():
        for path in sorted((Path(app.path) / FOLDER).glob("*.toml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))

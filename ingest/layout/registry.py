"""Find layouts by name: in the ``layouts`` folders of installed apps, or saved in the admin."""

from __future__ import annotations

from pathlib import Path

from django.apps import apps
from django.db import DatabaseError

from ingest.exceptions import LayoutError, did_you_mean
from ingest.layout.definition import Layout
from ingest.layout.text import Origin

FOLDER = "layouts"
SAVED = "saved:"
"""The prefix of the names of layouts that were saved in the admin."""


def find_layout(given: Layout | str | Path) -> Layout:
    """Return a layout, given as itself, as a path that ends in ``.toml``, or as a name.

    ``saved:NAME`` is a layout that was saved in the admin. Raises ``LayoutError`` for an unknown
    name.
    """
    if isinstance(given, Layout):
        return given
    if not isinstance(given, str | Path):
        raise LayoutError(
            f"A layout is a name, the path of a .toml file or a Layout, not {type(given).__name__}."
        )
    if isinstance(given, str) and given.startswith(SAVED):
        return _find_saved(given.removeprefix(SAVED))
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
    """Return the files of the named layouts, by name; the first app with a name wins."""
    found: dict[str, Path] = {}
    for app in apps.get_app_configs():
        for path in sorted((Path(app.path) / FOLDER).glob("*.toml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def read_text(text: str, name: str) -> Layout:
    """Return the layout in a TOML text; messages call it ``name``."""
    import tomllib  # most loads do not need it

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LayoutError(f"{name} is not valid TOML: {error}") from error
    return Layout.from_document(document, Origin(name=name, text=text))


def _find_saved(name: str) -> Layout:
    if not apps.is_installed("ingest"):
        raise LayoutError(f"There is no saved layout {name!r}: 'ingest' is not in INSTALLED_APPS.")
    saved = apps.get_model("ingest", "SavedLayout").objects
    try:
        text = saved.filter(name=name).values_list("layout", flat=True).first()
        if text is None:
            known = list(saved.values_list("name", flat=True))
            raise LayoutError(
                f"There is no saved layout {name!r}.{did_you_mean(name, known)} Save one in the "
                "admin, or give a file whose name ends in .toml."
            )
    except DatabaseError as error:
        from ingest.postgres.errors import brief  # imports both drivers

        raise LayoutError(f"The saved layout {name!r} cannot be read: {brief(error)}.") from error
    return read_text(text, f"{SAVED}{name}")

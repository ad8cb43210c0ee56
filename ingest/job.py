"""A load as it was asked for: what it takes to do it, and to do it again."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from django.db import DEFAULT_DB_ALIAS, router

from ingest.layout import LAYOUT_OPTIONS, Layout, choose_layout, find_model
from ingest.layout.text import Origin
from ingest.options import LoadOptions, split_options
from ingest.sources import SourceOptions
from ingest.sources.several import SeveralSource, expand

if TYPE_CHECKING:
    from django.db import models

    from ingest.models import Load

PLAN = ("method", "references", "indexes", "on_error", "reject_limit", "clean")
"""Options of a load that decide what becomes of its records."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A load as it was asked for."""

    model: type[models.Model]
    alias: str
    given: Any
    """The source, as it was given."""
    reading: SourceOptions
    """How the source is to be read; what the layout says of it included."""
    how: LoadOptions
    layout: Layout | None
    options: dict[str, Any]
    """What was said of both by name."""

    @classmethod
    def of(
        cls, model: type[models.Model], source: Any, using: str | None, options: dict[str, Any]
    ) -> Self:
        """Take the arguments of ``load`` apart; raises what is wrong with them."""
        layout = choose_layout(options)
        said = {} if layout is None else layout.source
        reading, how = split_options({**said, **options})
        return cls(
            model=model,
            alias=using or router.db_for_write(model) or DEFAULT_DB_ALIAS,
            given=source,
            reading=reading,
            how=how,
            layout=layout,
            options=options,
        )

    @classmethod
    def again(cls, load: Load, alias: str) -> Self:
        """Give the job of a load that the ledger has."""
        said = dict(load.options)
        options = {**said["reading"], **said["how"]}
        if load.layout:
            origin = Origin(name=f"the layout of load {load.pk}", text=load.layout)
            options["layout"] = Layout.from_document(tomllib.loads(load.layout), origin)
        return cls.of(find_model(load.model), said["given"], alias, options)

    def to_json(self) -> dict[str, Any]:
        """Give what ``again`` needs beside the layout, as JSON's kinds of values."""
        # What the layout has taken in is in the ledger's copy of it.
        taken_in: dict[str, Any] = dict.fromkeys(LAYOUT_OPTIONS)
        how = dataclasses.asdict(dataclasses.replace(self.how, **taken_in))
        for name in ("reject_log", "reject_file"):
            how[name] = None if how[name] is None else _absolute(how[name])
        return {
            "given": self._given(),
            "layout": self._layout_name(),
            "reading": _said(dataclasses.asdict(self.reading), SourceOptions()),
            "how": _said(how, LoadOptions()),
        }

    def plan(self) -> dict[str, Any]:
        """Give what must be the same for a load to go on: how it is read, and what is kept."""
        said = self.to_json()
        return {
            "reading": said["reading"],
            **{name: said["how"][name] for name in PLAN if name in said["how"]},
        }

    @property
    def files(self) -> list[Any]:
        """The files that the source is read from: paths, and what is open already."""
        if SeveralSource.accepts(self.given):
            return list(expand(self.given))
        is_file = isinstance(self.given, str | Path) or hasattr(self.given, "read")
        return [self.given] if is_file else []

    def _layout_name(self) -> str | None:
        name = self.options.get("layout")
        if any(self.options.get(option) for option in LAYOUT_OPTIONS if option != "layout"):
            return None  # the file alone is not the layout of this load
        if isinstance(name, Path) or (isinstance(name, str) and name.endswith(".toml")):
            return _absolute(name)
        return name if isinstance(name, str) else None

    def _given(self) -> Any:
        files = self.given if isinstance(self.given, list | tuple) else [self.given]
        if not all(_is_utf8(file) for file in files if isinstance(file, str | Path)):
            return None  # PostgreSQL has no such text
        if isinstance(self.given, str | Path):
            return _absolute(self.given)
        is_list = isinstance(self.given, list | tuple)
        if is_list and all(isinstance(item, str | Path) for item in self.given):
            return [_absolute(item) for item in self.given]
        return None


def _is_utf8(given: Any) -> bool:
    """Can the name, or can the names, be written down?"""
    try:
        str(given).encode()
    except UnicodeEncodeError:
        return False
    return True


def _absolute(path: str | Path) -> str:
    # A resume may come from another working directory.
    return str(path) if str(path) == "-" else str(Path(path).absolute())


def _said(values: dict[str, Any], usual: Any) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value != getattr(usual, name)
    }

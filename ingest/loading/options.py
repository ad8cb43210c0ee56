"""The options of a load, and the load as it was requested."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from django.db import DEFAULT_DB_ALIAS, router

from ingest import conf
from ingest.exceptions import did_you_mean
from ingest.layout import LAYOUT_OPTIONS, Layout, check_model, choose_layout, find_model
from ingest.layout.text import Origin
from ingest.loading.option_checks import OPTIONS_OF_CONFLICTS, check_options
from ingest.loading.sharing import Order, is_ordered, is_shared
from ingest.postgres.several_tables import models_of_rows
from ingest.results.rejects import as_json
from ingest.sources import SourceOptions
from ingest.sources.addresses import is_address, without_credentials
from ingest.sources.django_files import plain_file
from ingest.sources.several import SeveralSource, expand
from ingest.writing.conflicts.options import ConflictOptions, Duplicates, OnConflict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from django.db import models

    from ingest.ledger.models import Load
    from ingest.writing.direct import Indexes, References


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """The options of a load."""

    method: str = "direct"
    """``direct``, which takes the fastest path that is proved safe, or plain ``copy``."""
    references: References = "auto"
    """How ``direct`` checks foreign keys: ``auto``, once for each batch with ``set``, or row by row
    with ``trigger``. A load inside ``atomic()`` checks its deferred foreign keys before it returns;
    ``defer`` leaves this to the end of the caller's transaction."""
    indexes: Indexes = "auto"
    """What ``direct`` does with the indexes of an empty table: ``auto``, ``rebuild`` them after the
    rows, or ``keep`` them."""
    on_error: str = "abort"
    """``abort``: one refused record ends the load, and nothing is loaded. ``reject``: refused
    records are rejected with their reasons, and all others are loaded."""
    on_conflict: OnConflict = "error"
    """What happens to a record whose key is in the table already. ``error``: PostgreSQL refuses it.
    ``ignore``: the table's row is kept. ``update``: the row is updated, and a record whose key is
    not in the table is refused. ``upsert``: the row is updated, or a new row is inserted. ``sync``:
    like ``upsert``, and rows of the ``scope`` that the source does not have are deleted. A row that
    has the source's values already is not written."""
    key: Sequence[str] | str | None = None
    """The fields of the unique key by which rows are found; None: the only one that the source
    feeds. A foreign key may be named together with its lookup: ``customer__number``."""
    update_fields: Sequence[str] | str | None = None
    """The fields to update; None: all fields that the source feeds, except those of the key."""
    keep_if_null: Sequence[str] | str | None = None
    """Fields that keep their value in the table if the source has NULL."""
    newest: str | None = None
    """Update a row only if the source's value of this field is greater than the table's; a record
    that is not newer and would change its row is ignored."""
    duplicates: Duplicates = "reject"
    """Which record counts if the source has several with one key, with ``on_conflict``: ``reject``
    refuses all but the first, ``first`` and ``last`` skip the others."""
    scope: Mapping[str, Any] | Sequence[str] | str | None = None
    """The rows that ``sync`` may delete: fields and their values, or ``all``."""
    max_deletes: str | int | None = None
    """Roll back if ``sync`` would delete more rows than this: a number, or a share of the scope's
    rows. None: 10 %."""
    keep_old: bool = False
    """Keep the old values of changed and deleted rows in the ledger, for an undo of the load."""
    reject_limit: str | int | None = None
    """Roll back if more records are refused than this: a number, or a share such as ``2.5%``."""
    reject_log: str | Path | None = None
    """The file to which rejects are written as JSON Lines; None: a temporary file."""
    reject_file: str | Path | None = None
    """The file to which refused records are written in the source's own format, with the reasons,
    to be fixed and loaded again."""
    overwrite: bool = False
    """Replace an existing reject log or reject file that is not empty."""
    analyze: bool = True
    """Run ANALYZE on the table after the commit, if at least a tenth of its rows are new; never
    inside a caller's transaction."""
    dry_run: bool = False
    """Do everything except commit."""
    verify: bool = False
    """Re-check every constraint and index of the table after the commit: see
    ``LoadResult.audit``."""
    layout: Layout | str | Path | None = None
    """Which source column feeds which field, and how its text is read: a ``Layout``, a path that
    ends in ``.toml``, or the name of a layout of an installed app. None: columns are matched by
    field name."""
    map: Mapping[str, str | int] | None = None
    """The source column that feeds a field, by name or by position from 1, such as
    ``{"amount": "Betrag"}``. The field may be ``customer__number``, to look up the parent."""
    set: Mapping[str, Any] | None = None
    """One value for all records, for fields that the source does not have: ``{"bank": "KB"}``. Each
    is validated by its field before the first row; a field with a lookup in the layout is looked
    up."""
    true: Sequence[str] | str | None = None
    """Words that mean true in boolean fields, besides those that the field reads by itself; case
    and surrounding blanks are ignored."""
    false: Sequence[str] | str | None = None
    """Words that mean false in boolean fields."""
    match: str | None = None
    """How source columns are matched with fields if nothing names them. None: by the field's name.
    Otherwise, if exactly one field fits, also by its column or ``verbose_name``, ignoring case,
    blanks, hyphens and underscores; ``LoadResult.decisions`` then reports it. ``loose``: if several
    fit, the field's name comes before its column, and its column before its ``verbose_name``.
    ``exact``: by the field's name only."""
    ignore_columns: Sequence[str] | str | None = None
    """Source columns that are ignored on purpose; ``rest``: all those that fit no field."""
    clean: bool = False
    """Make an instance of each record and run ``Model.clean()``, and the ``clean()`` and
    ``validate()`` of custom fields. It costs as much as ``full_clean()`` of each record."""
    chunk_rows: int | None = None
    """The number of records after which the load commits. None: one commit for all."""
    resumable: bool = False
    """Commit in chunks, of ``INGEST["CHUNK_ROWS"]`` records unless ``chunk_rows`` is given, and
    resume an unfinished load of the same file if there is one."""
    workers: int = 1
    """Processes that load chunks in parallel; more than one makes the load ``resumable``."""
    executor: Executor | None = None
    """A ``concurrent.futures.Executor`` that loads the chunks, instead of ``workers``: a pool of
    threads or processes, or that of a cluster, ``Client(…).get_executor()``. Its processes must
    find Django's settings and the files as this process does. It is not shut down."""
    scheduler: str | None = None
    """The address of a Dask scheduler whose workers load the chunks: ``tcp://host:8786``."""
    order: Order | None = None
    """The order in which chunks loaded by several processes are committed. ``source``: what is
    committed is at any moment what one process would have committed. ``any``: each chunk as soon as
    it is done. None: ``source`` on one machine, ``any`` with ``scheduler`` and the executors of
    other libraries."""
    retries: int = 5
    """How often a recorded load is retried if the connection or the server fails."""
    on_repeat: Literal["warn", "refuse"] = "warn"
    """What happens to a file whose content was loaded into the same table before: ``warn`` reports
    it before the load begins, ``refuse`` loads nothing."""
    who: str = ""
    """Who requested the load, for the ledger."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def conflicts(self) -> ConflictOptions | None:
        """How conflicts are settled; None: PostgreSQL refuses records whose key it has."""
        if self.on_conflict == "error":
            return None
        return ConflictOptions(
            mode=self.on_conflict,
            key=_names(self.key),
            update_fields=_names(self.update_fields),
            keep_if_null=_names(self.keep_if_null) or (),
            newest=self.newest,
            duplicates=self.duplicates,
            scope=self.scope,
            max_deletes=self.max_deletes,
        )

    @property
    def is_chunked(self) -> bool:
        """Whether the load is committed in more than one chunk."""
        return self.is_resumable or self.chunk_rows is not None

    @property
    def is_resumable(self) -> bool:
        """Whether the same load resumes after an earlier one that stopped."""
        return self.resumable or self.is_shared

    @property
    def is_shared(self) -> bool:
        """Whether several processes share the load."""
        return is_shared(self)

    @property
    def is_ordered(self) -> bool:
        """Whether the load's chunks are committed in the source's order."""
        return is_ordered(self)

    @property
    def records_of_chunk(self) -> int | None:
        """The number of records of a chunk; None: all."""
        return (self.chunk_rows or conf.chunk_rows()) if self.is_chunked else None


def _names(given: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Return the names, which may be given as one text."""
    if given is None:
        return None
    return tuple(re.split(r"[,\s]+", given.strip())) if isinstance(given, str) else tuple(given)


def _conflict_of(layout: Layout, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layout's options for conflicts that fit the caller's ``on_conflict``."""
    of_layout = layout.conflict.given()
    mode = options.get("on_conflict")
    if mode is None:
        return of_layout
    fitting = {name for names, modes in OPTIONS_OF_CONFLICTS if mode in modes for name in names}
    return {name: value for name, value in of_layout.items() if name in fitting}


def split_options(options: dict[str, Any]) -> tuple[SourceOptions, LoadOptions]:
    """Split the options into those of the source and those of the load, or raise ``TypeError``."""
    kinds = (SourceOptions, LoadOptions)
    names = [{field.name for field in dataclasses.fields(kind)} for kind in kinds]
    for name in options:
        if not any(name in known for known in names):
            raise TypeError(
                f"load() has no option {name!r}.{did_you_mean(name, names[0] | names[1])}"
            )
    reading = {name: options[name] for name in options if name in names[0]}
    if reading.get("columns") is not None:
        reading["columns"] = tuple(reading["columns"])
    how = {name: options[name] for name in options if name in names[1]}
    return SourceOptions(**reading), LoadOptions(**how)


BRIEF_ROWS = 5_000
"""Up to this many rows ``direct`` is plain COPY, and the rows are one batch."""
PLAN = (
    *("method", "references", "indexes", "on_error", "reject_limit", "clean"),
    "order",
    *("on_conflict", "key", "update_fields", "keep_if_null", "newest", "duplicates", "keep_old"),
)
"""Options of a load that decide what happens to its records."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoadSpec:
    """A load as it was requested."""

    model: type[models.Model]
    alias: str
    given: Any
    """The source, as it was given."""
    reading: SourceOptions
    """How to read the source, including the options of the layout."""
    how: LoadOptions
    layout: Layout | None
    options: dict[str, Any]
    """The options that were given by name."""

    @classmethod
    def of(
        cls, model: type[models.Model], source: Any, using: str | None, options: dict[str, Any]
    ) -> Self:
        """Parse the arguments of ``load``; raise an error if they are wrong."""
        check_model(model)
        layout = choose_layout(options)
        of_layout = {} if layout is None else {**layout.source, **_conflict_of(layout, options)}
        reading, how = split_options({**of_layout, **options})
        return cls(
            model=model,
            alias=using or router.db_for_write(model) or DEFAULT_DB_ALIAS,
            given=plain_file(source, reading.encoding),
            reading=reading,
            how=how,
            layout=layout,
            options=options,
        )

    @classmethod
    def again(cls, load: Load, alias: str) -> Self:
        """Return the specification of a load that the ledger has."""
        recorded = dict(load.options)
        options = {**recorded["reading"], **recorded["how"]}
        # The setting may have changed, and fewer processes than before may load the rest.
        options["chunk_rows"] = load.chunk_rows
        if load.layout:
            import tomllib  # few loads need it

            origin = Origin(name=f"the layout of load {load.pk}", text=load.layout)
            options["layout"] = Layout.from_document(tomllib.loads(load.layout), origin)
        return cls.of(find_model(load.model), recorded["given"], alias, options)

    @property
    def is_brief(self) -> bool:
        """Return whether this is one batch of rows in memory, with no option that needs more.

        Such a load takes few messages to the server, and is recorded in the ledger at its end.
        """
        how = self.how
        return (
            isinstance(self.given, list | tuple)
            and 0 < len(self.given) <= BRIEF_ROWS
            and not self.files
            and self.layout is None
            and (how.on_error, how.on_conflict, how.on_repeat) == ("abort", "error", "warn")
            and len(models_of_rows(self.model)) == 1
            and not (how.is_chunked or how.dry_run or how.verify or how.clean)
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``again`` needs besides the layout, as values for JSON."""
        # The options that are part of the layout are in the ledger's copy of the layout.
        taken_in: dict[str, Any] = dict.fromkeys((*LAYOUT_OPTIONS, "executor"))
        how = dataclasses.asdict(dataclasses.replace(self.how, **taken_in))
        # It must not depend on which processes resume the load.
        how["order"] = None if self.how.is_ordered else "any"
        if self.how.scheduler and self.how.is_ordered:
            how["order"] = "source"
        if isinstance(how["scope"], dict):
            how["scope"] = as_json(how["scope"])
        for name in ("reject_log", "reject_file"):
            how[name] = None if how[name] is None else _absolute(how[name])
        return {
            "given": self._given(),
            "layout": self._layout_name(),
            "reading": _changed(dataclasses.asdict(self.reading), SourceOptions()),
            "how": _changed(how, LoadOptions()),
        }

    def plan(self) -> dict[str, Any]:
        """Return what must be the same to resume a load: how it is read, and how it is written."""
        recorded = self.to_json()
        how = recorded["how"]
        return {
            "reading": recorded["reading"],
            **{name: how[name] for name in PLAN if name in how and how[name] != "source"},
        }

    @property
    def files(self) -> list[Any]:
        """The files that the source is read from: paths, and open files."""
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
            return None  # PostgreSQL cannot store such a text
        if isinstance(self.given, str | Path):
            return _absolute(self.given)
        is_list = isinstance(self.given, list | tuple)
        if is_list and all(isinstance(item, str | Path) for item in self.given):
            return [_absolute(item) for item in self.given]
        return None


def _is_utf8(path: str | Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _absolute(path: str | Path) -> str:
    if is_address(path):
        return without_credentials(str(path))
    # A load may be resumed from another working directory.
    is_elsewhere = str(path) == "-" or str(path).startswith("storage:")
    return str(path) if is_elsewhere else str(Path(path).absolute())


def _changed(values: dict[str, Any], defaults: Any) -> dict[str, Any]:
    """Return the options that differ from their defaults, as values for JSON."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        if value != getattr(defaults, name)
    }

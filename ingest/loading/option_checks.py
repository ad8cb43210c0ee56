"""Checks of a load's options: unknown values, and options that have no effect."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, get_args

from ingest.exceptions import ConfigurationError
from ingest.loading.reject_log import RejectLimit
from ingest.loading.sharing import OF_SHARING, check_order, check_sharing
from ingest.sources import SourceOptions
from ingest.writing.conflicts.options import DeleteLimit, Duplicates, OnConflict
from ingest.writing.direct import References

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.loading.options import LoadOptions
    from ingest.sources import Source

_WRITING = ("update", "upsert", "sync")
OPTIONS_OF_CONFLICTS = (
    (("key", "duplicates"), ("ignore", *_WRITING)),
    (("update_fields", "keep_if_null", "newest", "keep_old"), _WRITING),
    (("scope", "max_deletes"), ("sync",)),
)
"""Options, and the values of ``on_conflict`` with which they have an effect."""
_GREATEST_NUMBER = 2**31 - 1
"""The greatest number of chunks' rows, workers or retries; beyond it is a slip of the keyboard."""


def check_options(how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` for options that no load can have."""
    _check_values(how)
    if how.overwrite and how.reject_log is None and how.reject_file is None:
        raise ConfigurationError(
            "overwrite is for a reject log or a reject file, and there is none: leave it out."
        )
    if how.verify and how.dry_run:
        raise ConfigurationError(
            "verify looks at the table after the commit, and a dry run has none: "
            "leave out verify or dry_run."
        )
    RejectLimit.parse(how.reject_limit)
    _check_effects(how)
    _check_conflicts(how)
    check_sharing(how)
    for name, least in (("chunk_rows", 1), ("workers", 1), ("retries", 0)):
        value = getattr(how, name)
        if value is not None and value < least:
            raise ConfigurationError(f"{name} is {value}: it must be {least} or more.")
        if value is not None and value > _GREATEST_NUMBER:
            raise ConfigurationError(f"{name} is {value}: it must be {_GREATEST_NUMBER:,} or less.")
    if how.is_chunked and how.dry_run:
        raise ConfigurationError("A dry run is one transaction: it cannot be done in chunks.")
    if how.is_chunked and how.indexes == "rebuild":
        raise ConfigurationError(
            "Indexes cannot be built after the rows of a load in chunks: each chunk is "
            "committed by itself. Leave out indexes='rebuild', or the chunks."
        )


def _check_values(how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` for an option with an unknown value."""
    if how.on_error not in {"abort", "reject"}:
        raise ConfigurationError(f"on_error is {how.on_error!r}: use 'abort' or 'reject'.")
    for name, kinds in (
        ("on_conflict", OnConflict),
        ("duplicates", Duplicates),
        ("references", References),
    ):
        if getattr(how, name) not in get_args(kinds):
            raise ConfigurationError(
                f"{name} is {getattr(how, name)!r}: use one of "
                f"{', '.join(map(repr, get_args(kinds)))}."
            )
    if how.on_repeat not in {"warn", "refuse"}:
        raise ConfigurationError(f"on_repeat is {how.on_repeat!r}: use 'warn' or 'refuse'.")


def _check_effects(how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` for an option that has no effect with the others."""
    for name in ("reject_file", "reject_log", "reject_limit"):
        if getattr(how, name) is not None and how.on_error != "reject":
            raise ConfigurationError(
                f"{spell(name)} has no effect without on_error='reject' (--on-error reject): add "
                "that, or leave it out."
            )
    for name in ("references", "indexes"):
        if getattr(how, name) not in {"auto", "defer"} and how.method == "copy":
            raise ConfigurationError(
                f"{spell(name)} has no effect with method='copy' (--method copy), where "
                "PostgreSQL checks and indexes each row: leave out one of them."
            )


def _check_conflicts(how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` for an option without effect with this ``on_conflict``."""
    defaults = _defaults(how)
    for names, modes in OPTIONS_OF_CONFLICTS:
        for name in names:
            if getattr(how, name) != defaults[name] and how.on_conflict not in modes:
                raise ConfigurationError(
                    f"{spell(name)} has no effect with on_conflict={how.on_conflict!r} "
                    f"(--on-conflict {how.on_conflict}): leave it out, or use on_conflict="
                    f"{' or '.join(map(repr, modes))}."
                )
    if how.on_conflict == "error":
        return
    for name in ("references", "indexes"):
        if getattr(how, name) not in {"auto", "defer"}:
            raise ConfigurationError(
                f"{spell(name)} has no effect with on_conflict={how.on_conflict!r}: "
                "PostgreSQL checks and indexes each row that is written. Leave it out."
            )
    if how.on_conflict == "sync":
        _check_sync(how)


def _check_sync(how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` for options that cannot be combined with ``sync``."""
    if how.scope is None:
        raise ConfigurationError(
            "on_conflict='sync' deletes rows: specify which ones may be deleted, with "
            "scope={'field': value} (--scope FIELD=VALUE), or scope='all' for the whole table."
        )
    if how.is_chunked:
        raise ConfigurationError(
            "on_conflict='sync' is one transaction: leave out chunk_rows, resumable and workers."
        )
    if how.on_error == "reject":
        raise ConfigurationError(
            "on_conflict='sync' deletes the rows that the source does not have, and a refused "
            "record would count as one of these: leave out on_error='reject'."
        )
    DeleteLimit.parse(how.max_deletes)


def check_reading(source: Source, options: Mapping[str, Any]) -> None:
    """Raise ``ConfigurationError`` for an option that has no effect on this kind of source.

    ``options`` are the caller's. A layout may be for several kinds of sources.
    """
    defaults = SourceOptions()
    if options.get("doubled_quotes") is False and options.get("quote") == "":
        raise ConfigurationError(
            f"{spell('doubled_quotes', value=False)} has no effect where nothing is quoted: leave "
            "it out."
        )
    for name in sorted(source.ignores & set(options)):
        if options[name] != getattr(defaults, name):
            raise ConfigurationError(
                f"{spell(name, options[name])} has no effect on {source.name}, which is read as "
                f"{source.read_format}: leave it out."
            )


def check_repeating(
    source: Source, options: Mapping[str, Any], how: LoadOptions, *, is_atomic: bool
) -> None:
    """Raise ``ConfigurationError`` for chunks, retries or repeats that are not possible."""
    defaults = _defaults(how)
    check_order(dict(options), how)
    for name in (*OF_SHARING, "resumable", "chunk_rows"):
        if is_atomic and getattr(how, name) != defaults[name]:
            raise ConfigurationError(
                f"{spell(name)} has no effect inside transaction.atomic(), where the caller "
                "commits all rows at once: leave it out, or load outside."
            )
    if how.on_repeat != defaults["on_repeat"] and not source.paths:
        raise ConfigurationError(
            f"{spell('on_repeat')} has no effect on {source.name}: only a file is known by its "
            "content. Leave it out."
        )
    retries = options.get("retries") or defaults["retries"]
    if retries != defaults["retries"] and (is_atomic or not (source.paths or source.identity)):
        where = "inside transaction.atomic()" if is_atomic else f"on {source.name}"
        why = "the caller would have to begin again" if is_atomic else "it can be read only once"
        raise ConfigurationError(f"{spell('retries')} has no effect {where}: {why}. Leave it out.")


def spell(name: str, value: Any = None) -> str:
    """Return the name of an option in ``load`` and in the command."""
    no = "no-" if value is False else ""
    return f"{name} (--{no}{name.replace('_', '-')})"


def _defaults(how: LoadOptions) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(how)}

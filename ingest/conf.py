"""The app's settings: one function for each key of ``settings.INGEST``; see docs/settings.md."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings

from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.results.rejects import shorten

if TYPE_CHECKING:
    from collections.abc import Callable


def benchmark_model() -> str | None:
    """Return ``BENCHMARK_MODEL``: the model that the benchmark measures if none is named."""
    return cast("str | None", _get("BENCHMARK_MODEL"))


def chunk_rows() -> int:
    """Return ``CHUNK_ROWS``: how many records a resumable load commits at once."""
    return cast("int", _get("CHUNK_ROWS"))


def record() -> str:
    """Return ``RECORD``: which loads the ledger records: ``all``, ``files`` or ``never``."""
    return cast("str", _get("RECORD"))


def rejects_kept() -> int:
    """Return ``REJECTS_KEPT``: the most rejects of a load that the ledger keeps."""
    return cast("int", _get("REJECTS_KEPT"))


def runner() -> str:
    """Return ``RUNNER``: what runs the loads that are started in the admin."""
    return cast("str", _get("RUNNER"))


def upload_bytes() -> int:
    """Return ``UPLOAD_BYTES``: the largest size of an uploaded file, in bytes."""
    return cast("int", _get("UPLOAD_BYTES"))


def upload_unpacked_bytes() -> int:
    """Return ``UPLOAD_UNPACKED_BYTES``: the largest unpacked size of a compressed upload."""
    return cast("int", _get("UPLOAD_UNPACKED_BYTES"))


def upload_days() -> int:
    """Return ``UPLOAD_DAYS``: for how many days an uploaded file is kept at most."""
    return cast("int", _get("UPLOAD_DAYS"))


def upload_folder() -> str | Path | None:
    """Return ``UPLOAD_FOLDER``: where uploads are kept if ``STORAGES`` has no ``ingest``."""
    return cast("str | Path | None", _get("UPLOAD_FOLDER"))


def session_settings() -> tuple[str, ...]:
    """Return ``SESSION_SETTINGS``: custom parameters that a load takes over from the session.

    Those that the database's own functions, policies, defaults, checks and views name are taken
    over anyway.
    """
    return tuple(cast("list[str]", _get("SESSION_SETTINGS")))


def _is_label(value: Any) -> bool:
    if not isinstance(value, str):
        return value is None
    return value.count(".") == 1 and all(part.isidentifier() for part in value.split("."))


def _is_list_of_parameters(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(name, str) and re.fullmatch(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)+", name)
        for name in value
    )


def _is_runner(value: Any) -> bool:
    return isinstance(value, str) and (
        value in {"process", "tasks"}
        or (value.count(".") > 0 and all(part.isidentifier() for part in value.split(".")))
    )


def _is_folder(value: Any) -> bool:
    return value is None or (isinstance(value, str | Path) and Path(value).is_absolute())


def _is_number_from(least: int) -> Callable[[Any], bool]:
    # A bool is an int in Python, but a mistake in a setting.
    return lambda value: type(value) is int and value >= least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """The default and the valid values of one key of ``INGEST``."""

    default: Any
    takes: Callable[[Any], bool]
    """Returns whether a value is valid."""
    kind: str
    """The valid values, in words."""


SETTINGS = {
    "BENCHMARK_MODEL": Setting(
        default=None, takes=_is_label, kind="the label of a model, such as 'app.Model'"
    ),
    # After a crash only seconds of work are repeated, and the commits are too few to cost time.
    "CHUNK_ROWS": Setting(
        default=250_000, takes=_is_number_from(1), kind="a whole number from 1 upwards"
    ),
    "RECORD": Setting(
        default="all",
        takes=lambda value: value in ("all", "files", "never"),
        kind="'all', 'files' or 'never'",
    ),
    # More than a person reads; the reject log has all of them.
    "REJECTS_KEPT": Setting(
        default=10_000, takes=_is_number_from(0), kind="a whole number from 0 upwards"
    ),
    "RUNNER": Setting(
        default="process",
        takes=_is_runner,
        kind="'process', 'tasks', or the dotted path of a function that gets a load's number",
    ),
    "SESSION_SETTINGS": Setting(
        default=(),
        takes=_is_list_of_parameters,
        kind="a list of the names of custom parameters, such as ['app.tenant']",
    ),
    "UPLOAD_BYTES": Setting(
        default=1 << 30, takes=_is_number_from(1), kind="a whole number from 1 upwards"
    ),
    # People come back to a file after a weekend.
    "UPLOAD_DAYS": Setting(
        default=7, takes=_is_number_from(1), kind="a whole number from 1 upwards"
    ),
    "UPLOAD_FOLDER": Setting(default=None, takes=_is_folder, kind="the absolute path of a folder"),
    "UPLOAD_UNPACKED_BYTES": Setting(
        default=10 << 30, takes=_is_number_from(1), kind="a whole number from 1 upwards"
    ),
}
"""Every setting, by its key."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A fault in the settings, and how to fix it."""

    message: str
    cure: str


def unknown_settings() -> list[Problem]:
    """Return a problem for each key that is not a setting, with the settings it may mean."""
    given = _given()
    names = [] if not isinstance(given, dict) else [name for name in given if name not in SETTINGS]
    return [
        Problem(
            message=f"INGEST has no setting {name!r}.",
            cure=f"{did_you_mean(str(name), SETTINGS)} There are: {', '.join(SETTINGS)}.".strip(),
        )
        for name in names
    ]


def wrong_settings() -> list[Problem]:
    """Return a problem for each setting with an invalid value, with the valid ones."""
    if not isinstance(_given(), dict):
        return [_no_dict()]
    return [problem for name in SETTINGS if (problem := _wrong(name)) is not None]


def _no_dict() -> Problem:
    return Problem(
        message=f"INGEST is {shorten(_given())}, which is not a dict.",
        cure=f"Set it to a dict of {', '.join(SETTINGS)}, or leave it out.",
    )


def _wrong(name: str) -> Problem | None:
    setting = SETTINGS[name]
    value = _given().get(name, setting.default)
    if setting.takes(value):
        return None
    return Problem(
        message=f"INGEST[{name!r}] is {shorten(value)}.", cure=f"Set it to {setting.kind}."
    )


def _get(name: str) -> Any:
    problem = _wrong(name) if isinstance(_given(), dict) else _no_dict()
    if problem is not None:
        raise ConfigurationError(f"{problem.message} {problem.cure}")
    return _given().get(name, SETTINGS[name].default)


def _given() -> Any:
    return getattr(settings, "INGEST", {})

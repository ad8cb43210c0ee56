"""Django's system checks for what would keep loads from working; see docs/other-apps.md.

A database is queried only if Django names it, as ``manage.py check --database ALIAS`` does.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's own name
from django.db import Error, NotSupportedError, connections, router
from django.db.migrations.executor import MigrationExecutor

from ingest.conf import runner, unknown_settings, wrong_settings
from ingest.exceptions import ConfigurationError
from ingest.ledger.models import Load
from ingest.uploads.storing import refuse_memory, refuse_served_place
from ingest.writing.preconditions import why_not_leave_out_triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

NOT_THE_PROJECTS = ("django.", "ingest.")
"""Modules whose models no project loads rows into: these models bring no database into the checks.
"""


def check_settings(**_options: Any) -> list[CheckMessage]:
    """Check the keys of ``settings.INGEST``, without a database."""
    return [
        *(_warn(1, each.message, each.cure) for each in unknown_settings()),
        *(_warn(2, each.message, each.cure) for each in wrong_settings()),
    ]


def check_uploads(**_options: Any) -> list[CheckMessage]:
    """Check where uploaded files are kept, and that the configured ``RUNNER`` exists."""
    if wrong_settings():
        return []  # already reported by check_settings
    return [*_place(), *_runner()]


def _place() -> Iterator[CheckMessage]:
    served = _refusal(refuse_served_place)
    if served is not None:
        yield _warn(10, *served)
    in_memory = _refusal(refuse_memory) if runner() == "process" else None
    if in_memory is not None:
        yield _warn(12, *in_memory)


def _refusal(check: Callable[[], None]) -> tuple[str, str] | None:
    """Return what a check refuses and the hint, or None if it refuses nothing."""
    try:
        check()
    except ConfigurationError as error:
        said, _colon, cure = str(error).rpartition(": ")
        return f"{said}.", f"{cure[0].upper()}{cure[1:]}"
    return None


def _runner() -> Iterator[CheckMessage]:
    """Find the module without importing it, which may take long."""
    name = runner()
    if name == "process":
        return
    if name == "tasks":
        if find_spec("django.tasks") is None and find_spec("django_tasks") is None:
            yield _warn(
                11,
                "INGEST['RUNNER'] is 'tasks', and there are no tasks: this is Django before 6, and "
                "django-tasks is not installed.",
                "Run pip install \"django-ingest[tasks]\", or set it to 'process'.",
            )
        return
    module, _dot, function = name.rpartition(".")
    try:
        is_there = find_spec(module) is not None
    except ImportError:
        is_there = False
    if is_there and module in sys.modules:
        is_there = callable(getattr(sys.modules[module], function, None))
    if not is_there:
        yield _warn(
            11,
            f"INGEST['RUNNER'] is {name!r}, and there is no such function.",
            "Set it to the dotted path of a function that gets a load's number.",
        )


def check_engines(**_options: Any) -> list[CheckMessage]:
    """Check that the databases of the project's models can be loaded; opens no connection."""
    return [
        message for alias in sorted(written_aliases()) for message in _engine(connections[alias])
    ]


def check_databases(
    *, databases: Sequence[str] | None = None, **_options: Any
) -> list[CheckMessage]:
    """Check whether loads into the databases that Django names are recorded."""
    return [message for wrapper in _wrappers(databases) for message in _run(wrapper, _ledger)]


def check_rights(*, databases: Sequence[str] | None = None, **_options: Any) -> list[CheckMessage]:
    """Check whether loads into the databases may check foreign keys as a set.

    Runs only with ``check --deploy``: granting the right is a superuser's decision, and its absence
    is not a fault of the project.
    """
    return [message for wrapper in _wrappers(databases) for message in _run(wrapper, _right)]


def written_aliases() -> set[str]:
    """Return the aliases of the databases that the project's own models are written to."""
    return {
        router.db_for_write(model)
        for model in apps.get_models()
        if not model.__module__.startswith(NOT_THE_PROJECTS)
    }


def _engine(wrapper: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    name = f"DATABASES[{wrapper.alias!r}]"
    if wrapper.vendor != "postgresql":
        yield _warn(
            3,
            f"{name} has the engine {wrapper.settings_dict['ENGINE']}: no load can go there.",
            "Use a PostgreSQL database for the models that are to be loaded.",
        )
    elif (driver := cast("Any", wrapper).Database.__name__) != "psycopg":
        yield _warn(4, f"{name} uses {driver}: no load can go there.", "Use psycopg 3.")


def _wrappers(databases: Sequence[str] | None) -> Iterator[BaseDatabaseWrapper]:
    """Yield the connections of the named databases that loads may go to."""
    written = written_aliases()
    for alias in databases or ():
        if alias in written or router.allow_migrate_model(alias, Load):
            wrapper = connections[alias]
            if wrapper.vendor == "postgresql":
                yield wrapper


def _run(
    wrapper: BaseDatabaseWrapper, check: Callable[[BaseDatabaseWrapper], Iterator[CheckMessage]]
) -> Iterator[CheckMessage]:
    name = f"DATABASES[{wrapper.alias!r}]"
    try:
        wrapper.ensure_connection()
        yield from check(wrapper)
    except NotSupportedError as error:  # Django's own, at the first connection
        yield _warn(5, f"{name} is too old: {error}", "Upgrade the server.")
    except Error as error:
        said = str(error).partition("\n")[0].rstrip(".")
        yield _warn(
            6,
            f"{name} could not be asked what loads need: {said}.",
            "See that PostgreSQL is running and that the alias's settings reach it.",
        )


def _ledger(wrapper: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    alias = wrapper.alias
    name = f"DATABASES[{alias!r}]"
    command = f"manage.py migrate ingest --database={alias}"
    if not router.allow_migrate_model(alias, Load):
        yield _warn(
            7,
            f"The routers keep ingest's tables out of {name}: a load there is not recorded.",
            f"Let allow_migrate({alias!r}, 'ingest') be true in DATABASE_ROUTERS, then run "
            f"{command}",
        )
        return
    executor = MigrationExecutor(wrapper)
    loader = executor.loader
    if not loader.applied_migrations:
        return  # nothing was ever migrated: `migrate` runs the checks before its first migration
    plan = executor.migration_plan(loader.graph.leaf_nodes("ingest"))
    ledger = {model._meta.db_table for model in apps.get_app_config("ingest").get_models()}
    if plan:
        missing = ", ".join(migration.name for migration, _ in plan)
        yield _warn(
            8,
            f"{name} lacks ingest's migrations {missing}: a load there is not recorded.",
            f"Run {command}",
        )
    elif not ledger.issubset(wrapper.introspection.table_names()):
        # This happens if a router allowed the tables only after the migration had been applied.
        yield _warn(
            8,
            f"{name} lacks ingest's tables, though their migrations have been applied: "
            "a load there is not recorded.",
            f"Run manage.py migrate ingest zero --fake --database={alias} and then {command}",
        )


def _right(wrapper: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    # Not at the top: it imports asyncpg, which is not needed until a database is queried.
    from ingest.postgres.session import DjangoSession

    reason = why_not_leave_out_triggers(DjangoSession(wrapper.alias))
    if reason is not None:
        yield _warn(
            9,
            f"Loads into DATABASES[{wrapper.alias!r}] leave foreign keys to PostgreSQL, which "
            f"checks them row by row: {reason}",
            "Loads are correct without this right. With it, loads of more than a few thousand "
            "rows into a table with foreign keys are up to three times as fast; but the role can "
            "then switch off triggers and foreign keys in any session of its own. Grant it to a "
            'role that only loads, or silence ingest.W009. See "The right to check foreign keys '
            'as a set" in docs/other-apps.md.',
        )


def _warn(number: int, message: str, hint: str) -> Warning:
    return Warning(message, hint=hint, id=f"ingest.W{number:03}")

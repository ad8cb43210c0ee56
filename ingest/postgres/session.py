"""Opens the session of a load.

Inside ``transaction.atomic()``, ``open_session`` uses Django's own connection, so that the load
sees the caller's rows and rolls back with the caller. Outside it uses an asyncpg connection.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ingest.postgres.asyncpg_session import (
    AsyncpgSession,
    open_asyncpg_session,
    open_kept_session,
)
from ingest.postgres.base import Backend, Session, Transaction
from ingest.postgres.connection.arguments import django_connection
from ingest.postgres.django_session import DjangoSession, adaptation_context
from ingest.postgres.session_state import (
    SessionState,
    django_in_state,
    has_state,
    put_django_in,
    read_state,
)
from ingest.postgres.steps import (
    BEGIN_CHECK,
    END_CHECK,
    CheckRefusedError,
    CopyFormat,
    Copying,
    CopyTarget,
    Query,
    Script,
    Statement,
    Step,
    in_savepoint,
    without_triggers,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BEGIN_CHECK",
    "END_CHECK",
    "AsyncpgSession",
    "Backend",
    "CheckRefusedError",
    "CopyFormat",
    "CopyTarget",
    "Copying",
    "DjangoSession",
    "Query",
    "Script",
    "Session",
    "SessionState",
    "Statement",
    "Step",
    "Transaction",
    "adaptation_context",
    "django_in_state",
    "has_state",
    "in_savepoint",
    "open_asyncpg_session",
    "open_session",
    "put_django_in",
    "read_state",
    "without_triggers",
]


@contextmanager
def open_session(
    alias: str, state: SessionState | None = None, *, is_brief: bool = False
) -> Iterator[Session]:
    """Open a session on Django's connection inside ``atomic()``, on an asyncpg one outside.

    The asyncpg connection gets the given state, or that of Django's connection, and is kept for the
    next load. ``is_brief``: see ``open_kept_session``.
    """
    if django_connection(alias).in_atomic_block:
        session = DjangoSession(alias)
        session.is_brief = is_brief
        yield session
        return
    if state is None and has_state(alias):
        state = read_state(alias)
    with open_kept_session(alias, state, is_brief=is_brief) as own:
        yield own

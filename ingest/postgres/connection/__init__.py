"""Opens the asyncpg connection that corresponds to the one Django would open.

docs/connections.md describes how each option is translated.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl

import asyncpg

from ingest.exceptions import ConnectionFailed
from ingest.postgres.connection.arguments import (
    ConnectionArguments,
    ServerAttempt,
    connection_arguments,
    set_config,
)

__all__ = ["ConnectionArguments", "connect", "connection_arguments"]


async def connect(alias: str = "default", *, is_set: bool = True) -> asyncpg.Connection:
    """Connect to the alias's database as Django would, in the running event loop.

    Tries the servers in psycopg's order. Raises what ``connection_arguments`` raises, and
    ``ConnectionFailed`` with each server's answer if none accepts the connection. The caller must
    close it. ``is_set``: set the session's parameters here; otherwise the caller does.
    """
    arguments = connection_arguments(alias)
    servers = list(arguments.servers)
    if arguments.load_balance_hosts:
        random.shuffle(servers)
    rounds = [arguments.target_session_attrs]
    if rounds == ["prefer-standby"]:
        rounds = ["standby", "any"]
    failures: dict[str, Exception] = {}
    for attributes in rounds:
        for server in servers:
            for attempt in server:
                try:
                    return await _open(arguments, attempt, attributes, is_set=is_set)
                except FAILURES as error:
                    text = str(error) or f"no answer in {arguments.connect['timeout']} s"
                    failures[f"{attempt.name}: {text}"] = error
                    if not _other_transport_may_do(error):
                        break
    # Refused TLS connections need time to close: the caller's loop may end right after this.
    await asyncio.sleep(GOODBYE_SECONDS)
    last = list(failures.values())[-1]
    raise ConnectionFailed(
        f"Cannot connect to the database {arguments.connect['database']!r} "
        f"of DATABASES[{alias!r}] as user {arguments.connect['user']!r}: "
        f"{'; '.join(failures)}. {_cure(last)}"
    ) from last


GOODBYE_SECONDS = 0.05
"""asyncio warns of a TLS transport that was not closed when the loop ends."""

FAILURES = (
    OSError,
    UnicodeError,  # a host name that cannot be one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

CURES: tuple[tuple[type[Exception], str], ...] = (
    (asyncpg.InvalidPasswordError, "Check USER and PASSWORD, or the password file."),
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "Check USER, sslmode and the server's pg_hba.conf.",
    ),
    (asyncpg.InvalidCatalogNameError, "Check NAME, or create the database."),
    (asyncpg.TargetServerAttributeNotMatched, "Check HOST and target_session_attrs."),
    (ssl.SSLCertVerificationError, "Check HOST, sslrootcert and the server's certificate."),
    (ssl.SSLError, "Check sslmode, sslcert and sslkey."),
    (TimeoutError, "Check HOST and PORT, or raise connect_timeout."),
    (OSError, "Check HOST, PORT and sslmode, and that PostgreSQL is running."),
)
"""What to do about each kind of failure; the first match counts."""


async def _open(
    arguments: ConnectionArguments, attempt: ServerAttempt, attributes: str, *, is_set: bool
) -> asyncpg.Connection:
    connection: asyncpg.Connection = await asyncpg.connect(**arguments.connect, **attempt.connect)
    try:
        if attributes != "any":
            await _check(connection, attributes)
        if arguments.session and is_set:
            await connection.execute(set_config(dict(arguments.session), local=False))
        # asyncpg has no public access to its socket, and no argument for these options.
        transport = connection._transport  # type: ignore[attr-defined]
        raw = transport.get_extra_info("socket")
        if raw.family != socket.AF_UNIX:
            for option in arguments.socket_options:
                raw.setsockopt(*option)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _check(connection: asyncpg.Connection, attributes: str) -> None:
    # Not asyncpg's own check: it misses default_transaction_read_only before PostgreSQL 14.
    [(read_only, is_standby)] = await connection.fetch(
        "SELECT pg_catalog.current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery()"
    )
    is_read_only = read_only == "on"
    fits = {
        "read-write": not is_read_only,
        "read-only": is_read_only,
        "primary": not is_standby,
        "standby": is_standby,
    }
    if not fits[attributes]:
        raise asyncpg.TargetServerAttributeNotMatched(f"the server is not {attributes}")


def _other_transport_may_do(error: Exception) -> bool:
    # As in libpq with sslmode=allow and prefer: the server may refuse TLS, or insist on it.
    if isinstance(error, (TimeoutError, ConnectionRefusedError, socket.gaierror)):
        return False
    return isinstance(error, (OSError, asyncpg.InvalidAuthorizationSpecificationError))


def _cure(error: Exception) -> str:
    cures = (cure for kind, cure in CURES if isinstance(error, kind))
    return next(cures, "Check the alias's OPTIONS.")

"""Django's settings -> an asyncpg connection, the one that Django itself would have made.

``connection_arguments`` translates and needs no server; ``connect`` connects.
See docs/connections.md for each option.
"""

from __future__ import annotations

import dataclasses
import os
import random
import socket
import ssl
from typing import TYPE_CHECKING, Any

import asyncpg
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist
from psycopg import IsolationLevel
from psycopg.sql import SQL

from ingest.exceptions import ConfigurationError, ConnectionFailed, did_you_mean
from ingest.libpq import Server, refuse, resolve, split_server_options
from ingest.tls import ssl_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

DEFAULT_TIMEOUT_SECONDS = 130
"""psycopg's wait for one server where ``connect_timeout`` is not given: Linux's own for TCP."""

MINIMUM_TIMEOUT_SECONDS = 2
"""libpq's and psycopg's shortest wait."""

STARTUP_VARIABLES = {"PGDATESTYLE": "datestyle", "PGTZ": "timezone", "PGGEQO": "geqo"}
"""Environment variables that libpq sends to the server as settings of the session."""

SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
"""libpq's options -> the socket's, in the same units."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to reach one server."""

    connect: Mapping[str, Any] = dataclasses.field(repr=False)
    """The arguments of ``asyncpg.connect`` that differ from one server to the next."""
    name: str
    """The server, as messages name it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectionArguments:
    """A Django alias, translated for asyncpg."""

    alias: str
    connect: Mapping[str, Any]
    """The arguments of ``asyncpg.connect`` that are the same for all servers; no secrets."""
    servers: tuple[tuple[Attempt, ...], ...]
    """For each server the attempts to make, in order, until one succeeds."""
    target_session_attrs: str
    load_balance_hosts: bool
    session: tuple[tuple[str, str], ...]
    """Settings to make once, after connecting: name and value."""
    transaction_statements: tuple[str, ...]
    """Statements to run at the start of each transaction; only behind a transaction pooler."""
    socket_options: tuple[tuple[int, int, int], ...]
    """Arguments of ``socket.setsockopt``, for TCP."""

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler in transaction mode stands between us and PostgreSQL."""
        return not self.connect["statement_cache_size"]


def connection_arguments(alias: str = "default") -> ConnectionArguments:
    """Translate what the alias's database backend would hand to psycopg.

    Opens no connection; reads the environment and the files the options name. Raises
    ``ConfigurationError`` for an alias that is unknown or not PostgreSQL, and
    ``ConnectionOptionError`` for an option that asyncpg cannot honour.
    """
    wrapper = _wrapper(alias)
    try:
        options, servers = resolve(wrapper.get_connection_params())
    except ImproperlyConfigured as error:
        raise ConfigurationError(str(error)) from error
    _one_of(options, "target_session_attrs", SESSION_ATTRIBUTES)
    _one_of(options, "load_balance_hosts", ("", "disable", "random"))
    is_pooled = bool(wrapper.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))
    environment = {
        name: os.environ[variable]
        for variable, name in STARTUP_VARIABLES.items()
        if os.environ.get(variable, "default").lower() != "default"
    }
    startup, session, statements = _settings(wrapper, options, environment, is_pooled=is_pooled)
    application = options["application_name"] or options["fallback_application_name"]
    if application:
        startup["application_name"] = application
    return ConnectionArguments(
        alias=alias,
        connect={
            "user": options["user"],
            "database": options["dbname"],
            "timeout": _timeout_seconds(options),
            "server_settings": startup,
            "statement_cache_size": 0 if is_pooled else 100,  # asyncpg's default
            "direct_tls": options["sslnegotiation"] == "direct",
            "krbsrvname": options["krbsrvname"],
            # Given, so that asyncpg does not read the environment a second time.
            "target_session_attrs": "any",
            "gsslib": "gssapi",
        },
        servers=_attempts(options, servers),
        target_session_attrs=options["target_session_attrs"],
        load_balance_hosts=options.get("load_balance_hosts") == "random",
        session=session,
        transaction_statements=statements,
        socket_options=tuple(_socket_options(options)),
    )


async def connect(alias: str = "default") -> asyncpg.Connection:
    """Connect to the alias's database as Django would, in the running event loop.

    Tries the servers in psycopg's order. Raises what ``connection_arguments`` raises, and
    ``ConnectionFailed`` with each server's answer when none lets us in. The caller closes.
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
                    return await _open(arguments, attempt, attributes)
                except FAILURES as error:
                    text = str(error) or f"no answer in {arguments.connect['timeout']} s"
                    failures[f"{attempt.name}: {text}"] = error
                    if not _other_transport_may_do(error):
                        break
    last = list(failures.values())[-1]
    raise ConnectionFailed(
        f"Cannot connect to the database {arguments.connect['database']!r} "
        f"of DATABASES[{alias!r}] as user {arguments.connect['user']!r}: "
        f"{'; '.join(failures)}. {_cure(last)}"
    ) from last


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
"""What to do, by the kind of failure; the first that fits."""

SESSION_ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")


async def _open(
    arguments: ConnectionArguments, attempt: Attempt, attributes: str
) -> asyncpg.Connection:
    connection: asyncpg.Connection = await asyncpg.connect(**arguments.connect, **attempt.connect)
    try:
        if attributes != "any":
            await _check(connection, attributes)
        if arguments.session:
            await connection.execute(_set_config(dict(arguments.session), local=False))
        # asyncpg has no public way to its socket, nor an option for these.
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
        "SELECT current_setting('transaction_read_only'), pg_catalog.pg_is_in_recovery()"
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
    # As libpq with sslmode=allow and prefer: a refusal to use TLS, or to go without it.
    if isinstance(error, (TimeoutError, ConnectionRefusedError, socket.gaierror)):
        return False
    return isinstance(error, (OSError, asyncpg.InvalidAuthorizationSpecificationError))


def _cure(error: Exception) -> str:
    cures = (cure for kind, cure in CURES if isinstance(error, kind))
    return next(cures, "Check the alias's OPTIONS.")


def _wrapper(alias: str) -> BaseDatabaseWrapper:
    try:
        wrapper = connections[alias]
    except ConnectionDoesNotExist as error:
        known = list(connections)
        raise ConfigurationError(
            f"There is no DATABASES[{alias!r}].{did_you_mean(alias, known)} "
            f"There are: {', '.join(known)}."
        ) from error
    if wrapper.vendor != "postgresql":
        raise ConfigurationError(
            f"DATABASES[{alias!r}] has the engine {wrapper.settings_dict['ENGINE']}. "
            "Use an alias whose database is PostgreSQL."
        )
    return wrapper


_Settings = tuple[dict[str, str], tuple[tuple[str, str], ...], tuple[str, ...]]
"""What to set in the startup packet, once after connecting, and in each transaction."""


def _settings(
    wrapper: BaseDatabaseWrapper,
    options: Mapping[str, str],
    environment: dict[str, str],
    *,
    is_pooled: bool,
) -> _Settings:
    session = {}
    if zone := wrapper.timezone_name:
        session["timezone"] = zone
    level = _isolation_level(wrapper)
    role = wrapper.settings_dict["OPTIONS"].get("assume_role")
    # The role comes last: it may not be allowed to make the other settings.
    last = {"role": role} if role else {}
    if is_pooled:
        # A pooler refuses most settings at startup, and hands on to others what a session set.
        settings = {**split_server_options(options["options"]), **environment, **session, **last}
        statements = [f"SET TRANSACTION ISOLATION LEVEL {level}"] if level else []
        if settings:
            statements.append(_set_config(settings, local=True))
        return {}, (), tuple(statements)
    if level:
        session["default_transaction_isolation"] = level.lower()
    startup = {"options": options["options"]} if options["options"] else {}
    return {**startup, **environment}, tuple({**session, **last}.items()), ()


def _isolation_level(wrapper: BaseDatabaseWrapper) -> str:
    value = wrapper.settings_dict["OPTIONS"].get("isolation_level")
    if value is None:
        return ""
    try:
        return IsolationLevel(value).name.replace("_", " ")
    except ValueError as error:
        why = "it must be one of psycopg.IsolationLevel"
        raise refuse("isolation_level", str(value), why) from error


def _set_config(settings: Mapping[str, str], *, local: bool) -> str:
    # set_config reads a value as a configuration file would: a search path stays a list.
    calls = [
        SQL("pg_catalog.set_config({}, {}, {})").format(name, value, local)
        for name, value in settings.items()
    ]
    return SQL("SELECT {}").format(SQL(", ").join(calls)).as_string()


def _attempts(
    options: Mapping[str, str], servers: tuple[Server, ...]
) -> tuple[tuple[Attempt, ...], ...]:
    over_tcp = [server for server in servers if not server.is_unix_socket]
    mode = options["sslmode"]
    context = ssl_context(options) if over_tcp and mode != "disable" else None
    transports: dict[str, tuple[ssl.SSLContext | None, ...]] = {
        "disable": (None,),
        "allow": (None, context),
        "prefer": (context, None),
    }
    attempts = []
    for server in servers:
        _refuse_server(options, server)
        ways = (None,) if server.is_unix_socket else transports.get(mode, (context,))
        attempts.append(tuple(_attempt(server, way) for way in ways))
    return tuple(attempts)


def _attempt(server: Server, context: ssl.SSLContext | None) -> Attempt:
    host = server.hostaddr or server.host
    if server.is_unix_socket:
        host = f"{host}/.s.PGSQL.{server.port}"
    arguments = {
        "host": [host],  # a list, so that asyncpg takes it as it is
        "port": [server.port],
        # Never None: asyncpg would read the password file, and send one server's to another.
        "password": server.password,
        "ssl": context or False,
    }
    name = host if server.is_unix_socket else f"{server.host} port {server.port}"
    return Attempt(connect=arguments, name=name)


def _refuse_server(options: Mapping[str, str], server: Server) -> None:
    if server.host.startswith("@"):
        why = "asyncpg cannot open an abstract Unix socket. Use a folder or a host name"
        raise refuse("host", server.host, why)
    if server.is_unix_socket and options["requirepeer"]:
        why = "asyncpg cannot check who owns a socket. Remove it, or use sslmode=verify-full on TCP"
        raise refuse("requirepeer", options["requirepeer"], why)
    if server.hostaddr and options["sslmode"] == "verify-full":
        why = "asyncpg checks the name that it connects to. Remove it and use host"
        raise refuse("hostaddr", server.hostaddr, why)


def _one_of(options: Mapping[str, str], name: str, known: tuple[str, ...]) -> None:
    value = options.get(name, "")
    if value not in known:
        raise refuse(name, value, f"it must be one of {', '.join(filter(None, known))}")


def _timeout_seconds(options: Mapping[str, str]) -> int:
    seconds = _number(options, "connect_timeout")
    return max(seconds, MINIMUM_TIMEOUT_SECONDS) if seconds > 0 else DEFAULT_TIMEOUT_SECONDS


def _socket_options(options: Mapping[str, str]) -> Iterator[tuple[int, int, int]]:
    if options["keepalives"] == "0":
        names = ["tcp_user_timeout"]
    else:
        names = list(SOCKET_OPTIONS)
        yield socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
    for name in names:
        # 0 and less leave the system's default.
        if (number := _number(options, name)) > 0:
            yield socket.IPPROTO_TCP, getattr(socket, SOCKET_OPTIONS[name]), number


def _number(options: Mapping[str, str], name: str) -> int:
    try:
        return int(float(options[name] or 0))
    except (ValueError, OverflowError) as error:
        raise refuse(name, options[name], "it must be a whole number") from error

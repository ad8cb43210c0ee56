"""Translates a Django alias's settings into arguments for asyncpg; it needs no server."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist
from psycopg import IsolationLevel
from psycopg.sql import SQL

from ingest.exceptions import ConfigurationError, did_you_mean
from ingest.postgres.connection.libpq import (
    Server,
    one_of,
    refuse,
    resolve,
    socket_options,
    split_server_options,
    timeout_seconds,
)
from ingest.postgres.connection.tls import ssl_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

STARTUP_VARIABLES = {"PGDATESTYLE": "datestyle", "PGTZ": "timezone", "PGGEQO": "geqo"}
"""Environment variables that libpq sends to the server as session settings."""

SESSION_ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerAttempt:
    """One way to reach one server."""

    connect: Mapping[str, Any] = dataclasses.field(repr=False)
    """The arguments of ``asyncpg.connect`` that differ between servers."""
    name: str
    """The server, as messages name it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConnectionArguments:
    """A Django alias, translated for asyncpg."""

    alias: str
    connect: Mapping[str, Any]
    """The arguments of ``asyncpg.connect`` that are the same for all servers; no secrets."""
    servers: tuple[tuple[ServerAttempt, ...], ...]
    """The attempts to make for each server, in order, until one succeeds."""
    target_session_attrs: str
    load_balance_hosts: bool
    session: tuple[tuple[str, str], ...]
    """Parameters to set once after connecting: name and value."""
    transaction_statements: tuple[str, ...]
    """Statements to run at the start of each transaction; only for a pooler in transaction mode."""
    socket_options: tuple[tuple[int, int, int], ...]
    """Arguments of ``socket.setsockopt``, for TCP."""

    @property
    def is_pooled(self) -> bool:
        """Whether the connection goes through a pooler in transaction mode."""
        return not self.connect["statement_cache_size"]


def connection_arguments(alias: str = "default") -> ConnectionArguments:
    """Translate the parameters that the alias's database backend would pass to psycopg.

    Opens no connection; reads the environment and the files that the options name. Raises
    ``ConfigurationError`` for an alias that is unknown or not PostgreSQL, and
    ``ConnectionOptionError`` for an option that asyncpg cannot honour.
    """
    wrapper = django_connection(alias)
    try:
        options, servers = resolve(wrapper.get_connection_params())
    except ImproperlyConfigured as error:
        raise ConfigurationError(str(error)) from error
    one_of(options, "target_session_attrs", SESSION_ATTRIBUTES)
    one_of(options, "load_balance_hosts", ("", "disable", "random"))
    pooled = is_pooled(wrapper)
    environment = {
        name: os.environ[variable]
        for variable, name in STARTUP_VARIABLES.items()
        if os.environ.get(variable, "default").lower() != "default"
    }
    startup, session, statements = _settings(wrapper, options, environment, is_pooled=pooled)
    application = options["application_name"] or options["fallback_application_name"]
    if application:
        startup["application_name"] = application
    return ConnectionArguments(
        alias=alias,
        connect={
            "user": options["user"],
            "database": options["dbname"],
            "timeout": timeout_seconds(options),
            "server_settings": startup,
            "statement_cache_size": 0 if pooled else 100,  # asyncpg's default
            "direct_tls": options["sslnegotiation"] == "direct",
            "krbsrvname": options["krbsrvname"],
            # Passed explicitly, so that asyncpg does not read them from the environment.
            "target_session_attrs": "any",
            "gsslib": "gssapi",
        },
        servers=_attempts(options, servers),
        target_session_attrs=options["target_session_attrs"],
        load_balance_hosts=options.get("load_balance_hosts") == "random",
        session=session,
        transaction_statements=statements,
        socket_options=socket_options(options),
    )


def is_pooled(wrapper: BaseDatabaseWrapper) -> bool:
    """Return whether the alias connects through a pooler in transaction mode."""
    return bool(wrapper.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))


def django_connection(alias: str) -> BaseDatabaseWrapper:
    """Return this thread's Django connection, or raise ``ConfigurationError``."""
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
"""The settings for the startup packet, for once after connecting, and for each transaction."""


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
        # A pooler refuses most settings at startup, and passes a session's settings on to others.
        settings = {**split_server_options(options["options"]), **environment, **session, **last}
        statements = [f"SET TRANSACTION ISOLATION LEVEL {level}"] if level else []
        if settings:
            statements.append(set_config(settings, local=True))
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


def set_config(settings: Mapping[str, str], *, local: bool) -> str:
    """Return the statement that sets the parameters for the transaction or the session."""
    # set_config parses a value like a configuration file: a search path stays a list.
    calls = [
        SQL("pg_catalog.set_config({}, {}, {})").format(name, value, local)
        for name, value in settings.items()
    ]
    return SQL("SELECT {}").format(SQL(", ").join(calls)).as_string()


def _attempts(
    options: Mapping[str, str], servers: tuple[Server, ...]
) -> tuple[tuple[ServerAttempt, ...], ...]:
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


def _attempt(server: Server, context: ssl.SSLContext | None) -> ServerAttempt:
    host = server.hostaddr or server.host
    if server.is_unix_socket:
        host = f"{host}/.s.PGSQL.{server.port}"
    arguments = {
        "host": [host],  # a list, so that asyncpg does not split it
        "port": [server.port],
        # Never None: asyncpg would read the password file, and could send a server the password of
        # another.
        "password": server.password,
        "ssl": context or False,
    }
    name = host if server.is_unix_socket else f"{server.host} port {server.port}"
    return ServerAttempt(connect=arguments, name=name)


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

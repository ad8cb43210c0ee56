"""Resolves connection parameters as libpq, the library that psycopg uses, would.

libpq itself resolves them, so that its service file, password file, environment variables and
built-in defaults need not be implemented a second time.
"""

from __future__ import annotations

import dataclasses
import re
import socket
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from ingest.exceptions import ConnectionOptionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_TIMEOUT_SECONDS = 130
"""How long psycopg waits for one server without ``connect_timeout``: Linux's own limit for TCP."""

MINIMUM_TIMEOUT_SECONDS = 2
"""libpq's and psycopg's shortest timeout."""

SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}
"""libpq's options and the socket options for them, in the same units."""

USUAL_KEEPALIVES = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
"""Seconds, seconds and a number, used if no option is set: a lost server or network is noticed
after two minutes of silence. Linux would take over two hours. A running server answers these probes
however long its statement takes."""


PSYCOPG_ONLY = frozenset(
    {"autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory"}
)
"""Arguments of ``psycopg.connect`` that concern psycopg's own objects, not the connection."""

LATER_OPTIONS = (
    "channel_binding",
    "krbsrvname",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
)
"""Options that are read here and that older libpqs, or other builds, lack: they are empty then.

``psycopg`` without its extra ``binary`` uses the system's libpq: 14 to 16 where Debian and Ubuntu
are not of the latest version. ``sslnegotiation`` came with 17.
"""

# An invalid value for any option. libpq fills in every option before it refuses this one, so it
# shows the values that it would use and opens no socket.
_REFUSED_BY_LIBPQ = "resolve-only"

_NO = frozenset({"", "0", "false", "no", "off"})

HONOURED: dict[str, tuple[frozenset[str], str]] = {
    "channel_binding": (
        frozenset({"", "disable", "prefer"}),
        "asyncpg has no channel binding. Use sslmode=verify-full, which proves the server too",
    ),
    "gssdelegation": (_NO, "asyncpg does not delegate credentials. Remove it"),
    "gssencmode": (
        frozenset({"", "disable", "prefer"}),
        "asyncpg has no GSSAPI encryption. Use sslmode=verify-full with gssencmode=disable",
    ),
    "min_protocol_version": (
        frozenset({"", "3.0"}),
        "asyncpg speaks protocol 3.0 only. Remove it",
    ),
    "oauth_client_id": (frozenset({""}), "asyncpg has no OAuth. Log in another way"),
    "oauth_client_secret": (frozenset({""}), "asyncpg has no OAuth. Log in another way"),
    "oauth_issuer": (frozenset({""}), "asyncpg has no OAuth. Log in another way"),
    "oauth_scope": (frozenset({""}), "asyncpg has no OAuth. Log in another way"),
    "replication": (_NO, "a load is not replication. Use an alias without it"),
    "require_auth": (
        frozenset({""}),
        "asyncpg answers whatever the server asks for. Use sslmode=verify-full and remove it",
    ),
    "scram_client_key": (frozenset({""}), "asyncpg needs the password itself"),
    "scram_server_key": (frozenset({""}), "asyncpg needs the password itself"),
    "sslcertmode": (
        frozenset({"", "disable", "allow"}),
        "asyncpg cannot insist on being asked for a certificate. Use sslcertmode=allow",
    ),
    "sslsni": (frozenset({"", "1"}), "asyncpg always names the server. Use sslsni=1"),
}
"""Options for which asyncpg can honour only some values: these values, and why not the others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Server:
    """One of the servers that libpq would try, in its order."""

    host: str
    """A host name, an address, or the folder of a Unix socket."""
    hostaddr: str
    """The address to use instead of resolving the host's name; may be empty."""
    port: int
    password: str = dataclasses.field(repr=False)
    """From the options, the environment or this server's line of the password file."""

    @property
    def is_unix_socket(self) -> bool:
        """Whether it is reached through a Unix socket."""
        return self.host.startswith("/") and not self.hostaddr


def resolve(parameters: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Server, ...]]:
    """Return all options as libpq would use them, and the servers it would try.

    ``parameters`` are those of ``psycopg.connect``. Reads the service and the password file; opens
    no connection. Raises ``ConnectionOptionError`` for an option that libpq refuses or that asyncpg
    cannot honour.
    """
    wanted = {k: v for k, v in parameters.items() if k not in PSYCOPG_ONLY}
    options, _ = _ask_libpq(wanted, "gssencmode")
    servers = []
    for one in _split(options):
        # Passed even if empty, to override a list from the environment or the service file.
        alone, found = _ask_libpq({**wanted, **one}, "sslmode")
        options["gssencmode"] = alone["gssencmode"]
        host, password = found
        port = _port(one["port"] or _built_in_port())
        server = Server(host=host, hostaddr=one["hostaddr"], port=port, password=password)
        servers.append(server)
    _refuse_what_asyncpg_cannot(options)
    return options, tuple(servers)


def refuse(name: str, value: str, why: str) -> ConnectionOptionError:
    """Return the error for an option; a secret value is not shown."""
    secrets = {o.keyword.decode() for o in pq.Conninfo.get_defaults() if o.dispchar == b"*"}
    shown = "" if name in secrets or name.startswith("scram_") else f"={value!r}"
    return ConnectionOptionError(f"The database option {name}{shown} cannot be used: {why}.")


_Answer = tuple[dict[str, str], tuple[str, str]]
"""All options, and the host and the password of the first server."""


def _ask_libpq(wanted: Mapping[str, Any], refused: str) -> _Answer:
    try:
        conninfo = make_conninfo(**{**wanted, refused: _REFUSED_BY_LIBPQ})
    except psycopg.ProgrammingError as error:
        known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
        unknown = next((name for name in wanted if name not in known), "")
        raise ConnectionOptionError(
            f"A database option cannot be used: {error}.{did_you_mean(unknown, known)}"
        ) from error
    connection = pq.PGconn.connect_start(conninfo.encode())
    message = connection.error_message.decode(errors="replace").strip()
    if _REFUSED_BY_LIBPQ not in message:
        raise ConnectionOptionError(f"libpq refuses the database options: {message}.")
    options = dict.fromkeys(LATER_OPTIONS, "")
    options |= {o.keyword.decode(): (o.val or b"").decode() for o in connection.info}
    found = connection.host.decode(), connection.password.decode()
    connection.finish()
    return options, found


def _split(options: Mapping[str, str]) -> Iterator[dict[str, str]]:
    lists = {name: options[name].split(",") for name in ("host", "hostaddr", "port")}
    count = max(len(lists["host"]), len(lists["hostaddr"]))
    for position in range(count):
        yield {
            name: values[position] if len(values) > 1 else values[0]
            for name, values in lists.items()
        }


def _built_in_port() -> str:
    """Return the port that libpq uses for an empty item of a list, whatever PGPORT says."""
    found = next(it.compiled for it in pq.Conninfo.get_defaults() if it.keyword == b"port")
    return (found or b"5432").decode()


def _port(text: str) -> int:
    if text.strip().isdigit() and 0 < int(text) < 2**16:
        return int(text)
    raise refuse("port", text, "a port is a number from 1 to 65535")


def _refuse_what_asyncpg_cannot(options: Mapping[str, str]) -> None:
    for name, (honoured, why) in HONOURED.items():
        value = options.get(name, "")
        if value.lower() not in honoured:
            raise refuse(name, value, why)


def split_server_options(text: str) -> dict[str, str]:
    r"""Parse the ``options`` of a connection as the server parses its command line.

    Words are separated by white space, and a backslash escapes the next character
    (``pg_split_opts`` in PostgreSQL's ``postinit.c``). ``-c name=value``, ``-cname=value`` and
    ``--name=value`` set a parameter. Raises ``ConnectionOptionError`` for any other switch.
    """
    settings = {}
    words = iter(_WORD.findall(text))
    for word in words:
        plain = _ESCAPED.sub(r"\1", word)
        if plain == "-c":
            plain = "--" + _ESCAPED.sub(r"\1", next(words, ""))
        elif plain.startswith("-c"):
            plain = "--" + plain.removeprefix("-c")
        name, equals, value = plain.removeprefix("--").partition("=")
        if not (plain.startswith("--") and name and equals):
            why = (
                f"{word!r} cannot be set for one transaction, as a pooler needs. Use -c name=value"
            )
            raise refuse("options", text, why)
        settings[name.replace("-", "_")] = value
    return settings


_WORD = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def one_of(options: Mapping[str, str], name: str, known: tuple[str, ...]) -> None:
    """Raise ``ConnectionOptionError`` unless the option has one of the known values."""
    value = options.get(name, "")
    if value not in known:
        raise refuse(name, value, f"it must be one of {', '.join(filter(None, known))}")


def timeout_seconds(options: Mapping[str, str]) -> int:
    """Return how long psycopg would wait for one server."""
    seconds = _number(options, "connect_timeout")
    return max(seconds, MINIMUM_TIMEOUT_SECONDS) if seconds > 0 else DEFAULT_TIMEOUT_SECONDS


def socket_options(options: Mapping[str, str]) -> tuple[tuple[int, int, int], ...]:
    """Return the arguments of ``socket.setsockopt`` for the options of a TCP connection."""
    made = {}
    if options["keepalives"] == "0":
        names = ["tcp_user_timeout"]
    else:
        names = list(SOCKET_OPTIONS)
        made[socket.SOL_SOCKET, socket.SO_KEEPALIVE] = 1
    numbers: dict[str, int] = {name: _number(options, name) for name in names}
    if options["keepalives"] != "0" and not any(options[name] for name in names):
        numbers |= USUAL_KEEPALIVES
    for name, number in numbers.items():
        # 0 and less leave the system's default.
        if number > 0:
            made[socket.IPPROTO_TCP, getattr(socket, SOCKET_OPTIONS[name])] = number
    return tuple((*option, number) for option, number in made.items())


def _number(options: Mapping[str, str], name: str) -> int:
    try:
        return int(float(options[name] or 0))
    except (ValueError, OverflowError) as error:
        raise refuse(name, options[name], "it must be a whole number") from error

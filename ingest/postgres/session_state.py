"""The session state of Django's connection: how it is read, and given to another connection.

Outside ``transaction.atomic()`` a load has a connection of its own. It must find the same tables,
with the same role and the same settings, as the caller's queries do.
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import psycopg
from django.db import DatabaseError, InternalError, OperationalError, transaction

from ingest import conf
from ingest.exceptions import ConfigurationError, LedgerError
from ingest.postgres.connection.arguments import django_connection, is_pooled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

NO_ROLE = "none"
"""PostgreSQL's value of ``role`` if no role was set."""

MEANING = frozenset(
    {
        *("search_path", "row_security", "session_replication_role"),
        *("TimeZone", "DateStyle", "IntervalStyle", "timezone_abbreviations"),
        *("lc_monetary", "lc_numeric", "lc_time", "array_nulls", "transform_null_equals"),
        *("backslash_quote", "standard_conforming_strings", "xmloption"),
        *("default_text_search_config", "default_tablespace", "default_table_access_method"),
        *("bytea_output", "extra_float_digits", "check_function_bodies"),
    }
)
"""Settings that decide where rows go and what values mean. The ledger keeps these and the custom
ones for a session that resumes the load; timeouts and the like are those of that session."""

SECRETS = ("key", "secret", "passw", "pwd", "token", "jwt", "credential", "auth", "claim", "cookie")
"""Parts of the names of custom settings whose values the ledger does not keep."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tenant:
    """The schema that a tenant-aware database backend is set to use."""

    schema: str
    includes_public: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class SessionState:
    """The settings of a session."""

    settings: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """The parameters that were set in the session, by name, with values for ``set_config``."""
    usual: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """The time zone and the search path, if they were not set in the session."""
    user: str = ""
    """The session's user, if it differs from the one who logged in."""
    role: str = NO_ROLE
    tenant: Tenant | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the part that the ledger keeps: no secrets, and no settings like timeouts."""
        kept = {name: value for name, value in self.settings.items() if _is_kept(name)}
        return {
            "settings": {n: value for n, value in kept.items() if not _is_secret(n)},
            "withheld": sorted(filter(_is_secret, kept)),
            "user": self.user,
            "role": self.role,
            "tenant": None if self.tenant is None else dataclasses.asdict(self.tenant),
        }

    def again(self, kept: Mapping[str, Any], what: str) -> Self:
        """Return this state with the part of another one that the ledger has kept.

        Raises ``LedgerError`` if a setting whose value the ledger withholds is not set here.
        """
        others = {name: value for name, value in self.settings.items() if not _is_kept(name)}
        withheld = kept.get("withheld", ())
        missing = [name for name in withheld if name not in self.settings]
        if missing:
            raise LedgerError(
                f"{what} was made with the setting {missing[0]}, whose value the ledger does not "
                "keep because it may be a secret. Set it on Django's connection, and try again."
            )
        tenant = kept.get("tenant")
        return dataclasses.replace(
            self,
            settings={
                **others,
                **{name: self.settings[name] for name in withheld},
                **kept.get("settings", {}),
            },
            user=kept.get("user", ""),
            role=kept.get("role", NO_ROLE),
            tenant=None if tenant is None else Tenant(**tenant),
        )

    @property
    def transaction_settings(self) -> dict[str, str]:
        """The settings for the start of each transaction, behind a pooler in transaction mode."""
        user = {"session_authorization": self.user} if self.user else {}
        role = {} if self.role == NO_ROLE else {"role": self.role}
        # The role comes last: it may not be allowed to make the other settings.
        return {**self.settings, **user, **role}


def _is_custom(name: str) -> bool:
    return "." in name


def _is_kept(name: str) -> bool:
    return name in MEANING or _is_custom(name)


def _is_secret(name: str) -> bool:
    return _is_custom(name) and any(part in name.lower() for part in SECRETS)


def has_state(alias: str) -> bool:
    """Return whether Django's connection is open or has a tenant, so that it may have a state.

    If not, the load's own connection is opened first, so that its error is the one reported.
    """
    wrapper = django_connection(alias)
    return wrapper.connection is not None or _tenant(wrapper) is not None


def read_state(alias: str) -> SessionState:
    """Read the state of Django's connection, which is opened if necessary.

    Opening it runs the receivers of ``connection_created``. Opening a cursor lets a tenant-aware
    backend set its search path.
    """
    wrapper = django_connection(alias)
    if wrapper.in_atomic_block:
        return _read(wrapper)
    try:
        return _read_alone(wrapper)
    except (OperationalError, psycopg.OperationalError):
        # The connection of an earlier request was kept open, and has been lost since. A new one has
        # the state that every new connection has.
        wrapper.close()
        return _read_alone(wrapper)


def _read_alone(wrapper: BaseDatabaseWrapper) -> SessionState:
    if is_pooled(wrapper):
        # In one transaction: otherwise the pooler may switch the server connection in between.
        with transaction.atomic(using=wrapper.alias):
            return _read(wrapper)
    return _read(wrapper)


def _read(wrapper: BaseDatabaseWrapper) -> SessionState:
    with wrapper.cursor():
        pass
    return send_state(wrapper)()


def send_state(wrapper: BaseDatabaseWrapper) -> Callable[[], SessionState]:
    """Query the state of Django's open connection; return a function that reads the answer."""
    connection: psycopg.Connection[Any] = wrapper.connection
    with wrapper.wrap_database_errors:
        cursor = psycopg.RawCursor(connection)
        cursor.execute(READ_STATE.encode(), (list(conf.session_settings()), list(EXCLUDED)))

    def understand() -> SessionState:
        with wrapper.wrap_database_errors:
            return _understand(wrapper, cursor.fetchall())

    return understand


def _understand(wrapper: BaseDatabaseWrapper, rows: list[tuple[str, str, str]]) -> SessionState:
    connection: psycopg.Connection[Any] = wrapper.connection
    by_kind: dict[str, dict[str, str]] = {"set": {}, "usual": {}, "who": {}}
    for kind, name, value in rows:
        by_kind[kind][name] = value
    settings, who = by_kind["set"], by_kind["who"]
    # psycopg sets these at the start of each of its transactions.
    if connection.isolation_level is not None:
        level = connection.isolation_level.name.lower().replace("_", " ")
        settings["default_transaction_isolation"] = level
    if connection.read_only is not None:
        settings["default_transaction_read_only"] = "on" if connection.read_only else "off"
    is_login = who["session_user"] == connection.info.user
    return SessionState(
        settings=settings,
        usual=by_kind["usual"],
        user="" if is_login else who["session_user"],
        role=who["role"],
        tenant=_tenant(wrapper),
    )


def _tenant(wrapper: Any) -> Tenant | None:
    """Return the schema of a wrapper like django-tenants', which sets it at each cursor."""
    schema = getattr(wrapper, "schema_name", None)
    if not (schema and hasattr(wrapper, "set_schema") and hasattr(wrapper, "set_tenant")):
        return None
    includes_public = bool(getattr(wrapper, "include_public_schema", True))
    return Tenant(schema=str(schema), includes_public=includes_public)


def put_django_in(alias: str, wanted: SessionState) -> None:
    """Change the state of Django's connection permanently."""
    bring_django(django_connection(alias), read_state(alias), wanted)


@contextmanager
def django_in_state(alias: str, wanted: SessionState) -> Iterator[None]:
    """Change the state of Django's connection, and restore it at the end.

    Behind a pooler in transaction mode this must be inside ``transaction.atomic()``.
    """
    wrapper: Any = django_connection(alias)
    before = read_state(alias)
    tenant = getattr(wrapper, "tenant", None)
    bring_django(wrapper, before, wanted)
    try:
        yield
    finally:
        if before.tenant is not None:
            wrapper.set_tenant(tenant, include_public=before.tenant.includes_public)
        # If the transaction failed, its rollback restores the settings.
        with suppress(DatabaseError):
            _restore(wrapper, before, wanted)


def _restore(wrapper: BaseDatabaseWrapper, before: SessionState, was: SessionState) -> None:
    # PostgreSQL cannot unset a custom setting: it was NULL before, and would be empty now.
    leftover = [name for name in was.settings if _is_custom(name) and name not in before.settings]
    if leftover and not wrapper.in_atomic_block:
        wrapper.close()
        was = read_state(wrapper.alias)
    bring_django(wrapper, was, before)


def bring_django(wrapper: Any, now: SessionState, wanted: SessionState) -> None:
    """Change the state of Django's connection; raises ``ConfigurationError`` if it is refused."""
    if wanted.tenant is not None and now.tenant is not None:
        if wanted.tenant != _tenant(wrapper):
            wrapper.set_schema(wanted.tenant.schema, wanted.tenant.includes_public)
        with wrapper.cursor():
            pass
    is_local = is_pooled(wrapper)
    if is_local and not wrapper.in_atomic_block:
        return  # the settings would remain for the pooler's next client
    changes = _changes(now, wanted, login=wrapper.connection.info.user)
    if now.tenant is not None:
        changes = [(name, value) for name, value in changes if name != "search_path"]
    if not changes:
        return
    calls = ", ".join(
        f"pg_catalog.set_config(${2 * place + 2}::pg_catalog.text, "
        f"${2 * place + 3}::pg_catalog.text, $1::boolean)"
        for place in range(len(changes))
    )
    values = [text for change in changes for text in change]
    try:
        with wrapper.wrap_database_errors, psycopg.RawCursor(wrapper.connection) as cursor:
            cursor.execute(f"SELECT {calls}".encode(), (is_local, *values))
    except (OperationalError, InternalError):  # a lost connection, a transaction that has failed
        raise
    except DatabaseError as error:
        raise ConfigurationError(
            f"Django's connection cannot be brought into the state of the load: {error}. "
            "Connect as a role that may set it."
        ) from error


_Changes = list[tuple[str, str | None]]


def _changes(now: SessionState, wanted: SessionState, login: str) -> _Changes:
    """Return the parameters to set, in order; None resets a parameter."""
    is_other_user, is_other_role = now.user != wanted.user, now.role != wanted.role
    changes: _Changes = []
    if is_other_user or is_other_role:
        changes.append(("role", NO_ROLE))
    if is_other_user and now.user:
        changes.append(("session_authorization", login))
    had = {**now.usual, **now.settings}
    for name, value in {**wanted.usual, **wanted.settings}.items():
        if had.get(name) != value and not name.startswith("default_transaction_"):
            changes.append((name, value))
    changes += [
        (name, "" if _is_custom(name) else None)
        for name in now.settings
        if name not in wanted.settings and name not in wanted.usual and _is_kept(name)
    ]
    if is_other_user and wanted.user:
        changes.append(("session_authorization", wanted.user))
    if (is_other_user or is_other_role) and wanted.role != NO_ROLE:
        changes.append(("role", wanted.role))
    return changes


EXCLUDED = (
    *("client_encoding", "seed", "role", "session_authorization", "is_superuser"),
    *("transaction_isolation", "transaction_read_only", "transaction_deferrable"),
)
"""Settings that belong to the drivers or to one transaction."""

# PostgreSQL does not list custom settings. Their names are found in the objects that read them:
# functions, policies, defaults, checks, triggers and views. 2077 and 3294 are the oids of
# pg_catalog.current_setting.
READ_STATE = r"""
WITH texts (text) AS (
    SELECT CASE WHEN p.prosrc OPERATOR(pg_catalog.=) '' THEN pg_catalog.pg_get_functiondef(p.oid)
                ELSE p.prosrc END
    FROM pg_catalog.pg_proc p
    WHERE p.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND (p.prokind OPERATOR(pg_catalog.=) 'f'::pg_catalog."char"
           OR p.prokind OPERATOR(pg_catalog.=) 'p'::pg_catalog."char")
      AND (p.prosrc OPERATOR(pg_catalog.=) ''
           OR p.prosrc OPERATOR(pg_catalog.~*) 'current_setting')
  UNION ALL
    SELECT pg_catalog.pg_get_expr(p.polqual, p.polrelid) FROM pg_catalog.pg_policy p
  UNION ALL
    SELECT pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_catalog.pg_policy p
  UNION ALL
    SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
    WHERE d.adbin::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (2077|3294) '
  UNION ALL
    SELECT pg_catalog.pg_get_constraintdef(c.oid) FROM pg_catalog.pg_constraint c
    WHERE c.conbin::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (2077|3294) '
  UNION ALL
    SELECT pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t
    WHERE t.tgqual::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (2077|3294) '
  UNION ALL
    SELECT pg_catalog.pg_get_viewdef(r.ev_class) FROM pg_catalog.pg_rewrite r
    WHERE r.ev_class OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND r.rulename OPERATOR(pg_catalog.=) '_RETURN'::pg_catalog.name
      AND r.ev_action::pg_catalog.text OPERATOR(pg_catalog.~) ':funcid (2077|3294) '
), custom (name) AS (
    SELECT pg_catalog.unnest($1::pg_catalog.text[])
  UNION
    SELECT pg_catalog.lower(m[1]) FROM texts t
    CROSS JOIN LATERAL pg_catalog.regexp_matches(
        t.text, '''([a-z_][\w$]*(?:\.[a-z_][\w$]*)+)''', 'gi') m
), given (name, value) AS (
    SELECT name, pg_catalog.current_setting(name, true) FROM custom
)
SELECT CASE WHEN s.source OPERATOR(pg_catalog.=) 'session' THEN 'set' ELSE 'usual' END,
       s.name, s.setting
FROM pg_catalog.pg_settings s
WHERE (s.context OPERATOR(pg_catalog.=) 'user' OR s.context OPERATOR(pg_catalog.=) 'superuser')
  AND (s.source OPERATOR(pg_catalog.=) 'session'
       OR s.name OPERATOR(pg_catalog.=) 'TimeZone' OR s.name OPERATOR(pg_catalog.=) 'search_path')
  AND s.name OPERATOR(pg_catalog.<>) ALL ($2::pg_catalog.text[])
UNION ALL
SELECT 'set', g.name, g.value FROM given g WHERE g.value IS NOT NULL
UNION ALL
SELECT 'who', 'session_user', session_user::pg_catalog.text
UNION ALL
SELECT 'who', 'role', pg_catalog.current_setting('role')
"""

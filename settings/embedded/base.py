"""Django's database backend for PostgreSQL, with a server that starts at the first connection."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, client
from django.utils.functional import classproperty

from settings.embedded.programs import chosen_version, wheel_programs
from settings.embedded.server import PORT, attach

# The option that allows this backend with DEBUG off, for the settings of the tests.
ALLOW = "allow_without_debug"


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell` with the wheel's psql, since an older one may not support the server."""

    @classproperty
    def executable_name(cls) -> str:  # noqa: N805 - a property of the class
        """Return the path of psql."""
        return str(wheel_programs(chosen_version()) / "psql")

    def runshell(self, parameters: Sequence[str]) -> None:
        self.connection.get_connection_params()  # starts the server and sets HOST and PORT
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the embedded PostgreSQL, which starts when the connection is opened."""

    display_name = "Embedded PostgreSQL"
    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        """Start the server if it is not running, and return psycopg's parameters for it.

        Raises ImproperlyConfigured if DEBUG is off and the option `allow_without_debug` is not set.
        """
        if not settings.DEBUG and not self.settings_dict["OPTIONS"].get(ALLOW):
            raise ImproperlyConfigured(
                "The embedded PostgreSQL is for development, and DEBUG is off: it takes whoever "
                "reaches its socket for a superuser, without a password, and it stops with the "
                "last process that uses it. Set DATABASE_URL to a server of your own."
            )
        self.settings_dict |= {"HOST": str(attach()), "PORT": str(PORT), "USER": "postgres"}
        params = super().get_connection_params()
        params.pop(ALLOW, None)
        return params

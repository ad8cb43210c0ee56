"""Django's database backend for PostgreSQL, with a server that starts at the first connection."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, client
from django.utils.functional import classproperty

from settings.embedded.programs import chosen_version, wheel_programs
from settings.embedded.server import PORT, attach

# The option that lets settings use this backend with DEBUG off: those of the tests.
ALLOW = "allow_without_debug"


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell`, with the wheel's psql: an older one does not know a newer server."""

    @classproperty
    def executable_name(cls) -> str:  # noqa: N805 - a property of the class
        """Where psql is; a path, for whoever runs it."""
        return str(wheel_programs(chosen_version()) / "psql")

    def runshell(self, parameters: Sequence[str]) -> None:
        self.connection.get_connection_params()  # starts the server and fills in where it is
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the embedded PostgreSQL. Making one starts nothing; opening it does."""

    display_name = "Embedded PostgreSQL"
    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        """Start the server if nobody has, and return what psycopg needs to reach it.

        Raises ImproperlyConfigured when DEBUG is off and the option `allow_without_debug` not set.
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

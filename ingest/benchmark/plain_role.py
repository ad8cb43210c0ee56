"""Measures ``direct`` as a role without special privileges, on the same tables."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connections
from psycopg import sql

from ingest.benchmark.candidates import MethodCandidate
from ingest.benchmark.methods.copying import DirectMethod
from ingest.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.benchmark.candidates import Write
    from ingest.benchmark.prepare import Material


class RoleCandidate(MethodCandidate):
    """The method ``direct`` after ``SET ROLE``; the role owns the tables, as is usual in a project.

    It connects through a second alias for the same database, with Django's ``assume_role``.
    """

    is_yardstick = True

    def __init__(self, material: Material, role: str) -> None:
        super().__init__(material, DirectMethod)
        self._role = role
        self.name = f"direct as {role}"
        self._give_tables()

    def _give_tables(self) -> None:
        tables = self.material.tables
        role = sql.Identifier(self._role)
        with connections[tables.alias].cursor() as cursor:
            cursor.execute("SELECT rolname FROM pg_catalog.pg_roles WHERE NOT rolsuper")
            names = [name for (name,) in cursor.fetchall()]
            if self._role not in names:
                raise ConfigurationError(
                    f"--role {self._role}: there is no such role, or it is a superuser: "
                    f'CREATE ROLE "{self._role}", and try again.'
                )
            for schema in tables.scratch.schemas:
                cursor.execute(
                    sql.SQL("GRANT USAGE, CREATE ON SCHEMA {} TO {}").format(
                        sql.Identifier(schema), role
                    )
                )
            for name in dict.fromkeys(tables.names.values()):
                cursor.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.SQL(name), role))

    @contextmanager
    def open(self, count: int) -> Iterator[Write]:
        alias = f"{self.material.tables.alias} as {self._role}"
        databases = connections.databases
        options = databases[self.material.tables.alias].get("OPTIONS", {})
        databases[alias] = {
            **databases[self.material.tables.alias],
            "OPTIONS": {**options, "assume_role": self._role},
        }
        try:
            with self.opened(alias, count) as write:
                yield write
        finally:
            connections[alias].close()
            del connections[alias], databases[alias]

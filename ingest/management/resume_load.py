"""The process that goes on with a load for the admin: ``bulk_load --resume`` in a given state.

It reads the state of the request's database connection from its standard input, so that it finds
the same ledger: a tenant may have one of its own.
"""

from __future__ import annotations

import pickle
import sys

import django


def main(load: str, alias: str) -> None:
    """Go on with a load of the ledger that is found over the alias in the given state."""
    state = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    django.setup()
    # Models can be imported only now.
    from django.core.management import execute_from_command_line

    from ingest.postgres.session import put_django_in

    put_django_in(alias, state)
    from ingest.models import Load

    if Load.objects.using(alias).filter(pk=load, status=Load.Status.DRAFT).exists():
        from ingest.uploads.running import run_load

        run_load(int(load), using=alias)
        return
    arguments = ["--resume", load, "--database", alias, "--progress", "none"]
    execute_from_command_line(["manage.py", "bulk_load", *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])

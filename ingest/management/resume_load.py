"""The process that resumes a load for the admin: ``bulk_load --resume`` in a given state.

It reads the state of the request's database connection from its standard input, so that it finds
the same ledger: a tenant may have its own.
"""

from __future__ import annotations

import pickle
import sys

import django


def main(load: str, alias: str) -> None:
    """Resume a load of the ledger that this alias finds in the given state."""
    state = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    django.setup()
    # Models can be imported only after django.setup().
    from django.core.management import CommandError, call_command

    from ingest.postgres.session import put_django_in

    put_django_in(alias, state)
    from ingest.models import Load

    if Load.objects.using(alias).filter(pk=load, status=Load.Status.DRAFT).exists():
        from ingest.uploads.running import run_load

        run_load(int(load), using=alias)
        return
    from ingest.uploads.running import note_failure

    arguments = ["--resume", load, "--database", alias, "--progress", "none"]
    try:
        call_command("bulk_load", *arguments, skip_checks=False)
    except Exception as error:
        note_failure(int(load), alias, str(error) or type(error).__name__)
        if not isinstance(error, CommandError):
            raise
        sys.stderr.write(f"CommandError: {error}\n")
        sys.exit(error.returncode)


if __name__ == "__main__":
    main(*sys.argv[1:])

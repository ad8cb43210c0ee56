"""What two tenants do, in a process with django-tenants; prints what came of it as JSON."""

import json
import sys
from pathlib import Path

import django

from tests.patience import wait_until

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django_tenants.utils import schema_context, tenant_context  # noqa: E402

from finance.models import Account, Transaction  # noqa: E402
from ingest import load, verify  # noqa: E402
from ingest.admin.loads.resuming import start_resuming  # noqa: E402
from ingest.ledger.undo import undo  # noqa: E402
from ingest.models import Load  # noqa: E402
from tests.end_to_end.tenants.models import Client  # noqa: E402

SCHEMAS = ("t1", "t2")


def main(folder, ledger):  # noqa: PLR0915 - one story
    call_command("migrate_schemas", shared=True, verbosity=0)
    told = {}
    tenants = [Client.objects.create(schema_name=schema) for schema in SCHEMAS]
    path = Path(folder) / "rows.csv"
    for tenant in tenants:
        with tenant_context(tenant):
            user = get_user_model().objects.create(pk=1, username=tenant.schema_name)
            Account.objects.create(pk=1, user=user, number="A", name="a", currency="EUR")
    lines = [f"1,1,{number},2025-01-01,R{number}\n" for number in range(1, 31)]
    path.write_text("user,account,amount,tx_date,reference\n" + "".join(lines))

    def stop(progress):
        if progress.rows >= 20:
            raise KeyboardInterrupt

    def rows():
        found = {}
        for schema in SCHEMAS:
            with schema_context(schema):
                found[schema] = Transaction.objects.count()
        return found

    # No query has been made since the tenant was set.
    connection.set_tenant(tenants[0])
    got = load(Transaction, path)
    told["plain"] = [got.table, got.load.schema, rows()]
    told["verified"] = verify(Transaction).table
    undo(got.load.pk)
    told["undone"] = rows()
    connection.set_tenant(tenants[1])
    with transaction.atomic():
        connection.set_tenant(tenants[0])
        got = load(Transaction, path)
    told["atomic"] = [got.table, got.driver, rows()]
    undo(got.load.pk)
    got = load(Transaction, path, workers=2, chunk_rows=5)
    told["workers"] = [got.table, len(got.decisions), rows()]
    undo(got.load.pk)

    # The first tenant's load is interrupted; the second tenant loads the same file.
    try:
        load(Transaction, path, chunk_rows=10, progress=stop)
    except KeyboardInterrupt:
        [found] = Load.objects.filter(status="interrupted")
    connection.set_tenant(tenants[1])
    got = load(Transaction, path, resumable=True, chunk_rows=10)
    told["second"] = [got.table, rows()]
    if ledger == "tenant":
        connection.set_tenant(tenants[0])
    start_resuming(found, "default")
    wait_until(lambda: Load.objects.filter(pk=found.pk, status="loaded").exists())
    told["resumed by the admin"] = [connection.schema_name, rows()]
    undo(found.pk)
    told["undone from there"] = [connection.schema_name, rows()]
    if ledger == "shared":
        connection.set_tenant(tenants[0])
        again = load(Transaction, path)
        connection.set_schema_to_public()
        undo(again.load.pk)
        told["undone from the public schema"] = [connection.schema_name, rows()]
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

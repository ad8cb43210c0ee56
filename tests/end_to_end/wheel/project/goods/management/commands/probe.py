"""What a project does with ingest from Python: `manage.py probe NAME` gives its facts as JSON."""

import json
import sys
from pathlib import Path

from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import connections, transaction
from django.test import Client
from django.urls import reverse

import ingest
from goods.models import Item, Supplier
from ingest.signals import load_ended

STRANGERS = ("finance", "settings", "tests")
Member = get_user_model()


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("name", choices=PROBES)

    def handle(self, *_args, name, **_options):
        facts = PROBES[name]()
        facts["ingest"] = str(Path(ingest.__file__).parent)
        facts["strangers"] = [name for name in sys.modules if name.split(".")[0] in STRANGERS]
        self.stdout.write(json.dumps(facts))


def ledger():
    tables = sorted(model._meta.db_table for model in apps.get_app_config("ingest").get_models())
    return {
        alias: tables and set(tables) <= set(connections[alias].introspection.table_names())
        for alias in connections
    }


def loads():
    """Load into both databases, outside and inside a transaction."""
    told = []

    def hear(sender, using, result, error, **_told):
        told.append([sender._meta.label, using, result and result.rows, error and str(error)])

    load_ended.connect(hear)
    supplier = Supplier.objects.create(name="Acme")
    items = ({"supplier": supplier.pk, "code": f"api{n}", "price": n} for n in range(5))
    people = [{"username": name, "password": "!"} for name in ("ada", "grace")]
    results = [ingest.load(Item, items), ingest.load(Member, people[:1])]
    with transaction.atomic(using="warehouse"):
        inside = [{"supplier": supplier.pk, "code": "inside", "price": "1.50"}]
        results.append(ingest.load(Item, inside))
        transaction.set_rollback(True, using="warehouse")
    with transaction.atomic():
        results.append(ingest.load(Member, people[1:]))
    try:
        ingest.load(Item, [{"supplier": supplier.pk, "code": "x" * 21, "price": 1}])
    except ingest.RecordsRefused as error:
        refusal = str(error)
    with_rows = [result.load for result in results if result.load.rows().exists()]
    return {
        "recorded": [[load.model, load._state.db, load.rows().count()] for load in with_rows],
        "drivers": [result.driver for result in results],
        "items": Item.objects.filter(code__startswith="api").count(),
        "inside": Item.objects.filter(code="inside").exists(),
        "members": sorted(Member.objects.filter(password="!").values_list("username", flat=True)),
        "keys": {type(member.pk).__name__ for member in Member.objects.all()} == {"UUID"},
        "refusal": refusal,
        "told": told,
    }


def pages():
    """Open the admin's pages of the loaded model, and of ingest's own models that are there."""
    supplier = Supplier.objects.create(name="Pages")
    ingest.load(Item, [{"supplier": supplier.pk, "code": "on the page", "price": 7}])
    Member.objects.create_superuser("root", password="for-one-test-only")
    client = Client()
    client.force_login(Member.objects.get(username="root"))
    shown = {}
    for model in (Item, *apps.get_app_config("ingest").get_models()):
        if admin.site.is_registered(model):
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
            page = client.get(reverse(name))
            shown[model.__name__] = page.status_code
            if model is Item:
                shown["has_the_row"] = "on the page" in page.content.decode()
    return shown


PROBES = {"ledger": ledger, "loads": loads, "pages": pages}

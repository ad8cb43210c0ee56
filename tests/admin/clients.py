"""Who looks at the admin, and what they see."""

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from finance.models import Transaction
from ingest.models import Reject

ACTIONS = ("resume", "cancel", "undo")
TRANSACTIONS = reverse("admin:finance_transaction_changelist")


def keys(cl):
    return [row.pk for row in cl.result_list]


def everything(**filters):
    rows = Transaction.objects.filter(**filters).order_by("-tx_date", "-pk")
    return list(rows.values_list("pk", flat=True))


def address(load, name="change"):
    return reverse(f"admin:ingest_load_{name}", args=[load.pk])


def clerk(*permissions):
    """Log somebody in who may do no more than this."""
    user = get_user_model().objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def reject(load, **facts):
    what = {"source": load.source, "record": 7, "kind": "value", "reason": "Enter a date."}
    return Reject.objects.create(load=load, chunk=load.chunks.get(), **{**what, **facts})


def told(response):
    return [str(message) for message in response.context["messages"]]

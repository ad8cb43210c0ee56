"""Accounts and the transactions on them."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from ingest.managers import BulkLoadManager


class Account(models.Model):
    """A bank account and its owner."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="accounts"
    )
    number = models.CharField(max_length=34, unique=True, help_text="An IBAN has at most 34.")
    name = models.CharField(max_length=100)
    currency = models.CharField(max_length=3, default="EUR", help_text="ISO 4217.")
    opened_on = models.DateField(null=True, blank=True)

    def __str__(self) -> str:
        return self.number


class Transaction(models.Model):
    """A transaction on an account; money in is positive, money out negative."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="transactions"
    )
    # It needs no index of its own: the one on (account, tx_date) is used.
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="transactions", db_index=False
    )
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    description = models.TextField(blank=True)
    tx_date = models.DateField()
    reference = models.CharField(
        max_length=64, blank=True, default="", help_text="The bank's own; once in each account."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = BulkLoadManager()

    class Meta:
        indexes = [
            models.Index(fields=["account", "tx_date"], name="transaction_account_date"),
            models.Index(fields=["tx_date"], name="transaction_date"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "reference"],
                condition=~Q(reference=""),
                name="transaction_account_reference",
                violation_error_message="This account has this reference already.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tx_date} {self.amount}"

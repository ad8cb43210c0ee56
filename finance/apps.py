"""The Django app."""

from django.apps import AppConfig


class FinanceConfig(AppConfig):
    """The example app: whose accounts, and what moved on them."""

    name = "finance"
    default_auto_field = "django.db.models.BigAutoField"

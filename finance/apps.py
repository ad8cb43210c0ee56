"""The Django app."""

from django.apps import AppConfig


class FinanceConfig(AppConfig):
    """The example app: accounts and transactions."""

    name = "finance"
    default_auto_field = "django.db.models.BigAutoField"

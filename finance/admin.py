"""Accounts and transactions in the admin, which stays fast with ten million rows."""

from django.contrib import admin

from finance.models import Account, Transaction
from ingest.admin import LargeTableAdmin, LoadFileAdmin


@admin.register(Account)
class AccountAdmin(LoadFileAdmin, LargeTableAdmin, admin.ModelAdmin):
    """Accounts, searchable by number, name or owner."""

    list_display = ["number", "name", "user", "currency", "opened_on"]
    list_filter = ["currency"]
    list_select_related = ["user"]
    search_fields = ["number", "name", "user__username"]
    date_hierarchy = "opened_on"
    autocomplete_fields = ["user"]
    ordering = ["number"]


@admin.register(Transaction)
class TransactionAdmin(LoadFileAdmin, LargeTableAdmin, admin.ModelAdmin):
    """Transactions, newest first."""

    list_display = ["tx_date", "account", "user", "amount", "description", "reference"]
    list_filter = ["tx_date", "account__currency"]
    list_select_related = ["account", "user"]
    search_fields = ["description", "reference", "account__number", "user__username"]
    date_hierarchy = "tx_date"
    autocomplete_fields = ["user", "account"]
    readonly_fields = ["created_at"]
    ordering = ["-tx_date", "-pk"]
    sum_fields = ["amount"]
    sum_by = "account__currency"

"""Creates users and accounts for the sample files in finance/samples."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction

from finance.models import Account

SAMPLES = Path(__file__).parents[2] / "samples"


class Command(BaseCommand):
    """Creates what the sample files refer to; a second run changes nothing."""

    help = "Create the users and accounts that the files in finance/samples refer to."

    @transaction.atomic
    def handle(self, *_: Any, **__: Any) -> None:
        """Create each account of accounts.csv and its user, unless they exist."""
        users = get_user_model().objects
        created = 0
        with (SAMPLES / "accounts.csv").open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                user, is_new = users.get_or_create(username=row.pop("user"))
                if is_new:
                    user.set_unusable_password()
                    user.save(update_fields=["password"])
                number = row.pop("number")
                created += Account.objects.get_or_create(
                    number=number, defaults={**row, "user": user}
                )[1]
        self.stdout.write(
            f"Created {created} accounts. Load their transactions with: "
            "manage.py bulk_load finance.Transaction finance/samples/statement.csv"
        )

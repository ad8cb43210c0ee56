"""The sample files are loaded as README and docs say."""

import io
from pathlib import Path

import pytest
from django.core.management import call_command

from finance.models import Account, Transaction
from ingest import detect

SAMPLES = Path(__file__).parents[2] / "finance" / "samples"
pytestmark = pytest.mark.django_db


def load(name, *options):
    out = io.StringIO()
    call_command("bulk_load", "finance.Transaction", str(SAMPLES / name), *options, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _accounts():
    call_command("finance_demo", stdout=io.StringIO())


def stored():
    return {
        (row.account.number, row.reference): (row.amount, row.description, row.tx_date)
        for row in Transaction.objects.select_related("account")
    }


def test_the_demo_makes_users_and_accounts_once():
    call_command("finance_demo", stdout=io.StringIO())
    assert Account.objects.count() == 4
    assert sorted(set(Account.objects.values_list("user__username", flat=True))) == [
        "jonas",
        "maria",
    ]


def test_the_updated_statement_changes_a_few_rows_and_has_new_ones():
    load("statement.csv")
    before = stored()
    load("statement_updated.csv", "--on-conflict", "upsert", "--key", "account", "reference")
    after = stored()
    assert len(before) == 120
    assert len(after) == 135
    assert sum(after[key] != row for key, row in before.items()) == 5


def test_the_workbook_has_a_preamble_and_typed_cells():
    found = detect(SAMPLES / "statement.xlsx")
    assert found.options.skip_records == 2
    load("statement.xlsx", "--skip-records", "2")
    assert Transaction.objects.count() == 80
    assert Transaction.objects.filter(amount=2400, description="Salary").count() == 8


def test_a_statement_loads_with_the_layout_that_is_detected_in_it(tmp_path):
    path = tmp_path / "detected.toml"
    path.write_text(load("statement.csv", "--detect"))
    load("statement.csv", "--layout", str(path))
    assert Transaction.objects.count() == 120

"""The sixteen files of real banks, where they are at hand: counts, and sums to the cent."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from django.db.models import Sum

from finance.models import Transaction
from ingest import load

pytestmark = pytest.mark.django_db(transaction=True)
BANKS = Path(__file__).parents[3] / "shared" / "data" / "banks"

LAYOUTS = {
    "br_bb_latin1_trailing_comma": ("banco_do_brasil", {"5": 1}),
    "ch_akb_2411rows_apostrophe": ("akb", {"3": -1, "4": 1}),
    "ch_cler_multiline": ("cler", {"4": -1, "5": 1}),
    "ch_creditsuisse_total_row": ("credit_suisse", {"2": -1, "3": 1}),
    "ch_postfinance_2003_NUL_trailer": ("postfinance", {"2": 1, "3": 1}),
    "cn_alipay_gb18030": ("alipay", {"6": 1}),
    "cz_airbank_mixed_quoting": ("air_bank", {"13": 1}),
    "de_deutschebank_preamble_trailer": ("deutsche_bank", {"16": 1, "17": 1}),
    "de_sparkasse_yy_dates": ("sparkasse", {"14": 1}),
    "ie_boi_ragged_decimals": ("bank_of_ireland", {"2": -1, "3": 1}),
    "jp_ja_yen_backslash": ("ja_bank", {}),
    "nl_bunq_quoted_comma_amount": ("bunq", {"1": 1}),
    "stripe_50cols": ("stripe", {"4": 1}),
    "us_chase_parentheses": ("chase", {"3": 1}),
    "venmo_no_header_multiline": ("venmo", {}),
    "xero_cr_only": ("xero", {"3": 1}),
}
SUMS_IN_THE_RECORDS = {"jp_ja_yen_backslash": "2400", "venmo_no_header_multiline": "-21.59"}
"""Those that expected.json does not sum up."""


@pytest.mark.skipif(not BANKS.exists(), reason="the banks' files are not there")
@pytest.mark.parametrize("name", LAYOUTS)
def test_count_and_sum(name):
    layout, signs = LAYOUTS[name]
    expected = json.loads((BANKS / f"{name}.expected.json").read_text())
    got = load(Transaction, BANKS / f"{name}.csv", layout=layout)
    # Of the two records that have a disclaimer among them, one is a transaction.
    disclaimers = 1 if layout == "venmo" else 0
    assert (got.rows, got.rejected) == (expected["transaction_records"] - disclaimers, 0)
    amounts = Transaction.objects.values_list("amount", flat=True)
    sums = expected["amount_columns"]
    want = sum(sign * Decimal(sums[column]["sum"]) for column, sign in signs.items())
    if layout == "alipay":  # whose sums are of amounts without a sign
        assert sum(map(abs, amounts)) == want
    else:
        total = Transaction.objects.aggregate(Sum("amount"))["amount__sum"]
        assert total == (want if signs else Decimal(SUMS_IN_THE_RECORDS[name]))

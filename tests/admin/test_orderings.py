"""Which orders have a key, and pages that begin at one, in any kind of order."""

import datetime as dt

import pytest
from django.db import connection, models
from hypothesis import given
from hypothesis import strategies as st

from finance.models import Account, Transaction
from ingest.admin.large_tables.indexes import LARGEST_GROUP, TableIndexes
from ingest.admin.large_tables.orderings import NoKey, read_ordering
from ingest.admin.large_tables.pages import STEPPED_ROWS, Anchor, KeyPages
from ingest.admin.large_tables.scales import scale_of

ROWS = 40_000
PER_PAGE = 50

on_rows = [pytest.mark.django_db, pytest.mark.usefixtures("large_table")]


class Scaled:
    """Fields as a model has them."""

    number = models.BigIntegerField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    day = models.DateField()
    moment = models.DateTimeField()
    key = models.UUIDField()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (Scaled.number, st.integers(-(2**63), 2**63 - 1)),
        (Scaled.amount, st.decimals(-(10**9), 10**9, places=2)),
        (Scaled.day, st.dates()),
        (Scaled.moment, st.datetimes(timezones=st.just(dt.UTC))),
        (Scaled.key, st.uuids()),
    ],
)
def test_a_scale_keeps_the_order_and_loses_nothing(field, values):
    to_number, from_number = scale_of(field)

    @given(values, values)
    def holds(one, other):
        assert from_number(to_number(one)) == one
        assert (one < other) == (to_number(one) < to_number(other))

    holds()


def test_texts_have_no_scale():
    assert scale_of(models.CharField()) is None
    assert scale_of(Transaction._meta.get_field("account"))[1](5) == 5


class TestOrders:
    pytestmark = on_rows

    @pytest.mark.parametrize(
        ("order", "want"),
        [
            (["amount", "pk"], "no index serves the order by amount, id"),
            (["tx_date", "-pk"], "the columns are not all sorted in the same direction"),
            (["account__number", "pk"], "account__number is not a column of the table"),
            ([models.F("tx_date"), "pk"], "the order is by an expression"),
        ],
    )
    def test_an_order_without_a_key_says_why(self, order, want):
        with pytest.raises(NoKey) as caught:
            read_ordering(Transaction.objects.order_by(*order))
        assert str(caught.value) == want

    def test_an_order_by_a_column_that_may_be_empty_has_none(self):
        with pytest.raises(NoKey, match="opened_on may be empty"):
            read_ordering(Account.objects.order_by("opened_on", "pk"))
        with pytest.raises(NoKey, match="the rows are made distinct first"):
            read_ordering(Account.objects.order_by("pk").distinct())

    def test_an_index_on_the_first_column_will_not_do_where_many_rows_share_a_value(self):
        indexes = TableIndexes(Transaction, "default")
        assert indexes.sort(("tx_date", "id"))
        assert indexes.sort(("account_id", "tx_date"))
        Transaction.objects.update(tx_date="2020-01-01")
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE finance_transaction")
        assert Transaction.objects.count() < LARGEST_GROUP
        assert indexes.sort(("tx_date", "id"))
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE pg_class SET reltuples = 10000000 WHERE relname = 'finance_transaction'"
            )
        assert not indexes.sort(("tx_date", "id"))


class TestPages:
    pytestmark = on_rows

    @pytest.mark.parametrize(
        "order", [["pk"], ["-pk"], ["account_id", "tx_date", "pk"], ["-user_id", "-pk"]]
    )
    @pytest.mark.parametrize("number", [1, 30, 350, 799])
    def test_a_page_is_a_piece_of_the_whole(self, order, number):
        rows = Transaction.objects.order_by(*order)
        pages = KeyPages(rows, read_ordering(rows), rows=ROWS, per_page=PER_PAGE)
        got = [row.pk for row in pages.open(number).rows]
        everything = list(rows.values_list("pk", flat=True))
        start = everything.index(got[0])
        assert got == everything[start : start + PER_PAGE]
        assert abs(start - (number - 1) * PER_PAGE) < ROWS * 0.05

    def test_an_order_by_text_is_stepped_through(self):
        rows = Account.objects.order_by("number")
        pages = KeyPages(rows, read_ordering(rows), rows=10 * STEPPED_ROWS, per_page=10)
        page = pages.open(1_500)
        assert (page.number, page.is_last) == (10_000, True)  # there are far fewer rows
        assert page.rows[0].number == f"CZ{9_991:022}"

    def test_an_estimate_that_is_too_low_ends_no_walk(self):
        rows = Transaction.objects.order_by("pk")
        ordering = read_ordering(rows)
        pages = KeyPages(rows, ordering, rows=3 * PER_PAGE, per_page=PER_PAGE)
        page = pages.open(3)
        assert (page.is_last, pages.last_number) == (False, 4)
        anchor = Anchor(number=3, is_exact=True, key=ordering.key_of(page.rows[0]))
        assert pages.open(4, anchor).rows[0].pk == rows[3 * PER_PAGE].pk

    def test_a_walk_to_the_start_ends_at_page_1(self):
        rows = Transaction.objects.order_by("pk")
        ordering = read_ordering(rows)
        pages = KeyPages(rows, ordering, rows=ROWS, per_page=PER_PAGE)
        place = {"is_exact": False, "key": ordering.key_of(rows[PER_PAGE * 3])}
        page = pages.open(1, Anchor(number=2, **place))
        assert (page.number, page.rows[0].pk) == (2, rows[PER_PAGE * 2].pk)
        page = pages.open(2, Anchor(number=6, **place))
        assert (page.number, page.is_exact, page.rows[0].pk) == (1, True, rows[0].pk)

    def test_a_place_is_written_down_and_read_again(self):
        ordering = read_ordering(Transaction.objects.order_by("tx_date", "pk"))
        anchor = Anchor(number=5, is_exact=False, key=(dt.date(2020, 1, 2), 77))
        assert Anchor.from_text(anchor.as_text(ordering), ordering) == anchor

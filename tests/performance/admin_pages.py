"""Pages of the list of transactions, by LargeTableAdmin and by Django's own ModelAdmin.

    python -m tests.performance.admin_pages [--rows 10000000] [--page 50000] [--repeat 5]

Fills a scratch database, takes the two in turns in one process, and prints milliseconds of the
whole page: queries, and the HTML made of them. The best of each tells what a free machine does.
"""

import argparse
import os
import statistics
import time

import django

OPTIONS = (
    *("list_display", "list_filter", "list_select_related", "search_fields", "date_hierarchy"),
    "ordering",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--page", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.testing")
    django.setup()
    from django.db import connection

    creation = connection.creation
    before = connection.settings_dict["NAME"]
    creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        from tests.many_rows import fill_transactions

        started = time.perf_counter()
        fill_transactions(asked.rows)
        print(f"{asked.rows:,} transactions made in {time.perf_counter() - started:.0f} s")
        measure(asked)
    finally:
        creation.destroy_test_db(before, verbosity=0)


def measure(asked):
    from django.contrib import admin
    from django.contrib.auth import get_user_model
    from django.test import RequestFactory

    from finance.admin import TransactionAdmin
    from finance.models import Transaction

    options = {name: getattr(TransactionAdmin, name) for name in OPTIONS}
    stock_kind = type("Stock", (admin.ModelAdmin,), options)
    ours, stock = (kind(Transaction, admin.site) for kind in (TransactionAdmin, stock_kind))
    user = get_user_model().objects.create_superuser("measurer")

    def milliseconds(kind, **query):
        request = RequestFactory().get("/admin/finance/transaction/", query)
        request.user = user
        started = time.perf_counter()
        response = kind.changelist_view(request)
        response.render()
        elapsed = (time.perf_counter() - started) * 1_000
        if response.status_code != 200:
            raise SystemExit(f"{query} was answered with {response.status_code}")
        return elapsed, response.context_data["cl"]

    _, cl = milliseconds(ours, p=asked.page)
    links = {int(number): link for number, link in cl.page_links() if link}
    at = links[asked.page + 1].partition("_at=")[2].partition("&")[0]
    print(f"page {asked.page:,} begins with {cl.result_list[0].tx_date}; {cl.result_count} rows")
    pages = {
        "first page": ({}, {}),
        f"page {asked.page:,}, by its number": ({"p": asked.page}, {"p": asked.page}),
        f"page {asked.page + 1:,}, by the link to it": (
            {"p": asked.page + 1, "_at": at},
            {"p": asked.page + 1},
        ),
    }
    for name, (our_query, stock_query) in pages.items():
        milliseconds(ours, **our_query)  # both find the pages of the table in memory
        milliseconds(stock, **stock_query)
        pairs = [
            (milliseconds(ours, **our_query)[0], milliseconds(stock, **stock_query)[0])
            for _ in range(asked.repeat)
        ]
        ours_taken, stocks_taken = zip(*pairs, strict=True)
        our, theirs = statistics.median(ours_taken), statistics.median(stocks_taken)
        print(
            f"{name:30} LargeTableAdmin {our:7.1f} ms (best {min(ours_taken):.1f})"
            f"   ModelAdmin {theirs:9.1f} ms (best {min(stocks_taken):.1f})"
            f"   ratio {theirs / our:6.1f}"
        )


if __name__ == "__main__":
    main()

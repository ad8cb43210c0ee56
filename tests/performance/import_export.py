"""The whole way in the browser, beside django-import-export's: upload, preview, confirm.

    pip install django-import-export
    python -m tests.performance.import_export [--rows 100000] [--only ingest fast]

Both are asked over HTTP by the same client, of the same server process, for the same rows and
model, and nobody thinks in between. `as it comes` is django-import-export with its own defaults,
and `fast` with its options that save queries, which show no differences. Either waits in two
requests, the preview and the load; ingest's dry run and load are in the background, and the way
ends with the load.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import django

from tests.performance.uploads import PORT, Browser, go_on

SETTINGS = "tests.performance.peer_settings"
VARIANTS = {"ingest": None, "fast": "fast", "as it comes": "as-it-comes"}
FORM = "application/x-www-form-urlencoded"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    django.setup()
    from tests.performance.harness import scratch_database
    from tests.performance.rows import write_plain

    with tempfile.TemporaryDirectory() as folder, scratch_database() as database:
        path = Path(folder) / "rows.csv"
        write_plain(path, given.rows)
        command = [sys.executable, "manage.py", "runserver", str(PORT), "--noreload"]
        server = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "INGEST_FIGURES_DATABASE": database},
        )
        try:
            compare(Browser(log_in()), path, given)
        finally:
            server.terminate()
            server.wait()


def log_in():
    """Return the cookie of somebody's session who may do everything."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.create_superuser("measurer"))
    return client.cookies["sessionid"].value


def compare(browser, path, given):
    from finance.models import Transaction

    browser.wait()
    taken = {}
    for name in given.only:
        Transaction.objects.all().delete()
        started = time.perf_counter()
        way = VARIANTS[name]
        taken[name] = ours(browser, path, started) if way is None else theirs(browser, path, way)
        found = Transaction.objects.count()
        if found != given.rows:
            raise SystemExit(f"{name} loaded {found:,} rows of {given.rows:,}.")
        previewed, loaded = taken[name]
        print(f"{name:12} preview after {previewed:7.1f} s, loaded after {loaded:7.1f} s")
    for name, (_, loaded) in taken.items():
        if name != "ingest" and "ingest" in taken:
            print(f"{name}: {loaded / taken['ingest'][1]:.1f} times as long as ingest")


def ours(browser, path, started):
    answer, text = browser.upload(path, "finance.Transaction")
    if answer.status != 302:
        raise SystemExit(text)
    address = answer.headers["Location"]
    _, text = browser.ask("GET", address)
    return go_on(browser, address, text, started)


def theirs(browser, path, way):
    started = time.perf_counter()
    address = f"/{way}/finance/transaction/import/"
    fields = re.findall(r'name="(resource|format)"', browser.ask("GET", address)[1])
    answer, text = browser.send(address, "import_file", path, **dict.fromkeys(fields, "0"))
    previewed = time.perf_counter() - started
    confirm = text.partition("process_import/")[2]
    if answer.status != 200 or not confirm:
        raise SystemExit(f"{answer.status}: {re.sub('<[^>]+>', ' ', text)[:2000]}")
    hidden = [re.findall(r'(\w+)="([^"]*)"', tag) for tag in re.findall("<input[^>]+>", confirm)]
    posted = {it["name"]: it.get("value", "") for it in map(dict, hidden) if "name" in it}
    body = urlencode(posted)
    answer, text = browser.ask(
        "POST", f"{address[:-7]}process_import/", body, **{"Content-Type": FORM}
    )
    if answer.status != 302:
        raise SystemExit(f"{answer.status}: {re.sub('<[^>]+>', ' ', text)[:2000]}")
    return previewed, time.perf_counter() - started


if __name__ == "__main__":
    main()

"""A large file on its way through a real Chromium, with a browser that closes, a web server that is
restarted, and two people who load one file at once.

    python -m tests.performance.chromium [--rows 1000000]

Ends with an error where rows are lost or doubled, and prints what a person waited for.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import django

from tests.performance.uploads import PORT, Browser

SETTINGS = "tests.performance.site_settings"
MODEL = "finance.Transaction"
MOST_SECONDS = 300
OVER = ("Loaded", "Failed")


class Site:
    """A web server of its own, which can be restarted."""

    def __init__(self, database, folder):
        self._environment = {
            **os.environ,
            "INGEST_FIGURES_DATABASE": database,
            "INGEST_FIGURES_UPLOADS": str(folder / "uploads"),
        }
        self._process = None

    def __enter__(self):
        command = [sys.executable, "manage.py", "runserver", str(PORT), "--noreload", "--insecure"]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        Browser("").wait()
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()

    def restart(self):
        self.__exit__()
        self.__enter__()


class Person:
    """Somebody who is logged in, in a browser that can be closed and opened again."""

    def __init__(self, name):
        from django.contrib.auth import get_user_model
        from django.test import Client

        self._client = Client()
        self._client.force_login(get_user_model().objects.create_superuser(name))
        self._stack = contextlib.ExitStack()
        self.browser = None

    def open(self, address):
        from tests.end_to_end.browser.driver import open_browser

        self.browser = self._stack.enter_context(open_browser())
        self.browser.server = f"http://127.0.0.1:{PORT}"
        self.browser.log_in(self._client)
        self.browser.open(address)

    def close(self):
        self._stack.close()

    def upload(self, path):
        """Hand in a file; gives the seconds until its first records are shown."""
        self.open(f"/admin/ingest/upload/add/?model={MODEL}")
        self.browser.one("input[type=file]").send_keys(str(path))
        return self.timed("input[type=submit]")

    def timed(self, selector="button[value=continue]"):
        started = time.perf_counter()
        self.browser.press(selector)
        return time.perf_counter() - started

    def wait_for(self, condition):
        """Wait until a condition holds of the page, which changes by itself."""
        from selenium.common.exceptions import WebDriverException

        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(WebDriverException):  # between two pages
                if condition():
                    return
            time.sleep(0.1)
        raise SystemExit(f"Waited in vain for: {self.browser.text[:2_000]}")

    def has(self, selector):
        return bool(self.browser.texts(selector))

    def shows(self, *texts):
        return any(text in self.browser.text for text in texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(",")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    django.setup()
    from tests.performance.harness import scratch_database
    from tests.performance.rows import write_plain

    with tempfile.TemporaryDirectory() as name, scratch_database() as database:
        folder = Path(name)
        with Site(database, folder) as site:
            write_plain(folder / "two.csv", given.rows // 20)
            two_people(folder / "two.csv", given.rows // 20)
            write_plain(folder / "large.csv", given.rows)
            one_file(site, folder / "large.csv", given.rows)


def two_people(path, rows):
    """Let two people bring one file to its confirmation, and both confirm."""
    from finance.models import Transaction
    from ingest.models import Load

    people = [Person("first"), Person("second")]
    try:
        for person in people:
            person.upload(path)
            for _ in range(4):
                person.browser.press("button[value=continue]")
            person.wait_for(lambda person=person: person.has("button[value=continue]"))
            person.browser.press("button[value=continue]")
        for person in people:
            person.browser.one("button[value=confirm]").click()
        for person in people:
            person.wait_for(
                lambda person=person: person.has(".ingest-load") and person.shows(*OVER)
            )
    finally:
        for person in people:
            person.close()
    states = sorted(Load.objects.values_list("status", flat=True))
    found = Transaction.objects.count()
    print(f"two people, one file of {rows:,} records: {' and '.join(states)}, {found:,} rows")
    if (states, found) != (["failed", "loaded"], rows):
        raise SystemExit("One load should be in, and the other refused.")
    Transaction.objects.all().delete()


def one_file(site, path, rows):
    """Bring a large file to the table, and close and restart in the middle."""
    from finance.models import Transaction
    from ingest.models import Load, Upload

    person = Person("third")
    try:
        megabytes = path.stat().st_size / 1_000_000
        seconds = person.upload(path)
        print(
            f"{rows:,} records, {megabytes:.0f} MB: sent, and its first records shown, "
            f"in {seconds:.2f} s"
        )
        taken = [person.timed() for _ in range(3)]
        print("then columns, options, preview: " + ", ".join(f"{it:.2f} s" for it in taken))
        person.timed()
        person.wait_for(
            lambda: person.has("button[value=continue]") or person.shows("records read")
        )
        address = person.browser.driver.current_url.partition(str(PORT))[2]
        person.close()
        site.restart()
        person.open(address)
        was_seen = not person.has("button[value=continue]")
        person.wait_for(lambda: person.has("button[value=continue]"))
        print(f"dry run: browser closed, server restarted, seen again while it ran: {was_seen}")
        counts = Upload.objects.latest("created_at").check_result["counts"]
        if counts["inserted"] != rows:
            raise SystemExit(f"The dry run found {counts}.")
        person.timed()
        started = time.perf_counter()
        person.timed("button[value=confirm]")
        shown = set()

        def looks():
            shown.update(person.browser.texts('[data-ingest-text="loaded"]'))
            return len(shown) > 1 or person.shows("Loaded")

        person.wait_for(looks)
        address = person.browser.driver.current_url.partition(str(PORT))[2]
        person.close()
        site.restart()
        person.open(address)
        person.wait_for(lambda: looks() and person.shows("Loaded"))
        seconds = time.perf_counter() - started
        print(
            f"loaded in {seconds:.2f} s, browser closed and server restarted; progress shown: "
            f"{len(shown - {'0'})} times"
        )
    finally:
        person.close()
    load = Load.objects.latest("pk")
    found = Transaction.objects.count()
    print(f"{found:,} rows, load {load.status}, {load.loaded:,} counted")
    if (found, load.status, load.loaded) != (rows, "loaded", rows):
        raise SystemExit("Not all rows are in, or some are in twice.")


if __name__ == "__main__":
    main()

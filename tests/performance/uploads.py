"""What an upload costs the web process: memory, and the time from the upload to the preview.

python -m tests.performance.uploads --megabytes 100
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from html.parser import HTMLParser
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import django
import psutil

PORT = 8765
BLOCK = 1 << 20
LINE = "root,DE{:012d},Giro of a person with a long name,EUR,2025-01-31\n"


def write_file(path, megabytes):
    with path.open("w") as file:
        file.write("user__username,number,name,currency,opened_on\n")
        number = 0
        while file.tell() < megabytes << 20:
            file.writelines(LINE.format(number + each) for each in range(10_000))
            number += 10_000


def prepare():
    """Make somebody who may load; give the cookie of the session."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client

    from finance.models import Account

    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    users.get_or_create(username="root")
    Account.objects.filter(user__username="root").delete()
    user, _ = users.get_or_create(username="uploader", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


class Browser:
    """Asks a server on this machine as a browser does."""

    def __init__(self, session):
        self.cookies = {"sessionid": session}

    def wait(self):
        """Wait until the server answers."""
        while True:
            try:
                return self.ask("GET", "/admin/")
            except ConnectionRefusedError:
                time.sleep(0.2)

    def ask(self, method, address, body=None, **headers):
        connection = HTTPConnection("127.0.0.1", PORT, timeout=600)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, address, body, {"Cookie": cookies, **headers})
        answer = connection.getresponse()
        text = answer.read().decode()
        for header, text_of in answer.getheaders():
            if header == "Set-Cookie":
                name, _, value = text_of.partition(";")[0].partition("=")
                self.cookies[name] = value
        return answer, text

    def token(self, address):
        _, text = self.ask("GET", address)
        return re.search(r'csrfmiddlewaretoken" value="(\w+)"', text)[1]

    def upload(self, path, model="finance.Account"):
        return self.send("/admin/ingest/upload/add/", "file", path, model=model)

    def send(self, address, field, path, **fields):
        """Post a form with a file, a block at a time."""
        fields["csrfmiddlewaretoken"] = self.token(address)
        mark = "x-boundary"
        head = "".join(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        head += f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="a.csv"\r\n'
        head += "Content-Type: text/csv\r\n\r\n"
        tail = f"\r\n--{mark}--\r\n"

        def blocks():
            yield head.encode()
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    yield block
            yield tail.encode()

        length = len(head) + path.stat().st_size + len(tail)
        kind = f"multipart/form-data; boundary={mark}"
        return self.ask(
            "POST",
            address,
            blocks(),
            **{"Content-Type": kind, "Content-Length": str(length)},
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--warm", action="store_true", help="upload a small file first")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "a.csv", Path(folder) / "small.csv"
        write_file(path, given.megabytes)
        write_file(small, 0)
        small.write_text(path.open().readline() + LINE.format(1))
        browser = Browser(prepare())
        command = [sys.executable, "manage.py", "runserver", str(PORT), "--noreload"]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            measure(browser, server, path, small if given.warm else None)
        finally:
            server.terminate()
            server.wait()


def measure(browser, server, path, small):
    process = psutil.Process(server.pid)
    browser.wait()
    if small is not None:
        answer, _ = browser.upload(small)
        browser.ask("GET", answer.headers["Location"])
    idle = peak = process.memory_info().rss
    start = time.perf_counter()
    is_done = threading.Event()

    def watch():
        nonlocal peak
        while not is_done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    answer, text = browser.upload(path)
    uploaded = time.perf_counter() - start
    assert answer.status == 302, text
    address = answer.headers["Location"]
    _, text = browser.ask("GET", address)
    shown = time.perf_counter() - start
    assert "The first records" in text, text
    is_done.set()
    watcher.join()
    print(f"idle {idle >> 20} MiB, most {peak >> 20} MiB: {(peak - idle) >> 20} MiB more")
    print(f"uploaded and looked at in {uploaded:.2f} s, the first records after {shown:.2f} s")
    go_on(browser, address, text, start)


def go_on(browser, address, text, start):
    """Go the rest of the way, as a person does who changes nothing, and load.

    Gives the seconds until the preview was shown, and until all was loaded.
    """

    def post(step):
        nonlocal address, text
        fields = inputs(text)
        kind = "application/x-www-form-urlencoded"
        body = urlencode(fields)
        answer, _ = browser.ask("POST", address, body, **{"Content-Type": kind})
        assert answer.status == 302, step
        address = answer.headers["Location"]
        _, text = browser.ask("GET", address)
        print(f"{step} done after {time.perf_counter() - start:.2f} s")

    for step in ("file", "mapping", "options"):
        post(step)
    previewed = time.perf_counter() - start
    print(f"preview shown after {previewed:.2f} s")
    post("preview")
    while "data-ingest-refresh" in text:
        time.sleep(0.1)
        _, text = browser.ask("GET", address)
    assert 'value="continue"' in text, re.sub(r"<[^>]+>|\s+", " ", text)[:1500]
    post("dry run")
    post("confirm")
    while 'data-ingest-reload="' in text:
        time.sleep(0.1)
        _, text = browser.ask("GET", address)
    loaded = time.perf_counter() - start
    print(f"loaded after {loaded:.2f} s")
    print(" ".join(re.search(r"<dt>Rows loaded</dt><dd>(.*?)</dd>", text)[1].split()))
    return previewed, loaded


class Inputs(HTMLParser):
    """What the last form with a button that continues would post as it is."""

    def __init__(self):
        super().__init__()
        self.forms = []
        self._select = ""

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form":
            self.forms.append({})
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and "selected" in given:
            self.forms[-1][self._select] = given.get("value", "")
        elif tag == "button" and given.get("value") in {"continue", "confirm"}:
            self.forms[-1]["action"] = given["value"]
        elif tag == "input" and "name" in given:
            is_box = given.get("type") == "checkbox"
            if not is_box or "checked" in given:
                self.forms[-1][given["name"]] = given.get("value", "on" if is_box else "")


def inputs(text):
    parser = Inputs()
    parser.feed(text)
    return next(form for form in parser.forms if form.get("action") in {"continue", "confirm"})


if __name__ == "__main__":
    main()

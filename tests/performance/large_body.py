"""A body of gigabytes, made while it is sent: what the web server reads of it, and its memory.

    python -m tests.performance.large_body [--gigabytes 5] [--limit 1]

`--limit` is INGEST["UPLOAD_BYTES"] in gigabytes. A body whose length says that it is too large is
refused before it is read. One that is too large by half a megabyte, which the rest of the form may
have, is read up to the limit and refused then.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import django
import psutil

from tests.performance.uploads import BLOCK, PORT, Browser

SETTINGS = "tests.performance.site_settings"
MARK = "x-boundary"
ADDRESS = "/admin/ingest/upload/add/"
GIGABYTE = 1 << 30
LINE = b"root,DE000000000001,Giro of a person,EUR,2025-01-31\n"
HEADER = b"user__username,number,name,currency,opened_on\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--gigabytes", type=float, default=5)
    parser.add_argument("--limit", type=float, default=1)
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    django.setup()
    from tests.performance.harness import scratch_database
    from tests.performance.import_export import log_in

    limit = int(given.limit * GIGABYTE)
    with tempfile.TemporaryDirectory() as folder, scratch_database() as database:
        command = [sys.executable, "manage.py", "runserver", str(PORT), "--noreload"]
        server = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "TMPDIR": folder,
                "INGEST_FIGURES_DATABASE": database,
                "INGEST_FIGURES_UPLOADS": str(Path(folder) / "uploads"),
                "INGEST_FIGURES_UPLOAD_BYTES": str(limit),
            },
        )
        try:
            browser = Browser(log_in())
            browser.wait()
            for size in (int(given.gigabytes * GIGABYTE), limit + (1 << 19)):
                send(browser, server, size)
        finally:
            server.terminate()
            server.wait()


def send(browser, server, size):
    """Send a body of a size, and print what became of it."""
    token = browser.token(ADDRESS)
    process = psutil.Process(server.pid)
    idle = peak = process.memory_info().rss
    is_done = threading.Event()

    def watch():
        nonlocal peak
        while not is_done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    sent, said = post(browser.cookies, token, size)
    is_done.set()
    watcher.join()
    print(
        f"a body of {size:,} bytes: {said}; {sent:,} bytes were taken from the client; "
        f"memory {idle >> 20} MiB, at most {peak >> 20} MiB"
    )


def post(cookies, token, size, port=PORT):
    """Send a form whose file is made while it is sent; give the bytes sent, and the answer."""
    head = "".join(
        f'--{MARK}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("csrfmiddlewaretoken", token), ("model", "finance.Account"))
    )
    head += f'--{MARK}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    begin, end = head.encode() + HEADER, f"\r\n--{MARK}--\r\n".encode()
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    request = (
        f"POST {ADDRESS} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
        f"Cookie: {cookie}\r\n"
        f"Content-Type: multipart/form-data; boundary={MARK}\r\nContent-Length: {size}\r\n\r\n"
    )
    block = LINE * (BLOCK // len(LINE))
    left, sent = size - len(begin) - len(end), 0
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request.encode() + begin)
        try:
            while left:
                part = block[:left]
                connection.sendall(part)
                left, sent = left - len(part), sent + len(part)
            connection.sendall(end)
        except OSError:  # the server has answered and gone
            pass
        return sent, _answer(connection)


def _answer(connection):
    text = b""
    try:
        while more := connection.recv(1 << 16):
            text += more
    except OSError:  # what is sent after the answer resets the connection
        pass
    status = text.partition(b"\r\n")[0].decode()
    is_told = b"larger than" in text
    return f"{status or 'the connection was reset'}{', told that it is too large' * is_told}"


if __name__ == "__main__":
    main()

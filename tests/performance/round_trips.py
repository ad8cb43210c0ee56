"""How often a load waits for the server: the messages that PostgreSQL answers, counted on the wire.

    python -m tests.performance.round_trips [--show CASE]

A proxy stands between the load and the server, and counts what the client waits for: a simple
query, a Sync or a Flush of the extended protocol, the end of a COPY's data, and the messages of
the start of a connection. So whatever driver, pool or prepared statement is used, a link with a
delay of 20 ms costs a load so many times 20 ms. ``--show`` prints the statements of one case.
"""

import argparse
import os
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import django

AWAITED = {b"Q": "query", b"S": "sync", b"H": "flush", b"c": "end of copy", b"p": "password"}
"""The client's messages that the server answers, by their first byte (protocol 3.0)."""
SSL_REQUESTS = {80_877_103, 80_877_104}


class CountingProxy:
    """Passes bytes between clients and the server of a Unix or TCP address, and counts."""

    def __init__(self, folder, host, port, delay=0.0):
        """``delay``: seconds that each message waits which the server answers."""
        self.delay = delay
        self.host, self.port = host, port
        self.counts = Counter()
        self.statements = []
        self.connections = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(Path(folder) / f".s.PGSQL.{port}"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def round_trips(self):
        return sum(self.counts.values())

    def reset(self):
        self.counts.clear()
        self.statements.clear()
        self.connections = 0

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = self._connect()
            number = self.connections
            threading.Thread(target=self._count, args=(client, server, number), daemon=True).start()
            threading.Thread(target=_pass, args=(server, client), daemon=True).start()

    def _connect(self):
        if self.host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self.host}/.s.PGSQL.{self.port}")
            return server
        return socket.create_connection((self.host, int(self.port)))

    def _count(self, client, server, number):
        """Pass on what the client sends, message by message."""
        has_started = False
        with closing(server), closing(client):
            try:
                while True:
                    kind = b"" if not has_started else _read(client, 1)
                    size = _read(client, 4)
                    body = _read(client, struct.unpack("!i", size)[0] - 4)
                    if not has_started:
                        code = struct.unpack("!i", body[:4])[0]
                        has_started = code not in SSL_REQUESTS
                        self.counts["start"] += 1
                        self.statements.append((number, "(start)"))
                    elif kind in AWAITED:
                        self.counts[AWAITED[kind]] += 1
                    if self.delay and (not kind or kind in AWAITED):
                        time.sleep(self.delay)
                    if kind in {b"Q", b"P"}:
                        text = body.split(b"\0")[0 if kind == b"Q" else 1]
                        self.statements.append((number, text.decode(errors="replace")))
                    elif kind == b"B":
                        self.statements.append((number, "(execute)"))
                    server.sendall(kind + size + body)
            except (ConnectionError, OSError):
                return


def _read(sock, size):
    found = b""
    while len(found) < size:
        part = sock.recv(size - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found


def _pass(source, target):
    """Pass on what the server sends, and its end."""
    with suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
    with suppress(OSError):  # close() alone would not wake the thread that reads from it
        target.shutdown(socket.SHUT_RDWR)


@contextmanager
def counting_proxy(connection, delay=0.0):
    """Send what Django's connection, and the loads', send through a proxy that counts."""
    connection.close()
    wrapper = type(connection)  # a load's connection is made in a thread with a wrapper of its own
    direct = wrapper.get_connection_params
    address = connection.get_connection_params()
    host, port = address.get("host") or "127.0.0.1", str(address.get("port") or 5432)
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        proxy = CountingProxy(folder, host, port, delay)

        def through_the_proxy(self):
            return {**direct(self), "host": folder, "port": port}

        wrapper.get_connection_params = through_the_proxy
        try:
            yield proxy
        finally:
            connection.close()
            wrapper.get_connection_params = direct
            proxy.close()


def cases(folder):
    """Return what is loaded, by the name of the case."""
    from django.db import transaction

    from finance.models import Transaction
    from ingest import load
    from tests.performance import rows as made

    def ten():
        load(Transaction, list(made.records(10)))

    def in_atomic():
        with transaction.atomic():
            load(Transaction, list(made.records(10)))

    def plain(rows, **options):
        path = folder / f"{rows}.csv"
        made.write_plain(path, rows)
        return lambda: load(Transaction, path, **options)

    return {
        "10 dicts": ten,
        "10 dicts in atomic()": in_atomic,
        "40,000 rows": plain(40_000),
        "60,000 rows in three chunks": plain(60_000, chunk_rows=20_000),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--show", metavar="CASE", help="print the statements of this case")
    asked = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.testing")
    django.setup()
    from django.db import connections

    from tests.performance.harness import scratch_database

    connection = connections["default"]
    with scratch_database(), tempfile.TemporaryDirectory() as folder:
        for name, run in cases(Path(folder)).items():
            with connection.cursor() as cursor:
                cursor.execute("TRUNCATE finance_transaction, ingest_load CASCADE")
            with counting_proxy(connection) as proxy:
                with connection.cursor() as cursor:  # as a request has it
                    cursor.execute("SELECT 1")
                proxy.reset()
                run()
                found = ", ".join(f"{proxy.counts[kind]} {kind}" for kind in sorted(proxy.counts))
                print(f"{name}: {proxy.round_trips} round trips ({found})")
                if asked.show == name:
                    for number, text in proxy.statements:
                        print(f"  [{number}] {' '.join(text.split())[:150]}")


if __name__ == "__main__":
    main()

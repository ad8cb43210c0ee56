"""A proxy that understands where PostgreSQL's messages begin and end, and can cut between them.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import dataclasses
import enum
import socket
import struct
import threading
from contextlib import suppress

HEAD_BYTES = 5
"""A message's kind and its length; the first one of a client has no kind."""
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing is a reset, as when a machine goes away."""


class Verdict(enum.Enum):
    FORWARD = enum.auto()
    CUT = enum.auto()
    """The message is lost, and the connection with it."""
    FORWARD_AND_CUT = enum.auto()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Message:
    driver: str
    """Who talks to PostgreSQL on this connection: ``asyncpg`` or ``psycopg``."""
    is_clients: bool
    kind: str
    """Its letter in the protocol; ``startup`` for the first one of a connection."""
    body: bytes
    number: int
    """How many there were of this driver's, on all of its connections."""

    @property
    def answers_commit(self):
        return not self.is_clients and self.kind == "C" and self.body == b"COMMIT\0"

    def __str__(self):
        return f"{self.driver} {'>' if self.is_clients else '<'} {self.kind}"


def forward(message):
    return Verdict.FORWARD


class Proxy:
    """Listens on a port of its own; whoever connects is led to the server behind it."""

    def __init__(self, behind):
        self.behind = behind
        """The path of the server's socket."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self, watch=forward):
        """Count from anew, and let ``watch`` judge every message; gives the list of what passes."""
        with self._lock:
            self._numbers = {"asyncpg": 0, "psycopg": 0}
            self._watch = watch
            self.seen = []
        return self.seen

    def close(self):
        self._listener.close()

    def _accept(self):
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                # Each message is sent by itself: else it waits for the answer to the one before.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._lead, args=(client,), daemon=True).start()

    def _lead(self, client):
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.behind)
        except OSError:
            _close(client, server)
            return
        link = _Link(client, server)
        answers = threading.Thread(target=self._pump, args=(link, server, client), daemon=True)
        self._pump(link, client, server, answers.start)

    def _pump(self, link, source, target, go_on=None):
        """Hand on whole messages; ``go_on`` is called when the driver is known."""
        text = b""
        with suppress(OSError):
            while block := source.recv(1 << 16):
                text += block
                while (end := _end(text, has_kind=link.driver is not None)) is not None:
                    message, text = text[:end], text[end:]
                    if link.driver is None:
                        link.driver = "asyncpg" if b"'utf-8'" in message else "psycopg"
                        go_on()
                        kind, body = "startup", message
                    else:
                        kind, body = chr(message[0]), message[HEAD_BYTES:]
                    verdict = self._judge(link, source is link.client, kind, body)
                    if verdict is not Verdict.CUT:
                        target.sendall(message)
                    if verdict is not Verdict.FORWARD:
                        link.cut()
                        return
        link.close()

    def _judge(self, link, is_clients, kind, body):
        with self._lock:
            self._numbers[link.driver] += 1
            number = self._numbers[link.driver]
            message = Message(
                driver=link.driver, is_clients=is_clients, kind=kind, body=body, number=number
            )
            self.seen.append(message)
            return self._watch(message)


class _Link:
    """One connection through the proxy."""

    def __init__(self, client, server):
        self.client = client
        self._server = server
        self.driver = None

    def cut(self):
        with suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self):
        _close(self.client, self._server)


def _close(*sockets):
    for one in sockets:
        with suppress(OSError):  # wakes up whoever waits on it
            one.shutdown(socket.SHUT_RDWR)
        one.close()


def _end(text, *, has_kind):
    """Return where the first message ends, or None where it is not whole yet."""
    head = HEAD_BYTES if has_kind else HEAD_BYTES - 1
    if len(text) < head:
        return None
    end = int.from_bytes(text[head - 4 : head], "big") + head - 4
    return end if len(text) >= end else None

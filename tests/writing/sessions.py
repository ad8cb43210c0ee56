"""A load and other sessions that go on step by step, as in PostgreSQL's own ``isolationtester``."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext

import psycopg
from django.db import connection, transaction

from ingest import load
from tests.writing.waiting import SECONDS, name_sessions, new_name, rest


class OtherSession:
    """A session of its own, which takes one step after the other in a schema."""

    schema: str

    def __init__(self):
        self._name = new_name()
        given = {**connection.get_connection_params(), "application_name": self._name}
        self._session = psycopg.connect(**given, autocommit=True)
        self._session.execute(f"SET search_path = {self.schema}, public")
        self._pool = ThreadPoolExecutor(1)
        self._steps = []
        self.errors = []

    def take(self, sql, parameters=None):
        """Begin the step; let it end, and leave it alone where it has to wait."""
        self._steps.append(self._pool.submit(self._run, sql, parameters))
        rest(self._steps[-1].done, self._name)

    def _run(self, sql, parameters):
        try:
            self._session.execute(sql, parameters)
        except psycopg.Error as error:
            self.errors.append(error)
            if self._session.info.transaction_status:
                self._session.execute("ROLLBACK")

    @property
    def is_waiting(self):
        return any(not step.done() for step in self._steps)

    def finish(self):
        """Wait until all of its steps have ended."""
        wait(self._steps, SECONDS)
        assert not self.is_waiting, "another session waits for ever"

    def close(self):
        self.finish()
        self._pool.shutdown()
        self._session.close()


class RunningLoad:
    """A load in a thread of its own that stops before each of its rows, and once after them."""

    columns: tuple[str, ...]
    read_first: str
    """The table that a transaction with an isolation level reads before the load begins."""

    def __init__(self, model, rows, isolation=None, **options):
        self.rows = rows
        self.stops = range(len(rows) + 1)
        self._reached = [threading.Event() for _ in self.stops]
        self._go = [threading.Event() for _ in self.stops]
        self.error = None
        self._isolation = isolation
        self._name = new_name()
        self._thread = threading.Thread(target=self._run, args=(model, options), daemon=True)
        self._thread.start()

    def _source(self):
        for place in self.stops:
            self._reached[place].set()
            self._go[place].wait()
            if place < len(self.rows):
                yield self.rows[place]

    def _run(self, model, options):
        try:
            name_sessions(self._name)
            with transaction.atomic() if self._isolation else nullcontext():
                if self._isolation:
                    with connection.cursor() as cursor:
                        cursor.execute(f"SET TRANSACTION ISOLATION LEVEL {self._isolation}")
                        cursor.execute(f"SELECT 1 FROM {self.read_first}")
                load(model, self._source(), columns=self.columns, **options)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            for event in self._reached:
                event.set()
            connection.close()

    def reach(self, place):
        """Wait until it stops there, has ended, or waits for a lock on its way there."""
        rest(self._reached[place].is_set, self._name)

    def go_on(self, place):
        self._go[place].set()

    def take(self, place):
        """Let it go on with a row; it sends the row now, or when it has read the next one."""
        self.reach(place)
        self.go_on(place)
        if place + 1 in self.stops:
            self.reach(place + 1)

    def finish(self):
        for event in self._go:
            event.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the load waits for ever"

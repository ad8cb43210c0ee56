"""Run a load and the steps of another session in a given order, as PostgreSQL's isolationtester."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext

import psycopg
from django.db import connection, transaction

from ingest import load
from tests.writing.waiting import name_sessions, new_name, rest


class Other:
    """A session of its own, which takes one step after the other."""

    def __init__(self):
        self._name = new_name()
        given = {**connection.get_connection_params(), "application_name": self._name}
        self._session = psycopg.connect(**given, autocommit=True)
        self._session.execute("SET search_path = direct_test, public")
        self._pool = ThreadPoolExecutor(1)
        self.steps = []
        self.errors = []

    def take(self, sql):
        """Begin the step; let it end, and leave it alone where it has to wait."""
        self.steps.append(self._pool.submit(self._run, sql))
        rest(self.steps[-1].done, self._name)

    def _run(self, sql):
        try:
            return self._session.execute(sql)
        except psycopg.Error as error:
            self.errors.append(error)
            if self._session.info.transaction_status:
                self._session.execute("ROLLBACK")

    @property
    def is_waiting(self):
        return any(not step.done() for step in self.steps)

    def close(self):
        self._pool.shutdown()
        self._session.close()


class Load:
    """A load in a thread of its own that stops before each of its rows, and once after them."""

    def __init__(self, model, rows, isolation=None, **options):
        self.rows = rows
        self._reached = [threading.Event() for _ in range(len(rows) + 1)]
        self._go = [threading.Event() for _ in range(len(rows) + 1)]
        self._done = threading.Event()
        self.result = self.error = None
        self._isolation = isolation
        self._name = new_name()
        self._thread = threading.Thread(target=self._run, args=(model, options), daemon=True)
        self._thread.start()

    def _source(self):
        for place in range(len(self.rows) + 1):
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
                        cursor.execute("SELECT 1 FROM direct_test.parent")
                columns = ["parent_id", "note"]
                self.result = load(model, self._source(), columns=columns, **options)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            self._done.set()
            for event in self._reached:
                event.set()
            connection.close()

    def reach(self, place):
        """Wait until it stops there, or waits for a lock on its way there."""
        rest(self._reached[place].is_set, self._name)

    def go_on(self, place):
        self._go[place].set()

    def finish(self, seconds=20):
        for event in self._go:
            event.set()
        assert self._done.wait(seconds), "the load waits for ever"
        self._thread.join()


def interleave(running, other, steps, places):
    """Take each step of the other session before the load goes on from its place."""
    interleave_all(running, [(other, step) for step in steps], places)


def interleave_all(running, steps, places):
    """Take steps of several sessions, in their order, before the load goes on from their places."""
    for place in range(len(running._go)):
        running.reach(place)
        for (session, step), at in zip(steps, places, strict=True):
            if at == place:
                session.take(step)
        running.go_on(place)
    running.finish()
    for session, _ in steps:
        wait(session.steps, 20)
        assert not session.is_waiting, "another session waits for ever"


def every_order(first, second):
    """Yield all ways to merge the steps of two sessions, each session's in its own order."""
    if not first or not second:
        yield [*first, *second]
        return
    yield from ([first[0], *rest] for rest in every_order(first[1:], second))
    yield from ([second[0], *rest] for rest in every_order(first, second[1:]))

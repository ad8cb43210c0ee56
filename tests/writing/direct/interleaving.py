"""Take the steps of a load and of other sessions in a given order."""

from tests.writing.direct.tables import SCHEMA
from tests.writing.sessions import OtherSession, RunningLoad


class Other(OtherSession):
    schema = SCHEMA


class Load(RunningLoad):
    columns = ("parent_id", "note")
    read_first = f"{SCHEMA}.parent"


def interleave(running, other, steps, places):
    """Take each step of the other session before the load goes on from its place."""
    interleave_all(running, [(other, step) for step in steps], places)


def interleave_all(running, steps, places):
    """Take steps of several sessions, in their order, before the load goes on from their places."""
    for place in running.stops:
        running.reach(place)
        for (session, step), at in zip(steps, places, strict=True):
            if at == place:
                session.take(step)
        running.go_on(place)
    running.finish()
    for session, _ in steps:
        session.finish()


def every_order(first, second):
    """Yield all ways to merge the steps of two sessions, each session's in its own order."""
    if not first or not second:
        yield [*first, *second]
        return
    yield from ([first[0], *rest] for rest in every_order(first[1:], second))
    yield from ([second[0], *rest] for rest in every_order(first, second[1:]))

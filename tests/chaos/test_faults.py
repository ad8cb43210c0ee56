"""A few tries with each fault; `python -m tests.chaos` has them by the hundred."""

import os
from contextlib import closing

import pytest
from django.db import connection

from ingest.exceptions import UNKNOWN_OUTCOME
from tests.chaos import faults, steps
from tests.chaos.attempt import Outcome, open_field
from tests.chaos.proxy import Verdict
from tests.chaos.second_file import MODES
from tests.patience import wait_until

SMALL = {"records": 300, "chunk_rows": 200, "bad": 3}
QUICK = {"records": 1_000, "chunk_rows": 250, "bad": 8}
DISKS = {"table's disk full", "rejects' disk full", "temporary folder full"}
"""They need a small file system, which only root can mount."""


@pytest.fixture(scope="module")
def field(django_db_blocker):
    if connection.settings_dict["ENGINE"] != "settings.embedded":
        pytest.skip("the programs of a server to kill come with the embedded PostgreSQL")
    with django_db_blocker.unblock(), open_field() as opened:
        opened.seconds = 0.5
        yield opened


def assert_exact(outcome):
    assert (outcome.lost, outcome.twice, outcome.problems) == (0, 0, [])


@pytest.mark.parametrize("name", faults.MOMENTS)
def test_every_good_row_is_in_once(field, name):
    if name in DISKS and os.geteuid():
        pytest.skip("only root can mount a small disk")
    assert_exact(field.attempt(faults.MOMENTS[name], 1, **QUICK))


@pytest.mark.parametrize("seed", range(2))
def test_a_client_killed_at_other_moments(field, seed):
    assert_exact(field.attempt(faults.kill_client, f"again {seed}", **QUICK))


@pytest.fixture(scope="module")
def messages(field):
    return steps.steps_of(field, **SMALL)


@pytest.mark.parametrize("act", [steps.cut, steps.forward_and_cut, steps.kill])
@pytest.mark.parametrize("part", [0.3, 0.8])
def test_a_message_at_which_all_ends(field, messages, part, act):
    message = messages[int(part * len(messages))]
    outcome = field.attempt(steps.at_step((message.driver, message.number), act), 0, **SMALL)
    assert outcome.struck
    assert_exact(outcome)


def test_each_commit_whose_answer_is_lost(field, messages):
    mine = [message for message in messages if message.driver == "asyncpg"]
    first = next(place for place, message in enumerate(mine) if message.kind == "d")
    commits = [message for message in mine[first:] if message.answers_commit]
    assert len(commits) >= 2
    for message in commits:
        place = (message.driver, message.number)
        outcome = field.attempt(steps.at_step(place, steps.cut), 0, **SMALL)
        assert outcome == Outcome(struck=True)


def lose_the_rows_commit(scene):
    """Lose the answer to the COMMIT of the one transaction that has rows."""
    seen = []

    def watch(message):
        if message.driver != "asyncpg":
            return Verdict.FORWARD
        seen.append(message)
        has_rows = any(item.is_clients and item.kind == "d" for item in seen)
        if has_rows and message.answers_commit and not scene.outcome.struck:
            scene.strike()
            return Verdict.CUT
        return Verdict.FORWARD

    scene.proxy.reset(watch)
    scene.wait(scene.load())


def test_the_one_commit_of_a_load_without_chunks(field):
    outcome = field.attempt(lose_the_rows_commit, 0, **(SMALL | {"chunk_rows": None}))
    assert outcome == Outcome(struck=True)


def test_the_one_commit_of_a_load_that_may_not_be_tried_again(field):
    def fault(scene):
        before = scene.load
        scene.load = lambda *more: before("--retries", 0, *more)
        lose_the_rows_commit(scene)

    outcome = field.attempt(fault, 0, **(SMALL | {"chunk_rows": None}))
    assert_exact(outcome)
    assert outcome.resumed == 0
    [said] = outcome.said
    assert said.startswith("CommandError: The connection to PostgreSQL was lost while it committed")
    number = field.server.ask("SELECT id FROM public.ingest_load")[0][0]
    assert said.endswith(f" All rows are loaded: load {number} is complete.")


def test_the_one_commit_of_a_load_that_is_not_recorded(field):
    def fault(scene):
        scene.server.ask("ALTER TABLE public.ingest_keylist RENAME TO elsewhere")
        try:
            lose_the_rows_commit(scene)
        finally:
            scene.server.ask("ALTER TABLE public.elsewhere RENAME TO ingest_keylist")
        scene.server.ask("DELETE FROM public.finance_transaction WHERE reference LIKE 'R%'")

    outcome = field.attempt(fault, 0, **(SMALL | {"chunk_rows": None}))
    assert outcome.said[0].endswith(UNKNOWN_OUTCOME)
    assert_exact(outcome)


def test_a_killed_load_whose_session_waits_for_a_lock_is_gone_on_with_soon(field):
    def waits():
        return bool(field.server.ask("SELECT 1 FROM pg_locks WHERE NOT granted"))

    def fault(scene):
        with closing(scene.server.connect()) as holder:
            holder.execute("BEGIN; LOCK TABLE public.finance_transaction")
            client = scene.load()
            wait_until(waits)
            client.kill()
            scene.wait(client)
            wait_until(lambda: not waits())  # after two seconds: then PostgreSQL misses the client
            scene.strike()

    outcome = field.attempt(fault, 0, **SMALL)
    assert_exact(outcome)
    assert (outcome.struck, outcome.resumed) == (True, 1)


@pytest.mark.parametrize(
    ("mode", "name"),
    [*zip(MODES, ["client killed thrice", "connection lost at a message"] * 3, strict=True)],
)
def test_a_second_file_is_settled_once(field, mode, name):
    assert_exact(field.attempt(faults.SECOND_FILE[name], mode, mode=mode))


@pytest.mark.parametrize("name", faults.DELETES)
def test_a_sync_that_is_disturbed_in_its_deletes(field, name):
    outcome = field.attempt(faults.DELETES[name], 1, mode="sync keep-old")
    assert outcome.struck
    assert_exact(outcome)


@pytest.mark.parametrize("chunk_rows", [200, None])
def test_an_upsert_whose_connection_is_lost_is_tried_again(field, chunk_rows):
    def fault(scene):
        left = [3 if chunk_rows else 1]  # batches of one transaction may be sent together

        def watch(message):
            # The rows of a batch are on their way.
            left[0] -= message.driver == "asyncpg" and message.is_clients and message.kind == "d"
            if left[0] == 0 and not scene.outcome.struck:
                scene.strike()
                return Verdict.CUT
            return Verdict.FORWARD

        scene.proxy.reset(watch)
        scene.wait(scene.load())

    outcome = field.attempt(fault, 0, mode="upsert keep-old", chunk_rows=chunk_rows)
    assert outcome == Outcome(struck=True)

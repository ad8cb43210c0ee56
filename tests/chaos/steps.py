"""Faults at one message of PostgreSQL's protocol: each message of a load is a step to stop at."""

import time

from tests.chaos.proxy import Verdict


def at_step(step, act, *more):
    """Let ``act`` give the verdict on one message: the step is a driver and a number."""

    def fault(scene):
        clients = []

        def watch(message):
            if (message.driver, message.number) != step:
                return Verdict.FORWARD
            scene.strike()
            while not clients:
                time.sleep(0.001)
            return act(clients[0])

        scene.proxy.reset(watch)
        clients.append(scene.load(*more))
        scene.wait(clients[0])

    return fault


def cut(client):
    return Verdict.CUT


def forward_and_cut(client):
    return Verdict.FORWARD_AND_CUT


def kill(client):
    client.kill()
    return Verdict.FORWARD


def steps_of(field, **shape):
    """Load in peace once, and give the messages that it took."""
    messages = []

    def fault(scene):
        seen = scene.proxy.reset()
        scene.wait(scene.load())
        messages.extend(seen)

    outcome = field.attempt(fault, 0, **shape)
    if outcome.problems:
        raise AssertionError(outcome.problems)
    return messages


STEPS = {
    "connection cut before each message": cut,
    "connection cut after each message": forward_and_cut,
    "client killed at each message": kill,
}

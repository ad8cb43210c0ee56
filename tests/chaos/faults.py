"""What goes wrong: each takes a scene, starts its load and disturbs it."""

import time

from tests.chaos.client import Conditions
from tests.chaos.proxy import Verdict


def nothing(scene):
    """Leave it in peace."""
    scene.wait(scene.load())
    scene.strike()


def kill_at(seconds):
    """Kill the client by SIGKILL at a random moment of a load that takes so long."""

    def fault(scene):
        client = scene.load()
        scene.wait_for_message(client)
        client.sleep(scene.random.uniform(0, seconds))
        if client.is_alive:
            client.kill()
            scene.strike()
        scene.wait(client)

    return fault


def at_step(step, act, more=()):
    """Do something when the message of this number comes, of this driver's.

    ``act`` is called with the scene and the client, and gives the verdict on the message.
    """
    driver, number = step

    def fault(scene):
        clients = []

        def watch(message):
            if (message.driver, message.number) != (driver, number):
                return Verdict.FORWARD
            while not clients:
                pass
            scene.strike()
            return act(scene, clients[0])

        scene.proxy.reset(watch)
        clients.append(scene.load(*more))
        scene.wait(clients[0])

    return fault


def cut(scene, client):
    return Verdict.CUT


def forward_and_cut(scene, client):
    return Verdict.FORWARD_AND_CUT


def kill_client(scene, client):
    client.kill()
    return Verdict.FORWARD


def kill_client_unheard(scene, client):
    client.kill()
    return Verdict.CUT


def steps_of(field, **shape):
    """Load in peace once, and give the steps that it took: driver, number and the message."""
    seen = field.proxy.reset()
    messages = []

    def fault(scene):
        scene.wait(scene.load())
        messages.extend(field.proxy.seen)

    outcome = field.attempt(fault, 0, **shape)
    del seen
    assert not outcome.problems, outcome.problems
    return messages


def telling(messages):
    """Give the steps of the messages, but of many alike in a row only the first and the last."""
    told = []
    for before, message, after in zip(
        [None, *messages[:-1]], messages, [*messages[1:], None], strict=True
    ):
        if str(before) != str(message) or str(after) != str(message):
            told.append((message.driver, message.number))
    return told


# --- the server


def _after(scene, client, *, part=0.9):
    """Wait for a random moment of the load's first part."""
    scene.wait_for_message(client)
    client.sleep(scene.random.uniform(0.05, part) * scene.seconds)


def strike_server(act):
    """Do something to the server at a random moment of the load."""

    def fault(scene):
        client = scene.load(conditions=PATIENT)
        _after(scene, client)
        if client.is_alive:
            act(scene)
            scene.strike()
        scene.wait(client)

    return fault


def end_backends(scene):
    scene.server.end_backends()


def kill_backends(scene):
    scene.server.kill_backends()


def restart(scene):
    scene.server.stop()
    scene.server.start()


def kill_postmaster(scene):
    scene.server.kill()
    scene.server.start()


def stay_away(scene):
    """Stop the server, and start it only when the load has given up."""
    scene.server.stop()
    while scene.is_any_alive:
        time.sleep(0.01)
    scene.server.start()


PATIENT = Conditions(pause_seconds=0.3)

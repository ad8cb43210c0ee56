"""Loads whose chunks an executor loads: a pool of processes, or a Dask cluster on this machine."""

import dataclasses
import random
import time

from tests.chaos import faults
from tests.chaos.client import Conditions
from tests.chaos.scenario import KINDS
from tests.loading.dask_cluster import Cluster

ORDERS = ("source", "any")
SHAPE = {"records": 4_000, "chunk_rows": 200}
"""Twenty chunks: so that the load is at work when something happens."""
WITHOUT_ORDER = {"kinds": tuple(kind for kind in KINDS if kind != "duplicate")}
"""In any order either of two records with one key may be in."""
PART = (0.05, 0.9)
"""Between which parts of a load something happens."""


@dataclasses.dataclass
class Length:
    """How long a load is that is left in peace."""

    seconds: float
    messages: int
    """How many there are of all drivers."""
    of_asyncpg: int


def open_cluster(field):
    """Start a cluster whose workers reach the server by the proxy, as the client does."""
    url = f"postgres://postgres@127.0.0.1:{field.proxy.port}/postgres?sslmode=disable"
    return Cluster(field.folder, url)


def measure(field, cluster):
    """Return the length of a load in each order, with chunks that run once and twice."""
    lengths = {}
    for order in ORDERS:
        for runs_twice in (False, True):

            def fault(scene):
                scene.wait_for_message(client := scene.load())
                started = time.monotonic()
                scene.wait(client)
                mine = sum(message.driver == "asyncpg" for message in scene.proxy.seen)
                lengths[order, runs_twice] = Length(  # noqa: B023 - called at once
                    time.monotonic() - started, len(scene.proxy.seen), mine
                )

            act = _with_executor(fault, cluster, order, runs_twice)
            outcome = field.attempt(act, 0, **_shape(order))
            if outcome.lost or outcome.twice or outcome.problems:
                raise AssertionError(outcome)
    return lengths


def _shape(order):
    return SHAPE if order == "source" else SHAPE | WITHOUT_ORDER


def _with_executor(act, cluster, order, runs_twice):
    """Return the fault in a load by an executor."""

    def fault(scene):
        who = ("--workers", 2) if cluster is None else ("--scheduler", cluster.address)
        scene.more = (*who, "--order", order)
        scene.cluster = cluster
        scene.conditions = Conditions(pause_seconds=0.3, runs_twice=runs_twice)
        act(scene)
        if cluster is not None:
            cluster.start()

    return fault


def with_executor(act, cluster, order, lengths):
    """Return the fault in a load by an executor; a third of the loads get each chunk twice."""

    def fault(scene):
        runs_twice = scene.random.random() < 1 / 3
        length = lengths[order, runs_twice]
        scene.seconds, scene.messages = length.seconds, length.messages
        scene.messages_of_asyncpg = length.of_asyncpg
        _with_executor(act, cluster, order, runs_twice)(scene)

    return fault


def start(scene):
    """Start the load, and return it when a random part of it is done."""
    client = scene.load()
    wanted = scene.random.uniform(*PART) * scene.messages
    while client.is_alive and len(scene.proxy.seen) < wanted:
        time.sleep(0.001)
    return client


def _processes(scene, client):
    return scene.cluster.processes() if scene.cluster else faults.workers_of(client)


def _kill_worker(scene, client):
    """Kill one of two workers by SIGKILL, when there is one."""
    while client.is_alive:
        if workers := _processes(scene, client):
            scene.random.choice(workers).kill()
            return
        client.sleep(0.01)


def kill_workers(scene, client):
    """Kill workers a few times; they are replaced."""
    _kill_worker(scene, client)
    for _ in range(scene.random.randint(0, 2)):
        client.sleep(scene.random.uniform(0, scene.seconds))
        _kill_worker(scene, client)


def kill_all_workers(scene, client):
    for worker in _processes(scene, client):
        worker.kill()


def kill_worker_and_coordinator(scene, client):
    _kill_worker(scene, client)
    client.sleep(scene.random.uniform(0, scene.seconds / 2))
    client.kill()


def kill_server_and_coordinator(scene, client):
    scene.server.kill()
    client.sleep(scene.random.uniform(0, 0.5))
    client.kill()
    scene.server.start()


def kill_scheduler(scene, client):
    """Kill the scheduler; the load goes on when it is there again, or without it."""
    scene.cluster.kill_scheduler()
    what_next = scene.random.choice(["it is there again", "it comes back later", "without it"])
    if what_next == "it is there again":
        scene.cluster.start()
    is_loaded = scene.wait(client)
    if what_next == "without it" and not is_loaded:
        scene.wait(scene.resume("--workers", 2))


def strike(act, expected=1):
    """Return the fault that does something at a random moment of the load."""

    def fault(scene):
        client = start(scene)
        if client.is_alive:
            scene.strike()
            act(scene, client)
        scene.wait(client, expected)

    return fault


def two_resumes(scene):
    """Kill the load, and let two go on with it at once."""
    client = start(scene)
    client.kill()
    scene.wait(client)
    if any(status != "loaded" for _, status in scene.loads()):
        scene.strike()
        for each in [scene.resume(), scene.resume()]:
            scene.wait(each)


def leave_alone(scene):
    scene.strike()
    scene.wait(scene.load())


FAULTS = {
    "left in peace": leave_alone,
    "worker killed": strike(kill_workers),
    "all workers killed": strike(kill_all_workers),
    "coordinator killed": strike(faults.kill),
    "worker, then coordinator killed": strike(kill_worker_and_coordinator),
    "Ctrl-C": strike(faults.interrupt, faults.INTERRUPTED),
    "sessions ended": strike(faults.end_backends),
    "sessions' processes killed": strike(faults.kill_backends),
    "postmaster killed": strike(faults.kill_postmaster),
    "postmaster and coordinator killed": strike(kill_server_and_coordinator),
    "connection lost at a message": faults.lose_connection,
    "answer to COMMIT lost": faults.lose_commit,
    "two resumes at once": two_resumes,
    "two loads at once": faults.two_loads,
}
OF_CLUSTERS = {"scheduler killed": strike(kill_scheduler)}


def plan(field, cluster, chosen):
    """Yield each fault's name and its tries, in both orders."""
    lengths = measure(field, cluster)
    dice = random.Random(chosen.seed)
    few = max(chosen.tries // 25, 1)
    for name, act in {**FAULTS, **(OF_CLUSTERS if cluster else {})}.items():
        for order in ORDERS:
            fault = with_executor(act, cluster, order, lengths)
            yield f"{name}, {order}", [(fault, dice.random(), _shape(order)) for _ in range(few)]

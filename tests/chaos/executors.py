"""Loads whose chunks an executor loads: a pool of processes, or a Dask cluster on this machine."""

import random

from tests.chaos import faults
from tests.chaos.client import Conditions
from tests.chaos.scenario import KINDS
from tests.loading.dask_cluster import Cluster

ORDERS = ("source", "any")
WITHOUT_ORDER = {"kinds": tuple(kind for kind in KINDS if kind != "duplicate")}
"""In any order either of two records with one key may be in."""


def open_cluster(field):
    """Start a cluster whose workers reach the server by the proxy, as the client does."""
    url = f"postgres://postgres@127.0.0.1:{field.proxy.port}/postgres?sslmode=disable"
    return Cluster(field.folder, url)


def with_executor(act, cluster, order):
    """Return the fault in a load by an executor; a third of the loads get each chunk twice."""

    def fault(scene):
        who = ("--workers", 2) if cluster is None else ("--scheduler", cluster.address)
        scene.more = (*who, "--order", order)
        scene.cluster = cluster
        scene.conditions = Conditions(pause_seconds=0.3, runs_twice=scene.random.random() < 1 / 3)
        act(scene)
        if cluster is not None:
            cluster.start()

    return fault


def kill_workers(scene):
    """Kill one of two workers by SIGKILL, a few times."""
    client = scene.load()
    scene.wait_for_message(client)
    for _ in range(scene.random.randint(1, 3)):
        client.sleep(scene.random.uniform(0, 2 * scene.seconds))
        workers = scene.cluster.processes() if scene.cluster else faults.workers_of(client)
        if workers and client.is_alive:
            scene.random.choice(workers).kill()
            scene.strike()
    scene.wait(client)


def strike(act, expected=1):
    """Return the fault that does something at a random moment."""

    def fault(scene):
        client = scene.load()
        scene.wait_for_message(client)
        client.sleep(scene.random.uniform(0, 3 * scene.seconds))
        if client.is_alive:
            scene.strike()
            act(scene, client)
        scene.wait(client, expected)

    return fault


def kill_scheduler(scene, client):
    scene.cluster.kill_scheduler()
    client.wait()
    scene.cluster.start()


def leave_alone(scene):
    scene.strike()
    scene.wait(scene.load())


FAULTS = {
    "left in peace": leave_alone,
    "worker killed": kill_workers,
    "coordinator killed": strike(faults.kill),
    "Ctrl-C": strike(faults.interrupt, faults.INTERRUPTED),
    "sessions ended": strike(faults.end_backends),
    "postmaster killed": strike(faults.kill_postmaster),
    "connection lost at a message": faults.lose_connection,
    "answer to COMMIT lost": faults.lose_commit,
    "two resumes at once": faults.two_resumes,
    "two loads at once": faults.two_loads,
}
OF_CLUSTERS = {"scheduler killed": strike(kill_scheduler)}


def plan(cluster, chosen):
    """Yield each fault's name and its tries, in both orders."""
    dice = random.Random(chosen.seed)
    few = max(chosen.tries // 25, 1)
    for name, act in {**FAULTS, **(OF_CLUSTERS if cluster else {})}.items():
        for order in ORDERS:
            fault = with_executor(act, cluster, order)
            shape = {} if order == "source" else WITHOUT_ORDER
            yield f"{name}, {order}", [(fault, dice.random(), shape) for _ in range(few)]

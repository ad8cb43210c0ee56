"""The long run: every fault many times, and what came of it, as a table."""

import argparse
import atexit
import collections
import os
import random
import re
import sys
import time

import django
from rich.console import Console
from rich.progress import track

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.development")
django.setup()

from tests.chaos import executors, faults, steps  # noqa: E402 - models can be imported only now
from tests.chaos.attempt import open_field  # noqa: E402
from tests.chaos.second_file import MODES  # noqa: E402

SMALL = {"records": 300, "chunk_rows": 200, "bad": 3}
"""For the steps: two chunks take about a thousand messages, and each is tried."""


def main():
    chosen = _arguments()
    started = time.monotonic()
    total = collections.Counter()
    said = collections.Counter()
    with open_field() as field:
        if not chosen.executor:
            field.measure(**({"mode": chosen.modes[0]} if chosen.modes else {}))
        cluster = executors.open_cluster(field) if chosen.executor == "dask" else None
        if cluster is not None:
            atexit.register(cluster.end)
        tell(f"{'':<36} tries  struck resumed    lost   twice  wrong")
        if chosen.executor:
            plan = executors.plan(field, cluster, chosen)
        else:
            plan = _plan_modes(chosen) if chosen.modes else _plan(field, chosen)
        plan = [(name, tries) for name, tries in plan if re.search(chosen.only, name)]
        if chosen.minutes:
            _try_until(started + 60 * chosen.minutes, field, plan, chosen.seed, said, total)
            plan = []
        for name, tries in plan:
            row = _try(field, name, tries, said)
            total += row
            _show(name, row)
        _show("all", total)
    tell(f"{time.monotonic() - started:,.0f} seconds. What loads said when they failed:")
    for text, count in said.most_common():
        tell(f"{count:>5} {text}")
    sys.exit(1 if total["lost"] or total["twice"] or total["wrong"] else 0)


def _try_until(deadline, field, plan, seed, said, total):
    """Try in a random order until the time is up."""
    every = [(name, one) for name, tries in plan for one in tries]
    random.Random(seed).shuffle(every)
    rows = {name: collections.Counter() for name, _ in plan}
    for name, one in every:
        if time.monotonic() > deadline:
            break
        rows[name] += _try(field, name, [one], said)
    for name, row in rows.items():
        total += row
        _show(name, row)


def _arguments():
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--tries", type=int, default=250, help="moments at which to kill a client")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--minutes", type=float, help="try in a random order, and begin no try after so many"
    )
    parser.add_argument("--only", default="", help="a regular expression for the faults' names")
    parser.add_argument(
        "--stride", type=int, default=1, help="take every n-th of the protocol's steps"
    )
    parser.add_argument(
        "--executor",
        choices=("pool", "dask"),
        help="let a pool of processes, or a Dask cluster, load the chunks instead, in both orders",
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=MODES,
        metavar="MODE",
        help="load a second file with these modes of on_conflict instead: "
        f"{', '.join(MODES)} (each with tries / 25 moments of each fault, in chunks and in one "
        "transaction)",
    )
    return parser.parse_args()


def _plan(field, chosen):
    """Yield each fault's name, and its tries: fault, seed and the file's shape."""
    dice = random.Random(chosen.seed)
    few = max(chosen.tries // 25, 1)
    for name, fault in faults.MOMENTS.items():
        count = chosen.tries if fault is faults.kill_client else few
        yield name, [(fault, dice.random(), {}) for _ in range(count)]
    messages = steps.steps_of(field, **SMALL)[:: chosen.stride]
    for name, act in steps.STEPS.items():
        # After one of the server's is before the next one.
        of_interest = [it for it in messages if it.is_clients or act is not steps.forward_and_cut]
        places = [(message.driver, message.number) for message in of_interest]
        yield name, [(steps.at_step(place, act), 0, SMALL) for place in places]


def _plan_modes(chosen):
    """Yield each fault's name and its tries with each of the modes."""
    dice = random.Random(chosen.seed)
    few = max(chosen.tries // 25, 1)
    of_deletes = [mode for mode in chosen.modes if mode.startswith("sync")]
    of_chunks = [mode for mode in chosen.modes if mode not in of_deletes]
    chunked = [{"mode": mode} for mode in of_chunks]
    whole = [{"mode": mode, "chunk_rows": None} for mode in chosen.modes]
    for faults_of_kind, shapes in (
        (faults.SECOND_FILE, chunked + whole),
        (faults.CHUNKS_OF_SECOND_FILE, chunked),
        (faults.DELETES, [{"mode": mode} for mode in of_deletes]),
    ):
        for name, fault in faults_of_kind.items():
            yield name, [(fault, dice.random(), shape) for _ in range(few) for shape in shapes]


def _try(field, name, tries, said):
    row = collections.Counter()
    is_watched = sys.stderr.isatty()
    for fault, seed, shape in track(
        tries, name, console=Console(stderr=True), transient=True, disable=not is_watched
    ):
        outcome = field.attempt(fault, seed, **shape)
        row += collections.Counter(
            tries=1,
            struck=outcome.struck,
            resumed=outcome.resumed > 0,
            lost=outcome.lost,
            twice=outcome.twice,
            wrong=bool(outcome.problems),
        )
        said.update(f"{name}: {re.sub(r'[0-9]+', '0', text)}" for text in outcome.said)
        for problem in outcome.problems:
            tell(f"{name}, {seed}, {shape}: {problem}")
    return row


def _show(name, row):
    names = ("tries", "struck", "resumed", "lost", "twice", "wrong")
    tell(f"{name:<36}" + "".join(f"{row[each]:>7,} " for each in names))


def tell(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


main()

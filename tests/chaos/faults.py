"""What goes wrong: each fault takes a scene, starts its load and disturbs it."""

from contextlib import closing, suppress

import psutil

from tests.chaos import changes
from tests.chaos.client import Conditions
from tests.chaos.proxy import Verdict

INTERRUPTED = 130
"""The exit code after Ctrl-C."""
PATIENT = Conditions(pause_seconds=0.3)
"""For a server that needs a moment to come back."""


def nothing(scene):
    """Leave it in peace."""
    scene.strike()
    scene.wait(scene.load())


def kill_client(scene, times=1):
    """Kill the client by SIGKILL at a random moment, and whoever goes on with the load too."""
    for _ in range(times):
        client = scene.go_on()
        scene.wait_for_message(client)
        client.sleep(scene.random.uniform(0, scene.seconds))
        if client.is_alive:
            client.kill()
            scene.strike()
        if scene.wait(client):
            return


def kill_client_again(scene):
    kill_client(scene, times=3)


def lose_commit(scene):
    """Lose the answer to one COMMIT of the load's own connection."""
    lose_commits(scene, 1)


def lose_commits(scene, count, *more):
    """Lose the answers to so many COMMITs, each after some that were heard."""
    left = [scene.random.randint(0, 6)]

    def watch(message):
        if message.driver == "asyncpg" and message.answers_commit and len(left) <= count:
            left[-1] -= 1
            if left[-1] < 0:
                scene.strike()
                left.append(scene.random.randint(0, 3))
                return Verdict.CUT
        return Verdict.FORWARD

    scene.proxy.reset(watch)
    scene.wait(scene.load(*more))


def strike_server(act):
    """Do something to the server at a random moment of the load."""

    def fault(scene):
        client = scene.load(conditions=PATIENT)
        scene.wait_for_message(client)
        client.sleep(scene.random.uniform(0, scene.seconds))
        if client.is_alive:
            scene.strike()
            act(scene, client)
        scene.wait(client)

    return fault


def end_backends(scene, client):
    scene.server.end_backends()


def kill_backends(scene, client):
    scene.server.kill_backends()


def interrupt(scene, client):
    client.interrupt()


def kill(scene, client):
    client.kill()


def restart_server(scene, client):
    scene.server.stop()
    scene.server.start()


def kill_postmaster(scene, client):
    scene.server.kill()
    scene.server.start()


def interrupt_client(scene):
    """Press Ctrl-C at a random moment."""
    client = scene.load()
    scene.wait_for_message(client)
    client.sleep(scene.random.uniform(0, scene.seconds))
    if client.is_alive:
        client.interrupt()
        scene.strike()
    scene.wait(client, INTERRUPTED)


def lose_connection(scene):
    """Lose the connection before or after a random message; the load tries again by itself."""
    left = [scene.random.randint(1, scene.messages_of_asyncpg)]
    verdict = scene.random.choice([Verdict.CUT, Verdict.FORWARD_AND_CUT])

    def watch(message):
        left[0] -= message.driver == "asyncpg"
        if left[0] == 0:
            scene.strike()
            left[0] = -1
            return verdict
        return Verdict.FORWARD

    scene.proxy.reset(watch)
    scene.wait(scene.load())


def in_the_deletes(act, expected=1):
    """Do something while a sync is deleting: a trigger waits for a lock at one of the rows."""

    def fault(scene):
        scene.server.ask(
            "CREATE TRIGGER waits BEFORE DELETE ON public.finance_transaction FOR EACH ROW "
            "WHEN (OLD.reference = 'D7') EXECUTE FUNCTION chaos.wait()"
        )
        with closing(scene.server.connect()) as holder:
            holder.execute("SELECT pg_advisory_lock(42)")
            client = scene.load(conditions=PATIENT)
            while client.is_alive and not scene.server.ask(_WAITING):
                client.sleep(0.01)
            if client.is_alive:
                scene.strike()
                act(scene, client)
            scene.wait(client, expected)
        scene.server.ask("DROP TRIGGER waits ON public.finance_transaction")

    return fault


_WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted"


def stop_server_for_long(scene, client):
    """Start it only when the load has given up."""
    scene.server.stop()
    scene.wait(client)
    scene.server.start()


def two_resumes(scene):
    """Kill the load, and let two go on with it at once."""
    kill_client(scene)
    if scene.loads():
        both = [scene.resume(), scene.resume()]
        for client in both:
            scene.wait(client)


def two_loads(scene):
    """Return the same command, which goes on where the other stopped, twice at once.

    Neither can come to its end before the other has seen it: it would be loaded again then.
    """
    scene.strike()
    with closing(scene.server.connect()) as holder:
        holder.execute("BEGIN; LOCK TABLE public.finance_transaction IN SHARE MODE")
        both = [scene.load("--resumable"), scene.load("--resumable")]
        while all(client.is_alive for client in both):
            both[0].sleep(0.05)
    for client in both:
        scene.wait(client)


def kill_workers(scene):
    """Kill one of two workers by SIGKILL, a few times; they are replaced."""
    client = scene.load("--workers", 2)
    scene.wait_for_message(client)
    for _ in range(scene.random.randint(1, 3)):
        client.sleep(scene.random.uniform(0, 2 * scene.seconds))
        workers = workers_of(client)
        if workers:
            scene.random.choice(workers).kill()
            scene.strike()
    scene.wait(client)


def workers_of(client):
    """Return the processes of the client's pool: its children but for Python's resource tracker."""
    with suppress(psutil.NoSuchProcess):
        return [
            child
            for child in psutil.Process(client.pid).children()
            if any("spawn_main" in part for part in child.cmdline())
        ]
    return []


def kill_coordinator(scene):
    """Kill the client that has two workers by SIGKILL."""
    client = scene.load("--workers", 2)
    scene.wait_for_message(client)
    client.sleep(scene.random.uniform(0, 4 * scene.seconds))
    if client.is_alive:
        client.kill()
        scene.strike()
    scene.wait(client)


def clock_jumps(scene):
    """Let the clock jump by days to and fro, and kill the client."""
    days = [scene.random.uniform(-400, 400) * 86_400 for _ in range(7)]
    client = scene.load(conditions=Conditions(clock_jumps=tuple(days)))
    scene.wait_for_message(client)
    client.sleep(scene.random.uniform(0, 2 * scene.seconds))
    client.kill()
    scene.strike()
    scene.wait(client)


def short_of_memory(scene):
    """Let the process have no more memory than it has when it sends some rows.

    Not from its start: Arrow waits for ever for a thread that it cannot start.
    """
    clients, left = [], [scene.random.randint(1, 8)]

    def watch(message):
        left[0] -= message.driver == "asyncpg" and message.is_clients and message.kind == "d"
        if left[0] == 0:
            clients[0].limit_memory(0)
        return Verdict.FORWARD

    scene.proxy.reset(watch)
    clients.append(scene.load(conditions=Conditions(block_bytes=256 << 10)))
    if not scene.wait(clients[0]):
        scene.strike()


def change_file(change, verdict=Verdict.FORWARD):
    """Change the file under the reader when a chunk is committed; then bring it back.

    ``verdict`` is that on the answer to the COMMIT.
    """

    def fault(scene):
        whole = scene.ground.path.read_bytes()
        left = [scene.random.randint(3, 9)]

        def watch(message):
            if message.driver == "asyncpg" and message.answers_commit:
                left[0] -= 1
                if left[0] == 0:
                    scene.strike()
                    change(scene.ground.path, whole, scene.random)
                    return verdict
            return Verdict.FORWARD

        scene.proxy.reset(watch)
        is_loaded = scene.wait(scene.load())
        if scene.outcome.struck and not is_loaded:
            scene.proxy.reset()
            if scene.chunks() and scene.wait(scene.resume()):
                scene.outcome.problems.append("it went on with another file")
            scene.ground.path.write_bytes(whole)

    return fault


def full_table_disk(scene):
    """Let the table's disk be full in the middle of the load."""
    with scene.small_disk(kibibytes=scene.random.randrange(40, 200, 4)) as disk:
        scene.server.own(disk.path)
        scene.server.ask(f"CREATE TABLESPACE small LOCATION '{disk.path}'")
        scene.server.ask("ALTER TABLE public.finance_transaction SET TABLESPACE small")
        try:
            if not scene.wait(scene.load()):
                scene.strike()
            disk.enlarge()
            scene.finish()
        finally:
            scene.server.ask("ALTER TABLE public.finance_transaction SET TABLESPACE pg_default")
            scene.server.ask("CHECKPOINT")
            scene.server.ask("DROP TABLESPACE small")


def full_reject_disk(scene):
    """Let the disk of the reject log and the reject file be full."""
    with scene.small_disk(kibibytes=4 * scene.random.randint(1, 2)) as disk:
        scene.keep_rejects_in(disk.path)
        if not scene.wait(scene.load()):
            scene.strike()
        disk.enlarge()
        scene.finish()
        scene.bring_rejects_back()


def full_temporary_folder(scene):
    """Let the folder of temporary files be full; there is no reject log but in it."""
    with scene.small_disk(kibibytes=4) as disk:
        scene.ground = scene.ground.without_log()
        here = Conditions(temporary_folder=str(disk.path))
        if not scene.wait(scene.load(conditions=here)):
            scene.strike()
        scene.finish()


MOMENTS = {
    "client killed": kill_client,
    "client killed thrice": kill_client_again,
    "sessions ended": strike_server(end_backends),
    "sessions' processes killed": strike_server(kill_backends),
    "server stopped and started": strike_server(restart_server),
    "postmaster killed": strike_server(kill_postmaster),
    "server away for long": strike_server(stop_server_for_long),
    "answer to COMMIT lost": lose_commit,
    "worker killed": kill_workers,
    "client with workers killed": kill_coordinator,
    "two resumes at once": two_resumes,
    "two loads at once": two_loads,
    "clock jumps": clock_jumps,
    "memory short": short_of_memory,
    "file truncated": change_file(changes.truncate),
    "file truncated at a record": change_file(changes.truncate_at_a_record),
    "file appended to": change_file(changes.append),
    "file replaced": change_file(changes.replace),
    "file replaced between two tries": change_file(changes.replace, Verdict.CUT),
    "table's disk full": full_table_disk,
    "rejects' disk full": full_reject_disk,
    "temporary folder full": full_temporary_folder,
}

SECOND_FILE = {
    **{
        name: MOMENTS[name]
        for name in (
            "client killed",
            "client killed thrice",
            "sessions ended",
            "sessions' processes killed",
            "server stopped and started",
            "postmaster killed",
            "server away for long",
            "answer to COMMIT lost",
        )
    },
    "Ctrl-C": interrupt_client,
    "connection lost at a message": lose_connection,
}
"""For loads with ``on_conflict``, whether in chunks or not."""
CHUNKS_OF_SECOND_FILE = {
    name: MOMENTS[name]
    for name in (
        "client with workers killed",
        "two resumes at once",
        "two loads at once",
    )
}
DELETES = {
    "Ctrl-C in the deletes": in_the_deletes(interrupt, INTERRUPTED),
    "client killed in the deletes": in_the_deletes(kill),
    "sessions ended in the deletes": in_the_deletes(end_backends),
    "postmaster killed in the deletes": in_the_deletes(kill_postmaster),
}
"""For a sync."""

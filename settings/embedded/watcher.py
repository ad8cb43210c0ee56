"""Stops the server when the last process that uses it has ended, in any way.

Every process that uses the server holds a shared lock on one file, which the kernel releases when
the process ends, even by `kill -9`. This small process waits for the exclusive lock on the same
file, so it gets the lock when no other process is left. While it stops the server, a process that
wants to start it waits.

It is run as a script, without Django and without the project on the path.
"""

import fcntl
import os
import subprocess
import sys
from contextlib import suppress

# Seconds for a checkpoint after a large load on a slow disk. Only a new start has to wait for it.
STOP_SECONDS = "600"


def main(lock: str, watch: str, pg_ctl: str, data: str, identity: list[str]) -> None:
    """Wait until no process holds `lock`, then stop the server in `data`.

    `watch` is an inherited descriptor with an exclusive lock, which shows that a watcher runs.
    `identity` is the user and group number for pg_ctl, or empty.
    """
    if os.fork():
        os._exit(0)
    os.setsid()  # Ctrl-C in the terminal must not end this process
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    folder = socket_folder(data)
    user, group = map(int, identity) if identity else (None, None)
    subprocess.run(  # noqa: S603 - no shell, and the arguments are our own
        [pg_ctl, "stop", "-D", data, "-m", "fast", "-w", "-t", STOP_SECONDS],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        user=user,
        group=group,
        extra_groups=[] if identity else None,
        check=False,
    )
    if folder != data:  # a temporary folder, because the socket's usual path was not possible
        with suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 - one module fewer in a process that may live for days
    # First this lock, then the other one by ending: the next process with it then sees no watcher.
    os.close(int(watch))


def socket_folder(data: str) -> str:
    """Return the folder of the running server's socket, or `data` if it is unknown."""
    try:
        with open(f"{data}/postmaster.pid") as lines:  # noqa: PTH123 - likewise
            return lines.read().splitlines()[4]
    except (OSError, IndexError):
        return data


if __name__ == "__main__":
    main(*sys.argv[1:5], sys.argv[5:])

"""Stop the server when the last process that uses it has ended, in whatever way it ended.

Every process that uses the server holds a shared lock on one file, which the kernel lets go when
the process ends, be it by `kill -9`. This small process waits for the exclusive lock on the same
file, so it gets it when nobody is left; while it stops the server, whoever wants to start waits.

Run as a script, without Django and without the project on the path.
"""

import fcntl
import os
import subprocess
import sys
from contextlib import suppress

# Seconds: a checkpoint after a large load on a slow disk. Nobody waits for it but a new start.
STOP_SECONDS = "600"


def main(lock: str, watch: str, pg_ctl: str, data: str, identity: list[str]) -> None:
    """Wait until nobody holds `lock`, then stop the server in `data`.

    `watch` is an inherited descriptor, locked exclusively as the sign that there is a watcher.
    `identity` is the user and group number to become for pg_ctl, or empty.
    """
    if os.fork():
        os._exit(0)
    os.setsid()  # Ctrl-C in the terminal is not for us
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
    if folder != data:  # made for a socket whose path would not have done
        with suppress(OSError):
            os.rmdir(folder)  # noqa: PTH106 - one module fewer in a process that may live for days
    # First the sign, then (by ending) the lock: whoever gets the lock next sees no watcher.
    os.close(int(watch))


def socket_folder(data: str) -> str:
    """Return where the running server has its socket, or `data` if that cannot be told."""
    try:
        with open(f"{data}/postmaster.pid") as lines:  # noqa: PTH123 - likewise
            return lines.read().splitlines()[4]
    except (OSError, IndexError):
        return data


if __name__ == "__main__":
    main(*sys.argv[1:5], sys.argv[5:])

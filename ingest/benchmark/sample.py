"""One sample of one method: time, processor, memory and write-ahead log."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.db import connections

from ingest.benchmark.result import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from ingest.benchmark.candidates import Write


_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"
"""Resets the peak: https://www.kernel.org/doc/html/latest/filesystems/proc.html."""


def take_sample(alias: str, opening: AbstractContextManager[Write]) -> Sample:
    """Let a candidate write its rows, and measure it.

    Connecting and closing are not timed. Errors of the candidate are raised.
    """
    _tidy_memory()
    with opening as write:
        before_bytes = _start_peak()
        wal = _wal_position(alias)
        cpu = _cpu_seconds()
        started = time.perf_counter()
        told_seconds = write()
        seconds = time.perf_counter() - started
        cpu = _cpu_seconds() - cpu
        wal = _wal_position(alias) - wal
        peak_bytes = _memory("VmHWM") if before_bytes is not None else None
    if told_seconds is not None:
        seconds, before_bytes = told_seconds, None  # the memory of another process is not known
    return Sample(
        seconds=seconds,
        wal_bytes=wal,
        client_cpu_seconds=cpu,
        peak_memory_bytes=(
            None
            if before_bytes is None or peak_bytes is None
            else max(peak_bytes - before_bytes, 0)
        ),
    )


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """Hide existing objects from the garbage collector.

    Otherwise it would repeatedly traverse the prepared rows in the middle of a sample.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


_WAL_POSITION = """
SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::bigint
"""


def _cpu_seconds() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def _wal_position(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute(_WAL_POSITION)
        return int(cursor.fetchone()[0])


def _tidy_memory() -> None:
    # Memory that an earlier sample left free in the heap would hide what this one needs.
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _start_peak() -> int | None:
    try:
        (_PROCESS / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return None
    return _memory("VmRSS")


def _memory(name: str) -> int | None:
    try:
        lines = (_PROCESS / "status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return values[0] * 1024 if values else None


SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
)


def describe_environment(alias: str) -> dict[str, Any]:
    """Return the versions and settings of this client and of the alias's server."""
    settings = {}
    with connections[alias].cursor() as cursor:
        for name in SETTINGS:
            cursor.execute("SELECT pg_catalog.current_setting(%s)", [name])
            settings[name] = cursor.fetchone()[0]
    return {
        "postgresql": settings.pop("server_version"),
        "django": django.get_version(),
        "python": platform.python_version(),
        "asyncpg": version("asyncpg"),
        "psycopg": version("psycopg"),
        "cpu": _processor(),
        "cpu_count": _processors(),
        "system": platform.platform(terse=True),
        **settings,
    }


def _processor() -> str:
    # platform.processor() is empty on most Linux systems.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _processors() -> int:
    # The processors available to this process, which a container often limits.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

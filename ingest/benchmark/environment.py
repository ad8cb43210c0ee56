"""Where the figures come from: versions, processor, and the server's settings that matter."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import django
from django.db import connections

SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
)


def describe_environment(alias: str) -> dict[str, Any]:
    """Describe this machine's client side and the alias's server."""
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
    # What this process may use, which a container often limits.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

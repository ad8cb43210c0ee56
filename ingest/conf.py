"""The app's settings: the keys of ``settings.INGEST``, one function each."""

from __future__ import annotations

from typing import Any

from django.conf import settings


def benchmark_model() -> str | None:
    """Give ``BENCHMARK_MODEL``: whose table ``bulk_load --benchmark`` measures if none is named."""
    return _setting("BENCHMARK_MODEL")


def _setting(name: str, default: Any = None) -> Any:
    return getattr(settings, "INGEST", {}).get(name, default)

"""The app's settings: the keys of ``settings.INGEST``, one function each."""

from __future__ import annotations

from typing import Any

from django.conf import settings


def benchmark_model() -> str | None:
    """Give ``BENCHMARK_MODEL``: whose table ``bulk_load --benchmark`` measures if none is named."""
    return _settings().get("BENCHMARK_MODEL")


def _settings() -> dict[str, Any]:
    return getattr(settings, "INGEST", {})

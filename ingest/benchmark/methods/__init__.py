"""The ways to get rows into a table, one file each."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from ingest.benchmark.methods.base import Method, Row, Target
from ingest.exceptions import ConfigurationError, did_you_mean

__all__ = ["Method", "Row", "Target", "get_method", "method_names"]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def method_names() -> list[str]:
    """Return the names of all methods, the simplest first."""
    methods = Method.registered()
    return sorted(methods, key=lambda name: methods[name].place)


def get_method(name: str) -> type[Method]:
    """Return the method with this name, or raise ``ConfigurationError`` with similar names."""
    methods = Method.registered()
    if name not in methods:
        raise ConfigurationError(
            f"There is no method {name!r}.{did_you_mean(name, methods)} "
            f"The methods are {', '.join(method_names())}."
        )
    return methods[name]

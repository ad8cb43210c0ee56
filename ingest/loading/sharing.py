"""Whether several processes share a load, which ones, and in which order they commit its chunks."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal, get_args

from ingest.exceptions import ConfigurationError

if TYPE_CHECKING:
    from ingest.loading.options import LoadOptions

Order = Literal["source", "any"]
OF_SHARING = ("workers", "executor", "scheduler", "order")
"""The options for sharing a load between several processes."""
OF_THIS_MACHINE = frozenset({"ProcessPoolExecutor", "ThreadPoolExecutor"})


def is_shared(how: LoadOptions) -> bool:
    """Return whether chunks are loaded by other processes or threads."""
    return how.workers > 1 or _is_given(how) or how.order == "any"


def is_ordered(how: LoadOptions) -> bool:
    """Return whether each chunk is committed only after the one before.

    This is the default on one machine; an executor of another library may have many machines.
    """
    if how.order is not None:
        return how.order == "source"
    kinds = {kind.__name__ for kind in type(how.executor).__mro__}  # names, to avoid an import
    is_here = how.executor is None or bool(kinds & OF_THIS_MACHINE)
    return is_here and how.scheduler is None


def check_sharing(how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` for options that cannot be combined."""
    if how.order is not None and how.order not in get_args(Order):
        raise ConfigurationError(f"order is {how.order!r}: use 'source' or 'any'.")
    if how.executor is not None and not isinstance(how.executor, Executor):
        raise ConfigurationError(
            f"executor is a {type(how.executor).__name__}: give a concurrent.futures.Executor, "
            "such as ProcessPoolExecutor(4), or Dask's Client(…).get_executor()."
        )
    if how.scheduler == "":
        raise ConfigurationError(
            "scheduler (--scheduler) is empty: give its address, such as tcp://host:8786, or leave "
            "it out."
        )
    given = [name for name in ("executor", "scheduler") if getattr(how, name) is not None]
    if given and how.workers > 1:
        raise ConfigurationError(
            f"workers (--workers) has no effect with {_spell(given[0])}, which has workers of its "
            "own: leave out one of them."
        )
    if len(given) > 1:
        raise ConfigurationError(
            "scheduler (--scheduler) has no effect with executor: leave out one of them."
        )
    if how.on_conflict != "error" and (given or how.order == "any"):
        name = given[0] if given else "order"
        raise ConfigurationError(
            f"{_spell(name)} cannot go with on_conflict={how.on_conflict!r}: of several records "
            "with one key the one that comes last would count, and chunks that are committed in "
            "any order do not know which that is. Leave out one of them."
        )


def check_order(said: dict[str, Any], how: LoadOptions) -> None:
    """Raise ``ConfigurationError`` if an order is given and one process loads everything."""
    if said.get("order") is not None and not (how.workers > 1 or _is_given(how)):
        raise ConfigurationError(
            "order (--order) has no effect on one process, which commits in the source's order: "
            "add workers, executor or scheduler, or leave it out."
        )


def take_over(how: LoadOptions, **others: Any) -> LoadOptions:
    """Return the options with other processes than at the load's beginning, if any are given.

    The order of commits stays the one in which the load began.
    """
    said = {name: value for name, value in others.items() if value is not None}
    if not said:
        return how
    order = how.order or ("source" if is_ordered(how) else "any")
    none: dict[str, Any] = {"workers": 1, "executor": None, "scheduler": None}
    return dataclasses.replace(how, order=order, **{**none, **said})


def _is_given(how: LoadOptions) -> bool:
    return how.executor is not None or how.scheduler is not None


def _spell(name: str) -> str:
    return name if name == "executor" else f"{name} (--{name})"

"""Arrow in a process that does nothing but load: the command's, and a worker's."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


def prepare_arrow() -> None:
    """Let Arrow use the system's allocator, and not import pandas for nothing.

    Arrow's own allocator would keep some 30 MB of what is freed. And with the first Python value
    that it converts Arrow imports pandas where it is installed, to know its missing values: twice
    the time that Django takes to start. No load has pandas' values, unless the project's own code
    makes them: where that has imported pandas by now, as Django started, Arrow has it too.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if "pandas" in sys.modules:
        return
    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    pa.array([None])  # it asks for pandas once
    finder.hides = False


class _WithoutPandas:
    """Hides pandas from Arrow, and warns whoever imports it later."""

    hides = True

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> None:
        """Find nothing; the finders that follow do."""
        if name != "pandas":
            return
        if self.hides:
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
        sys.meta_path.remove(self)
        warnings.warn(
            "pandas was imported after Arrow was started without it: pyarrow.array() does not know "
            "pandas' missing values in this process. Import pandas where Django imports it at its "
            "start, such as at the top of models.py or apps.py.",
            RuntimeWarning,
            stacklevel=2,
        )

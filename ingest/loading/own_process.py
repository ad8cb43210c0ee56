"""Arrow's setup in a process that only loads: the command's, and a worker's."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


def prepare_arrow() -> None:
    """Make Arrow use the system's allocator, and prevent a needless import of pandas.

    Arrow's own allocator would keep about 30 MB of freed memory. And when Arrow converts its first
    Python value, it imports pandas, if installed, to recognize its missing values: this takes twice
    as long as Django's start. No load has pandas' values, unless the project's own code makes them.
    If that code has imported pandas while Django started, Arrow uses it too.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if "pandas" in sys.modules:
        return
    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    pa.array([None])  # Arrow tries to import pandas once
    finder.hides = False


class _WithoutPandas:
    """Hides pandas from Arrow, and warns if it is imported later."""

    hides = True

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> None:
        """Find nothing, and leave it to the other finders."""
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

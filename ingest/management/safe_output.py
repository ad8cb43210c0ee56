"""Output of the command without characters that a terminal interprets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.core.management.base import OutputWrapper

from ingest.terminal import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable


class SafeOutput(OutputWrapper):
    """Standard output or standard error, whose text is made safe before it is coloured."""

    @classmethod
    def of(cls, output: OutputWrapper) -> SafeOutput:
        """Return a safe version of another output."""
        if isinstance(output, cls):
            return output
        safe = cls(cast("Any", output._out), output.ending)
        safe.style_func = output.style_func
        return safe

    def write(  # type: ignore[override] # as Django's own is
        self,
        msg: Any = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        super().write(safe_text(str(msg)), style_func, ending)

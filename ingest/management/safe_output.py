"""Output of the command without characters that a terminal interprets."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.core.management.base import OutputWrapper

from ingest.terminal import safe_text

if TYPE_CHECKING:
    from collections.abc import Callable


class SafeOutput(OutputWrapper):
    """Standard output or standard error, whose text is made safe before it is coloured.

    Text for a reader that has gone, as in ``bulk_load … | head``, is dropped: the load goes on,
    and the exit code tells how it ended. So is text that cannot be written for another reason, such
    as a full disk; ``pop_error`` tells it.
    """

    _out: Any
    is_plain = False
    """Whether nothing is coloured, because of ``--no-color`` or ``NO_COLOR``."""
    _error: OSError | None = None

    @classmethod
    def of(cls, output: OutputWrapper) -> SafeOutput:
        """Return a safe version of another output."""
        if isinstance(output, cls):
            return output
        # A standard stream is None if the shell has closed it.
        out: Any = output._out
        safe = cls(_Nowhere() if out is None else out, output.ending)  # type: ignore[arg-type]
        safe.style_func = output.style_func
        safe.make_plain(is_plain=bool(os.environ.get("NO_COLOR")))
        return safe

    def make_plain(self, *, is_plain: bool) -> None:
        """Write text without colours from now on, if ``is_plain`` is true."""
        if is_plain:
            self.is_plain, self.style_func = True, None

    def write(  # type: ignore[override] # as Django's own is
        self,
        msg: Any = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        try:
            super().write(safe_text(str(msg)), style_func, ending)
        except OSError as error:
            self._drop(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def pop_error(self) -> str:
        """Write what is still buffered; return why text was lost, once, or an empty string."""
        self.flush()
        error, self._error = self._error, None
        return "" if error is None else f"Standard output cannot be written: {error.strerror}."

    def _drop(self, error: OSError) -> None:
        """Write nothing any more; Python flushes its own streams again when it exits."""
        if not isinstance(error, BrokenPipeError):
            self._error = error
        dropped, self._out = self._out, _Nowhere()
        if dropped in {sys.stdout, sys.stderr}:
            with suppress(OSError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
                os.dup2(nowhere.fileno(), dropped.fileno())


class _Nowhere:
    """A stream that drops what is written."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Do nothing."""

    def isatty(self) -> bool:
        return False

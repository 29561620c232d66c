"""What TensorRT says while it works, kept to be told in one line instead of printed over that of a command."""

from __future__ import annotations

from types import ModuleType
from typing import Any

_KEPT = 10  # the first tell what went wrong; what runs for days must not collect the same one over and over


def collecting_logger(library: ModuleType) -> tuple[Any, list[str]]:
    """A logger of the library (tensorrt, tensorrt_rtx), and the list of the first errors it was told.

    The logger has to live as long as whatever was made with it.
    """
    errors: list[str] = []

    class Collector(library.ILogger):  # type: ignore[name-defined]  # known only once the library is
        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity <= library.ILogger.Severity.ERROR and len(errors) < _KEPT:
                errors.append(msg)

    return Collector(), errors


def reason(errors: list[str]) -> str:
    """The first of them, on one line."""
    return " ".join(errors[0].split())[:300] if errors else "it gives no reason"

"""What `vmdepth-train` and `vmdepth-precompute` say on a terminal, also as several processes of torchrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def open_console() -> Console:
    """Where the command speaks: stderr, of the first process alone."""
    from rich.console import Console

    return Console(stderr=True, quiet=_others())


def say(console: Console, text: str) -> None:
    """One line, as it is."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def said_once() -> Iterator[Callable[[], None]]:
    """What is wrong with the settings is wrong in every process of torchrun; the first one says it.

    Yields what ends that: from then on what is wrong may be so in one process alone, and that one says it.
    """
    alike = True

    def end() -> None:
        nonlocal alike
        alike = False

    try:
        yield end
    except InputError:
        if alike and _others():
            sys.exit(2)
        raise


def _others() -> bool:
    """Whether this is another process than the first."""
    return int(os.environ.get("RANK", 0)) > 0

"""Where what can be made again is kept between two commands."""

from __future__ import annotations

import os
from pathlib import Path

from vmdepth_runtime.errors import InputError


def cache_folder(what: str) -> Path:
    """`$XDG_CACHE_HOME/vmdepth` or `~/.cache/vmdepth`, made where it is not there yet.

    what: is to be kept, for people. Raises InputError where it cannot be written to.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmdepth"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(folder, os.W_OK) else "Permission denied"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise InputError(
            f"{folder}: no {what} can be kept there ({reason}); set XDG_CACHE_HOME to a folder that can be written to"
        )
    return folder

"""Models by the names of their repositories on Hugging Face: downloaded once, kept in that library's cache.

No torch here: boards ask for step graphs.
"""

from __future__ import annotations

from pathlib import Path

from vmdepth.official.hub.download import downloaded
from vmdepth.official.hub.names import parse

__all__ = ["local_file"]


def local_file(name: str | Path) -> Path:
    """The file of a model that may be given by name; it is downloaded where it is not in the cache yet.

    Args:
        name: `owner/name[@revision][:file]`; `:file` may be left out for the repositories of `hub.models.MODELS`. What
            is a file or a folder here is never a name, nor is what ends as a model's file does.

    Returns:
        The file in the cache; a path, also of what is not there, as it was given.

    Raises:
        InputError: for a name that nobody knows, what cannot be downloaded, and one of the extras that is missing.
    """
    asked = parse(name)
    return Path(name) if asked is None else downloaded(asked)

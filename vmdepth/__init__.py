"""vmdepth: streaming video depth, learnt on clips.

`vmdepth.load(path)` gives a `VideoDepth`: `model(clip, states)` and `model.step(frame, states)`; or, of Depth
Anything 3, a network of views: `views(clip)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmdepth.checkpoint import load

    __version__: str

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # Torch is imported on the first use, so that the commands start, and can say what is missing, without it.
    if name == "load":
        from vmdepth.checkpoint import load

        return load
    if name == "__version__":
        from importlib.metadata import version

        return version("vmdepth")
    raise AttributeError(f"module 'vmdepth' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})

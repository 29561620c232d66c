"""vmdepth: streaming video depth, learnt on clips.

`vmdepth.load(path)` gives a `VideoDepth`: `model(clip, states)` and `model.step(frame, states)`; or, of Depth
Anything 3, a network of views: `views(clip)`. `vmdepth.predict("photo.jpg")` gives the depth of a picture with the
bundled model, or another step graph, without torch.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmdepth.checkpoint import load
    from vmdepth_runtime.depth.predict import predict

    __version__: str

__all__ = ["load", "predict"]


def __getattr__(name: str) -> Any:
    # Torch is imported on the first use, so that the commands start, and can say what is missing, without it.
    if name == "load":
        from vmdepth.checkpoint import load

        return load
    if name == "predict":
        from vmdepth_runtime.depth.predict import predict

        return predict
    if name == "__version__":
        from importlib.metadata import version

        return version("vmdepth")
    raise AttributeError(f"module 'vmdepth' has no attribute '{name}'")


def __dir__() -> list[str]:
    # `help` looks at all that is listed: without torch `load` would end it.
    usable = __all__ if find_spec("torch") else [name for name in __all__ if name != "load"]
    return sorted({*globals(), *usable, "__version__"})

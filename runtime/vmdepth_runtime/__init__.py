"""Streaming video depth from an exported step graph: no torch, only NumPy, ONNX Runtime, PyAV, OpenCV and Pillow.

```python
from vmdepth_runtime import DepthStream, open_source

with DepthStream() as stream, open_source("demo") as source:
    for frame in source:
        depth = stream(frame.image).depth  # float32 [H, W]; the next call overwrites it
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vmdepth_runtime.errors import InputError, WorkError

if TYPE_CHECKING:
    from vmdepth_runtime.camera.lens import Lens
    from vmdepth_runtime.camera.rectifier import Rectifier
    from vmdepth_runtime.contract import StepContract
    from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
    from vmdepth_runtime.depth.predict import predict
    from vmdepth_runtime.depth.prediction import Prediction
    from vmdepth_runtime.depth.scale.metres import Metres
    from vmdepth_runtime.depth.stream import DepthResult, DepthStream
    from vmdepth_runtime.encoding.cloud_settings import CloudSettings
    from vmdepth_runtime.pipeline.run import run
    from vmdepth_runtime.pipeline.settings import RunSettings
    from vmdepth_runtime.sessions.onnx import OnnxSession
    from vmdepth_runtime.sinks.base import SinkFacts
    from vmdepth_runtime.sinks.open import open_sink
    from vmdepth_runtime.sources.base import SourceFrame, VideoInfo
    from vmdepth_runtime.sources.open import open_source
    from vmdepth_runtime.sources.settings import LiveSettings, ReadSettings

    __version__: str

# Loaded at first use: ONNX Runtime, PyAV and OpenCV together take most of a second.
_HOME = {
    "CloudSettings": "encoding.cloud_settings",
    "DepthResult": "depth.stream",
    "DepthStream": "depth.stream",
    "KeyframeSettings": "depth.keyframe_settings",
    "Lens": "camera.lens",
    "LiveSettings": "sources.settings",
    "Metres": "depth.scale.metres",
    "OnnxSession": "sessions.onnx",
    "Prediction": "depth.prediction",
    "ReadSettings": "sources.settings",
    "Rectifier": "camera.rectifier",
    "RunSettings": "pipeline.settings",
    "SinkFacts": "sinks.base",
    "SourceFrame": "sources.base",
    "StepContract": "contract",
    "VideoInfo": "sources.base",
    "open_sink": "sinks.open",
    "open_source": "sources.open",
    "predict": "depth.predict",
    "run": "pipeline.run",
}

__all__ = [
    "CloudSettings",
    "DepthResult",
    "DepthStream",
    "InputError",
    "KeyframeSettings",
    "Lens",
    "LiveSettings",
    "Metres",
    "OnnxSession",
    "Prediction",
    "ReadSettings",
    "Rectifier",
    "RunSettings",
    "SinkFacts",
    "SourceFrame",
    "StepContract",
    "VideoInfo",
    "WorkError",
    "open_sink",
    "open_source",
    "predict",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("vmdepth")
    if name not in _HOME:
        raise AttributeError(f"module 'vmdepth_runtime' has no attribute '{name}'")
    return getattr(import_module(f"vmdepth_runtime.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})

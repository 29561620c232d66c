"""From a float32 step graph and real video to a quantised step graph, or with measured depth to one in metres.

```python
from pathlib import Path

from vmdepth_calibrate import CalibrationSettings, calibrate

calibrate(CalibrationSettings(Path("tiny.onnx"), data="walk.mp4", output=Path("tiny.int8.onnx")))
```

`fit_scale(ScaleSettings(Path("tiny.onnx"), data="rgbd/", output=Path("tiny.metric.onnx")))` makes the metres.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmdepth_calibrate.calibration import CalibrationResult, calibrate
    from vmdepth_calibrate.scale.fit_scale import ScaleResult, fit_scale
    from vmdepth_calibrate.scale.settings import ScaleSettings
    from vmdepth_calibrate.settings import CalibrationSettings

# Loaded at first use: ONNX and its quantiser take a second.
_HOME = {
    "CalibrationResult": "calibration",
    "CalibrationSettings": "settings",
    "ScaleResult": "scale.fit_scale",
    "ScaleSettings": "scale.settings",
    "calibrate": "calibration",
    "fit_scale": "scale.fit_scale",
}

__all__ = ["CalibrationResult", "CalibrationSettings", "ScaleResult", "ScaleSettings", "calibrate", "fit_scale"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vmdepth_calibrate' has no attribute '{name}'")
    return getattr(import_module(f"vmdepth_calibrate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

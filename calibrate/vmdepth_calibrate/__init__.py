"""From a float32 step graph and real video to a quantised step graph.

```python
from pathlib import Path

from vmdepth_calibrate import CalibrationSettings, calibrate

calibrate(CalibrationSettings(Path("tiny.onnx"), data="walk.mp4", output=Path("tiny.int8.onnx")))
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmdepth_calibrate.calibration import CalibrationResult, calibrate
    from vmdepth_calibrate.settings import CalibrationSettings

# Loaded at first use: ONNX and its quantiser take a second.
_HOME = {"CalibrationResult": "calibration", "CalibrationSettings": "settings", "calibrate": "calibration"}

__all__ = ["CalibrationResult", "CalibrationSettings", "calibrate"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vmdepth_calibrate' has no attribute '{name}'")
    return getattr(import_module(f"vmdepth_calibrate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

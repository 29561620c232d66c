"""From a checkpoint to a step graph and an engine, with proof that they compute the same.

Every command is a function of its settings, which have its defaults:

```python
from pathlib import Path

from vmdepth_export import ExportSettings, ParitySettings, compare_models, export

export(ExportSettings(Path("runs/tiny/last.safetensors"), Path("tiny.onnx"), size=(196, 252)))
compare_models(ParitySettings(Path("runs/tiny/last.safetensors"), Path("tiny.onnx"))).agrees
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmdepth_export.bench.measure import benchmark
    from vmdepth_export.bench.settings import BenchSettings
    from vmdepth_export.conversion.convert import export
    from vmdepth_export.conversion.settings import ExportSettings
    from vmdepth_export.info.describe import describe
    from vmdepth_export.info.settings import InfoSettings
    from vmdepth_export.parity.proof import compare_models
    from vmdepth_export.parity.settings import ParitySettings
    from vmdepth_export.verify.run import verify_machine
    from vmdepth_export.verify.settings import VerifySettings

# Loaded at first use: `vmdepth-info` works where torch and onnx are not installed.
_HOME = {
    "BenchSettings": "bench.settings",
    "ExportSettings": "conversion.settings",
    "InfoSettings": "info.settings",
    "ParitySettings": "parity.settings",
    "VerifySettings": "verify.settings",
    "benchmark": "bench.measure",
    "compare_models": "parity.proof",
    "describe": "info.describe",
    "export": "conversion.convert",
    "verify_machine": "verify.run",
}

__all__ = [
    "BenchSettings",
    "ExportSettings",
    "InfoSettings",
    "ParitySettings",
    "VerifySettings",
    "benchmark",
    "compare_models",
    "describe",
    "export",
    "verify_machine",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'vmdepth_export' has no attribute '{name}'")
    return getattr(import_module(f"vmdepth_export.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

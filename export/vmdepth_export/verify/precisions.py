"""Step graphs in the precisions that engines are checked in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal, TypeAlias

from vmdepth_runtime.errors import WorkError

EnginePrecision: TypeAlias = Literal["fp32", "fp16", "int8"]

_BAKED = 20  # frames: half precision is slow where it is emulated, and the engine is compared over all frames


def in_precision(graph: Path, output: Path, precision: EnginePrecision, calibration: int) -> Path:
    """A float32 step graph in another precision, proven as the commands prove it; "fp32" is itself.

    output: where it goes. calibration: frames of the bundled clip that INT8 takes its
    ranges from. Raises WorkError where it disagrees with what it is made from.
    """
    if precision == "fp32":
        return graph
    if precision == "int8":
        _quantise(graph, output, calibration)
        return output
    from vmdepth_export.conversion.proven_graph import bake_step_graph

    bake_step_graph(graph, output, precision, frames=_BAKED)
    return output


def _quantise(graph: Path, output: Path, frames: int) -> None:
    """By the command: what calibrates stands above this package, which may not import it."""
    words = [sys.executable, "-m", "vmdepth_calibrate.cli", graph, "--data", "demo", "--frames", frames, "-o", output]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkError((done.stderr.strip().splitlines() or ["vmdepth-calibrate failed"])[-1])

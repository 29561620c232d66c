"""The error over frames, drawn."""

from __future__ import annotations

from pathlib import Path

from vmdepth_export.parity.comparison import ParityReport
from vmdepth_runtime.atomic_files import being_written, part_name


def draw(result: ParityReport, path: Path) -> None:
    """Mean error of depth and of the worst state over frames, and the tolerance, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for name, errors in result.history.items():
        if any(errors):
            axes.semilogy(range(len(errors)), errors, label=name)
    axes.axhline(result.tolerance.mean, color="black", linestyle="--", label=f"tolerance of {result.precision}")
    axes.set_xlabel("frame")
    axes.set_ylabel("mean error, share of the range")
    axes.legend()
    axes.grid(alpha=0.3)
    part = part_name(path)
    with being_written(path, part):
        figure.savefig(part, format="png", dpi=100)
        part.replace(path)

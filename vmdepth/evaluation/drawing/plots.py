"""Figures as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vmdepth.evaluation.figures import BUCKET, Evaluation, ModelFigures
from vmdepth_runtime.atomic_files import check_target, part_name
from vmdepth_runtime.errors import InputError, WorkError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_plots(folder: Path) -> None:
    """Raise InputError unless plots can be put into `folder`, which is made when only it is missing."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the plots")
    check_target(folder / "accuracy.png" if folder.is_dir() else folder)
    import matplotlib  # noqa: F401 (not after an hour of work)


def write_plots(evaluation: Evaluation, names: list[str], folder: Path) -> None:
    """`accuracy.png`, `steadiness.png` and `states.png`: means over sequences, a line per model.

    Beside a teacher's depth the first is `agreement.png`. states.png is left out where no model has states. names: of
    the models. Raises WorkError when one cannot be written.
    """
    # The object-oriented face of matplotlib draws with Agg and leaves its global state alone.
    from matplotlib.figure import Figure

    models = list(zip(names, evaluation.models, strict=True))
    accuracy = Figure(figsize=(9, 6), layout="constrained")
    accuracy.subplots(2, 1, sharex=True)
    for axes, figure, title in zip(accuracy.axes, ("delta1", "absrel"), ("δ1", "AbsRel"), strict=True):
        for number, (name, model) in enumerate(models):
            for prefix, style, fit in (("", "-o", "one fit"), ("first_", "--o", "fit on the first frames")):
                values = [getattr(bucket, prefix + figure) for bucket in model.buckets]
                middles = _middles(model)
                axes.plot(middles, np.array(values, float), style, color=f"C{number}", label=f"{name}, {fit}")
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    accuracy.axes[0].legend(fontsize="small")
    accuracy.axes[-1].set_xlabel(f"frame (every {BUCKET} together)")
    accuracy.suptitle(evaluation.truth.measure)
    titles = {"flicker": "flicker, 1/m", "opw": "OPW, 1/m", "tae": "TAE, %"}
    steadiness = _per_frame(models, {key: evaluation.truth.in_its_unit(title) for key, title in titles.items()})
    states = _per_frame(models, {"state_rms": "RMS of the states"})
    measure = evaluation.truth.measure.partition(" ")[0]
    try:
        folder.mkdir(exist_ok=True)
        for drawn, name in ((accuracy, measure), (steadiness, "steadiness"), (states, "states")):
            if drawn is None:
                continue
            part = part_name(folder / f"{name}.png")
            try:
                drawn.savefig(part, format="png", dpi=100)
                part.replace(folder / f"{name}.png")
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise WorkError(f"{folder}: the plots cannot be written ({error.strerror}); is the disk full?") from None


def _per_frame(models: list[tuple[str, ModelFigures]], figures: dict[str, str]) -> Figure | None:
    """Axes one above the other, per figure that any model has; None for none of them."""
    from matplotlib.figure import Figure

    lines: dict[str, list[tuple[str, NDArray[Any]]]] = {
        figure: [(name, _mean_per_frame(model, figure)) for name, model in models] for figure in figures
    }
    kept = {figure: drawn for figure, drawn in lines.items() if any(np.isfinite(line).any() for _, line in drawn)}
    if not kept:
        return None
    picture = Figure(figsize=(9, 3 * len(kept)), layout="constrained")
    picture.subplots(len(kept), 1, sharex=True)
    for axes, (figure, drawn) in zip(picture.axes, kept.items(), strict=True):
        for name, line in drawn:
            axes.plot(line, linewidth=0.8, label=name)
        axes.set_ylabel(figures[figure])
        axes.grid(alpha=0.3)
    picture.axes[0].legend(fontsize="small")
    picture.axes[-1].set_xlabel("frame")
    return picture


def _middles(model: ModelFigures) -> list[float]:
    frames = max(one.frames for one in model.sequences)
    return [(start + min(start + BUCKET, frames) - 1) / 2 for start in range(0, frames, BUCKET)]


def _mean_per_frame(model: ModelFigures, figure: str) -> NDArray[np.float64]:
    """Over sequences, of those long enough and with a value there; NaN where there is none."""
    values = np.full((len(model.sequences), max(one.frames for one in model.sequences)), np.nan)
    for row, sequence in zip(values, model.sequences, strict=True):
        row[: sequence.frames] = sequence.per_frame[figure]
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)

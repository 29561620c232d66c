"""Figures for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmdepth.evaluation.accuracy import FARTHEST, Accuracy
from vmdepth.evaluation.figures import BUCKET, Evaluation, Figures, ModelFigures

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Figure -> how it is called, and a number as it is shown.
_ROWS = {
    "delta1": ("δ1, %", lambda value: f"{100 * value:.1f}"),
    "absrel": ("AbsRel", lambda value: f"{value:.3f}"),
    "rmse": (f"RMSE to {FARTHEST:g} m, m", lambda value: f"{value:.3f}"),
    "first_delta1": ("δ1, %, fitted on the first frames", lambda value: f"{100 * value:.1f}"),
    "first_absrel": ("AbsRel, so fitted", lambda value: f"{value:.3f}"),
    "first_rmse": ("RMSE, so fitted, m", lambda value: f"{value:.3f}"),
    "tae": ("TAE, %", lambda value: f"{value:.2f}"),
    "opw": ("OPW, 1/m", lambda value: f"{value:.4f}"),
    "flicker": ("flicker of what stands still, 1/m", lambda value: f"{value:.4f}"),
    "state_rms": ("RMS of the states", lambda value: f"{value:.3f}"),
    "state_growth": ("its growth, end over beginning", lambda value: f"{value:.3f}"),
}
_IN_BUCKETS = {"delta1": "δ1", "absrel": "AbsRel", "first_delta1": "δ1, first fit", "tae": "TAE", "opw": "OPW",
               "flicker": "flicker", "state_rms": "states"}  # fmt: skip


def print_evaluation(evaluation: Evaluation, names: list[str], console: Console) -> None:
    """Means over sequences, a column per model; and every 100 frames, where there are more. names: of the models."""
    console.print(_means(evaluation, names))
    for name, model in zip(names, evaluation.models, strict=True):
        if len(model.buckets) > 1:
            console.print(_buckets(name, model))


def _means(evaluation: Evaluation, names: list[str]) -> Table:
    from rich.table import Table

    table = Table("figure")
    for name in (*names, "best mean map"):
        table.add_column(name, justify="right", overflow="fold")
    for figure, (title, shown) in _ROWS.items():
        values = [
            model.state_growth if figure == "state_growth" else getattr(model.whole, figure)
            for model in evaluation.models
        ]
        values.append(getattr(evaluation.mean_map, figure) if figure in Accuracy.__dataclass_fields__ else None)
        table.add_row(title, *("–" if value is None else shown(value) for value in values))
    return table


def _buckets(name: str, model: ModelFigures) -> Table:
    from rich.table import Table

    table = Table("frames", title=f"{name}, every {BUCKET} frames", title_justify="left")
    for title in _IN_BUCKETS.values():
        table.add_column(title, justify="right")
    last = max(one.frames for one in model.sequences) - 1
    for number, bucket in enumerate(model.buckets):
        span = f"{number * BUCKET}–{min((number + 1) * BUCKET - 1, last)}"
        table.add_row(span, *(_cell(bucket, figure) for figure in _IN_BUCKETS))
    return table


def _cell(figures: Figures, figure: str) -> str:
    value = getattr(figures, figure)
    return "–" if value is None else _ROWS[figure][1](value)

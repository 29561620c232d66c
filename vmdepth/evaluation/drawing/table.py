"""Figures for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmdepth.evaluation.accuracy import FARTHEST
from vmdepth.evaluation.figures import BUCKET, Blind, Evaluation, Figures, ModelFigures

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vmdepth.evaluation.sequences import Scenes

# Figure -> how it is called, metres as the unit of the truth is, and a number as it is shown.
_ROWS = {
    "delta1": ("δ1, %", lambda value: f"{100 * value:.1f}"),
    "absrel": ("AbsRel", lambda value: f"{value:.3f}"),
    "rmse": (f"RMSE to {FARTHEST:g} m, m", lambda value: f"{value:.3f}"),
    "affine_delta1": ("δ1, %, by scale and shift", lambda value: f"{100 * value:.1f}"),
    "affine_absrel": ("AbsRel, so fitted", lambda value: f"{value:.3f}"),
    "first_delta1": ("δ1, %, fitted on the first frames", lambda value: f"{100 * value:.1f}"),
    "first_absrel": ("AbsRel, so fitted", lambda value: f"{value:.3f}"),
    "first_rmse": ("RMSE, so fitted, m", lambda value: f"{value:.3f}"),
    "frame_delta1": ("δ1, %, every frame fitted alone", lambda value: f"{100 * value:.1f}"),
    "frame_absrel": ("AbsRel, so fitted", lambda value: f"{value:.3f}"),
    "tae": ("TAE, %", lambda value: f"{value:.2f}"),
    "opw": ("OPW, 1/m", lambda value: f"{value:.4f}"),
    "flicker": ("flicker of what stands still, 1/m", lambda value: f"{value:.4f}"),
    "state_rms": ("RMS of the states", lambda value: f"{value:.3f}"),
    "state_growth": ("its growth, end over beginning", lambda value: f"{value:.3f}"),
}
_MASKS = {
    "iou": ("IoU of what moves, %", lambda value: f"{100 * value:.1f}"),
    "moving_iou": ("the same where something does, %", lambda value: f"{100 * value:.1f}"),
    "false_share": ("said to move where nothing does, %", lambda value: f"{100 * value:.2f}"),
}
_EQUAL_TERMS = ("affine_delta1", "affine_absrel")
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

    table = Table("figure", title=evaluation.truth.measure, title_justify="left")
    columns = (*names, "parabola in y", *(["best mean map"] if evaluation.mean_map else []))
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    fitted = [model.alignment for model in evaluation.models]
    alike = set(fitted) == {"scale and shift"}
    if not alike:
        table.add_row("fitted", *(one.replace(" and ", " + ") for one in fitted), *("–" for _ in columns[len(names) :]))
    for figure, (title, shown) in _ROWS.items():
        if figure in _EQUAL_TERMS and alike:
            continue  # they stand above
        values = [
            model.state_growth if figure == "state_growth" else getattr(model.whole, figure)
            for model in evaluation.models
        ]
        blind = [evaluation.parabola, *([evaluation.mean_map] if evaluation.mean_map else [])]
        values += [getattr(one, figure, None) for one in blind]
        title = evaluation.truth.in_its_unit(title)
        table.add_row(title, *("–" if value is None else shown(value) for value in values))
    for figure, (title, shown) in _MASKS.items() if any(model.masks for model in evaluation.models) else ():
        values = [getattr(model.masks, figure, None) for model in evaluation.models]
        values += [None] * (len(columns) - len(names))
        table.add_row(title, *("–" if value is None else shown(value) for value in values))
    return table


def print_scenes(evaluation: Evaluation, names: list[str], scenes: Scenes, console: Console) -> None:
    """A row per scene and model, with every frame fitted alone and with one fit; beneath each what the parabola has."""
    from rich.table import Table

    table = Table(title="every scene", title_justify="left")
    table.add_column("scene (frames)")
    table.add_column(no_wrap=True)
    for title in ("δ1, %,\nalone", "AbsRel", "δ1, %,\none fit", "AbsRel"):
        table.add_column(title, justify="right", no_wrap=True)
    rows: list[tuple[str, list[Figures] | list[Blind]]] = [
        (name, [one.whole for one in model.sequences]) for name, model in zip(names, evaluation.models, strict=True)
    ]
    rows.append(("parabola", evaluation.parabolas))
    for number, scene in enumerate(scenes.names):
        title = f"{scene} ({evaluation.models[0].sequences[number].frames})"
        for place, (name, figures) in enumerate(rows):
            shown = (_cell(figures[number], figure) for figure in ("frame_delta1", "frame_absrel", "delta1", "absrel"))
            table.add_row(title if place == 0 else "", name, *shown)
        table.add_section()
    console.print(table)


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


def _cell(figures: Figures | Blind, figure: str) -> str:
    value = getattr(figures, figure)
    return "–" if value is None else _ROWS[figure][1](value)

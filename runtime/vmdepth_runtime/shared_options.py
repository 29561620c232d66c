"""Options of metres, clouds and key frames, which every command that makes them has, and their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from vmdepth_runtime.cli import LateHelpOption
from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.encoding.cloud_settings import CloudSettings


def _range_help() -> str:
    from vmdepth_runtime.encoding.points import RELATIVE_RANGE

    return (
        "What is farther is left out of clouds: in metres, or the unit of scaled depth, or for relative depth in times "
        f"as far as what is nearest. Default: {RELATIVE_RANGE:g} for relative depth, none for any other."
    )


metres_option = click.option(
    "--metres",
    metavar="SCALE,SHIFT[,FARTHEST]",
    help="Makes metres of relative depth, 1 / (SCALE x depth + SHIFT), FARTHEST at most; or SCALE alone, of scaled "
    "depth. 'vmdepth-calibrate scale' measures them.",
)
_CLOUD = (
    click.option("--max-points", type=click.IntRange(min=1), show_default=True,
                 help="Of a cloud: a larger frame is thinned out evenly."),
    click.option("--max-range", type=click.FloatRange(min=0, min_open=True), cls=LateHelpOption, late_help=_range_help),
    click.option("--max-jump", type=click.FloatRange(min=0), show_default=True, metavar="SHARE",
                 help="By which depth may change between points that are close in the picture; where it jumps by more, "
                      "near and far would be tied by an edge that is not there. 0 leaves it in."),
    click.option("--confidence-percentile", type=click.FloatRange(0, 100, max_open=True), show_default=True,
                 metavar="PERCENT",
                 help="Of a model that says how sure it is: so many of a frame's pixels, the least sure, have no point "
                      "in a cloud. 0 leaves them in."),
    click.option("--sky", is_flag=True,
                 help="What is farther than --max-range, and what the model takes for sky, stands in clouds at that "
                      "distance, rather than being left out."),
)  # fmt: skip
_KEYFRAMES = (
    click.option("--keyframes/--no-keyframes", "anchored", show_default=True,
                 help="Go back to earlier states and scale when a place is seen again."),
    click.option("--keyframe-capacity", type=int, help="Key frames at most.  [default: the model's]"),
    click.option("--keyframe-interval", type=int, help="Frames between two key frames.  [default: the model's]"),
    click.option("--keyframe-min-gap", type=int, help="Frames until a key frame may be gone back to.  [the model's]"),
    click.option("--keyframe-similarity", type=float, help="Cosine from which places are the same.  [the model's]"),
    click.option("--keyframe-max-state-change", type=float,
                 help="Above it the scale is not touched.  [the model's]"),
    click.option("--keyframe-memory", type=float, metavar="MIB",
                 help=f"That key frames may take, per source.  [{KeyframeSettings.memory:g}]"),
    click.option("--keyframe-follow", type=float,
                 help=f"Share of the way to the fitted scale per frame.  [{KeyframeSettings.follow:g}]"),
    click.option("--keyframe-drift", type=float,
                 help=f"Share of the depth that may be off before it is touched.  [{KeyframeSettings.drift:g}]"),
)  # fmt: skip


def cloud_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command the options of `CloudSettings`."""
    return _with(_CLOUD, command)


def keyframe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command `--keyframes` and the options of `KeyframeSettings`."""
    return _with(_KEYFRAMES, command)


def take_cloud(options: dict[str, Any]) -> CloudSettings:
    """What a command's options say of clouds, taken out of them."""
    return CloudSettings(**{field.name: options.pop(field.name) for field in fields(CloudSettings)})


def take_keyframes(options: dict[str, Any]) -> dict[str, float | None]:
    """What they say of key frames, likewise: the fields of `KeyframeSettings`, None where nothing is said."""
    return {field.name: options.pop(f"keyframe_{field.name}") for field in fields(KeyframeSettings)}


def _with(options: tuple[Callable[..., Any], ...], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command

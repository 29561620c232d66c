"""`vmdepth-masks`: a video in; masks of what moves in it out, with no training."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.dynamics.command.beforehand import check_beforehand
from vmdepth.dynamics.command.settings import REFINEMENTS, MasksSettings
from vmdepth.dynamics.mask_stages import METHODS, MaskStages
from vmdepth.dynamics.refinement.options import RefineOptions
from vmdepth.views.options import looking_options
from vmdepth_runtime.cli import defaults_of, run_command
from vmdepth_runtime.sources.settings import ReadSettings

_EPILOG = """DIR gets mask_000.png … (255 moves, of the frames' size), to look at sheet.png, masks.mp4 and maps/ (a
video of every map), from networks that tell cameras cameras.json, and with a second pass depth_compare_000.png …"""


_DEFAULTS = defaults_of(MasksSettings, MaskStages, ReadSettings)["default_map"]
_DEFAULTS |= {f"refine_{name}": value for name, value in defaults_of(RefineOptions)["default_map"].items()}
_DEFAULTS["hysteresis"] = (MaskStages.high, MaskStages.low)
_OF_STAGES = ("threshold", "clusters", "guide_radius", "smooth_frames", "allow_empty")
_OF_REFINEMENT = ("threshold", "visible", "clusters", "grow", "every", "centred")


@click.command("vmdepth-masks", epilog=_EPILOG, context_settings={"default_map": _DEFAULTS})
@click.argument("source", metavar="[SOURCE]", required=False)
@click.option("--model", type=click.Path(path_type=Path),
              help="Checkpoint of Depth Anything 3 or of another network with attention, or its name: "
                   "depth-anything/DA3-SMALL.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="The folder that is made; it appears when it is whole.")  # fmt: skip
@click.option("--method", type=click.Choice(METHODS), show_default=True,
              help="published: VGGT4D's released code; full: with its refinement; cross: queries with keys alone; "
                   "fused: statistics over all frames; guided: these, along edges of colour and depth.")  # fmt: skip
@click.option("--layers", metavar="NAME|SHALLOW/MIDDLE/DEEP", show_default=True,
              help="Blocks that are asked: as deep among the network's as VGGT's (relative), by a table (vggt, bands, "
                   "giant), or as 9/11-13/21+23.")  # fmt: skip
@click.option("--threshold", type=float, metavar="0..1",
              help="Of the map, above which something moves.  [default: multi-Otsu of published and full, 0.5 of cross "
                   "and fused, --hysteresis of guided]")  # fmt: skip
@click.option("--hysteresis", type=(float, float), metavar="HIGH LOW", show_default=True,
              help="Of guided: what is above HIGH moves, and what is above LOW and connected to it.")  # fmt: skip
@click.option("--clusters", type=click.IntRange(0), metavar="N", show_default=True,
              help="Of patches that look alike, which move or rest together (published, full); 0: none.")  # fmt: skip
@click.option("--guide-radius", type=click.IntRange(0), metavar="PIXELS", show_default=True,
              help="Of the windows in which guided follows edges of colour and depth; 0: it does not.")  # fmt: skip
@click.option("--smooth-frames", type=click.IntRange(0), metavar="N", show_default=True,
              help="Frames on either side over which guided smooths; 0: it does not.")  # fmt: skip
@click.option("--allow-empty", is_flag=True,
              help="Let frames be in which nothing moves; as released, in each something does.")  # fmt: skip
@click.option("--refine", type=click.Choice(REFINEMENTS),
              help="Check masks against depth and cameras: by residuals, as released, or by gradients, as the paper "
                   "describes.  [default: residual of full, else none]")  # fmt: skip
@click.option("--refine-threshold", type=click.FloatRange(0), metavar="LOSS",
              help="Above which a cluster of points moves.  [default: 0.1 of residual, 0.02 of gradient]")  # fmt: skip
@click.option("--refine-visible", type=click.FloatRange(0), metavar="DEPTH", show_default=True,
              help="How far behind what another frame sees a point may lie and be seen by it.")  # fmt: skip
@click.option(
    "--refine-clusters", type=click.IntRange(1), metavar="N", show_default=True, help="Of the points of a frame's mask."
)
@click.option("--refine-scale", type=float, metavar="DEPTH",
              help="That counts as 1 in these two.  [default: the median of the video's]")  # fmt: skip
@click.option("--refine-grow", type=click.IntRange(0), metavar="PIXELS",
              help="Width of the square by which masks grow at last; 0 or 1: none.  [default: by the width that "
                   "the network sees: 3 of 518, as released, and as large a part of less, an odd number]")  # fmt: skip
@click.option("--refine-centred", is_flag=True,
              help="Look in other frames where a point is; as released, it is half a pixel beside it.")  # fmt: skip
@click.option("--refine-every", type=click.IntRange(1), metavar="N", show_default=True,
              help="Check against one of so many frames; time grows with the square of their number.")  # fmt: skip
@click.option("--leave-out", metavar="early|first_eight|K|none", show_default=True,
              help="Blocks in which a second pass, for cameras, leaves out what moves: of those that see all views the "
                   "first fifth or K, or blocks 1 to 8. none: no second pass.")  # fmt: skip
@click.option("--from", "arrays", type=click.Path(path_type=Path), metavar="ARRAYS.npz",
              help="Make masks anew of what --out-arrays kept, without the network.")  # fmt: skip
@click.option("--out-arrays", type=click.Path(path_type=Path), metavar="ARRAYS.npz",
              help="Keep frames, features, statistics, sums, maps, masks, depth and cameras.")  # fmt: skip
@looking_options
@click.option("--window", type=int, show_default=True, metavar="N",
              help="More frames than so many go in overlapping windows of so many, each of which sees itself alone. "
                   "0: all at once.")  # fmt: skip
@click.option("--start", metavar="FRAME|TIME", show_default=True, help="First frame that is taken.")
@click.option("--frames", type=click.IntRange(min=1), help="How many are taken at most. Default: all.")
@click.option("--every", type=click.IntRange(min=1), show_default=True, help="One of so many is taken.")
@click.option("--topic", metavar="NAME", help="Of a recording of a robot (.mcap, rosbag2). Default: the only one.")
def command(
    start: str, frames: int | None, every: int, topic: str | None, hysteresis: tuple[float, float], **options: Any
) -> None:
    """Masks of what moves by itself in SOURCE, a video or a folder or pattern of its frames, by statistics of a depth
    network's attention (VGGT4D, arXiv 2511.19971): nobody trains anything.

    Queries and keys of what moves are outliers among those of other frames. A second pass, without what moves, tells
    where the camera was.
    """
    high, low = hysteresis
    stages = MaskStages(high=high, low=low, **{name: options.pop(name) for name in _OF_STAGES})
    refinement = RefineOptions(**{name: options.pop(f"refine_{name}") for name in _OF_REFINEMENT})
    read = ReadSettings(start=start, frames=frames, every=every, topic=topic)
    settings = MasksSettings(**options, stages=stages, refinement=refinement, read=read)

    check_beforehand(settings)

    from vmdepth.dynamics.command.run import make_masks
    from vmdepth_runtime.progress import ProgressLine

    with ProgressLine("loading", prefix="vmdepth-masks: ") as progress:
        made = make_masks(settings, progress)
        for note in made.notes:
            progress.say(note)
    height, width = made.size
    parted = [f"threshold {made.threshold:.3g}"] if isfinite(made.threshold) else []
    parted = parted if made.low is None else [f"hysteresis {made.threshold:.3g} and {made.low:.3g}"]
    parted += [] if made.unrefined is None else [f"{made.unrefined:.1%} before refinement"]
    how = f" ({', '.join(parted)})" if parted else ""
    click.echo(f"{made.folder}: {made.frames} masks of {width}x{height}, {made.share:.1%} of the pixels move{how}")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()

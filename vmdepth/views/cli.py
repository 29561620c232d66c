"""`vmdepth-views`: several views of one place in; depth, cameras and a cloud out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth.views.options import looking_options
from vmdepth.views.settings import ViewsSettings
from vmdepth_runtime.cli import defaults_of, run_command
from vmdepth_runtime.palettes import PALETTES
from vmdepth_runtime.sources.settings import ReadSettings

_EPILOG = """DIR gets depth.npz (depth, confidence, sky, image, extrinsics, intrinsics, names), depth/ (16-bit
pictures), cameras.json, colmap/ (text), cloud.ply, with trimesh cloud.glb, and images/ where the source is a video."""


@click.command("vmdepth-views", epilog=_EPILOG, context_settings=defaults_of(ViewsSettings, ReadSettings))
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--model", type=click.Path(path_type=Path), required=True,
              help="Checkpoint of Depth Anything 3 (.safetensors), or its name: depth-anything/DA3-SMALL.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="The folder that is made; it appears when it is whole.")  # fmt: skip
@looking_options
@click.option("--poses", type=click.Path(path_type=Path), metavar="FILE|DIR",
              help="Given cameras: a cameras.json of this command, a folder with COLMAP's cameras.txt and images.txt, "
                   "or a trajectory (TUM) with --intrinsics.")  # fmt: skip
@click.option("--intrinsics", metavar="FX,FY,CX,CY|FILE",
              help="Of all pictures, for a trajectory, as vmdepth-run takes them: in pixels, counted from the middle "
                   "of the first one; or a calibration (.yaml of ROS, OpenCV or ORB-SLAM, .json).")  # fmt: skip
@click.option("--window", type=int, show_default=True, metavar="N",
              help="More views than so many go in overlapping windows of so many, each of which sees itself alone. "
                   "0: all at once.")  # fmt: skip
@click.option("--overlap", type=int, metavar="M",
              help="Views that two windows share, and are aligned by.  [default: a quarter of the window]")  # fmt: skip
@click.option("--confidence-percentile", type=float, show_default=True, metavar="PERCENT",
              help="Of the pixels, those the network is least sure of, which go into no cloud.")  # fmt: skip
@click.option("--max-points", type=click.IntRange(1), show_default=True, help="Of the cloud.")
@click.option("--colour", is_flag=True, help="Depth in colours as well, in colour/.")
@click.option(
    "--palette", type=click.Choice(PALETTES), show_default=True, help="The colours of depth, from far to near."
)
@click.option("--start", metavar="FRAME|TIME", show_default=True, help="First one that is taken, of a source.")
@click.option("--frames", type=click.IntRange(min=1), help="How many are taken at most, of a source. Default: all.")
@click.option("--every", type=click.IntRange(min=1), show_default=True, help="One of so many is taken.")
@click.option("--topic", metavar="NAME", help="Of a recording of a robot (.mcap, rosbag2). Default: the only one.")
def command(start: str, frames: int | None, every: int, topic: str | None, **options: Any) -> None:
    """Depth, confidence, cameras and a coloured cloud of several views of one place, by Depth Anything 3. SOURCE is a
    picture, a folder or pattern of pictures, or a video, of which --every and --frames take some.

    All views see each other; the world is the first view's camera. Longer input goes in windows, aligned by what they
    share.
    """
    settings = ViewsSettings(**options, read=ReadSettings(start=start, frames=frames, every=every, topic=topic))

    from vmdepth.views.reconstruct import reconstruct
    from vmdepth_runtime.progress import ProgressLine

    with ProgressLine("loading", prefix="vmdepth-views: ") as progress:
        done = reconstruct(settings, progress)
        for note in done.notes:
            progress.say(note)
    windows = f", {len(done.seams)} windows" if len(done.seams) > 1 else ""
    off = [seam.residual for seam in done.seams if seam.residual is not None]
    seams = f" that differ by {max(off):.1%} of the distance at most" if off else ""
    cloud = "" if done.points is None else f", a cloud of {done.points} points"
    height, width = done.size
    click.echo(f"{done.folder}: {done.views} views of {width}x{height}{windows}{seams}{cloud}")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()

"""`vmdepth-calibrate scale`: a step graph without a unit and measured depth become a step graph in metres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vmdepth_calibrate.scale.settings import ScaleSettings
from vmdepth_runtime.cli import defaults_of


@click.command("vmdepth-calibrate scale", context_settings=defaults_of(ScaleSettings))
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="FOLDER|RECORDING",
              help="Pictures and their measured depth: an RGB-D folder or a folder of such, an .mcap file or rosbag2 "
                   "folder, or rendered:CLIPSxFRAMES.")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The .onnx file.")
@click.option("--topic", help="The pictures of a recording that has several topics of them.")
@click.option("--depth-topic", help="Its measured depth, dense or sparse, where there are several topics of that.")
@click.option("--camera", "--intrinsics", "camera", metavar="FX,FY,CX,CY|FILE",
              help="Of its pictures, which points of a lidar are brought into: in pixels, or a calibration (.yaml of "
                   "ROS, OpenCV, Kalibr or ORB-SLAM, .json), in place of what the recording says.")  # fmt: skip
@click.option("--frames", show_default=True, type=click.IntRange(min=1),
              help="At most this many with measured depth, of ten times as many.")  # fmt: skip
@click.option("--limit", show_default=True, type=click.FloatRange(min=0, min_open=True), metavar="SHARE",
              help="Median error of the held-out frames, of the distance, above which nothing is written.")  # fmt: skip
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the figures as JSON, of a fit that is refused as well.",
)
def command(**options: Any) -> None:
    """Make metres of the depth of the step graph MODEL, or one of Hugging Face (owner/name:model.onnx): fit scale and
    shift to measured depth, dense or sparse, whatever some of it is worth, and bake them into the graph. Without MODEL
    it is the bundled one.

    The last fifth of the frames is not fitted to and says how far the metres are off. They hold for the camera and the
    kind of place that they were measured in.
    """
    from vmdepth_calibrate.scale.fit_scale import fit_scale, summary
    from vmdepth_runtime.progress import ProgressLine

    settings = ScaleSettings(**options)
    with ProgressLine(settings.data, None, "frames", prefix="vmdepth-calibrate: ") as line:
        result = fit_scale(settings, warn=line.say, moved=lambda done, total: line.update(done, (), total))
    click.echo(f"{settings.output}: depth in metres; {summary(result)}")

"""`vmdepth-ros`: a node of ROS 2: pictures of a topic in; depth and points out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth_runtime.camera.lens import NARROWEST, WIDEST
from vmdepth_runtime.cli import defaults_of, device_option, parse_size, run_command
from vmdepth_runtime.contract import RESIZES
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.depth_encodings import DEPTH_ENCODINGS
from vmdepth_runtime.ros.arguments import RosCommand, with_parameters
from vmdepth_runtime.ros.settings import RELIABILITIES, RosSettings
from vmdepth_runtime.shared_options import cloud_options, keyframe_options, metres_option, take_cloud, take_keyframes


@click.command("vmdepth-ros", cls=RosCommand, context_settings=defaults_of(RosSettings, CloudSettings))
@click.option("--image", metavar="TOPIC", show_default=True, help="Of the camera's pictures; ROS may remap it.")
@click.option("--compressed/--no-compressed", default=None,
              help="Whether they are CompressedImage. Default: where the topic's name ends in compressed.")  # fmt: skip
@click.option(
    "--camera-info", metavar="TOPIC", help="Of its CameraInfo. Default: camera_info beside the pictures, or below."
)
@click.option("--model", type=click.Path(path_type=Path),
              help="Step graph (.onnx), engine (.engine) or checkpoint; or the name of one, as "
                   "depth-anything/Video-Depth-Anything-Small. Default: the bundled one.")  # fmt: skip
@click.option("--input-size", metavar="HxW", help="Pixels that frames are brought to.  [default: the model's]")
@device_option("the network runs on", "cuda where there is one")
@click.option("--threads", type=click.IntRange(min=1), help="Threads for the network on the CPU. Default: all cores.")
@click.option("--resize", type=click.Choice(RESIZES), show_default=True,
              help="How a frame becomes the model's size; cubic is how Depth Anything does it.")  # fmt: skip
@click.option("--dynamic-mask/--no-dynamic-mask", default=None,
              help="The model has to tell what moves by itself. Or: no notice is taken of what it tells. Default: left "
                   "out of points and of the fit to key frames, where the model tells.")  # fmt: skip
@click.option("--fov", type=click.FloatRange(NARROWEST, WIDEST),
              help="Degrees that a frame is wide, in place of CameraInfo.")  # fmt: skip
@click.option("--intrinsics", "--camera", "intrinsics", metavar="FX,FY,CX,CY|FILE",
              help="Of the frames, in pixels, or a calibration (.yaml, .json), likewise.")  # fmt: skip
@click.option("--rectify", is_flag=True,
              help="Pictures are freed of the distortion that CameraInfo or the calibration tells, plumb_bob or "
                   "fisheye, first of all: what is sent is of straight ones.")  # fmt: skip
@metres_option
@click.option("--depth-encoding", type=click.Choice(DEPTH_ENCODINGS), show_default=True,
              help="16UC1 is millimetres, of depth in metres.")  # fmt: skip
@cloud_options
@keyframe_options
@click.option("--max-gap", type=click.FloatRange(min=0), show_default=True, metavar="SECONDS",
              help="Between two pictures' stamps, after which the stream starts anew; so it does when time goes "
                   "back.")  # fmt: skip
@click.option("--reliability", type=click.Choice(RELIABILITIES), show_default=True,
              help="With which pictures are asked for; best_effort gets them from every camera.")  # fmt: skip
@click.option("--output-reliability", type=click.Choice(RELIABILITIES), show_default=True,
              help="With which depth is sent; reliable reaches everyone.")  # fmt: skip
@click.option("--queue", type=click.IntRange(min=1), show_default=True, metavar="MESSAGES",
              help="Kept for whoever is slow (the history's depth).")  # fmt: skip
@click.option("--verify/--no-verify", show_default=True,
              help="Check first that the model's file is as it was written.")  # fmt: skip
@click.pass_context
def command(context: click.Context, **_: Any) -> None:
    """A node of ROS 2 that gives depth for the pictures of a camera's topic: ~/depth/image, which is
    /vmdepth/depth/image, with ~/depth/camera_info and ~/points, in the header of the picture. Depth that is no metres
    has another name and encoding.

    Of pictures the newest is used. Every option is a parameter of the node, too: -p max_range:=8.0. What follows
    --ros-args is ROS's. It needs a ROS 2 whose setup file was sourced.
    """
    from vmdepth_runtime.ros.node import open_node, run_node

    with open_node(context.obj) as node:
        run_node(node, _settings(with_parameters(node, context)))


def _settings(options: dict[str, Any]) -> RosSettings:
    keyframes, cloud = take_keyframes(options), take_cloud(options)
    input_size = parse_size(options.pop("input_size"), "--input-size")
    return RosSettings(**options, input_size=input_size, keyframes=keyframes, cloud=cloud)


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()

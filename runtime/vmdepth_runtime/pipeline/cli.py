"""`vmdepth-run`: videos, pictures, cameras and network streams in; depth out."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth_runtime.camera.lens import NARROWEST, WIDEST
from vmdepth_runtime.cli import LateHelpOption, defaults_of, parse_size, run_command
from vmdepth_runtime.contract import RESIZES
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.depth_encodings import DEPTH_ENCODINGS
from vmdepth_runtime.palettes import PALETTES
from vmdepth_runtime.pipeline.settings import BACKENDS, RunSettings
from vmdepth_runtime.shared_options import cloud_options, keyframe_options, metres_option, take_cloud, take_keyframes
from vmdepth_runtime.sources.settings import LiveSettings, ReadSettings


def _output_help() -> str:
    from vmdepth_runtime.sinks.open import output_help

    return (
        f"Where depth goes; may be given several times. {output_help()}. '{{name}}' is what the source, or the "
        "picture, is called, '{}' the source's number; an image's name without a number is that of one frame. Default: "
        "SOURCE's name with .depth.mp4, of pictures .depth.png, here."
    )


def _camera_help(what: str) -> str:
    from vmdepth_runtime.sinks.open import camera_endings

    return f"{what}, for {camera_endings()}, and for metres of a model that needs the focal length."


@click.command("vmdepth-run", context_settings=defaults_of(RunSettings, ReadSettings, LiveSettings, CloudSettings))
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("-o", "--output", "outputs", multiple=True, cls=LateHelpOption, late_help=_output_help)
@click.option("--model", type=click.Path(path_type=Path),
              help="Step graph (.onnx), engine (.engine) or checkpoint; or the name of one, as "
                   "depth-anything/Video-Depth-Anything-Small. Default: the bundled one.")  # fmt: skip
@click.option("--input-size", metavar="HxW", help="Pixels that frames are brought to.  [default: the model's]")
@click.option("--offline", is_flag=True,
              help="The whole video, every frame with its future in sight: best quality, with --model CHECKPOINT "
                   "(.safetensors, .pth); needs torch, and files.")  # fmt: skip
@click.option("--backend", type=click.Choice(BACKENDS), show_default=True,
              help="What has to run it; auto is what the model is made for.")  # fmt: skip
@click.option("--device", metavar="cpu|cuda[:N]|tensorrt[:N]",
              help="What the network runs on: cuda:1 is the second GPU; tensorrt is ONNX Runtime's TensorRT, for a "
                   "step graph. Default: cuda where there is one.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), help="Threads for the network on the CPU. Default: all cores.")
@click.option("--resize", type=click.Choice(RESIZES), show_default=True,
              help="How a frame becomes the model's size; cubic is how Depth Anything does it.")  # fmt: skip
@click.option("--depth-only", is_flag=True, help="Videos, windows and pages without the source beside the depth.")
@click.option("--palette", type=click.Choice(PALETTES), show_default=True,
              help="The colours of depth, from far to near; spectral is Depth Anything's.")  # fmt: skip
@click.option("--colour", is_flag=True, help="Coloured .png, 8 bit, instead of 16-bit depth; .jpg always is.")
@click.option("--dynamic-mask/--no-dynamic-mask", default=None,
              help="The model has to tell what moves by itself: of a checkpoint a step graph is made that does. Or: "
                   "no notice is taken of what a model tells moves; archives keep it. Default: marked, and left out of "
                   "clouds and of the fit to key frames, where the model tells.")  # fmt: skip
@click.option("--max-height", type=click.IntRange(min=0), show_default=True, metavar="ROWS",
              help="Of videos, windows and pages; the aspect is kept. 0: as high as the source.")  # fmt: skip
@click.option("--fov", type=click.FloatRange(NARROWEST, WIDEST), cls=LateHelpOption,
              late_help=partial(_camera_help, "Degrees that a frame is wide"))  # fmt: skip
@click.option("--intrinsics", "--camera", "intrinsics", metavar="FX,FY,CX,CY|FILE", cls=LateHelpOption,
              late_help=partial(_camera_help, "Of the source's frames, in pixels, or a calibration (.yaml of ROS, "
                                              "OpenCV, Kalibr or ORB-SLAM, .json) in place of --fov"))  # fmt: skip
@click.option("--rectify", is_flag=True,
              help="Frames are freed of the distortion that the calibration tells, plumb_bob or fisheye, first of all; "
                   "clouds of others are straight, too.")  # fmt: skip
@metres_option
@click.option("--align-to", metavar="TOPIC",
              help="Measured depth in the same recording, dense or sparse, which makes metres of the model's: scale "
                   "and shift follow it.")  # fmt: skip
@cloud_options
@click.option("--compress", is_flag=True, help="A smaller .npz or .mcap, which takes longer to write.")
@click.option("--depth-encoding", type=click.Choice(DEPTH_ENCODINGS), show_default=True,
              help="Of depth in .mcap: float32, or 16-bit millimetres, of models that give metres.")  # fmt: skip
@click.option("--points", is_flag=True, help="A cloud of each frame in .mcap, too.")
@keyframe_options
@click.option("--cuts/--no-cuts", default=None,
              help="Start anew where a scene begins, with its first frame. Default: of files.")  # fmt: skip
@click.option("--start", metavar="FRAME|TIME", show_default=True,
              help="First frame that is taken: its number, or a time as 12.5s or 1:30. For files.")  # fmt: skip
@click.option("--frames", type=click.IntRange(min=1), help="How many frames are taken. Default: all.")
@click.option("--every", type=click.IntRange(min=1), show_default=True, help="One of so many is taken. For files.")
@click.option("--fps", type=click.FloatRange(0, 1000, min_open=True),
              help="Of images, and of streams without times. Default: 30; what the stream says.")  # fmt: skip
@click.option("--topic", metavar="NAME",
              help="Of a recording of a robot (.mcap, rosbag2): that whose pictures are taken. Default: the only "
                   "one.")  # fmt: skip
@click.option("--images/--no-images", default=None,
              help="Whether a folder or pattern of images holds pictures, each on its own and of any size, or the "
                   "frames of one video. Default: pictures where sizes differ.")  # fmt: skip
@click.option("--streams", is_flag=True,
              help="All sources at once, through one model made with vmdepth-export --streams.")  # fmt: skip
@click.option("--retries", type=click.IntRange(min=0),
              help="How often in a row a lost live source is opened again. Default: for ever.")  # fmt: skip
@click.option("--max-gap", type=click.FloatRange(min=0), show_default=True, metavar="SECONDS",
              help="Without a frame of a live source or a recording, after which its stream starts anew.")  # fmt: skip
@click.option("--stall", type=click.FloatRange(min=0.1), show_default=True, metavar="SECONDS",
              help="After which a live source without a frame is lost, and a stage counts as stalled.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Stop when the network gives what is not finite.")
@click.option("--verify/--no-verify", show_default=True,
              help="Check first that the model's file is as it was written.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), help="Write counts, times and decisions there, as JSON.")
def command(input_size: str | None, **options: Any) -> None:
    """Depth for every frame of SOURCE: a video, a picture, a folder of images or of videos, a pattern
    (frames/%06d.png, 'videos/*.mp4'), what a robot recorded (drive.mcap, a rosbag2 folder), a pipe (/dev/stdin), a
    camera (0, /dev/video0, csi://0), an address (rtsp://, http://, udp://), or "demo", the bundled clip. Several are
    done one after the other.

    Every frame of a file is used; of a live source the newest, and a lost one is opened again. Frames that cannot be
    read are skipped and named. An output that exists already is replaced when the new one is complete. Ctrl-C finishes
    what was done so far.
    """
    live = LiveSettings(**{field.name: options.pop(field.name) for field in fields(LiveSettings)})
    read = ReadSettings(**{field.name: options.pop(field.name) for field in fields(ReadSettings)})
    keyframes, cloud = take_keyframes(options), take_cloud(options)
    settings = RunSettings(
        **options,
        input_size=parse_size(input_size, "--input-size"),
        keyframes=keyframes,
        read=read,
        live=live,
        cloud=cloud,
    )

    from vmdepth_runtime.pipeline.run import run  # ONNX Runtime, PyAV and OpenCV, which bad usage need not wait for

    if run(settings)["interrupted"]:
        raise click.exceptions.Exit(130)


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()

"""What encodes a video: a hardware encoder where one opens, else x264 within one core."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, cast

import av

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

HARDWARE = ("h264_nvenc", "h264_v4l2m2m")
SOFTWARE = "libx264"
_BITS_PER_PIXEL = 0.15  # of an encoder that knows no constant quality; about what x264 takes


class Encoder(NamedTuple):
    """The name of one of FFmpeg's H.264 encoders, and its options."""

    name: str
    options: dict[str, str]


def choose_encoder(
    width: int, height: int, fps: float, *, shrunk: bool, candidates: Sequence[str] = HARDWARE
) -> Encoder:
    """The first of the candidates that opens for pictures of this size; x264 where none does.

    None of them makes B-frames: with them mp4 needs an edit list, and the last frame of a variable rate loses its
    length. All set a key frame every second, so that little is lost with a kill.

    Args:
        width: Pixels, even.
        height: Likewise.
        fps: Nominal frames per second.
        shrunk: Whether the pictures were larger: what they show is in fewer pixels then, which are kept the better.
        candidates: Encoders that may not be there, the best first.
    """
    crf = "21" if shrunk else "24"
    common = {"bf": "0", "g": str(max(1, round(fps)))}
    quality = {
        "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": crf, "b": "0", "delay": "0"},
        "h264_v4l2m2m": {"b": str(round(_BITS_PER_PIXEL * width * height * max(fps, 1.0)))},
    }
    for name in candidates:
        encoder = Encoder(name, common | quality.get(name, {}))
        if _opens(encoder, width, height, fps):
            return encoder
    # A preset without lookahead, less what saves few bytes for much work. In one thread: writing takes no more than a
    # core, and the network has the others.
    fast = {"preset": "superfast", "partitions": "none", "8x8dct": "0", "coder": "vlc", "threads": "1"}
    return Encoder(SOFTWARE, common | fast | {"crf": crf})


def _opens(encoder: Encoder, width: int, height: int, fps: float) -> bool:
    try:
        codec = cast("VideoCodecContext", av.CodecContext.create(encoder.name, "w"))
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.framerate = Fraction(fps).limit_denominator(1001)
        codec.time_base = 1 / codec.framerate
        codec.options = encoder.options
        codec.open()
    except (av.FFmpegError, ValueError):  # the latter where this FFmpeg has none of that name
        return False
    return True

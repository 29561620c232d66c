"""Pictures of ROS 2's messages as RGB.

Encodings: `sensor_msgs/image_encodings.hpp`, and `compressed_image_transport` for the format of compressed ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Any, TypeAlias, TypeGuard

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.recordings.message_types import COMPRESSED, IMAGE
from vmdepth_runtime.sources.stills.deep_grey import WHOLE, Grey, deep_grey, grey_of

_GREY = cv2.COLOR_GRAY2RGB
# Encoding: type and channels of a pixel as it is stored, and OpenCV's code from there to RGB.
_PLAIN = {
    "rgb8": ("u1", 3, None),
    "bgr8": ("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC3": ("u1", 3, cv2.COLOR_BGR2RGB),  # says no order: OpenCV's
    "rgba8": ("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC4": ("u1", 4, cv2.COLOR_BGRA2RGB),
    "rgb16": ("u2", 3, None),
    "bgr16": ("u2", 3, cv2.COLOR_BGR2RGB),
    "mono8": ("u1", 1, _GREY),
    "8UC1": ("u1", 1, _GREY),
    "mono16": ("u2", 1, _GREY),
    "yuv422": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": ("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
}
_PATTERNS = {  # OpenCV names a pattern by its second row and column, ROS by its first
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_PLAIN |= {f"bayer_{p}{8 * n}": (f"u{n}", 1, code) for p, code in _PATTERNS.items() for n in (1, 2)}
_HALVED = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}  # colour at half the size, below the rest
ENCODINGS = (*_PLAIN, *_HALVED)
DEPTH = re.compile(r"(16UC1|32FC1|64FC1)\b|.*compressedDepth")
"""What pictures of depth have as their encoding or format."""
_Stored: TypeAlias = tuple[NDArray[Any], int | None]  # pixels as they are stored, and OpenCV's code from there to RGB
_CODECS = ((b"\xff\xd8", "mjpeg"), (b"\x89PNG", "png"))  # how files of them begin


class ImageReader:
    """Reads the pictures of one topic.

    16 bits of grey are seen as those of files are (`stills.deep_grey`); colours and Bayer patterns of 16 by the fewest
    bits that hold them, as cameras of 10 or 12 leave the others empty. Both are chosen once, so that brightness is that
    of the camera.

    Args:
        looks: messages of the topic by which they are chosen; where those tell nothing, as of a camera that has just
            begun, each picture that comes may widen what is seen.

    Attributes:
        grey: what is black and white in 16 bits of grey; None as long as there were none.
    """

    def __init__(self, looks: Iterable[Any] = ()) -> None:
        self.grey: Grey | None = None
        self._bits = 8  # of colours and patterns
        self._to_rgb = RgbConverter()
        self._codecs: dict[str, VideoCodecContext] = {}
        deep = list(takewhile(_is_deep, filter(_is_read, map(self._stored, looks))))
        greys = [pixels for pixels, code in deep if code == _GREY and pixels.any()]
        if greys:
            self.grey = grey_of(greys)
        for pixels, code in deep:
            if code != _GREY:
                self._widen(pixels, grey=False)
        self._is_chosen = {"grey": bool(greys), "colour": self._bits > 8}

    def alike(self) -> ImageReader:
        """Another one for the same topic, to which 16 bits look the same."""
        other = ImageReader()
        other.grey, other._bits, other._is_chosen = self.grey, self._bits, dict(self._is_chosen)
        return other

    def __call__(self, message: Any) -> NDArray[np.uint8] | str:
        """The picture of an `Image` or `CompressedImage`: uint8 `[H, W, 3]` RGB, contiguous; or what is wrong."""
        stored = self._stored(message)
        if isinstance(stored, str):
            return stored
        pixels, code = stored
        image = pixels if pixels.dtype == np.uint8 else self._in_8_bits(pixels, grey=code == _GREY)
        # A copy where it is the message's own bytes, which cannot be written to.
        return np.require(image if code is None else cv2.cvtColor(image, code), np.uint8, ["C", "W"])

    def _stored(self, message: Any) -> _Stored | str:
        return self._compressed(message) if hasattr(message, "format") else _plain(message)

    def _in_8_bits(self, pixels: NDArray[np.uint16], *, grey: bool) -> NDArray[np.uint8]:
        if not self._is_chosen["grey" if grey else "colour"]:
            self._widen(pixels, grey=grey)
        if grey:
            return (self.grey or WHOLE)(pixels)
        return (np.minimum(pixels, (1 << self._bits) - 1) >> (self._bits - 8)).astype(np.uint8)

    def _widen(self, pixels: NDArray[np.uint16], *, grey: bool) -> None:
        if not grey:
            self._bits = max(self._bits, int(pixels.max(initial=0)).bit_length())
        elif pixels.any():  # else it is black, whatever is
            seen = grey_of([pixels])
            self.grey = seen if self.grey is None else self.grey.widened(seen)

    def _compressed(self, message: Any) -> _Stored | str:
        data = message.data
        name = _codec_of(message)
        if name is None:
            return _unknown_format(message)
        if name not in self._codecs:
            codec = av.CodecContext.create(name, "r")
            assert isinstance(codec, VideoCodecContext)
            codec.thread_count = 1  # more would hold frames back
            self._codecs[name] = codec
        packet = av.Packet(data.tobytes())
        packet.is_keyframe = True  # others FFmpeg adds to the PNG before
        try:
            frames = self._codecs[name].decode(packet)
        except av.FFmpegError as error:
            return f"damaged ({error.strerror or error})"
        if not frames or frames[0].is_corrupt:
            return "damaged"
        deep = deep_grey(frames[0])
        return (self._to_rgb(frames[0], turn=False), None) if deep is None else (deep, _GREY)


def _is_read(stored: _Stored | str) -> TypeGuard[_Stored]:
    return not isinstance(stored, str)


def _is_deep(stored: _Stored) -> bool:
    return bool(stored[0].dtype == np.uint16)


def _plain(message: Any) -> _Stored | str:
    height, width, encoding = message.height, message.width, message.encoding.strip()
    halved = encoding.lower() in _HALVED
    if encoding not in _PLAIN and not halved:
        return unread(encoding)
    kind, channels, code = ("u1", 1, _HALVED[encoding.lower()]) if halved else _PLAIN[encoding]
    rows = height + height // 2 if halved else height
    pixels = rows_of(message, np.dtype(kind), channels, rows)
    if isinstance(pixels, str):
        return pixels
    if code is not None and code in _EVEN and (width % 2 or (halved and height % 2)):
        return f"is {width}x{height}, and {encoding} needs even sides"
    return pixels, code


def never_read(message: Any) -> str | None:
    """Why no picture can be read of the topic that an `Image` or `CompressedImage` is of; None where some may."""
    if hasattr(message, "format"):
        named = re.search("jpe?g|png", message.format, re.IGNORECASE)
        return None if named or _codec_of(message) else _unknown_format(message)
    encoding = message.encoding.strip()
    return None if encoding in _PLAIN or encoding.lower() in _HALVED else unread(encoding)


def _codec_of(message: Any) -> str | None:
    return next((codec for magic, codec in _CODECS if bytes(message.data[:4]).startswith(magic)), None)


def _unknown_format(message: Any) -> str:
    return f"is neither JPEG nor PNG (its format is {message.format!r})"


_EVEN = {*_HALVED.values(), cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2RGB_YUY2}


def rows_of(message: Any, kind: np.dtype[Any], channels: int, rows: int) -> NDArray[Any] | str:
    """The pixels of an `Image` as they are stored, without what rows are padded with: `[rows, W]`, or with channels
    behind that where there are several; or what is wrong. kind: of a number, in whatever order of bytes."""
    needed, step = message.width * channels * kind.itemsize, message.step
    if message.width == 0 or rows == 0 or step < needed or len(message.data) < step * (rows - 1) + needed:
        return f"damaged ({len(message.data)} bytes for {message.width}x{message.height} {message.encoding})"
    ordered = kind.newbyteorder(">" if message.is_bigendian else "<")
    shape, strides = (rows, needed), (step, 1)
    plain = np.ascontiguousarray(np.lib.stride_tricks.as_strided(message.data, shape, strides, writeable=False))
    pixels = plain.view(ordered).astype(kind, copy=False)
    return pixels.reshape(rows, message.width, channels) if channels > 1 else pixels


def unread(encoding: str) -> str:
    """What is said of an encoding that is not read here."""
    if DEPTH.match(encoding):
        return f"is depth ({encoding}), no picture"
    return f"has the encoding '{encoding}', which is not read; those are {', '.join(ENCODINGS)}"


def is_picture(kind: str, message: Any) -> bool:
    """Whether a message is a picture and not depth. kind: its type."""
    if kind not in (IMAGE, COMPRESSED):
        return False
    return not DEPTH.match(message.format if kind == COMPRESSED else message.encoding)

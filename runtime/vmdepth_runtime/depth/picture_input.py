"""What people have a picture in: a file, an array, an image of Pillow; as the array that networks take."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.stills.deep_grey import WHOLE, grey_of
from vmdepth_runtime.sources.stills.image_file import load_image
from vmdepth_runtime.sources.uri import path_of, redacted, scheme_of
from vmdepth_runtime.sources.video_file import TAGS

if TYPE_CHECKING:
    from PIL.Image import Image

Order = Literal["rgb", "bgr"]
Picture: TypeAlias = "str | Path | NDArray[Any] | Image"

_KINDS = "a path, a NumPy array or a PIL image"


def is_several(pictures: Picture | Iterable[Picture]) -> bool:
    """Whether it is several pictures: a list, a tuple, what a loop goes over."""
    return isinstance(pictures, Iterable) and not (isinstance(pictures, str) or hasattr(pictures, "__array__"))


def as_frame(picture: Picture, order: Order) -> NDArray[np.uint8]:
    """A picture as a frame.

    Args:
        picture: a path; an image of Pillow; or an array `[H, W]` or `[H, W, C]` with 1, 3 or 4 channels, uint8, uint16
            or float from 0 to 1. Opacity is left out. Of uint16 with one channel the range that it uses is taken from
            black to white, where that is less than half of the levels.
        order: of an array's channels.

    Returns:
        uint8 `[H, W, 3]` RGB, contiguous, upright.

    Raises:
        InputError: the file is none, or no picture.
        TypeError: it is none of these, or an array of other numbers.
        ValueError: an array has another shape, or floats beyond 0 and 1.
    """
    if order not in ("rgb", "bgr"):
        raise ValueError(f'order is "rgb" or "bgr", not {order!r}')
    if isinstance(picture, (str, Path)):
        return _from_file(picture)
    if hasattr(picture, "getexif") and hasattr(picture, "convert"):
        return _from_pillow(picture)
    if not hasattr(picture, "__array__"):
        raise TypeError(f"a picture is {_KINDS}, not {type(picture).__name__}")
    return _from_array(np.asarray(picture), order)


def _from_file(name: str | Path) -> NDArray[np.uint8]:
    scheme = scheme_of(str(name))
    if scheme not in (None, "file"):
        raise InputError(f"{redacted(str(name))}: addresses are not fetched; download the picture and give its path")
    path = path_of(str(name))
    if os.path.isdir(path):  # noqa: PTH112 (which never raises)
        raise InputError(f"{path}: is a folder; give a list of its pictures, or run 'vmdepth-run {path} --images'")
    if not os.path.exists(path):  # noqa: PTH110 (likewise)
        raise InputError(f"{path}: no such file; give the path of a picture")
    if _is_video(path):
        raise InputError(f"{path}: is a video; run 'vmdepth-run {path}', or hand its frames to a DepthStream")
    image = load_image(path, RgbConverter())
    if isinstance(image, str):
        raise InputError(f"{path}: {image}; give another, or save it again as JPEG or PNG")
    return image


def _is_video(path: Path) -> bool:
    try:
        with path.open("rb") as data, av.open(data, metadata_errors=TAGS) as container:
            packets = (packet for packet in container.demux(video=0) if packet.size)
            return next(packets, None) is not None and next(packets, None) is not None
    except (av.FFmpegError, OSError, IndexError):
        return False  # what it is then, `load_image` says


def _from_pillow(image: Any) -> NDArray[np.uint8]:
    from PIL import ImageOps  # there, as the image is

    upright = ImageOps.exif_transpose(image)
    # Pillow would cut these at 255.
    deep = upright.mode.startswith(("I", "F"))
    return _from_array(np.asarray(upright if deep else upright.convert("RGB")), "rgb")


def _from_array(array: NDArray[Any], order: Order) -> NDArray[np.uint8]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = "; channels come last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        hint = "; several are a list: list(pictures)" if array.ndim == 4 else hint
        raise ValueError(f"a picture is [H, W] or [H, W, C] with 1, 3 or 4 channels, not {list(array.shape)}{hint}")
    levels = _levels(array[..., :3])
    if levels.shape[2] == 1:
        levels = np.repeat(levels, 3, axis=2)
    return np.ascontiguousarray(levels[..., ::-1] if order == "bgr" else levels)


def _levels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The numbers of an array as 0 to 255."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (grey_of([array]) if array.shape[2] == 1 else WHOLE)(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"a picture holds uint8, uint16 or floats from 0 to 1, not {array.dtype}; convert it first")
    # Not finite is not within either.
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"a picture of floats is from 0 to 1, not from {array.min():g} to {array.max():g}; scale it, or give uint8"
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)

"""One image file: its picture, upright."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.sources.colour_conversion import RgbConverter


def load_image(file: Path, to_rgb: RgbConverter) -> NDArray[np.uint8] | str:
    """The picture uint8 `[H, W, 3]` RGB, upright, or what is wrong with the file.

    to_rgb: of the caller, kept for as long as pictures are of one size.
    """
    try:
        # As a file object: a name such as frame_%d.jpg would be taken for a pattern.
        with file.open("rb") as data, av.open(data) as container:
            frame = next(container.decode(video=0), None)
    except (av.FFmpegError, OSError, IndexError) as error:
        return f"not a readable image ({getattr(error, 'strerror', None) or error})"
    if frame is None or frame.is_corrupt:
        return "not a readable image (broken off or damaged)"
    return to_rgb(frame)

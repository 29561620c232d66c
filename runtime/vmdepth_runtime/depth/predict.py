"""`predict`: depth of pictures in one line, with a model that is kept open for the next."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import overload

from vmdepth_runtime import bundled
from vmdepth_runtime.camera.lens import Intrinsics
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.depth.picture_input import Order, Picture
from vmdepth_runtime.depth.prediction import Prediction
from vmdepth_runtime.depth.scale.metres import MetresGiven
from vmdepth_runtime.depth.stream import DepthStream

_ONE_AT_A_TIME = Lock()


@overload
def predict(  # type: ignore[overload-overlap]  # a path that is a str can be gone over, too
    pictures: Picture,
    *,
    order: Order = "rgb",
    model: str | Path | None = None,
    device: str | None = None,
    resize: Resize = "area",
    fov: float | None = None,
    intrinsics: Intrinsics | None = None,
    metres: MetresGiven | None = None,
) -> Prediction: ...
@overload
def predict(
    pictures: Iterable[Picture],
    *,
    order: Order = "rgb",
    model: str | Path | None = None,
    device: str | None = None,
    resize: Resize = "area",
    fov: float | None = None,
    intrinsics: Intrinsics | None = None,
    metres: MetresGiven | None = None,
) -> list[Prediction]: ...
def predict(
    pictures: Picture | Iterable[Picture],
    *,
    order: Order = "rgb",
    model: str | Path | None = None,
    device: str | None = None,
    resize: Resize = "area",
    fov: float | None = None,
    intrinsics: Intrinsics | None = None,
    metres: MetresGiven | None = None,
) -> Prediction | list[Prediction]:
    """Depth of a picture, or of several that have nothing to do with each other.

    ```python
    from vmdepth_runtime import open_source, predict

    with open_source("demo") as source:
        images = [frame.image for frame in source][:2]
    prediction = predict(images[0])  # or predict("photo.jpg")
    prediction.depth  # float32 [H, W], at the picture's size
    prediction.save("depth.png", colour=True)
    first, second = predict(images)
    ```

    The model stays open for the next call, until one asks for another. Calls from several threads wait for each other.
    Of frames that follow each other a `DepthStream` makes steadier depth, as it remembers what it has seen.

    Args:
        pictures: a path; a NumPy array `[H, W]` or `[H, W, C]`, uint8, uint16 or float from 0 to 1; an image of Pillow;
            or several of these. Files and Pillow's images are turned upright, as their Exif data says.
        order: of the channels of arrays: "rgb", or "bgr" as OpenCV reads them.
        model: a step graph or an engine, made with `vmdepth-export`, or a checkpoint, of which a step graph is made
            once and kept; or the name of one, as "depth-anything/DA3-SMALL"; None takes the bundled one.
        device: "cpu", "cuda" or "cuda:N", of a step graph also "tensorrt[:N]"; None takes the first GPU where it can.
        resize: how a picture becomes the model's size, one of `vmdepth_runtime.contract.RESIZES`; "cubic" is how Depth
            Anything does it.
        fov: degrees that pictures are wide: for metres of a model that needs the focal length
            (`contract.metric_focal`; without it a warning says what is assumed), and for points of the prediction.
        intrinsics: fx, fy, cx, cy in pixels of the pictures, or a calibration file, in place of `fov`.
        metres: what makes metres of a model's relative or scaled depth, as `vmdepth-calibrate scale` tells it: scale
            and shift, or scale alone.

    Returns:
        The depth, with ways to look at it and to save it; of several pictures a list, in their order.

    Raises:
        InputError: a file that is missing or no picture, a model that cannot be used, a camera that does not fit a
            picture, or metres that do not fit the model.
        TypeError: what is no picture.
        ValueError: an array of another shape, or floats beyond 0 and 1.
    """
    path = bundled.MODEL if model is None else Path(model)
    # A model that was made again under the same name is another one.
    made = path.stat().st_mtime_ns if path.is_file() else 0
    with _ONE_AT_A_TIME:
        stream = _open(path, made, resize, device)
        return stream.predict(pictures, order=order, fov=fov, intrinsics=intrinsics, metres=metres)


@lru_cache(maxsize=1)
def _open(path: Path, made: int, resize: Resize, device: str | None) -> DepthStream:
    return DepthStream(path, device=device, resize=resize, keyframes=False)

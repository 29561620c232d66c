"""Pictures as a camera without distortion would have taken them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.camera.rays import matrix, places_of
from vmdepth_runtime.errors import InputError

WIDEST_RECTIFIED = 120
"""Degrees that a rectified frame spans at most, each way: a pinhole's picture of more is all edge."""

_ALONG, _OUTWARD = 33, 16  # places that are looked at: on each edge, and on the way from the middle to each of them
_HALVINGS = 40
_LEAST = 0.2  # of the frame, each way, that has to be left of it


class Rectifier:
    """Undoes what a lens bends. Frames keep their size, are full to their edges, and see as much as that allows, up to
    `WIDEST_RECTIFIED` degrees; pixels keep their shape, and the principal point its place.

    ```python
    from pathlib import Path
    from vmdepth_runtime import Lens, Rectifier, open_source

    Path("wide.yaml").write_text("fx: 300\\nfy: 300\\ncx: 319.5\\ncy: 239.5\\ndistortion_model: equidistant\\n")
    with open_source("demo") as source:
        rectify = Rectifier(Lens.of(intrinsics="wide.yaml"), source.info.width, source.info.height)
        for frame in source:
            rectify(frame.image)  # uint8 [H, W, 3] RGB
    print(rectify.lens.camera(source.info.width, source.info.height))  # of what it gives
    ```

    Args:
        lens: of the camera.
        width: of its frames, pixels.
        height: likewise.

    Attributes:
        lens: of the frames that it gives, without distortion.

    Raises:
        InputError: the lens bends nothing, does not fit such frames, or bends them so that hardly anything is left.
    """

    def __init__(self, lens: Lens, width: int, height: int) -> None:
        self._distortion = known_distortion(lens)
        self._bent = lens
        straight = _straight(lens.camera(width, height), self._distortion, width, height)
        if straight is None:
            raise InputError(
                f"{lens.given}: rectified, less than {_LEAST:g} of the frame would be left each way; are the "
                "distortion coefficients those of this camera?"
            )
        self.lens = Lens(f"{lens.given}, rectified", pinhole=straight, size=(width, height))
        self._size = (0, 0)
        self._maps: tuple[NDArray[np.int16], NDArray[np.uint16]]

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture without distortion.

        Args:
            image: uint8 `[H, W, 3]`, of the size that was said, or another of the same shape.

        Returns:
            The same size; a new array.

        Raises:
            InputError: the picture is of another shape.
        """
        size = image.shape[1], image.shape[0]
        if size != self._size:
            self._maps, self._size = self._maps_of(*size), size
        return np.asarray(cv2.remap(image, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), image.dtype)

    def _maps_of(self, width: int, height: int) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        bent, straight = (matrix(lens.camera(width, height)) for lens in (self._bent, self.lens))
        of_model = cv2.fisheye if self._distortion.model == "equidistant" else cv2
        coefficients = np.array(self._distortion.coefficients)
        return of_model.initUndistortRectifyMap(bent, coefficients, np.eye(3), straight, (width, height), cv2.CV_16SC2)


def known_distortion(lens: Lens) -> Distortion:
    """How a camera bends lines. Raises InputError where nobody says, so that it cannot be undone."""
    if lens.distortion is None:
        raise InputError(
            f"{lens.given}: says nothing of distortion, so there is nothing to rectify; give a calibration with "
            "distortion coefficients, or leave --rectify out"
        )
    return lens.distortion


def _straight(camera: PinholeCamera, distortion: Distortion, width: int, height: int) -> PinholeCamera | None:
    """The camera without distortion that sees most while its frame is full; None where that is hardly anything."""

    def seeing(times: float) -> PinholeCamera:
        """One that sees so many times as much each way."""
        return PinholeCamera(camera.fx / times, camera.fy / times, camera.cx, camera.cy)

    most = 2 * math.tan(math.radians(WIDEST_RECTIFIED) / 2)
    low, high = _LEAST, min(most * camera.fx / width, most * camera.fy / height)
    if not _is_full(seeing(low), camera, distortion, width, height):
        return None
    if _is_full(seeing(high), camera, distortion, width, height):
        return seeing(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _is_full(seeing(middle), camera, distortion, width, height):
            low = middle
        else:
            high = middle
    return seeing(low)


def _is_full(straight: PinholeCamera, bent: PinholeCamera, distortion: Distortion, width: int, height: int) -> bool:
    """Whether all that a camera sees is in the frames of one that bends lines, as far as the model of that means
    something: what is farther out has to be farther out in them, too."""
    x = (np.linspace(0, width - 1, _ALONG) - straight.cx) / straight.fx
    y = (np.linspace(0, height - 1, _ALONG) - straight.cy) / straight.fy
    edges = [np.stack(np.broadcast_arrays(x, side), axis=-1) for side in (y[0], y[-1])]
    edges += [np.stack(np.broadcast_arrays(side, y), axis=-1) for side in (x[0], x[-1])]
    outward = np.concatenate(edges) * np.linspace(1 / _OUTWARD, 1, _OUTWARD)[:, None, None]
    places = places_of(bent, distortion, outward)
    away = np.hypot(places[..., 0] - bent.cx, places[..., 1] - bent.cy)
    last = places[-1]
    inside = (last >= -0.5) & (last <= np.array([width, height]) - 0.5)
    return bool(inside.all() and (np.diff(away, axis=0) > 0).all())

"""Folders of colour and measured depth: what evaluation on real footage compares with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.folder import IMAGE_ENDINGS, natural

_INTRINSICS = "intrinsics.json"


@dataclass(frozen=True)
class RgbdFrame:
    """image: uint8 [H, W, 3] RGB. depth: float32 [h, w], metres along the colour camera's axis; 0 unknown, inf sky.

    places: float32 [h, w, 2], x and y in `image` where each depth lies, whole numbers at the centres of pixels; outside
    of the image where depth is unknown or out of sight.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    places: NDArray[np.float32]


class RgbdFolder:
    """`rgb/` and `depth/` with the same number of images each, in the order of their names, and `intrinsics.json`.

    Depth images are 16-bit, times `depth_scale_m` (0.001 where it is not given) in metres, 0 where unknown. Where the
    file holds `depth_to_color`, the depth camera (`fx`, `fy`, `cx`, `cy`) is another than the colour camera (`R`,
    `t_m`, `color_fx`, …): a depth is then moved into the colour camera, not read at the same pixel. Raises InputError,
    naming the file, where something is missing, cannot be read or does not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._colours, self._depths = (_images(path / name) for name in ("rgb", "depth"))
        if len(self._colours) != len(self._depths):
            raise InputError(
                f"{path}: {len(self._colours)} images in rgb, {len(self._depths)} in depth; each needs one"
            )
        try:
            self._camera: dict[str, Any] = json.loads((path / _INTRINSICS).read_text())
            self._scale = float(self._camera.get("depth_scale_m", 0.001))
            self._mapping = _Mapping(self._camera) if "depth_to_color" in self._camera else None
        except OSError as error:
            raise InputError(f"{path / _INTRINSICS}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path / _INTRINSICS}: not the cameras of an RGB-D folder ({error!r})") from None

    def __len__(self) -> int:
        return len(self._colours)

    def __iter__(self) -> Iterator[RgbdFrame]:
        for colour, depth in zip(self._colours, self._depths, strict=True):
            image = _read(colour, cv2.IMREAD_COLOR)
            raw = _read(depth, cv2.IMREAD_UNCHANGED)
            if raw.dtype != np.uint16 or raw.ndim != 2:
                raise InputError(f"{depth}: should be a 16-bit image of one channel, is {raw.dtype} {list(raw.shape)}")
            metres = raw.astype(np.float32) * np.float32(self._scale)
            size = image.shape[:2]
            metres, places = self._mapping(metres) if self._mapping else (metres, _same_places(metres.shape, size))
            yield RgbdFrame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), metres, places)  # type: ignore[arg-type]  # uint8


def rendered_frames(seed: int, frames: int, height: int, width: int) -> Iterator[RgbdFrame]:
    """The rendered clip of a seed, frame by frame, as if it had been filmed and measured."""
    from vmdepth.data.synthetic import render_clips

    clip = render_clips([seed], frames, height, width)
    images = (clip.rgb[0].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    places = _same_places((height, width), (height, width))
    for image, depth in zip(images, clip.depth[0, :, 0].numpy(), strict=True):
        yield RgbdFrame(image, depth, places)


def at_places(depth: NDArray[np.float32], frame: RgbdFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A prediction [H, W] for `frame.image` where depth was measured: predicted [h, w], and true [h, w] in metres.

    Bilinear. True depth is 0 where it is unknown or lies outside of the image.
    """
    height, width = depth.shape
    x, y = frame.places[..., 0], frame.places[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    predicted = cv2.remap(depth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return predicted, np.where(inside, frame.depth, np.float32(0))  # type: ignore[return-value]  # OpenCV keeps the dtype


class _Mapping:
    """Depth images of one camera as seen by another."""

    def __init__(self, camera: dict[str, Any]) -> None:
        to = camera["depth_to_color"]
        self._depth = [float(camera[key]) for key in ("fx", "fy", "cx", "cy")]
        self._colour = [float(to[f"color_{key}"]) for key in ("fx", "fy", "cx", "cy")]
        self._rotation, self._shift = np.array(to["R"], np.float64), np.array(to["t_m"], np.float64)
        if self._rotation.shape != (3, 3) or self._shift.shape != (3,):
            raise ValueError("R should be 3x3 and t_m 3 numbers")

    def __call__(self, metres: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth image [h, w] → depths in the colour camera [h, w], and where they lie in its image [h, w, 2]."""
        fx, fy, cx, cy = self._depth
        row, column = np.indices(metres.shape)
        point = np.stack([(column - cx) / fx * metres, (row - cy) / fy * metres, metres], axis=-1)
        point = point @ self._rotation.T + self._shift
        fx, fy, cx, cy = self._colour
        known = (metres > 0) & (point[..., 2] > 0)
        depth = np.where(known, point[..., 2], 0)
        safe = np.where(known, point[..., 2], 1)
        places = np.stack([fx * point[..., 0] / safe + cx, fy * point[..., 1] / safe + cy], axis=-1)
        return depth.astype(np.float32), np.where(known[..., None], places, -1).astype(np.float32)


def _same_places(shape: tuple[int, ...], image: tuple[int, ...]) -> NDArray[np.float32]:
    """Places in an image of the centres of another's pixels, [h, w, 2], where both show the same."""
    row, column = np.indices(shape[:2])
    down, across = image[0] / shape[0], image[1] / shape[1]
    places = np.stack([(column + 0.5) * across - 0.5, (row + 0.5) * down - 0.5], axis=-1)
    limits = np.array([image[1] - 1, image[0] - 1])
    return places.clip(0, limits).astype(np.float32)


def _images(folder: Path) -> list[Path]:
    names = sorted((f.name for f in folder.glob("*") if f.suffix.lower() in IMAGE_ENDINGS), key=natural)
    files = [folder / name for name in names]
    if not files:
        raise InputError(f"{folder}: no image; an RGB-D folder holds rgb/, depth/ and {_INTRINSICS}")
    return files


def _read(path: Path, flags: int) -> NDArray[Any]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise InputError(f"{path}: cannot be read as an image")
    return image

"""Folders of colour and measured depth, and rendered clips in their likeness: what depth is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.data.masks import masks_beside
from vmdepth_runtime.depth.scale.shapes import check_shapes
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.listing import IMAGE_ENDINGS, natural

CAMERAS = "intrinsics.json"
_POSES = "poses.txt"
_RENDERED_AT_ONCE = 5  # frames; larger pieces cost memory (freed blocks pile up) and gain no time
_REGISTERED = 3  # pixels that colour and depth of one camera are apart where nobody says
_EDGE = 1.1  # ratio of neighbouring depths that makes an edge
_DENSE = 0.25  # share of known depth from which on neighbours are neighbours, and no beams of a LiDAR
_NO_ROTATION = 1e-2  # measured poses are rotations to about 1e-3; what is farther off is something else


@dataclass(frozen=True)
class RgbdFrame:
    """A picture, the depth that was measured with it, and where the camera stood.

    image: uint8 [H, W, 3] RGB. depth: float32 [h, w], metres along the colour camera's axis; 0 unknown, inf sky.
    places: float32 [h, w, 2], x and y in `image` where each depth lies, whole numbers at the centres of pixels; outside
    of the image where depth is unknown or out of sight.
    intrinsics: float64 [3, 3] of the colour camera, pinhole, pixels, whole numbers at the centres of pixels; None where
    nobody knows.
    pose: float64 [4, 4], colour camera to world, metres, x right, y down, z forward; None where it was not measured.
    flow: float32 [H, W, 2], pixels (x, y) from each pixel's surface point to its place in the next frame; exact, None
    in footage. moving: bool [H, W], the pixel shows a surface that moves in the world; exact, or of footage what a mask
    says, None where there is none.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    places: NDArray[np.float32]
    intrinsics: NDArray[np.float64] | None
    pose: NDArray[np.float64] | None = None
    flow: NDArray[np.float32] | None = None
    moving: NDArray[np.bool_] | None = None


class RgbdFolder:
    """`rgb/` and `depth/` with the same number of images each, in the order of their names, and `intrinsics.json`.

    That may be missing where there are no poses either: colour and depth then show the same.

    Depth images are 16-bit, times `depth_scale_m` (0.001 where it is not given) in metres, 0 where unknown. `fx`, `fy`,
    `cx`, `cy` are of the depth images, whole numbers at the centres of pixels. Where the file holds `depth_to_color`,
    the depth camera is another than the colour camera (`R`, `t_m`, `color_fx`, …): a depth is then moved into the
    colour camera, not read at the same pixel. Else both show the same, at whatever resolution, but for
    `registration_px` pixels of the depth image, 3 where it is not given: what is within one more of a depth edge may
    belong to either side and counts as unknown (0 keeps all; sparse depth, of a LiDAR, is kept).

    `poses.txt`, where there is one, holds a line per frame: 16 numbers, a 4x4 matrix row by row, depth camera to world,
    metres. Rotations are brought to the nearest orthonormal matrix.

    `moving/`, where there is one, holds a mask of what moves for each picture (`vmdepth.data.masks`).

    at_edges: how many depths were left out so far because they lie at an edge.

    Raises InputError, naming the file, where something is missing, cannot be read or does not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at_edges = 0
        self._colours, self._depths = (_images(path / name) for name in ("rgb", "depth"))
        if len(self._colours) != len(self._depths):
            raise InputError(
                f"{path}: {len(self._colours)} images in rgb, {len(self._depths)} in depth; each needs one"
            )
        poses, cameras = path / _POSES, path / CAMERAS
        known = cameras.exists() or poses.exists()
        try:
            camera: dict[str, Any] = json.loads(cameras.read_text()) if known else {}
            self._scale = float(camera.get("depth_scale_m", 0.001))
            self._intrinsics = _intrinsics(camera) if known else None
            self._mapping = _Mapping(camera["depth_to_color"]) if "depth_to_color" in camera else None
            apart = int(camera.get("registration_px", _REGISTERED))
            self._margin = apart + 1 if apart > 0 else 0
        except OSError as error:
            raise InputError(f"{path / CAMERAS}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path / CAMERAS}: not the cameras of an RGB-D folder ({error!r})") from None
        self._poses = read_poses(poses, len(self)) if poses.exists() else None
        self._masks = masks_beside(path / "rgb", len(self))

    def __len__(self) -> int:
        return len(self._colours)

    def __iter__(self) -> Iterator[RgbdFrame]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> RgbdFrame:
        colour, depth = self._colours[number], self._depths[number]
        image = _read(colour, cv2.IMREAD_COLOR)
        raw = _read(depth, cv2.IMREAD_UNCHANGED)
        if raw.dtype != np.uint16 or raw.ndim != 2:
            raise InputError(f"{depth}: should be a 16-bit image of one channel, is {raw.dtype} {list(raw.shape)}")
        metres = raw.astype(np.float32) * np.float32(self._scale)
        pose = None if self._poses is None else self._poses[number]
        intrinsics = self._intrinsics
        if self._mapping is None or intrinsics is None:
            check_shapes(metres.shape, image.shape, str(depth))
            known = np.count_nonzero(metres)
            metres = without_edges(metres, self._margin)
            self.at_edges += int(known - np.count_nonzero(metres))
            places = same_places(metres.shape, image.shape)
            intrinsics = None if intrinsics is None else _resized(intrinsics, metres.shape, image.shape)
        else:
            own, intrinsics, to_colour = intrinsics, self._mapping.intrinsics, self._mapping.to_colour
            metres, places = reproject(metres, own, to_colour, intrinsics)
            pose = None if pose is None else pose @ np.linalg.inv(to_colour)
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        moving = None if self._masks is None else self._masks.read(number, *image.shape[:2])
        return RgbdFrame(rgb, metres, places, intrinsics, pose, moving=moving)  # type: ignore[arg-type]  # OpenCV keeps uint8


def folders_below(path: Path) -> list[Path]:
    """RGB-D folders in a folder, or in folders of it, in natural order."""
    inside = (place for level in ("*", "*/*") for place in path.glob(level) if (place / "depth").is_dir())
    return sorted(inside, key=lambda place: natural(str(place)))


def without_edges(depth: NDArray[np.float32], margin: int) -> NDArray[np.float32]:
    """Depth [h, w], metres, 0 (unknown) within `margin` pixels of where it jumps by a tenth; sparse depth as it is."""
    known = depth > 0
    if not margin or known.mean() < _DENSE:
        return depth
    around = np.ones((3, 3), np.uint8)
    farthest = cv2.dilate(depth, around)
    nearest = cv2.erode(np.where(known, depth, np.float32(np.inf)), around)
    edges = (known & (farthest / _EDGE > nearest)).astype(np.uint8)
    near = cv2.dilate(edges, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8))
    return np.where(near > 0, np.float32(0), depth)


def rendered_rgbd_frames(seed: int, frames: int, height: int, width: int) -> Iterator[RgbdFrame]:
    """The rendered clip of a seed, frame by frame, as if it had been filmed and measured."""
    from vmdepth.data.rendering.synthetic import render_clips

    places = same_places((height, width), (height, width))
    for first in range(0, frames, _RENDERED_AT_ONCE):
        clip = render_clips([seed], min(_RENDERED_AT_ONCE, frames - first), height, width, first_frame=first)
        images = (clip.rgb[0].clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        flows = clip.flow[0].permute(0, 2, 3, 1).numpy()
        intrinsics = clip.intrinsics[0].double().numpy()
        intrinsics[:2, 2] -= 0.5  # the renderer's first pixel has its centre at 0.5
        for index, image in enumerate(images):
            yield RgbdFrame(
                image,
                clip.depth[0, index, 0].numpy(),
                places,
                intrinsics,
                clip.poses[0, index].double().numpy(),
                flows[index],
                clip.moving[0, index, 0].numpy(),
            )


def at_places(depth: NDArray[np.float32], frame: RgbdFrame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A prediction [H, W] for `frame.image` where depth was measured: predicted [h, w], and true [h, w] in metres.

    Bilinear. True depth is 0 where it is unknown or lies outside of the image.
    """
    height, width = depth.shape
    x, y = frame.places[..., 0], frame.places[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    predicted = cv2.remap(depth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return predicted, np.where(inside, frame.depth, np.float32(0))  # type: ignore[return-value]  # OpenCV keeps the dtype


def depth_in_image(frame: RgbdFrame) -> NDArray[np.float32]:
    """True depth in the image's own pixels: float32 [H, W], metres along the colour camera's axis; 0 unknown, inf sky.

    Every measured depth goes to the pixel nearest to its place, the nearer surface where several meet. Depth images
    coarser than the picture leave pixels between them unknown.
    """
    return splat(frame.depth, frame.places, frame.image.shape[0], frame.image.shape[1])


def splat(depth: NDArray[np.floating], places: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    """Depths [h, w] drawn into a picture: float32 [height, width], the smallest that lies in each pixel, 0 where none.

    places: [h, w, 2], x and y, whole numbers at the centres of pixels. Depths ≤ 0 and places outside are left out.
    """
    column, row = (np.rint(places[..., axis]).astype(np.int64) for axis in (0, 1))
    drawn = (depth > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = (row * width + column)[drawn]
    nearest = np.full(height * width, np.inf, np.float32)
    np.minimum.at(nearest, pixels, depth[drawn].astype(np.float32))
    hit = np.zeros(height * width, bool)
    hit[pixels] = True
    return np.where(hit, nearest, np.float32(0)).reshape(height, width)


def reproject(
    depth: NDArray[np.floating],
    intrinsics: NDArray[np.float64],
    to_other: NDArray[np.float64],
    other_intrinsics: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A depth image [h, w] as another camera has it: depths along its axis [h, w], their places in its image [h, w, 2].

    Pinhole cameras, whole numbers at the centres of pixels. to_other: [4, 4], from camera to camera, metres. Where
    depth is not known (not finite, or ≤ 0) or comes to lie behind the other camera, depth is 0 and the place (−1, −1).
    """
    row, column = np.indices(depth.shape)
    known = np.isfinite(depth) & (depth > 0)
    z = np.where(known, depth, 1).astype(np.float64)
    x = (column - intrinsics[0, 2]) / intrinsics[0, 0] * z
    y = (row - intrinsics[1, 2]) / intrinsics[1, 1] * z
    point = np.stack([x, y, z], axis=-1) @ to_other[:3, :3].T + to_other[:3, 3]
    ahead = known & (point[..., 2] > 0)
    across = point[..., :2] / np.where(ahead, point[..., 2], 1)[..., None]
    places = across * np.diag(other_intrinsics)[:2] + other_intrinsics[:2, 2]
    return (
        np.where(ahead, point[..., 2], 0).astype(np.float32),
        np.where(ahead[..., None], places, -1).astype(np.float32),
    )


def read_poses(path: Path, frames: int) -> NDArray[np.float64]:
    """Camera-to-world matrices [frames, 4, 4] of a text file, a line of 16 numbers each, row by row.

    Raises InputError, naming the file and the line, for anything but one rigid motion per frame.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if len(lines) != frames:
        raise InputError(f"{path}: {len(lines)} poses for {frames} frames; write one line per frame")
    poses = np.empty((frames, 4, 4))
    for number, line in enumerate(lines):
        try:
            pose = np.array(line.split(), np.float64).reshape(4, 4)
        except ValueError:
            raise InputError(f"{path}: line {number + 1} is not 16 numbers, a 4x4 matrix row by row") from None
        if not np.isfinite(pose).all():
            raise InputError(f"{path}: line {number + 1} is not finite; leave out frames whose pose is not known")
        left, _, right = np.linalg.svd(pose[:3, :3])
        rotation = left @ right
        off = max(np.abs(rotation - pose[:3, :3]).max(), np.abs(pose[3] - [0, 0, 0, 1]).max())
        if off > _NO_ROTATION or np.linalg.det(rotation) < 0:
            raise InputError(f"{path}: line {number + 1} is no rotation and shift; it should be camera to world")
        poses[number] = pose
        poses[number, :3, :3] = rotation
    return poses


class _Mapping:
    """From the depth camera to the colour camera, as `depth_to_color` of the intrinsics has it."""

    def __init__(self, to: dict[str, Any]) -> None:
        self.intrinsics = _intrinsics(to, "color_")
        rotation, shift = np.array(to["R"], np.float64), np.array(to["t_m"], np.float64)
        if rotation.shape != (3, 3) or shift.shape != (3,):
            raise ValueError("R should be 3x3 and t_m 3 numbers")
        self.to_colour = np.eye(4)
        self.to_colour[:3, :3], self.to_colour[:3, 3] = rotation, shift


def _intrinsics(camera: dict[str, Any], prefix: str = "") -> NDArray[np.float64]:
    fx, fy, cx, cy = (float(camera[f"{prefix}{key}"]) for key in ("fx", "fy", "cx", "cy"))
    if not (fx > 0 and fy > 0):
        raise ValueError(f"{prefix}fx and {prefix}fy should be positive")
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def _resized(intrinsics: NDArray[np.float64], shape: tuple[int, ...], image: tuple[int, ...]) -> NDArray[np.float64]:
    """Intrinsics of an image that shows the same as one of `shape`, at another resolution."""
    factors = np.array([image[1] / shape[1], image[0] / shape[0]])
    resized = intrinsics.copy()
    resized[:2] *= factors[:, None]
    resized[:2, 2] += (factors - 1) / 2  # outer edges fall together, not centres
    return resized


def same_places(shape: tuple[int, ...], image: tuple[int, ...]) -> NDArray[np.float32]:
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
        raise InputError(f"{folder}: no image; an RGB-D folder holds rgb/, depth/ and {CAMERAS}")
    return files


def _read(path: Path, flags: int) -> NDArray[Any]:
    image = cv2.imread(str(path), flags)
    if image is None:
        raise InputError(f"{path}: cannot be read as an image")
    return image

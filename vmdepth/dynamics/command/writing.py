"""The files of `vmdepth-masks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.command.arrays_file import SecondCameras, Seen
from vmdepth.dynamics.command.drawing import film, heat, resized, shown_size, tinted, write_sheet
from vmdepth.dynamics.command.reading import Frames
from vmdepth.dynamics.first_pass import Floats
from vmdepth.views.camera_files import CameraOf, write_cameras
from vmdepth_runtime.depth.colour_map import FixedRange, colourise
from vmdepth_runtime.encoding.pictures import picture
from vmdepth_runtime.progress import ProgressLine

_MOVES = 255


def write_all(
    folder: Path, seen: Seen, moves: NDArray[np.bool_], maps: Mapping[str, Floats], progress: ProgressLine
) -> None:
    """Write everything into an empty folder.

    Args:
        folder: where.
        seen: the frames, and what was seen of them.
        moves: bool [T, H, W], the masks.
        maps: by name, float32 [T, h, w], 0..1.
        progress: is told.
    """
    frames = seen.frames
    progress.stage("writing masks", len(frames), "frames")
    for place in range(len(frames)):
        (folder / f"mask_{place:03d}.png").write_bytes(picture(mask_of_frame(moves[place], frames), ".png"))
        progress.update(place + 1)
    if seen.second is not None:
        _write_comparison(folder, seen, seen.second)
    if seen.first.extrinsics is not None and seen.first.intrinsics is not None:
        _write_cameras(folder / "cameras.json", seen)
    progress.stage("writing videos of maps", len(maps), "videos")
    size = shown_size(*moves.shape[1:])
    shown = (tinted(image, moving, size) for image, moving in zip(frames.images, moves, strict=True))
    film(folder / "masks.mp4", shown, frames.fps)
    (folder / "maps").mkdir()
    for number, (name, values) in enumerate(maps.items()):
        pairs = zip(frames.images, values, strict=True)
        beside = (np.hstack([resized(image, size), heat(one, size)]) for image, one in pairs)
        film(folder / "maps" / f"{name}.mp4", beside, frames.fps)
        progress.update(number + 1)
    write_sheet(folder / "sheet.png", frames.images, moves, maps, frames.titles)


def mask_of_frame(moves: NDArray[np.bool_], frames: Frames) -> NDArray[np.uint8]:
    """A mask of what the network sees, bool [H, W], as one of the frame itself: uint8 [height, width], 255 moves, 0
    does not, or was cropped away."""
    # From pixels of the frame, counted from the middle of the first one, to those of the mask.
    matrix = frames.to_network[:2].copy()
    matrix[:, 2] += 0.5 * matrix[:, :2].sum(axis=1) - 0.5
    mask = moves.astype(np.uint8) * _MOVES
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(mask, matrix, (frames.width, frames.height), flags=flags), np.uint8)


def _write_comparison(folder: Path, seen: Seen, second: SecondCameras) -> None:
    """Depth of the first pass beside that of the second, in colours of one range for all frames."""
    first = seen.first
    range_ = FixedRange.of(first.depth, larger_is_nearer=first.inverse)
    for place, pair in enumerate(zip(first.depth, second.depth, strict=True)):
        painted = np.hstack([colourise(depth, range_.low, range_.high) for depth in pair])
        (folder / f"depth_compare_{place:03d}.png").write_bytes(picture(painted, ".png"))


def _write_cameras(path: Path, seen: Seen) -> None:
    """Poses of the second pass where there is one, with the intrinsics of the first, which its depth goes with."""
    frames, first, second = seen.frames, seen.first, seen.second
    assert first.extrinsics is not None
    assert first.intrinsics is not None
    poses = first.extrinsics if second is None else second.extrinsics
    matrices = np.linalg.inv(frames.to_network) @ first.intrinsics
    cameras = [
        CameraOf(name, frames.width, frames.height, pose, matrix)
        for name, pose, matrix in zip(frames.names, poses, matrices, strict=True)
    ]
    height, width = first.depth.shape[1:]
    facts = {"width": width, "height": height, "poses_of_pass": 1 if second is None else 2}
    write_cameras(path, cameras, first.intrinsics, facts, [])

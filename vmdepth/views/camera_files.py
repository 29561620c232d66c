"""Cameras as files: `cameras.json`, and the text form of COLMAP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth.views.geometry import Floats, quaternion_of
from vmdepth.views.windows import Seam


@dataclass(frozen=True)
class CameraOf:
    """One picture's camera: its file's name, width and height in pixels, world to camera [3, 4], and [3, 3] pixels."""

    name: str
    width: int
    height: int
    extrinsics: Floats
    intrinsics: Floats


def write_cameras(
    path: Path,
    cameras: Sequence[CameraOf],
    in_depth: Floats,
    facts: dict[str, Any],
    seams: Sequence[Seam],
) -> None:
    """Write `cameras.json`.

    Args:
        path: of the file.
        cameras: of every view, for its picture.
        in_depth: intrinsics [N, 3, 3] of the same views, in pixels of the depth.
        facts: about depth, its width and height among them.
        seams: how windows were put together.
    """
    views = [
        {
            "name": camera.name,
            "width": camera.width,
            "height": camera.height,
            "intrinsics": camera.intrinsics.tolist(),
            "extrinsics": camera.extrinsics.tolist(),
            "depth_intrinsics": matrix.tolist(),
        }
        for camera, matrix in zip(cameras, in_depth, strict=True)
    ]
    text = {
        "conventions": "extrinsics: world to camera; x right, y down, z forward. intrinsics: pixels of the picture, "
        "counted from its outer corner. depth_intrinsics: the same for the depth.",
        "depth": facts,
        "windows": [asdict(seam) for seam in seams],
        "views": views,
    }
    path.write_text(json.dumps(text, indent=1) + "\n")


def write_colmap(
    folder: Path, cameras: Sequence[CameraOf], points: NDArray[np.float32], colours: NDArray[np.uint8]
) -> None:
    """Write a model for COLMAP as text: a PINHOLE camera for every picture, and points that no picture is said to show.

    folder: is made. points: [K, 3] in the world, with colours [K, 3] RGB.
    """
    folder.mkdir()
    lines = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, FX, FY, CX, CY"]
    poses = [
        "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME; then a line of its points, of which there are none"
    ]
    for number, camera in enumerate(cameras, 1):
        k = camera.intrinsics
        numbers = " ".join(f"{value:.10g}" for value in (k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
        lines.append(f"{number} PINHOLE {camera.width} {camera.height} {numbers}")
        pose = [*quaternion_of(camera.extrinsics[:, :3]), *camera.extrinsics[:, 3]]
        poses += [f"{number} {' '.join(f'{value:.12g}' for value in pose)} {number} {camera.name}", ""]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    (folder / "images.txt").write_text("\n".join(poses) + "\n")
    rows = ["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK"]
    rows += [
        f"{number} {x:.6g} {y:.6g} {z:.6g} {r} {g} {b} 0"
        for number, ((x, y, z), (r, g, b)) in enumerate(zip(points.tolist(), colours.tolist(), strict=True), 1)
    ]
    (folder / "points3D.txt").write_text("\n".join(rows) + "\n")

"""The files of a reconstruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vmdepth.views.camera_files import CameraOf, write_cameras, write_colmap
from vmdepth.views.cloud import cloud_of, thinned, write_glb
from vmdepth.views.network import AskedNetwork, GivenCameras
from vmdepth.views.reading import Pictures
from vmdepth.views.results import Results
from vmdepth.views.settings import ViewsSettings
from vmdepth.views.windows import Seam
from vmdepth_runtime.depth.colour_map import FixedRange, colourise
from vmdepth_runtime.encoding import pictures
from vmdepth_runtime.encoding.points import ply
from vmdepth_runtime.progress import ProgressLine

_COLMAP_POINTS = 100_000  # which is what programs that read its text form start from


def write_all(
    folder: Path,
    settings: ViewsSettings,
    network: AskedNetwork,
    views: Pictures,
    given: GivenCameras | None,
    results: Results,
    seams: list[Seam],
    progress: ProgressLine,
) -> tuple[int | None, list[str]]:
    """Write everything into an empty folder. Returns the number of the cloud's points, and why something is missing."""
    # What sees pictures alone needs a focal length for metres; else given cameras say what the unit is.
    metric = network.metric and (given is not None) == network.alone
    steps = pictures.PER_METRE if metric else _steps(results)
    facts: dict[str, Any] = {
        "kind": "metric" if metric else "scaled",
        "png_steps": steps,
        "least_confidence_percent": settings.confidence_percentile,
    }
    _write_pictures(folder, settings, views, results, steps, progress)
    placed = len(results.cameras) == len(results) and (network.tells_cameras or metric)
    points, notes = None, []
    if placed:
        cloud = cloud_of(results, views.images, settings.confidence_percentile, settings.max_points)
        points = len(cloud.points)
        (folder / "cloud.ply").write_bytes(ply(cloud))
        write_glb(folder / "cloud.glb", cloud)
        cameras = _cameras(views, results)
        write_cameras(folder / "cameras.json", cameras, np.stack(results.intrinsics), results.size, facts, seams)
        write_colmap(folder / "colmap", cameras, *thinned(cloud, _COLMAP_POINTS))
    else:
        notes.append(_why_no_cloud(network))
    others: dict[str, Any] = {"names": np.array(views.names)}
    if placed:
        others |= {"extrinsics": np.stack(results.cameras), "intrinsics": np.stack(results.intrinsics)}
    results.pack(folder / "depth.npz", views.images, **others)
    return points, notes


def _write_pictures(
    folder: Path, settings: ViewsSettings, views: Pictures, results: Results, steps: float, progress: ProgressLine
) -> None:
    """Depth as 16 bits, and in colours, of inverse depth as in all other pictures of depth: near is bright."""
    (folder / "depth").mkdir()
    sampled = results.sampled("depth")
    assert sampled is not None
    range_ = FixedRange.of([_inverse(sampled)[None]])
    if settings.colour:
        (folder / "colour").mkdir()
    for place, name in enumerate(views.names):
        depth = results.of("depth", place)
        assert depth is not None
        content = pictures.picture(pictures.sixteen_bits(depth, steps)[0], ".png")
        (folder / "depth" / _png(views, name)).write_bytes(content)
        if settings.colour:
            painted = colourise(_inverse(depth), range_.low, range_.high, palette=settings.palette)
            (folder / "colour" / _png(views, name)).write_bytes(pictures.picture(painted, ".png"))
        progress.update(place + 1)


def _png(views: Pictures, name: str) -> str:
    """A picture's name with .png for its ending, or behind it where two differ in the ending alone."""
    stem = Path(name).stem
    alone = sum(Path(other).stem == stem for other in views.names) == 1
    return f"{stem if alone else name}.png"


def _inverse(depth: np.ndarray) -> np.ndarray:
    return 1 / np.maximum(depth, np.float32(1e-6))


def _steps(results: Results) -> float:
    """Steps of a 16-bit picture to a unit of depth up to one scale: the farthest of all views has the largest value."""
    farthest = max(
        float(depth.max()) for place in range(len(results)) if (depth := results.of("depth", place)) is not None
    )
    return pictures.DEEPEST / (farthest or 1.0)


def _cameras(views: Pictures, results: Results) -> list[CameraOf]:
    """Cameras of the pictures, from those of what the network sees."""
    matrices = np.linalg.inv(views.to_network) @ np.stack(results.intrinsics)
    return [
        CameraOf(name, *size, extrinsics, matrix)
        for name, size, extrinsics, matrix in zip(views.names, views.sizes, results.cameras, matrices, strict=True)
    ]


def _why_no_cloud(network: AskedNetwork) -> str:
    if network.alone and network.metric:
        return (
            "depth alone, at a focal length of 300 pixels: this network tells no cameras; with --poses it is in "
            "metres, with a cloud"
        )
    if network.alone:
        return "depth alone, of every view at a scale of its own: this network sees one picture and tells no cameras"
    return "depth alone: this checkpoint has no camera decoder, which would tell cameras and the scale of given ones"

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
from vmdepth_runtime.atomic_files import write_report
from vmdepth_runtime.depth.colour_map import FixedRange, colourise
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
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
    kind = DEPTH_KINDS["metric" if metric else "scaled"]
    facts, clipped = _write_pictures(folder, settings, views, results, kind, progress)
    notes = [pictures.clipped("depth/", clipped, kind)] if clipped else []
    placed = len(results.cameras) == len(results) and (network.tells_cameras or metric)
    points = None
    if placed:
        cloud = cloud_of(results, views.images, settings.confidence_percentile, settings.max_points)
        points = len(cloud.points)
        (folder / "cloud.ply").write_bytes(ply(cloud))
        write_glb(folder / "cloud.glb", cloud)
        cameras = _cameras(views, results)
        facts["least_confidence_percent"] = settings.confidence_percentile
        write_cameras(folder / "cameras.json", cameras, np.stack(results.intrinsics), facts, seams)
        write_colmap(folder / "colmap", cameras, *thinned(cloud, _COLMAP_POINTS))
    else:
        notes.append(_why_no_cloud(network))
    others: dict[str, Any] = {"names": np.array(views.names), "depth_kind": np.array(kind.name)}
    if placed:
        others |= {"extrinsics": np.stack(results.cameras), "intrinsics": np.stack(results.intrinsics)}
    results.pack(folder / "depth.npz", views.images, **others)
    return points, notes


def _write_pictures(
    folder: Path, settings: ViewsSettings, views: Pictures, results: Results, kind: DepthKind, progress: ProgressLine
) -> tuple[dict[str, Any], int]:
    """Depth as 16 bits, with a sidecar as the runtime's, and in colours; of one range for all views. Returns what the
    sidecar says, and the number of pixels that are beyond 16 bits."""
    sampled = results.sampled("depth")
    assert sampled is not None
    range_ = FixedRange.of([sampled[None]], larger_is_nearer=kind.inverse)
    steps = pictures.steps_per_unit(kind, min(_farthest(results), pictures.ROOM * max(range_.low, range_.high)))
    height, width = results.size
    facts = {**pictures.step_facts(kind, steps), "width": width, "height": height}
    (folder / "depth").mkdir()
    write_report(facts, folder / "depth" / "depth.json")
    if settings.colour:
        (folder / "colour").mkdir()
    beyond = 0
    for place, name in enumerate(views.names):
        depth = results.of("depth", place)
        assert depth is not None
        image, clipped = pictures.sixteen_bits(depth, steps, kind)
        beyond += clipped
        (folder / "depth" / _png(views, name)).write_bytes(pictures.picture(image, ".png"))
        if settings.colour:
            painted = colourise(depth, range_.low, range_.high, palette=settings.palette)
            (folder / "colour" / _png(views, name)).write_bytes(pictures.picture(painted, ".png"))
        progress.update(place + 1)
    return facts, beyond


def _png(views: Pictures, name: str) -> str:
    """A picture's name with .png for its ending, or behind it where two differ in the ending alone."""
    stem = Path(name).stem
    alone = sum(Path(other).stem == stem for other in views.names) == 1
    return f"{stem if alone else name}.png"


def _farthest(results: Results) -> float:
    return max(float(depth.max()) for place in range(len(results)) if (depth := results.of("depth", place)) is not None)


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

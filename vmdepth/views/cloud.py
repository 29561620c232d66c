"""A cloud of coloured points of all views in one world, without those that the network is least sure of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmdepth.views.geometry import inverse, pinhole_of
from vmdepth.views.results import Results
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.points import PointCloud, back_project
from vmdepth_runtime.outputs import SKY_THRESHOLD

_UPRIGHT = np.diag([1.0, -1.0, -1.0, 1.0])  # glTF has y up and looks against z


def least_confidence(results: Results, percentile: float) -> float:
    """The confidence that so many percent of all pixels but the sky's stay below; −inf where there is none to go by."""
    confidence, sky = results.sampled("confidence"), results.sampled("sky")
    if confidence is None:
        return -math.inf
    seen = confidence if sky is None else confidence[sky < SKY_THRESHOLD]
    return float(np.percentile(seen, percentile)) if seen.size and percentile > 0 else -math.inf


def cloud_of(results: Results, images: Sequence[NDArray[np.uint8]], percentile: float, max_points: int) -> PointCloud:
    """The points of all views, in the world of their cameras.

    Sky, what is less sure than the rest, and edges where depth jumps have no points.

    Args:
        results: depth, and cameras of all views.
        images: uint8 [H, W, 3] RGB, as large as the depth.
        percentile: percent of the pixels that are left out as the least sure.
        max_points: of the cloud; more are thinned out.
    """
    least = least_confidence(results, percentile)
    each = CloudSettings(max_points=max(1, math.ceil(max_points / len(results) / (1 - percentile / 100))))
    parts = []
    for place, (extrinsics, matrix) in enumerate(zip(results.cameras, results.intrinsics, strict=True)):
        depth, confidence, sky = (results.of(name, place) for name in ("depth", "confidence", "sky"))
        assert depth is not None
        if confidence is not None:
            depth[confidence < least] = 0
        if sky is not None:
            depth[sky >= SKY_THRESHOLD] = 0
        points, colours = back_project(depth, images[place], pinhole_of(matrix), None, each)
        to_world = inverse(extrinsics)
        parts.append(PointCloud((points @ to_world[:, :3].T + to_world[:, 3]).astype(np.float32), colours))
    points, colours = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return thinned(PointCloud(points, colours), max_points)


def thinned(cloud: PointCloud, count: int) -> PointCloud:
    """So many points of a cloud at most, drawn at random, always the same."""
    if len(cloud.points) <= count:
        return cloud
    chosen = np.sort(np.random.default_rng(0).choice(len(cloud.points), count, replace=False))
    return PointCloud(cloud.points[chosen], cloud.colours[chosen])


def write_glb(path: Path, cloud: PointCloud) -> bool:
    """Write a cloud as binary glTF, upright; False where `trimesh`, which does it, is not there."""
    if not len(cloud.points) or find_spec("trimesh") is None:
        return False
    import trimesh

    scene = trimesh.Scene(trimesh.PointCloud(cloud.points, cloud.colours))
    scene.apply_transform(_UPRIGHT)
    path.write_bytes(scene.export(file_type="glb"))
    return True

"""`NestedDepth`: the any-view network with the metric network to give it metres and sky (Depth Anything 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import TOO_FEW, MonoDepth, metres, quantile
from vmdepth.networks.multiview.presets import NestedConfig
from vmdepth.networks.multiview.views import ViewNetwork, Views
from vmdepth_runtime.outputs import SKY_THRESHOLD

FARTHEST_SKY = 200.0  # metres of sky where the rest lies farther still


class NothingButSkyError(ValueError):
    """Views in which there is nothing to take a scale from."""


class NestedDepth(ViewNetwork):
    """Weights are those of the official nested network, without its Gaussian head and unused ray levels."""

    depth_kind = "metric"
    extra_maps = ("confidence", "sky")

    def __init__(self, config: NestedConfig) -> None:
        super().__init__()
        if not config.views.camera_decoder:
            raise ValueError("a nested network needs the camera decoder: metres come from its focal lengths")
        self.config = config
        self.name = f"nested {config.views.encoder}"
        self.views = AnyViewDepth(config.views)
        self.metric = MonoDepth(config.metric)

    def forward(
        self,
        clip: Tensor,
        *,
        memory_budget: int | str | None = None,
        chunk: int | None = None,
        normalised: bool = False,
        **options: Any,
    ) -> Views:
        """Depth and cameras of scenes of N views, depth and camera positions in metres.

        The networks run one after the other.

        Args:
            clip: as for `AnyViewDepth`.
            memory_budget: as for `AnyViewDepth`; it holds for each of the networks.
            chunk: as for `AnyViewDepth`.
            normalised: as for `AnyViewDepth`.
            **options: the other arguments of `AnyViewDepth`.

        Returns:
            `Views` with sky.

        Raises:
            ValueError: as for `AnyViewDepth`; `NothingButSkyError` for a scene that is that.
        """
        both: dict[str, Any] = {"memory_budget": memory_budget, "chunk": chunk, "normalised": normalised}
        return in_metres(self.views(clip, **both, **options), self.metric(clip, **both))


def in_metres(views: Views, metric: Views) -> Views:
    """What the any-view network says, at the scale of what the metric one says (before it knows a focal length).

    One scale for every scene, by least squares over pixels that are no sky and at least as sure as the median of
    those; then sky is put at the 99 % quantile of the rest, but no farther than 200 m. Raises NothingButSkyError where
    hardly a pixel of a scene is no sky.
    """
    assert views.confidence is not None and views.intrinsics is not None
    assert views.extrinsics is not None and metric.sky is not None
    known = metres(metric.depth, views.intrinsics)
    depths, extrinsics = [], views.extrinsics.clone()
    for scene, clear in enumerate(metric.sky < SKY_THRESHOLD):
        if clear.sum() <= TOO_FEW:
            raise NothingButSkyError("these views show nothing but sky: there is nothing to take the scale from")
        depth, confidence = views.depth[scene], views.confidence[scene]
        sure = clear & (confidence >= quantile(confidence[clear], 0.5))
        scale = (known[scene][sure] * depth[sure]).sum() / depth[sure].square().sum()
        depth = depth * scale
        depths.append(depth.where(clear, quantile(depth[clear], 0.99).clamp(max=FARTHEST_SKY)))
        extrinsics[scene, ..., 3] *= scale
    return replace(views, depth=torch.stack(depths), extrinsics=extrinsics, sky=metric.sky)

"""`NestedDepth`: the any-view network with the metric network to give it metres and sky (Depth Anything 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from vmdepth.networks.any_view import AnyViewDepth, Views
from vmdepth.networks.mono_depth import FEW, SKY, MonoDepth, metres, quantile
from vmdepth.networks.view_presets import NestedConfig

FARTHEST = 200.0  # metres of sky where the rest lies farther still


class NestedDepth(nn.Module):
    """Weights are those of the official nested network, without its Gaussian head and unused ray levels."""

    def __init__(self, config: NestedConfig) -> None:
        super().__init__()
        if not config.views.camera_decoder:
            raise ValueError("a nested network needs the camera decoder: metres come from its focal lengths")
        self.config = config
        self.name = f"nested {config.views.encoder}"
        self.views = AnyViewDepth(config.views)
        self.metric = MonoDepth(config.metric)

    def forward(self, clip: Tensor, *, chunk: int | None = None, normalised: bool = False, **options: Any) -> Views:
        """clip, chunk, normalised, options: as for `AnyViewDepth`. Depth and camera positions are in metres.

        A `memory_budget` holds for the any-view network; the metric one then runs image by image.
        """
        views = self.views(clip, chunk=chunk, normalised=normalised, **options)
        count = 1 if options.get("memory_budget") is not None else chunk
        return in_metres(views, self.metric(clip, chunk=count, normalised=normalised))


def in_metres(views: Views, metric: Views) -> Views:
    """What the any-view network says, at the scale of what the metric one says (before it knows a focal length).

    One scale for the whole call, by least squares over pixels that are no sky and at least as sure as the median of
    those; then sky is put at the 99 % quantile of the rest, but no farther than 200 m. Raises ValueError where hardly
    a pixel is no sky.
    """
    assert views.confidence is not None and views.intrinsics is not None and metric.sky is not None
    clear = metric.sky < SKY
    if clear.sum() <= FEW:
        raise ValueError("these views show nothing but sky: there is nothing to take the scale from")
    known = metres(metric.depth, views.intrinsics)
    sure = clear & (views.confidence >= quantile(views.confidence[clear], 0.5))
    scale = (known[sure] * views.depth[sure]).sum() / views.depth[sure].square().sum()
    depth = views.depth * scale
    depth = depth.where(clear, quantile(depth[clear], 0.99).clamp(max=FARTHEST))
    extrinsics = views.extrinsics
    if extrinsics is not None:
        extrinsics = extrinsics.clone()
        extrinsics[..., 3] *= scale
    return replace(views, depth=depth, extrinsics=extrinsics, sky=metric.sky)

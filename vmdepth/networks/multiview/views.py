"""What networks of views have in common: what they say, how clips come in, and how results are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from vmdepth.networks.encoder import IMAGENET_MEAN, IMAGENET_STD, PATCH, check_size
from vmdepth.networks.multiview.decoder import Decoded
from vmdepth.networks.multiview.memory import Slices


@dataclass(frozen=True)
class Views:
    """What a network says about views [B, N, H, W]; None where it says nothing or was not asked.

    depth: larger is farther; in metres from a metric network that knows the focal length, else up to one scale per
    call. confidence: ≥ 1. extrinsics: world to camera [B, N, 3, 4]; intrinsics: [B, N, 3, 3] in pixels. rays: six
    numbers per place, [B, N, 8H/14, 8W/14, 6], and their confidence without the 6. sky: ≥ 0, from 0.3 on it is sky.
    """

    depth: Tensor
    confidence: Tensor | None = None
    extrinsics: Tensor | None = None
    intrinsics: Tensor | None = None
    rays: Tensor | None = None
    ray_confidence: Tensor | None = None
    sky: Tensor | None = None


class ViewNetwork(nn.Module):
    """A network that takes clips [B, N, 3, H, W], RGB float in 0..1, and gives `Views`: depth, not its inverse.

    It has no states and no step. name: what it is called. stride: heights and widths are multiples of it, pixels.
    usual_size: height and width where nobody says another. depth_kind, metric_focal: what its depth means without given
    cameras, as in the contract of step graphs. extra_maps: what it says of every pixel besides, by their names there.
    """

    name: str
    stride = PATCH
    usual_size = (252, 336)
    depth_kind = "scaled"
    metric_focal: float | None = None
    extra_maps: tuple[str, ...] = ("confidence",)


def check_clip(clip: Tensor) -> tuple[int, int, int, int]:
    """B, N, H, W of a clip [B, N, 3, H, W]. Raises ValueError for another shape, naming the nearest size."""
    if clip.ndim != 5 or clip.shape[2] != 3 or 0 in clip.shape:
        raise ValueError(f"views are [B, N, 3, H, W]; this has shape {list(clip.shape)}")
    batch, views, _, height, width = clip.shape
    check_size(height, width, PATCH)
    return batch, views, height, width


def imagenet_normalised(images: Tensor) -> Tensor:
    """RGB in 0..1, [..., 3, H, W] → mean 0 and deviation 1 over ImageNet."""
    mean, std = (images.new_tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


def decode_in_slices(decode: Callable[[slice], Decoded], images: int, slices: Slices) -> Decoded:
    """What `decode` says of slices of images, put together with no more than one slice's own memory alive."""
    whole: list[Tensor | None] = []
    for first in range(0, images, slices.decoder):
        part = slice(first, first + slices.decoder)
        decoded = decode(part)
        if not whole:
            whole = [None if x is None else x.new_empty(images, *x.shape[1:]) for x in decoded]
        for out, x in zip(whole, decoded, strict=True):
            if out is not None and x is not None:
                out[part] = x
    depth, *others = whole
    assert depth is not None
    return Decoded(depth, *others)

"""`MonoDepth`: depth and sky of single images, and in metres where the focal length is known (Depth Anything 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from vmdepth.networks.decoder import Tap
from vmdepth.networks.encoder import ENCODERS, PATCH, Encoder
from vmdepth.networks.multiview.decoder import Decoded, SkyDecoder, identity_tap
from vmdepth.networks.multiview.memory import ForwardPass, Slices, slices_for
from vmdepth.networks.multiview.presets import MonoConfig
from vmdepth.networks.multiview.views import ViewNetwork, Views, check_clip, decode_in_slices, imagenet_normalised
from vmdepth.networks.observer import Observer
from vmdepth_runtime.outputs import SKY_THRESHOLD

TOO_FEW = 10  # pixels of sky, or of anything else, that say nothing
_CUTS, _ROUNDS = 32, 6  # until two float32 are neighbours, where they were 2⁶⁴ times each other
METRIC_FOCAL = 300.0  # pixels at which the metric network's output is in metres


class MonoDepth(ViewNetwork):
    """Weights are those of the official mono or metric network: their names and shapes are the same."""

    extra_maps = ("sky",)

    def __init__(self, config: MonoConfig) -> None:
        super().__init__()
        self.config = config
        if config.metric:
            self.depth_kind, self.metric_focal = "metric", METRIC_FOCAL
        self.name = f"{'metric' if config.metric else 'mono'} {config.encoder}"
        self.encoder = Encoder(config.encoder, norm_eps=1e-5)
        self.decoder = SkyDecoder(ENCODERS[config.encoder].width, config.features, config.out_channels)

    def forward(
        self,
        clip: Tensor,
        *,
        intrinsics: Tensor | None = None,
        memory_budget: int | str | None = None,
        chunk: int | None = None,
        observe: Observer | None = None,
        tap: Tap = identity_tap,
        normalised: bool = False,
    ) -> Views:
        """Depth and sky of single images, which do not see each other.

        Sky gets the 99 % quantile of the depth everywhere else in its scene, the N images of one B.

        Args:
            clip: float [B, N, 3, H, W], RGB in 0..1; sides are multiples of 14.
            intrinsics: [B, N, 3, 3] in pixels of these images; with them the metric network's depth is in metres.
            memory_budget: as for `AnyViewDepth`.
            chunk: as for `AnyViewDepth`.
            observe: is shown every block of each slice of images, before those of the next.
            tap: sees the decoder's maps by name, and gives what goes on in their place.
            normalised: ImageNet statistics are taken off the clip already.

        Returns:
            `Views` with depth, sky and, where given, intrinsics.

        Raises:
            ValueError: sizes, intrinsics or budgets that do not fit.
        """
        sizes = check_clip(clip)
        batch, views, height, width = sizes
        if intrinsics is not None and not self.config.metric:
            raise ValueError("only the metric network can turn intrinsics into metres")
        if intrinsics is not None and intrinsics.shape != (batch, views, 3, 3):
            raise ValueError(f"intrinsics have shape {list(intrinsics.shape)}, this needs {[batch, views, 3, 3]}")
        kept = observe.keeps if observe else 0.0
        forward = ForwardPass(self.config, *sizes, kept=kept, bytes=self.encoder.pos_embed.element_size())
        slices = slices_for(forward, memory_budget, chunk)
        images, grid = clip.flatten(0, 1), (height // PATCH, width // PATCH)
        count = min(slices.encoder, slices.decoder)  # what the decoder reads of an image is made right before

        def look(part: slice) -> Decoded:
            seen = observe.from_image(part.start) if observe else None
            maps = self.encoder(images[part] if normalised else imagenet_normalised(images[part]), seen)
            return self.decoder(maps, grid, tap)

        with torch.set_grad_enabled(torch.is_grad_enabled() and memory_budget is None):
            out = decode_in_slices(look, len(images), Slices(count, count))
            assert out.sky is not None
            depth, sky = (x.unflatten(0, (batch, views)) for x in (out.depth, out.sky))
            depth = torch.stack([with_far_sky(*scene) for scene in zip(depth, sky, strict=True)])
        return Views(depth if intrinsics is None else metres(depth, intrinsics), intrinsics=intrinsics, sky=sky)


def with_far_sky(depth: Tensor, sky: Tensor) -> Tensor:
    """depth [N, H, W] with its sky moved to the 99 % quantile of the rest; ten pixels of either change nothing.

    The official code draws a random sample of the rest for the quantile where it has more than 100,000 pixels; here
    it is that of all of them.
    """
    clear = sky < SKY_THRESHOLD
    if clear.sum() <= TOO_FEW or (~clear).sum() <= TOO_FEW:
        return depth
    return depth.where(clear, quantile(depth[clear], 0.99))


def with_far_sky_each(depth: Tensor, sky: Tensor) -> Tensor:
    """`with_far_sky` of images [B, H, W] that are scenes of their own, in fixed shapes and plain operations.

    Nothing is sorted, as engine builders sort no more than 3840 numbers: the depth that few enough pixels lie beyond is
    found by cutting the interval that it lies in. (Cutting it in two, 30 times, takes TensorRT-RTX many minutes to
    compile.) Fewer than 2²⁴ pixels: that far float32 counts.
    """
    clear = sky < SKY_THRESHOLD
    values = depth.where(clear, 0)
    count = _pixels(clear)
    place = (count - 1) / 100  # of the quantile among the pixels from the farthest on, which is number 0
    beyond = place.ceil()
    low, high = depth.amin((1, 2), keepdim=True).clamp(min=1e-15), depth.amax((1, 2), keepdim=True)
    parts = torch.linspace(1 / _CUTS, 1, _CUTS, device=depth.device)[:, None]
    for _ in range(_ROUNDS):
        marks = low * (high / low) ** parts  # [B, cuts, 1]
        few = (values.flatten(1)[:, None] > marks).float().sum(2, keepdim=True) <= beyond
        low, high = (
            low.where(few, marks).amax(1, keepdim=True),
            marks.where(few, high).amin(1, keepdim=True),
        )
    below = values.where(values <= high, 0).amax((1, 2), keepdim=True)
    farther = values > below
    above = values.where(farther, torch.finfo(depth.dtype).max).amin((1, 2), keepdim=True)
    above = above.where(_pixels(farther) == beyond, below)  # fewer: the next one is just as far
    enough = (count > TOO_FEW) & (depth[0].numel() - count > TOO_FEW)
    return depth.where(clear | ~enough, below + (above - below) * (beyond - place))


def _pixels(chosen: Tensor) -> Tensor:
    """How many of [B, H, W], as float32 [B, 1, 1]."""
    return chosen.float().sum((1, 2), keepdim=True)


def metres(depth: Tensor, intrinsics: Tensor) -> Tensor:
    """The metric network's depth [B, N, H, W] in metres, by the mean focal length of intrinsics [B, N, 3, 3]."""
    focal = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
    return depth * (focal / METRIC_FOCAL)[..., None, None]


def quantile(values: Tensor, part: float) -> Tensor:
    """The value below which that part of flat `values` lies, linear between neighbours; any number of them.

    (`torch.quantile` refuses more than 16 million.)
    """
    place = part * (values.numel() - 1)
    low = int(place)
    below = values.kthvalue(low + 1).values
    above = values.kthvalue(min(low + 2, values.numel())).values
    return below + (above - below) * (place - low)

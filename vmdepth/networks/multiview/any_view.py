"""`AnyViewDepth`: depth, confidence and cameras of any number of views that all see each other (Depth Anything 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmdepth.networks.decoder import Tap
from vmdepth.networks.encoder import ENCODERS, PATCH
from vmdepth.networks.leave_out import LeaveOut
from vmdepth.networks.multiview.cameras import CameraDecoder, CameraEncoder, from_cameras, to_cameras
from vmdepth.networks.multiview.decoder import ViewDecoder, identity_tap
from vmdepth.networks.multiview.encoder import ViewEncoder
from vmdepth.networks.multiview.memory import ForwardPass, Slices, slices_for
from vmdepth.networks.multiview.presets import AnyViewConfig
from vmdepth.networks.multiview.reference_view import Reference, check_reference
from vmdepth.networks.multiview.views import ViewNetwork, Views, check_clip, decode_in_slices, imagenet_normalised
from vmdepth.networks.observer import Observer


class AnyViewDepth(ViewNetwork):
    """Weights are those of one official any-view network without its Gaussian head and unused ray levels."""

    def __init__(self, config: AnyViewConfig) -> None:
        super().__init__()
        width = ENCODERS[config.encoder].width
        self.config = config
        self.name = config.encoder
        self.encoder = ViewEncoder(config.encoder, config.taps, config.start)
        self.decoder = ViewDecoder(2 * width, config.features, config.out_channels)
        self.camera_encoder = CameraEncoder(width) if config.camera_encoder else None
        self.camera_decoder = CameraDecoder(2 * width) if config.camera_decoder else None

    def forward(  # noqa: PLR0913 (all but one by name)
        self,
        clip: Tensor,
        *,
        extrinsics: Tensor | None = None,
        intrinsics: Tensor | None = None,
        reference: Reference | int = "saddle_balanced",
        leave_out: LeaveOut | None = None,
        rays: bool = False,
        memory_budget: int | str | None = None,
        chunk: int | None = None,
        observe: Observer | None = None,
        tap: Tap = identity_tap,
        normalised: bool = False,
    ) -> Views:
        """Depth, confidence and cameras of scenes of N views; more where asked for.

        Slices (`memory_budget`, `chunk`) change speed and memory, not results: attention over views is over all views
        always.

        Args:
            clip: float [B, N, 3, H, W], RGB in 0..1; sides are multiples of 14.
            extrinsics: given cameras, world to camera, [B, N, 3 or 4, 4], best in the form of
                `cameras.relative_to_first`. The cameras in the result are the network's own estimate all the same.
            intrinsics: of the same cameras, [B, N, 3, 3] in pixels; both or neither.
            reference: how the reference view is chosen where no cameras are given and there are three views or more;
                or which it is, from 0.
            leave_out: patches whose keys and values no query finds, and in which blocks.
            rays: whether the result has them, too.
            memory_budget: peak memory beyond weights and input ("4GiB", or bytes), as estimated in `multiview.memory`;
                nothing is kept for gradients then.
            chunk: images at a time, instead of a budget.
            observe: is shown what blocks work with, slice by slice.
            tap: sees the decoder's maps by name, and gives what goes on in their place.
            normalised: ImageNet statistics are taken off the clip already.

        Returns:
            `Views` without sky.

        Raises:
            ValueError: sizes, cameras, names, blocks or budgets that do not fit.
        """
        sizes = check_clip(clip)
        check_reference(reference, sizes[1])
        if leave_out is not None:
            leave_out.check((*sizes[:2], sizes[2] // PATCH, sizes[3] // PATCH), self.encoder.size.depth)
        special = self.camera_tokens(extrinsics, intrinsics, clip)
        forward = ForwardPass(
            self.config, *sizes, rays, observe.keeps if observe else 0.0, self.encoder.pos_embed.element_size()
        )
        slices = slices_for(forward, memory_budget, chunk)
        with torch.set_grad_enabled(torch.is_grad_enabled() and memory_budget is None):
            return self._views(clip, slices, special, reference, leave_out, rays, observe, tap, normalised)

    def _views(
        self,
        clip: Tensor,
        slices: Slices,
        special: Tensor | None,
        reference: Reference | int,
        leave_out: LeaveOut | None,
        rays: bool,
        observe: Observer | None,
        tap: Tap,
        normalised: bool,
    ) -> Views:
        batch, views, _, height, width = clip.shape
        grid, images = (height // PATCH, width // PATCH), clip.flatten(0, 1)
        stored = _TapStore(self.decoder, grid, images, self.encoder.pos_embed)
        prepare = nn.Identity() if normalised else imagenet_normalised
        self.encoder.in_slices(images, views, stored, slices, special, reference, prepare, observe, leave_out)
        out = decode_in_slices(
            lambda part: self.decoder([level[part] for level in stored.projected], grid, rays, tap), len(images), slices
        )
        cameras: tuple[Tensor | None, Tensor | None] = (None, None)
        if self.camera_decoder is not None:
            numbers = self.camera_decoder(stored.camera_token.unflatten(0, (batch, views)))
            cameras = to_cameras(numbers, height, width)
        depth, *others = (None if x is None else x.unflatten(0, (batch, views)) for x in out)
        assert depth is not None
        confidence, ray, ray_confidence, _ = others
        return Views(depth, confidence, *cameras, rays=ray, ray_confidence=ray_confidence)

    def camera_tokens(self, extrinsics: Tensor | None, intrinsics: Tensor | None, clip: Tensor) -> Tensor | None:
        """The special tokens [B·N, width] of given cameras."""
        if extrinsics is None and intrinsics is None:
            return None
        if extrinsics is None or intrinsics is None:
            raise ValueError("cameras are given by extrinsics and intrinsics together")
        if self.camera_encoder is None:
            raise ValueError(f"the {self.name} network has no camera encoder: it cannot be given cameras")
        for name, matrix, shapes in (
            ("extrinsics", extrinsics, ((3, 4), (4, 4))),
            ("intrinsics", intrinsics, ((3, 3),)),
        ):
            if tuple(matrix.shape[:-2]) != tuple(clip.shape[:2]) or tuple(matrix.shape[-2:]) not in shapes:
                expected = [*clip.shape[:2], *shapes[0]]
                raise ValueError(f"{name} have shape {list(matrix.shape)}, these views need {expected}")
        return self.camera_encoder(from_cameras(extrinsics, intrinsics, *clip.shape[-2:])).flatten(0, 1)


class _TapStore:
    """What is stored of the taps: their projections, which are several times narrower, and the last camera token."""

    def __init__(self, decoder: ViewDecoder, grid: tuple[int, int], images: Tensor, like: Tensor) -> None:
        self.decoder, self.grid = decoder, grid
        channels = [project.out_channels for project in decoder.projects if isinstance(project, nn.Conv2d)]
        self.projected = [like.new_empty(len(images), c, *grid) for c in channels]
        self.camera_token = like.new_empty(len(images), decoder.norm.normalized_shape[0])

    def __call__(self, level: int, first: int, patches: Tensor, special: Tensor) -> None:
        part = slice(first, first + len(patches))
        self.projected[level][part] = self.decoder.project(level, patches, self.grid)
        if level == 3:
            self.camera_token[part] = special

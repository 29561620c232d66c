"""A network, asked for what moves: the first pass, and the second one without that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vmdepth.checkpoint import load
from vmdepth.dynamics.capture import look
from vmdepth.dynamics.command.arrays_file import SecondCameras
from vmdepth.dynamics.command.settings import MasksSettings
from vmdepth.dynamics.first_pass import FirstPass, Statistic
from vmdepth.dynamics.layers import blocks_of
from vmdepth.dynamics.passes import passes_of
from vmdepth.dynamics.second_pass import SecondPass, masked_blocks, second_pass
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.reference_view import Reference
from vmdepth.views.network import device_named
from vmdepth.views.windows import Chain, View
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.progress import ProgressLine


class AskedNetwork:
    """A network with attention, from its checkpoint.

    Of one that was trained to see the past alone the mask over time is taken off: all frames see each other, and the
    first one is their reference.

    Attributes:
        blocks: of the network.
        tells_cameras: whether it knows where frames were taken.

    Args:
        settings: which network, how it looks, and where a second pass is to leave out what moves.

    Raises:
        InputError: the file is none of a network with attention, or there is no such device or block.
    """

    def __init__(self, settings: MasksSettings) -> None:
        assert settings.model is not None
        self._model = load(settings.model)
        self._settings = settings
        self._reference = cast("Reference", "first" if isinstance(self._model, CausalViews) else settings.reference)
        inner = self._model.views if isinstance(self._model, NestedDepth) else self._model
        try:
            self.blocks = blocks_of(self._model)
        except InputError as error:
            raise InputError(f"{settings.model}: {error}") from None
        self.tells_cameras = isinstance(inner, AnyViewDepth | CausalViews) and inner.camera_decoder is not None
        if settings.extent is not None and isinstance(inner, AnyViewDepth | CausalViews):
            masked_blocks(inner.encoder, settings.extent)  # rather now than after the first pass
        self._model.to(device_named(settings.device))

    def first(self, images: NDArray[np.uint8], statistics: Sequence[Statistic], progress: ProgressLine) -> FirstPass:
        """The first pass over frames, uint8 [T, H, W, 3]."""
        return look(
            self._model,
            images,
            statistics,
            memory_budget=self._settings.memory_budget,
            window=self._settings.window,
            reference=self._reference,
            progress=progress,
        )

    def second(self, first: FirstPass, moves: NDArray[np.bool_], progress: ProgressLine) -> SecondCameras | None:
        """The second pass, without what moves, bool [T, H, W]; in the windows of the first, put together as they were.

        None where none was asked for or the network tells no cameras, which it is for.
        """
        settings = self._settings
        if settings.extent is None or not self.tells_cameras:
            return None
        budget, count = settings.memory_budget, len(first.images)
        windows = passes_of(self._model, settings.window, self._reference, budget).windows(count)
        progress.stage("looking again, without what moves", count, "frames")
        chain, placed, pinned = Chain(), list[View](), first.reference
        for number, window in enumerate(windows):
            part = slice(window.start, window.stop)
            told = second_pass(
                self._model,
                first.images[part],
                moves[part],
                depth=first.depth[part],
                # Later windows choose theirs as they did, before the first block that all views see.
                reference=self._reference if number or pinned is None else pinned,
                blocks=settings.extent,
                memory_budget=budget,
            )
            following = windows[number + 1].start if number + 1 < len(windows) else count
            placed += [view for _, view in chain.add(window.start, _views(told, first, window), following)]
            progress.update(window.stop)
        return SecondCameras(
            np.stack([view.extrinsics for view in placed if view.extrinsics is not None]),
            np.stack([view.depth for view in placed]),
        )


def _views(told: SecondPass, first: FirstPass, window: range) -> list[View]:
    assert told.extrinsics is not None
    assert first.intrinsics is not None
    parts = zip(told.depth, told.extrinsics, first.intrinsics[window.start : window.stop], strict=True)
    return [View(depth, extrinsics=pose, intrinsics=matrix) for depth, pose, matrix in parts]

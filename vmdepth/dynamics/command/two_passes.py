"""The two passes of a network over a video: the first, which tells what moves, and the second without that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vmdepth.checkpoint import load
from vmdepth.dynamics.capture import look
from vmdepth.dynamics.command.arrays_file import SecondCameras
from vmdepth.dynamics.command.settings import EXTENTS, NO_PASS, MasksSettings
from vmdepth.dynamics.first_pass import FirstPass, Statistic
from vmdepth.dynamics.layers import blocks_of
from vmdepth.dynamics.second_pass import second_pass
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.reference_view import Reference
from vmdepth.views.network import device_named
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.progress import ProgressLine


class TwoPasses:
    """Both passes of a network with attention, from its checkpoint.

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
            itself = ""
            if DYNAMIC in getattr(self._model, "extra_outputs", ()):
                itself = f"; this checkpoint tells '{DYNAMIC}' itself, by vmdepth-export and vmdepth-run"
            raise InputError(f"{settings.model}: {error}{itself}") from None
        self.tells_cameras = isinstance(inner, AnyViewDepth | CausalViews) and inner.camera_decoder is not None
        if settings.extent is not None and isinstance(inner, AnyViewDepth | CausalViews):
            _check_extent(inner.encoder.global_blocks, settings)  # rather now than after the first pass
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
        assert first.reference is not None
        told = second_pass(
            self._model,
            first.images,
            moves,
            depth=first.depth,
            reference=first.reference,
            strategy=self._reference,
            blocks=settings.extent,
            window=settings.window,
            memory_budget=settings.memory_budget,
            progress=progress,
        )
        assert told.extrinsics is not None
        return SecondCameras(told.extrinsics, told.depth)


def _check_extent(over_views: Sequence[int], settings: MasksSettings) -> None:
    """Raise InputError where --leave-out is more blocks than a network has that see all views, by their numbers."""
    if isinstance(settings.extent, int) and settings.extent > len(over_views):
        numbers = ", ".join(map(str, over_views))
        raise InputError(
            f"--leave-out {settings.leave_out}: it can be {', '.join((*EXTENTS, NO_PASS))}, or 0 to {len(over_views)}, "
            f"which is how many blocks of {settings.model} see all views ({numbers})"
        )

"""Networks of views, asked for windows of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmdepth.checkpoint import load
from vmdepth.networks.multiview.cameras import relative_to_first
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.views import ViewNetwork, Views
from vmdepth.official.preparation import as_clip
from vmdepth.views.geometry import Floats, nearest_rotation
from vmdepth.views.windows import View
from vmdepth_runtime.errors import InputError

_PIECE = 8  # pictures at a time of a network that sees each alone


@dataclass(frozen=True)
class GivenCameras:
    """extrinsics: float64 [N, 3, 4], world to camera. intrinsics: float64 [N, 3, 3], in the network's pixels."""

    extrinsics: Floats
    intrinsics: Floats

    def __getitem__(self, part: slice) -> GivenCameras:
        return GivenCameras(self.extrinsics[part], self.intrinsics[part])


class AskedNetwork:
    """A network of Depth Anything 3 from its checkpoint.

    Attributes:
        model: the network.
        alone: whether it sees each picture alone.
        tells_cameras: whether it knows where pictures were taken.
        metric: whether its depth is in metres, of some only with given intrinsics.

    Raises:
        InputError: the file is none of a network of views, or there is no such device.
    """

    def __init__(self, path: Path, device: str) -> None:
        model = load(path)
        if not isinstance(model, ViewNetwork):
            raise InputError(f"{path}: is a network of videos, no network of views; vmdepth-run streams it")
        self.model = model
        self.alone = isinstance(model, MonoDepth)
        self.tells_cameras = isinstance(model, NestedDepth) or getattr(model, "camera_decoder", None) is not None
        self.metric = isinstance(model, NestedDepth) or (isinstance(model, MonoDepth) and model.config.metric)
        self._device = device_named(device)
        self.model.to(self._device)

    @torch.inference_mode()
    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        given: GivenCameras | None = None,
        *,
        memory_budget: str | None = None,
        reference: str = "saddle_balanced",
    ) -> list[View]:
        """What it says of a window, all of whose views see each other.

        Args:
            images: uint8 [H, W, 3] RGB each, sides multiples of 14.
            given: the window's cameras; each view's intrinsics are then these, but not its extrinsics.
            memory_budget: as for `AnyViewDepth`.
            reference: likewise.

        Raises:
            InputError: a budget that is too small, cameras the network cannot be given, or nothing but sky.
        """
        clip = torch.from_numpy(as_clip(images)).to(self._device)
        options: dict[str, Any] = {"memory_budget": memory_budget}
        try:
            if self.alone:
                metric = isinstance(self.model, MonoDepth) and self.model.config.metric
                if given is not None and metric:
                    options["intrinsics"] = self._tensor(given.intrinsics)[:, None]
                return to_views(self.model(clip[:, None], **options), given, alone=True)
            options["reference"] = reference
            if given is not None:
                options["extrinsics"] = relative_to_first(torch.from_numpy(given.extrinsics)[None])
                options["extrinsics"] = options["extrinsics"].float().to(self._device)
                options["intrinsics"] = self._tensor(given.intrinsics)[None]
            return to_views(self.model(clip[None], **options), given, alone=False)
        except ValueError as error:
            raise InputError(str(error)) from None

    def _tensor(self, array: Floats) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self._device)


def device_named(name: str) -> str:
    """What PyTorch calls one of `settings.DEVICES`. Raises InputError where it is not there."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise InputError("--device cuda: PyTorch finds no GPU here; --device cpu works")
    if name == "auto":
        return "cuda" if there else "cpu"
    return name


def pieces(views: int) -> list[range]:
    """Windows of a network that sees each picture alone."""
    return [range(first, min(first + _PIECE, views)) for first in range(0, views, _PIECE)]


def to_views(out: Views, given: GivenCameras | None, *, alone: bool) -> list[View]:
    """The views of one scene, or the single views of scenes that are `alone`."""

    def arrays(tensor: Tensor | None, kind: type = np.float32) -> list[Any]:
        if tensor is None:
            return [None] * count
        own = tensor[:, 0] if alone else tensor[0]
        wide = torch.promote_types(own.dtype, torch.float32)  # NumPy has no bfloat16
        return list(own.to(wide).cpu().numpy().astype(kind))

    count = len(out.depth) if alone else out.depth.shape[1]
    extrinsics = arrays(out.extrinsics, np.float64)
    if out.extrinsics is not None:  # whose rotations are exact to seven digits
        extrinsics = [np.concatenate([nearest_rotation(pose[:, :3]), pose[:, 3:]], axis=1) for pose in extrinsics]
    intrinsics = arrays(out.intrinsics, np.float64) if given is None else list(given.intrinsics)
    return [
        View(*parts)
        for parts in zip(
            arrays(out.depth),
            arrays(out.confidence),
            arrays(out.sky),
            extrinsics,
            intrinsics,
            strict=True,
        )
    ]

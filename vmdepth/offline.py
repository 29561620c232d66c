"""A checkpoint as a session that goes over a whole video: what `vmdepth-run --offline` runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import groupby, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vmdepth.checkpoint import OURS, load_of, weights_hash
from vmdepth.networks.encoder import check_size
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.preparation import depth_at, network_size, prepare_views, video_size, views_size
from vmdepth.whole_video.clip_windows import Depth, Image, clip_depth, offline_depths
from vmdepth.whole_video.view_windows import Said, view_depths
from vmdepth_runtime.contract import REGIONS, StepContract
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.base import StepOutputs
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.offline import OfflineSession
from vmdepth_runtime.sessions.state_buffers import HostMemory, StateBuffers

_PIECE = 8  # frames at once of a network that carries states on


def open_offline(
    path: Path,
    frame_size: tuple[int, int],
    size: tuple[int, int] | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> TorchOfflineSession:
    """A checkpoint, its attention over time in the form that sees the whole clip.

    Args:
        path: of the checkpoint.
        frame_size: height and width of the video, pixels.
        size: height and width that the network sees; None is the official size of official networks, with the shorter
            side at 518, of Depth Anything 3 the longer at 504, and the usual one of others.
        threads: of PyTorch on the CPU; None takes all cores.
        device: "cpu", "cuda" or "cuda:N"; None takes a GPU where there is one.

    Raises:
        InputError: for a file that is no checkpoint, a size that the network cannot have, a device that is not there.
    """
    return OfflineNetwork(path).session(frame_size, size, threads, device)


class OfflineNetwork:
    """A checkpoint, loaded once for videos of any size. model: its attention over time sees the whole clip.

    Raises InputError for a file that is no checkpoint.
    """

    def __init__(self, path: Path) -> None:
        model, family = load_of(path)
        if isinstance(model, CausalViews):
            model = model.unmasked()
        self.path = path
        self.model = model.with_head(model.config.head.offline) if isinstance(model, VideoDepth) else model
        self._official = family is not OURS

    def session(
        self,
        frame_size: tuple[int, int],
        size: tuple[int, int] | None = None,
        threads: int | None = None,
        device: str | None = None,
    ) -> TorchOfflineSession:
        """For videos of one size; arguments and errors are those of `open_offline`."""
        if size is None:
            size = _official_size(self.model)(*frame_size) if self._official else self.model.usual_size
        try:
            check_size(*size, self.model.stride)
        except ValueError as error:
            raise InputError(f"{self.path}: {error}") from None
        if threads is not None:
            torch.set_num_threads(threads)
        self.model.to(_torch_device(device))
        return TorchOfflineSession(self.path, self.model, frame_size, size, official=self._official)


def _torch_device(name: str | None) -> str:
    """What PyTorch calls a device of `--device`. Raises InputError where it is not there."""
    count = torch.cuda.device_count()
    if name is None:
        return "cuda" if count else "cpu"
    device = Device.named(name)
    if device.kind == "cpu":
        return "cpu"
    if device.kind == "tensorrt":
        raise InputError(f"--device {name}: --offline runs in PyTorch; cpu, cuda or cuda:1 and so on")
    if device.number >= count:
        found = "no GPU" if not count else f"{count} {'GPU' if count == 1 else 'GPUs'}"
        raise InputError(f"--device {name}: PyTorch finds {found} here; --device cpu works")
    return f"cuda:{device.number}"


class TorchOfflineSession(OfflineSession):
    """A network in PyTorch over a whole video; the contract's size is that of the video.

    A bidirectional network and one of views go in windows (see `vmdepth.whole_video`), any other in pieces of clips
    that carry states on, which is what streaming gives. official: whether pictures are prepared as Depth Anything does.
    size: height and width that the network sees.
    """

    backend = "torch"

    def __init__(
        self,
        path: Path,
        model: VideoDepth | ViewNetwork,
        frame_size: tuple[int, int],
        size: tuple[int, int],
        *,
        official: bool,
    ) -> None:
        self.path, self._model = path, model
        height, width = frame_size
        self.contract = StepContract(
            model=f"{model.name}, offline at {size[0]}x{size[1]}",
            weights_hash=weights_hash(model),
            height=height,
            width=width,
            states=(),
            depth_kind=model.depth_kind,
            metric_focal=_metric_focal(model, frame_size, size),
            extra_outputs=model.extra_maps if isinstance(model, ViewNetwork) else (),
            precision=dict.fromkeys(REGIONS, "float32"),
        )
        alone = isinstance(model, MonoDepth) or (isinstance(model, VideoDepth) and model.can_step)
        self.remark = f"{model.name} never sees the future: --offline gives what streaming does" if alone else ""
        self.frame = np.zeros((1, height, width, 3), np.uint8)
        self.memory = HostMemory()
        self._states = StateBuffers(self.contract, self.memory)
        self._prepare = partial(_preparation(model, official), size=size)
        corners = official and isinstance(model, VideoDepth)
        self._back = partial(depth_at, height=height, width=width) if corners else partial(_enlarged, size=frame_size)
        self._maps: Iterator[Said] | None = None

    def begin(self, frames: Iterator[tuple[Image, bool]]) -> None:
        self._maps = self._over(frames)

    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        maps = self._alone(self.frame[0]) if self._maps is None else next(self._maps, None)
        if maps is None:
            raise WorkError("the source had more frames at the second reading than at the first; is it being written?")
        still = np.zeros(1, np.float32)
        return {
            **{name: value[None] for name, value in maps.items()},
            "descriptor": np.ones((1, 1), np.float32),
            "state_change": still,
        }

    def close(self) -> None:
        self._maps = None

    def _alone(self, image: Image) -> Said:
        if isinstance(self._model, ViewNetwork):
            return next(view_depths(self._model, [image], self._prepare, self._back))
        small, _ = clip_depth(self._model, [self._prepare(image)])
        return {"depth": self._back(small[0])}

    def _over(self, frames: Iterator[tuple[Image, bool]]) -> Iterator[Said]:
        """What belongs together is gone over on its own."""
        scene = 0

        def number(frame: tuple[Image, bool]) -> int:
            nonlocal scene
            scene += frame[1]
            return scene

        for _, together in groupby(frames, number):
            yield from self._going_over(image for image, _ in together)

    def _going_over(self, images: Iterator[Image]) -> Iterator[Said]:
        if isinstance(self._model, ViewNetwork):
            return view_depths(self._model, images, self._prepare, self._back)
        go_over = _carried_depths if self._model.can_step else offline_depths
        return ({"depth": depth} for depth in go_over(self._model, images, self._prepare, self._back))


def _metric_focal(model: VideoDepth | ViewNetwork, frame_size: tuple[int, int], size: tuple[int, int]) -> float | None:
    """Focal length at which the network's depth is in metres, in pixels of the frame: of square pixels, or where both
    axes are resized alike."""
    if model.metric_focal is None:
        return None
    return model.metric_focal / (sum(seen / whole for seen, whole in zip(size, frame_size, strict=True)) / 2)


def _official_size(model: VideoDepth | ViewNetwork) -> Callable[[int, int], tuple[int, int]]:
    if isinstance(model, VideoDepth):
        return video_size if model.heads else network_size
    return views_size


def _preparation(model: VideoDepth | ViewNetwork, official: bool) -> Callable[..., Depth]:
    if not official:
        return _as_streamed
    return _official if isinstance(model, VideoDepth) else _as_views


def _carried_depths(
    model: VideoDepth, frames: Iterable[Image], prepare: Callable[[Image], Depth], bring_back: Callable[[Depth], Depth]
) -> Iterator[Depth]:
    """As `offline_depths`, of a network that sees no future: pieces of clips, states carried on."""
    states: dict[str, Tensor] | None = None
    prepared = map(prepare, frames)
    while piece := list(islice(prepared, _PIECE)):
        depth, states = clip_depth(model, piece, states)
        yield from map(bring_back, depth)


def _official(image: Image, size: tuple[int, int]) -> Depth:
    """As Depth Anything prepares it: float32 [h, w, 3]; values may lie a little outside of 0..1."""
    pixels = image.astype(np.float32) / np.float32(255)
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _as_streamed(image: Image, size: tuple[int, int]) -> Depth:
    """As `vmdepth-run` hands it to a step graph: float32 [h, w, 3]."""
    small = np.empty((*size, 3), np.uint8)
    resize_frame(image, small, "area")
    return small.astype(np.float32) / np.float32(255)


def _as_views(image: Image, size: tuple[int, int]) -> Depth:
    """As Depth Anything 3 prepares it, where that gives this size; else as it is streamed."""
    if size != views_size(*image.shape[:2]):
        return _as_streamed(image, size)
    clip, _ = prepare_views([image])
    return clip[0].transpose(1, 2, 0)


def _enlarged(depth: Depth, size: tuple[int, int]) -> Depth:
    out = np.empty(size, np.float32)
    DepthResizer("area")(depth, out)
    return out

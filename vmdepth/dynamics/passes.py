"""Networks with attention, each led over a whole video the way it sees one, in sight of an observer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vmdepth.networks.encoder import Encoder
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.memory import ForwardPass, slices_for
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.reference_view import Reference, reference_view
from vmdepth.networks.multiview.views import imagenet_normalised
from vmdepth.networks.observer import BlockSlice, Observer
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.preparation import as_clip
from vmdepth.views.network import to_views
from vmdepth.views.windows import Chain, View, spans
from vmdepth.whole_video.clip_windows import offline_depths
from vmdepth_runtime.errors import InputError

WINDOW = 64  # frames of a network of views that see each other
OVERLAP = 12  # frames that two windows share: on each side six, as far as statistics reach
AT_A_TIME = 8  # images; keeps memory small and changes no result

Begin = Callable[[range, range], None]
"""Told of every window: the frames that see each other, and those that belong to it."""
Done = Callable[[int], None]
"""Told how much is done, in what `Passes.steps` counts."""


class Passes(ABC):
    """A network over the frames of one video, as often as wanted.

    Attributes:
        name: of the network.
        depth_kind: likewise.
        encoder: whose blocks are seen.
        feature_layer: the block whose output tells most of what a patch shows.
    """

    name: str
    depth_kind: str
    encoder: Encoder
    feature_layer: int

    @abstractmethod
    def windows(self, frames: int) -> list[range]:
        """Frames that see each other. Raises InputError where a video of so many cannot be put together."""

    @abstractmethod
    def steps(self, frames: int) -> tuple[int, str]:
        """How much there is to do for a video of so many frames, and of what: what grows while a window is seen."""

    @abstractmethod
    def encode(self, images: NDArray[np.uint8], begin: Begin, observe: Observer, done: Done) -> None:
        """The encoder alone over images uint8 [T, H, W, 3]; what the observer is shown has the frame's index."""

    @abstractmethod
    def look(
        self, images: NDArray[np.uint8], begin: Begin, observe: Observer, done: Done
    ) -> tuple[list[View], int | None]:
        """The whole network: what it says of every frame, and the reference view of the first window."""


def passes_of(network: nn.Module, window: int, reference: Reference | int, memory_budget: int | str | None) -> Passes:
    """How a network goes over a video; arguments and errors as of `capture.look`."""
    if isinstance(network, CausalViews):
        return ViewPasses(network.unmasked(), window, "first", memory_budget)
    if isinstance(network, AnyViewDepth | NestedDepth):
        return ViewPasses(network, window, reference, memory_budget)
    if isinstance(network, MonoDepth | VideoDepth) and isinstance(network.encoder, Encoder):
        return FramePasses(network, network.encoder, memory_budget)
    raise InputError(
        f"{getattr(network, 'name', type(network).__name__)}: has no attention that could tell what moves; take a "
        "network with a vision transformer, such as Depth Anything 3 or 2"
    )


class ViewPasses(Passes):
    """A network of views, in windows whose views see each other."""

    def __init__(
        self,
        network: AnyViewDepth | NestedDepth,
        window: int,
        reference: Reference | int,
        memory_budget: int | str | None,
    ) -> None:
        if window != 0 and window <= OVERLAP:
            raise InputError(f"window {window}: takes more than the {OVERLAP} frames that windows share, or 0 for all")
        self.name, self.depth_kind = network.name, network.depth_kind
        self._network = network
        self._views = network.views if isinstance(network, NestedDepth) else network
        self.encoder = self._views.encoder
        self.feature_layer = self._views.encoder.start - 1
        self._window, self._reference, self._budget = window, reference, memory_budget

    def windows(self, frames: int) -> list[range]:
        windows = spans(frames, self._window, OVERLAP)
        if len(windows) > 1 and self._views.camera_decoder is None:
            raise InputError(
                f"{self.name}: tells no cameras, by which windows are aligned; a window of 0 takes all {frames} frames "
                "at once, with a memory budget if need be"
            )
        return windows

    def steps(self, frames: int) -> tuple[int, str]:
        return len(self.windows(frames)) * self.encoder.size.depth, "blocks"

    def counting(self, observe: Observer, number: int, window: range, done: Done) -> Observer:
        """An observer of a window's frames, the `number`th, that also tells which blocks all of them are through."""
        before = number * self.encoder.size.depth

        def see(one: BlockSlice) -> None:
            if one.part in observe.parts and (observe.layers is None or one.layer in observe.layers):
                observe.see(one)
            if one.part == "output" and one.first + len(one.values) == window.stop:
                done(before + one.layer + 1)

        parts = tuple(dict.fromkeys((*observe.parts, "output")))
        return replace(observe, see=see, parts=parts, layers=None).from_image(window.start)

    @torch.inference_mode()
    def encode(self, images: NDArray[np.uint8], begin: Begin, observe: Observer, done: Done) -> None:
        for number, (window, own) in enumerate(with_own(self.windows(len(images)))):
            begin(window, own)
            clip = _clip(self._network, images[window.start : window.stop])
            unit = self.encoder.pos_embed.element_size()
            size = images.shape[1], images.shape[2]
            forward = ForwardPass(self._views.config, 1, len(clip), *size, kept=observe.keeps, bytes=unit)
            self._views.encoder.in_slices(
                clip,
                len(clip),
                lambda *_: None,
                slices_for(forward, self._budget, None if self._budget else AT_A_TIME),
                reference=self._reference,
                prepare=imagenet_normalised,
                observe=self.counting(observe, number, window, done),
            )

    @torch.inference_mode()
    def look(
        self, images: NDArray[np.uint8], begin: Begin, observe: Observer, done: Done
    ) -> tuple[list[View], int | None]:
        windows = list(with_own(self.windows(len(images))))
        chain, views, references = Chain(), [], []
        for number, (window, own) in enumerate(windows):
            begin(window, own)
            class_tokens: list[Tensor] = []
            said = self._network(
                _clip(self._network, images[window.start : window.stop])[None],
                reference=self._reference,
                memory_budget=self._budget,
                chunk=None if self._budget else AT_A_TIME,
                observe=self.counting(
                    _also_class_tokens(observe, self.feature_layer, class_tokens), number, window, done
                ),
            )
            references.append(int(reference_view(torch.cat(class_tokens)[None], self._reference)))
            following = windows[number + 1][0].start if number + 1 < len(windows) else len(images)
            views += [view for _, view in chain.add(window.start, to_views(said, None, alone=False), following)]
        return views, references[0]


class FramePasses(Passes):
    """A network that sees every frame alone as far as its encoder goes: a video is one window, in pieces."""

    def __init__(self, network: MonoDepth | VideoDepth, encoder: Encoder, memory_budget: int | str | None) -> None:
        self.name, self.depth_kind, self.encoder = network.name, network.depth_kind, encoder
        self.feature_layer = encoder.size.depth - 1
        self._network, self._budget = network, memory_budget

    def windows(self, frames: int) -> list[range]:
        return [range(frames)]

    def steps(self, frames: int) -> tuple[int, str]:
        return frames, "frames"

    @torch.inference_mode()
    def encode(self, images: NDArray[np.uint8], begin: Begin, observe: Observer, done: Done) -> None:
        begin(range(len(images)), range(len(images)))
        for first, clip in self._pieces(images):
            if isinstance(self._network, VideoDepth):
                self._network.encode(clip, observe.from_image(first))
            else:
                self.encoder(imagenet_normalised(clip), observe.from_image(first))
            done(first + len(clip))

    @torch.inference_mode()
    def look(
        self, images: NDArray[np.uint8], begin: Begin, observe: Observer, done: Done
    ) -> tuple[list[View], int | None]:
        if isinstance(self._network, VideoDepth) and not self._network.can_step:
            self.encode(images, begin, observe, done)
            whole = offline_depths(self._network, list(images), _in_unit_range, lambda depth: depth)
            return [View(depth) for depth in whole], None
        begin(range(len(images)), range(len(images)))
        depths: list[NDArray[np.float32]] = []
        states = None
        for first, clip in self._pieces(images):
            seen = observe.from_image(first)
            if isinstance(self._network, VideoDepth):
                depth, states = self._network(clip[None], states, observe=seen)
                depths += list(depth[0, :, 0].float().cpu().numpy())
            else:
                said = self._network(clip[:, None], memory_budget=self._budget, observe=seen)
                depths += list(said.depth[:, 0].float().cpu().numpy())
            done(first + len(clip))
        return [View(depth) for depth in depths], None

    def _pieces(self, images: NDArray[np.uint8]) -> Iterator[tuple[int, Tensor]]:
        for first in range(0, len(images), AT_A_TIME):
            yield first, _clip(self._network, images[first : first + AT_A_TIME])


def with_own(windows: Sequence[range]) -> Iterator[tuple[range, range]]:
    """Each window with the frames that belong to it: of an overlap, the half that is its own."""
    begins = [0, *((after.start + before.stop) // 2 for before, after in pairwise(windows))]
    for window, first, last in zip(windows, begins, [*begins[1:], windows[-1].stop], strict=True):
        yield window, range(first, last)


def _clip(network: nn.Module, images: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, H, W, 3] → [n, 3, H, W] in 0..1, in the network's precision and on its device."""
    return torch.from_numpy(as_clip(list(images))).to(next(network.parameters()))


def _in_unit_range(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(255)


def _also_class_tokens(observe: Observer, layer: int, into: list[Tensor]) -> Observer:
    """An observer that also takes what a reference view is chosen by: class tokens [n, width] that go into a block."""

    def see(one: BlockSlice) -> None:
        if one.part != "input":
            observe.see(one)
        elif one.layer == layer:
            into.append(one.values[:, 0].clone())

    layers = None if observe.layers is None else (*observe.layers, layer)
    return replace(observe, see=see, parts=(*observe.parts, "input"), layers=layers)

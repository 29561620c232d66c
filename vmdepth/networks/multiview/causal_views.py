"""`CausalViews`: an any-view network of Depth Anything 3 over a video, in which a frame sees only frames before it."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.encoder import PATCH, SPECIAL, Block, Encoder, Observer, check_size
from vmdepth.networks.heads.base import StateTensors, next_counter, remember
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.cameras import CameraDecoder, to_cameras
from vmdepth.networks.multiview.decoder import ViewDecoder, depth_and_confidence
from vmdepth.networks.multiview.encoder import OverViews, ViewEncoder
from vmdepth.networks.multiview.presets import WINDOW, AnyViewConfig, CausalViewsConfig, MonoConfig
from vmdepth.networks.multiview.remembered_views import SLOT_AXIS, attend_all, attend_clip, attend_past, slot_mask
from vmdepth.networks.multiview.rotary import GridRotation
from vmdepth.networks.multiview.views import Views, check_clip, imagenet_normalised
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.contract import Ring


class ViewParts(Protocol):
    """An any-view network in whatever form: at once, one picture at a time, causal."""

    @property
    def config(self) -> AnyViewConfig | MonoConfig: ...
    @property
    def encoder(self) -> Encoder: ...
    @property
    def decoder(self) -> nn.Module: ...
    @property
    def camera_decoder(self) -> CameraDecoder | None: ...


class CausalViews(StepNetwork):
    """The global blocks' queries of frame t meet the keys of frame 0, of the window − 1 frames before t, and of t.

    Frame 0 is the reference view for ever. Attention over views knows no order (all views share the places of their
    tokens), so all there is to remember are the keys and values that a global block made of each frame: rings of
    `window` slots, the first of which keeps frame 0. States: `counter` [B], the frame's number, and for every global
    block i `block_<i>.keys` and `block_<i>.values`, [B, heads, window, tokens, d].

    It shares the weights of the network that it is made of, but for a camera encoder, as nobody gives it cameras.
    """

    stride = CausalViewsConfig.stride
    usual_size = CausalViewsConfig.usual_size
    depth_kind = "scaled"
    config: CausalViewsConfig
    ring: Ring
    cycle: tuple[int, int]
    encoder: ViewEncoder
    decoder: ViewDecoder
    camera_decoder: CameraDecoder | None

    def __init__(self, network: ViewParts, window: int = WINDOW) -> None:
        """Raises ValueError for a window of less than two frames, and for a network for single images."""
        super().__init__()
        if not isinstance(network.config, AnyViewConfig):
            raise ValueError("networks for single images have no attention over views")
        assert isinstance(network.encoder, ViewEncoder)
        assert isinstance(network.decoder, ViewDecoder)
        self.config = CausalViewsConfig.of(network.config, window)
        self.name = f"Depth Anything 3 {self.config.encoder}"
        self.encoder, self.decoder, self.camera_decoder = network.encoder, network.decoder, network.camera_decoder
        self.extra_outputs = ("confidence", "pose") if self.camera_decoder is not None else ("confidence",)
        self.window = window
        self.ring = Ring(slots=window, anchors=1, axis=SLOT_AXIS)
        self.cycle = window, 2 * window - 2

    def state_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        check_size(height, width, PATCH)
        size, tokens = self.encoder.size, _tokens(height, width)
        shape = (batch, size.heads, self.window, tokens, size.width // size.heads)
        return {"counter": (batch,), **{name: shape for index in self.encoder.global_blocks for name in _rings(index)}}

    def forward(self, clip: Tensor, states: StateTensors | None = None) -> tuple[Views, StateTensors]:
        """A clip, or the next piece of one: the same as its frames one after the other.

        Args:
            clip: float [B, N, 3, H, W], RGB in 0..1; sides are multiples of 14.
            states: after the frames before it; None begins a clip.

        Returns:
            `Views` with depth, confidence and, from a network that tells them, cameras, near those of frame 0; and the
            states after the last frame.

        Raises:
            ValueError: sizes or states that do not fit.
        """
        batch, frames, *_ = check_clip(clip)
        before = self.checked(states, batch, clip)
        counters = [before["counter"]]
        for _ in range(frames):
            counters.append(next_counter(counters[-1], self.cycle))
        *counters, after_last = counters
        after: StateTensors = {"counter": after_last}

        def over_views(index: int, block: Block, tokens: Tensor, rotation: GridRotation) -> Tensor:
            rings = {name: before[name] for name in _rings(index)}

            def meet(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
                found, filled = attend_clip(query, key, value, rings, counters, self.ring)
                after.update(filled)
                return found

            return block(tokens, rotation, meet=meet)

        outputs, _ = self._through(clip.flatten(0, 1), torch.stack(counters, dim=1).flatten(), over_views)
        return _views(outputs, batch, *clip.shape[-2:]), after

    def whole(self, clip: Tensor) -> Views:
        """A clip [B, N, 3, H, W] with the mask off: every frame sees all, as the network was trained."""
        batch, frames, *_ = check_clip(clip)

        def over_views(index: int, block: Block, tokens: Tensor, rotation: GridRotation) -> Tensor:
            return block(tokens, rotation, meet=partial(attend_all, frames=frames))

        numbers = torch.arange(frames, device=clip.device).repeat(batch)
        outputs, _ = self._through(clip.flatten(0, 1), numbers, over_views)
        return _views(outputs, batch, *clip.shape[-2:])

    def unmasked(self) -> AnyViewDepth:
        """The same weights as the network of views, of which `whole` is what it says with frame 0 as reference."""
        with torch.device("meta"):
            network = AnyViewDepth(self.config.views)
        network.name = self.name
        network.encoder, network.decoder, network.camera_decoder = self.encoder, self.decoder, self.camera_decoder
        return network.train(self.training)

    def step(self, frame: Tensor, states: StateTensors | None = None) -> tuple[Views, StateTensors]:
        """frame [B, 3, H, W], RGB in 0..1 → `Views` of the one frame, [B, 1, ...], and the states after it."""
        states = self.checked(states, len(frame), frame)
        outputs, after = self.outputs(frame, states)
        counter = after.pop("counter")
        after = remember(states, after, states["counter"], self.ring)
        return _views(outputs, len(frame), *frame.shape[-2:]), {"counter": counter, **after}

    def outputs(
        self, frame: Tensor, states: StateTensors, observe: Observer | None = None
    ) -> tuple[dict[str, Tensor], StateTensors]:
        """As of any `StepNetwork`; the descriptor is the mean of the last tap's normalised half."""
        counter = states["counter"]
        mask = slot_mask(counter, self.window, _tokens(*frame.shape[-2:]))
        after: StateTensors = {"counter": next_counter(counter, self.cycle)}

        def over_views(index: int, block: Block, tokens: Tensor, rotation: GridRotation) -> Tensor:
            keys, values = _rings(index)

            def meet(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
                after.update({keys: key, values: value})
                return attend_past(query, key, value, states[keys], states[values], mask)

            if observe is not None:
                return observe.through(index, block, tokens, kind="global", rotation=rotation, meet=meet)
            return block(tokens, rotation, meet=meet)

        outputs, taps = self._through(frame, counter, over_views, observe)
        return {**outputs, "descriptor": F.normalize(self.encoder.describe(taps), dim=-1)}, after

    def _through(
        self, images: Tensor, numbers: Tensor, over_views: OverViews, observe: Observer | None = None
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Images [n, 3, H, W] and their numbers since the start [n] → outputs by their names, and the taps."""
        special = self.encoder.camera_token[0, numbers.clamp(max=1).long()]
        taps, token = self.encoder(imagenet_normalised(images), special, over_views, observe)
        outputs = depth_and_confidence(self.decoder, taps, (images.shape[-2] // PATCH, images.shape[-1] // PATCH))
        if self.camera_decoder is not None:
            outputs["pose"] = self.camera_decoder(token)
        return outputs, taps

    def check_memory(self, batch: int, height: int, width: int, memory: int) -> None:
        size, tokens = self.encoder.size, _tokens(height, width)
        # Of every frame that is seen: its keys and values in each block, held by the network and by the graph that is
        # compared with it, and in one block at a time three copies of its scores, plain, masked and exponential.
        remembered = 2 * 2 * len(self.encoder.global_blocks) * size.width * tokens
        frame = 4 * batch * (remembered + 3 * size.heads * tokens**2)
        needed = (self.window + 1) * frame
        if needed > memory:
            fits = memory // frame - 1
            way = f"a window of {fits} would fit" if fits >= 2 else "no window would fit at this size"
            raise ValueError(
                f"window {self.window}: to remember so many frames of {height}x{width} and attend to them takes "
                f"{needed / 2**30:.1f} GiB of memory, and there are {memory / 2**30:.1f}; {way}"
            )

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        self.encoder.fold(height, width)
        self.decoder.fold(height, width)

    def remembering(self, ring: Ring | None) -> CausalViews:
        if ring is None or (ring.anchors, ring.axis) != (self.ring.anchors, self.ring.axis):
            raise ValueError(f"{self.name} keeps frames in rings with one anchor when it is causal, and not in {ring}")
        return CausalViews(self, ring.slots)


def _rings(index: int) -> tuple[str, str]:
    """Names of the rings of a global block: keys, values."""
    return f"block_{index}.keys", f"block_{index}.values"


def _tokens(height: int, width: int) -> int:
    return SPECIAL + (height // PATCH) * (width // PATCH)


def _views(outputs: dict[str, Tensor], batch: int, height: int, width: int) -> Views:
    said = {name: output.unflatten(0, (batch, -1)) for name, output in outputs.items()}
    cameras = to_cameras(said["pose"], height, width) if "pose" in said else (None, None)
    return Views(said["depth"], said["confidence"], *cameras)

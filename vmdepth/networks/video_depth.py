"""`VideoDepth` = encoder + decoder + {tap: temporal head}: one network, run over a clip or frame by frame."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.decoder import Tap
from vmdepth.networks.encoder import check_size
from vmdepth.networks.encoder_kinds import AnyDecoder, AnyEncoder
from vmdepth.networks.heads.base import (
    HeadSettings,
    StateTensors,
    StateWatch,
    TemporalHead,
    next_counter,
    remember,
)
from vmdepth.networks.motion.motion_head import MotionHead, Seen
from vmdepth.networks.observer import Observer
from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.contract import Ring
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.outputs import DYNAMIC


class VideoDepth(StepNetwork):
    """Depth of a video: relative inverse depth (≥ 0, larger is nearer), or metres, as `config.depth` says.

    Images are RGB float in 0..1, height and width multiples of `config.stride`; normalisation happens inside. States
    are named tensors: `counter` [B], the frame's number (see `HeadSettings.cycle`), and `<tap>.<state>` for every head;
    `ring` says how they are kept. A network without heads, and a bidirectional one, has none. Raises ValueError for
    sizes or states that do not fit.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.name = config.encoder
        self.stride, self.usual_size = config.stride, config.usual_size
        self.depth_kind = config.depth
        self.encoder: AnyEncoder
        self.decoder: AnyDecoder
        self.encoder, self.decoder = config.encoder_kind.build(
            config.encoder, config.features, config.out_channels, config.output
        )
        self.heads = nn.ModuleDict(config.head.build({tap: self.decoder.tap_channels(tap) for tap in config.taps}))
        self.dynamic: MotionHead | None = None
        if config.motion is not None:
            self.dynamic = MotionHead(self.decoder.tap_channels(config.motion.tap), config.motion)
            self.extra_outputs = (DYNAMIC,)
        self.ring = config.head.ring if self.heads else None
        self.cycle = config.head.cycle if self.heads else None
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(self.encoder.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.encoder.std).view(3, 1, 1), persistent=False)

    def state_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """State name → shape for frames of height × width pixels, in the order of the step graph."""
        check_size(height, width, self.config.stride)
        shapes: dict[str, tuple[int, ...]] = {"counter": (batch,)} if self.cycle else {}
        for tap, head in self.heads.items():
            assert isinstance(head, TemporalHead)
            rows_columns = self.decoder.tap_size(tap, height, width)
            shapes |= {f"{tap}.{name}": shape for name, shape in head.state_shapes(batch, *rows_columns).items()}
        if self.dynamic is not None:
            shapes |= self.dynamic.state_shapes(batch, height, width)
        return shapes

    def forward(
        self,
        clip: Tensor,
        states: StateTensors | None = None,
        watch: StateWatch | None = None,
        observe: Observer | None = None,
    ) -> tuple[Tensor, StateTensors]:
        """clip [B, N, 3, H, W] → depth [B, N, 1, H, W] and the states after the last frame. None starts from zeros.

        watch: told of every recurrent state, under the name it has in `states`. observe: as of `encode`.
        """
        depth, _, after = self.clip(clip, states, watch, observe)
        return depth, after

    def clip(
        self,
        clip: Tensor,
        states: StateTensors | None = None,
        watch: StateWatch | None = None,
        observe: Observer | None = None,
    ) -> tuple[Tensor, Tensor | None, StateTensors]:
        """`forward` with what moves besides: `dynamic` [B, N, H, W], 0..1, after the depth, 0 in a video's first frame;
        None without the head."""
        states = self.checked(states, len(clip), clip)
        depth, shown, new_states = self._over_clip(clip, states, watch, observe)
        return depth, self._moving(clip, depth, shown, states, new_states), new_states

    def seen_of_motion(self, clip: Tensor) -> Seen:
        """What the motion head, which it has to have, looks at of a clip [B, N, 3, H, W], all states at their start."""
        assert self.dynamic is not None
        states = self.checked(None, len(clip), clip)
        depth, shown, _ = self._over_clip(clip, states)
        return self.dynamic.seen(clip, self._inverse(depth), shown[self.dynamic.settings.tap], states)[0]

    def _over_clip(
        self, clip: Tensor, states: StateTensors, watch: StateWatch | None = None, observe: Observer | None = None
    ) -> tuple[Tensor, dict[str, Tensor], StateTensors]:
        """Depth [B, N, 1, H, W] of a clip, the map [B, N, C, h, w] by its tap that the motion head sees, where there is
        one, and the states without that head's."""
        batch, length = clip.shape[:2]
        new_states: StateTensors = {}
        if self.cycle:
            new_states["counter"] = states["counter"]
            for _ in range(length):
                new_states["counter"] = next_counter(new_states["counter"], self.cycle)
        shown: dict[str, Tensor] = {}

        def temporal(name: str, image: Tensor) -> Tensor:
            images = self._through_head(name, image.unflatten(0, (batch, length)), states, new_states, watch)
            self._show(name, images, shown)
            return images.flatten(0, 1)

        depth = self._decode(self.encode(clip.flatten(0, 1), observe), _size(clip), temporal)
        return depth.unflatten(0, (batch, length)), shown, new_states

    def step(self, frame: Tensor, states: StateTensors | None = None) -> tuple[Tensor, StateTensors]:
        """frame [B, 3, H, W] → depth [B, 1, H, W] and the states after it. None starts from zeros."""
        self.check_steps()
        states = self.checked(states, len(frame), frame)
        depth, shown, after = self.decode_step(self.encode(frame), _size(frame), states)
        self._moving(frame[:, None], depth[:, None], shown, states, after)
        rings = {name: entry for name, entry in after.items() if self.ring_of(name) is not None}
        return depth, {**after, **(remember(states, rings, states["counter"], self.ring) if rings else {})}

    def check_steps(self) -> None:
        if not self.can_step:
            raise ValueError(self.config.head.no_step)

    @property
    def can_step(self) -> bool:
        """Whether there is a `step`; a network that must see a whole clip has none."""
        return not self.heads or not self.config.head.no_step

    @property
    def longest_clip(self) -> int | None:
        """Frames that a clip may have; None: any number."""
        return self.config.head.longest_clip if self.heads else None

    def with_head(self, head: HeadSettings) -> VideoDepth:
        """The same weights with heads of other settings, for example the whole clip in sight; itself where they are the
        same. They ask for gradients where they do here.

        Raises ValueError where the weights are not those of such heads.
        """
        if head == self.config.head:
            return self
        if not self.config.head.shares_weights(head):
            raise ValueError(f"weights of {self.config.head} are not those of {head}")
        like = next(self.parameters())
        other = VideoDepth(replace(self.config, head=head)).to(like.device, like.dtype).train(self.training)
        other.load_state_dict(self.state_dict())
        learns = {name: parameter.requires_grad for name, parameter in self.named_parameters()}
        for name, parameter in other.named_parameters():
            parameter.requires_grad_(learns[name])
        other.name = self.name
        return other

    def without_motion_head(self) -> VideoDepth:
        """The same weights but for the motion head's; itself where it has none."""
        if self.dynamic is None:
            return self
        like = next(self.parameters())
        other = VideoDepth(replace(self.config, motion=None)).to(like.device, like.dtype).train(self.training)
        other.load_state_dict({n: w for n, w in self.state_dict().items() if not n.startswith(f"{DYNAMIC}.")})
        other.name = self.name
        return other

    def remembering(self, ring: Ring | None) -> VideoDepth:
        return self.with_head(self.config.head.like(ring))

    def fold(self, height: int, width: int) -> None:
        self.encoder.fold(height, width)
        self.decoder.fold(height, width)

    def outputs(
        self, frame: Tensor, states: StateTensors, observe: Observer | None = None
    ) -> tuple[dict[str, Tensor], StateTensors]:
        """As of any `StepNetwork`; the descriptor is the mean of the encoder's last map."""
        maps = self.encode(frame, observe)
        depth, shown, after = self.decode_step(maps, _size(frame), states)
        outputs = {"depth": depth[:, 0], "descriptor": F.normalize(self.encoder.describe(maps), dim=-1)}
        dynamic = self._moving(frame[:, None], depth[:, None], shown, states, after)
        return outputs if dynamic is None else {**outputs, DYNAMIC: dynamic[:, 0]}, after

    def encode(self, images: Tensor, observe: Observer | None = None) -> list[Tensor]:
        """images [n, 3, H, W] in 0..1 → the encoder's maps: of a ViT four [n, (H/stride)·(W/stride), width].

        observe: is shown every block of the encoder. Raises ValueError for an encoder without attention.
        """
        return self.encoder((images - self.mean) / self.std, observe)

    def decode_step(
        self, maps: list[Tensor], size: tuple[int, int], states: StateTensors
    ) -> tuple[Tensor, dict[str, Tensor], StateTensors]:
        """Of `step`, what is between the encoder and the motion head, with a frame's maps in place of a clip's; of
        rings only the new entries. Returns what `_over_clip` does. size: height, width of the frame."""
        new_states: StateTensors = {}
        if self.cycle:
            new_states["counter"] = next_counter(states["counter"], self.cycle)
        shown: dict[str, Tensor] = {}

        def temporal(name: str, image: Tensor) -> Tensor:
            image = self._through_head(name, image, states, new_states)
            self._show(name, image[:, None], shown)
            return image

        return self._decode(maps, size, temporal), shown, new_states

    def _show(self, tap: str, images: Tensor, shown: dict[str, Tensor]) -> None:
        """Keep the map [B, N, C, h, w] that the motion head sees."""
        if self.dynamic is not None and tap == self.dynamic.settings.tap:
            shown[tap] = images

    def _moving(
        self, frames: Tensor, depth: Tensor, shown: dict[str, Tensor], states: StateTensors, new_states: StateTensors
    ) -> Tensor | None:
        """`dynamic` [B, N, H, W] of a network that has it; the head's states go into `new_states`."""
        if self.dynamic is None:
            return None
        dynamic, after = self.dynamic(frames, self._inverse(depth), shown[self.dynamic.settings.tap], states)
        new_states.update(after)
        return dynamic

    def _inverse(self, depth: Tensor) -> Tensor:
        """Depth of any kind as inverse depth up to a factor."""
        if DEPTH_KINDS[self.depth_kind].inverse:
            return depth
        return self.config.max_depth / depth.clamp_min(0.01 * self.config.max_depth)

    def _decode(self, maps: list[Tensor], size: tuple[int, int], tap: Tap) -> Tensor:
        depth = self.decoder(maps, size, tap)
        return depth if self.config.max_depth == 1 else depth * self.config.max_depth

    def _through_head(
        self, tap: str, image: Tensor, states: StateTensors, new_states: StateTensors, watch: StateWatch | None = None
    ) -> Tensor:
        """What the head at a tap makes of its map; its states after that go into `new_states`."""
        if tap not in self.heads:
            return image
        before = {key.removeprefix(f"{tap}."): value for key, value in states.items() if key.startswith(f"{tap}.")}
        if watch is not None:
            watch = _prefixed(watch, tap)
        image, after = self.heads[tap](image, before, states.get("counter", image.new_zeros(0)), watch)
        new_states.update({f"{tap}.{key}": value for key, value in after.items()})
        return image


def _prefixed(watch: StateWatch, tap: str) -> StateWatch:
    return lambda name, state: watch(f"{tap}.{name}", state)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]

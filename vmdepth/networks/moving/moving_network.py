"""`MovingNetwork`: a network that streams, with the output `dynamic` besides, made of its encoder's attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vmdepth.networks.encoder import Encoder
from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.moving.bands import Bands, relative_bands
from vmdepth.networks.moving.causal_masks import FORGETTING, CausalMasks
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.encoder import ViewEncoder
from vmdepth.networks.observer import BlockSlice, Observer
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.contract import DYNAMIC_STATES, Ring
from vmdepth_runtime.outputs import DYNAMIC


class MovingNetwork(StepNetwork):
    """All that a network gives and remembers, and beside it `dynamic` [B, H, W], 0..1, and the states that it takes.

    A `CausalViews` meets the frames that it remembers, whose moments lie in rings like its own; in all others frames
    never see each other in the encoder, and their moments fade. It shares the weights of the network, and has none
    of its own.
    """

    def __init__(self, network: StepNetwork, forgetting: float = FORGETTING, bands: Bands | None = None) -> None:
        """bands: blocks of the encoder; None are those of relative depth (see `relative_bands`).

        Raises ValueError for a network whose encoder has no attention, one that tells what moves by itself, and
        forgetting that cannot be.
        """
        super().__init__()
        if DYNAMIC in network.extra_outputs:
            raise ValueError(f"{network.name} tells what moves by itself")
        encoder = getattr(network, "encoder", None)
        if not isinstance(encoder, Encoder):
            raise ValueError(
                f"{network.name} has no attention in its encoder, which moving things are told by; networks with the "
                "encoder of Depth Anything 2 or 3 have"
            )
        self.network = network
        self.name, self.stride, self.usual_size = network.name, network.stride, network.usual_size
        self.depth_kind, self.metric_focal = network.depth_kind, network.metric_focal
        self.extra_outputs = (*network.extra_outputs, DYNAMIC)
        self.ring, self.cycle = network.ring, network.cycle
        size, window = encoder.size, network.window if isinstance(network, CausalViews) else None
        if bands is None:
            over_views = encoder.global_blocks if isinstance(encoder, ViewEncoder) else []
            bands = relative_bands(over_views or range(len(encoder.blocks)))
        self.dynamic = CausalMasks(bands, size.heads, size.width // size.heads, window, forgetting)

    @property
    def weights_in(self) -> StepNetwork:
        return self.network

    def state_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        return {**self.network.state_shapes(batch, height, width), **self.dynamic.state_shapes(batch)}

    def ring_of(self, name: str) -> Ring | None:
        if not name.startswith(DYNAMIC_STATES):
            return self.network.ring_of(name)
        return self.ring if self.dynamic.slots is not None and name in self.dynamic.moments else None

    def outputs(
        self, frame: Tensor, states: StateTensors, observe: Observer | None = None
    ) -> tuple[dict[str, Tensor], StateTensors]:
        """As of any `StepNetwork`; there is one observer, which is its own."""
        assert observe is None
        queries: dict[int, Tensor] = {}
        keys: dict[int, Tensor] = {}

        def see(part: BlockSlice) -> None:
            (queries if part.part == "query" else keys)[part.layer] = part.values[:, :, part.special :]

        watch = Observer(see, layers=self.dynamic.bands.watched)
        outputs, after = self.network.outputs(frame, states, watch)
        counter = None if self.dynamic.slots is None else states["counter"]
        moving, statistics = self.dynamic(queries, keys, states, counter)
        height, width = frame.shape[-2:]
        grid = moving.unflatten(1, (height // self.stride, width // self.stride))
        dynamic = F.interpolate(grid[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
        return {**outputs, DYNAMIC: dynamic}, {**after, **statistics}

    def step(self, frame: Tensor, states: StateTensors | None = None) -> tuple[dict[str, Tensor], StateTensors]:
        """frame [B, 3, H, W], RGB in 0..1 → all outputs by their names, and the states after it. None starts from
        zeros."""
        self.check_steps()
        states = self.checked(states, len(frame), frame)
        outputs, after = self.outputs(frame, states)
        return outputs, self.written(states, after)

    def check_steps(self) -> None:
        self.network.check_steps()

    def check_memory(self, batch: int, height: int, width: int, memory: int) -> None:
        self.network.check_memory(batch, height, width, memory)

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        self.network.fold(height, width)

    def remembering(self, ring: Ring | None) -> MovingNetwork:
        return MovingNetwork(self.network.remembering(ring), self.dynamic.forgetting, self.dynamic.bands)

"""`StepNetwork`: what has to be known of a network to stream, export and prove it, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from vmdepth.networks.heads.base import StateTensors, remember
from vmdepth.networks.observer import Observer
from vmdepth_runtime.contract import Ring, of_the_scene


class StepNetwork(nn.Module, ABC):
    """A network that goes over a video frame by frame, with everything it remembers in named states.

    Attributes:
        name: what the model is called in files and reports.
        stride: heights and widths of frames are multiples of it, pixels.
        usual_size: height and width where nobody says another, pixels.
        depth_kind: what its depth means, a name of `vmdepth_runtime.depth_kinds.DEPTH_KINDS`.
        metric_focal: as in the contract.
        extra_outputs: names of `vmdepth_runtime.outputs.EXTRA_OUTPUTS` that it gives.
        ring: how memories of the scene are kept that are rings; None where `outputs` returns what replaces the old
            ones.
        cycle: `counter` goes from 0 to cycle[1] and on from cycle[0]; None without a counter.
    """

    name: str
    stride: int
    usual_size: tuple[int, int]
    depth_kind: str
    metric_focal: float | None = None
    extra_outputs: tuple[str, ...] = ()
    ring: Ring | None
    cycle: tuple[int, int] | None

    @abstractmethod
    def state_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """State name → shape for frames of height × width pixels, in the order of the step graph.

        Raises ValueError for a size that it cannot have.
        """

    @property
    def weights_in(self) -> StepNetwork:
        """The network that the weights have their names in."""
        return self

    def ring_of(self, name: str) -> Ring | None:
        """How a state is kept: in such a ring, or None where `outputs` returns what replaces it."""
        return self.ring if of_the_scene(name) else None

    @abstractmethod
    def outputs(
        self, frame: Tensor, states: StateTensors, observe: Observer | None = None
    ) -> tuple[dict[str, Tensor], StateTensors]:
        """One frame through the network.

        Args:
            frame: float [B, 3, H, W], RGB in 0..1.
            states: by name; not changed.
            observe: is shown blocks of the encoder, where it has attention; also while a graph is made.

        Returns:
            `depth`, `descriptor` and the extra outputs by their names, as the contract describes them; and the next
            states, of rings only the new entries.
        """

    def written(self, states: StateTensors, after: StateTensors) -> StateTensors:
        """The states for the next frame, from those before this one and what `outputs` returned of it: entries of rings
        are written into copies of these."""
        new = {}
        for name, value in after.items():
            ring = self.ring_of(name)
            new[name] = value if ring is None else remember(states, {name: value}, states["counter"], ring)[name]
        return new

    @abstractmethod
    def fold(self, height: int, width: int) -> None:
        """Turn into what compilers know best, at one size of frames. Cannot be undone."""

    @abstractmethod
    def remembering(self, ring: Ring | None) -> StepNetwork:
        """The form of the same weights whose states are such rings, where there is one.

        Raises ValueError where the weights are not those of such a form.
        """

    def check_steps(self) -> None:
        """Raise ValueError, saying what to do, for a network that has no step in this form."""

    def check_memory(self, batch: int, height: int, width: int, memory: int) -> None:
        """Raise ValueError, saying what would fit, where steps of this form take more than so many bytes.

        Only networks whose window may be of any length have to.
        """

    def init_states(self, batch: int, height: int, width: int) -> StateTensors:
        """The states before the first frame: zeros on the device of the parameters. Rings have their dtype, all else is
        float32 at least."""
        like = next(self.parameters())
        wide = torch.promote_types(like.dtype, torch.float32)
        return {
            name: torch.zeros(shape, dtype=wide if self.ring_of(name) is None else like.dtype, device=like.device)
            for name, shape in self.state_shapes(batch, height, width).items()
        }

    def checked(self, states: StateTensors | None, batch: int, images: Tensor) -> StateTensors:
        """The states, or those before the first frame where there are none; images: [..., H, W].

        Raises ValueError, naming what is wrong, for states of another network or size.
        """
        height, width = images.shape[-2:]
        if states is None:
            return self.init_states(batch, height, width)
        shapes = self.state_shapes(batch, height, width)
        if states.keys() != shapes.keys():
            odd = sorted(states.keys() ^ shapes.keys())[:5]
            raise ValueError(f"states do not belong to this network: missing or unknown {', '.join(odd)}")
        for name, shape in shapes.items():
            if tuple(states[name].shape) != shape:
                raise ValueError(f"state '{name}' has shape {tuple(states[name].shape)}, this input needs {shape}")
        return states

"""A network's `step` with the inputs and outputs of the step graph's contract, still in PyTorch."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from vmdepth.networks.heads.base import StateTensors
from vmdepth.networks.step_network import StepNetwork
from vmdepth_runtime.contract import of_the_scene


class StepGraph(nn.Module):
    """One frame through a copy of a network that is folded to one size and to what compilers know best.

    `forward(frame, states)`: frame uint8 [B, H, W, 3] RGB; states by name. Returns the outputs by the names of
    `contract.own_outputs`, which say what they are, and the next states by name (of rings, the new entries). Raises
    ValueError for a network that has no step.
    """

    def __init__(self, model: StepNetwork, height: int, width: int) -> None:
        super().__init__()
        model.check_steps()
        self.model = copy.deepcopy(model).eval()
        self.model.fold(height, width)
        if model.ring is not None and model.cycle is not None:
            first, last = model.cycle
            slots = [model.ring.slot(counter - 1 if counter > first else last) or 0 for counter in range(last + 1)]
            self.previous_slot: Tensor
            self.register_buffer("previous_slot", torch.tensor(slots), persistent=False)

    def forward(self, frame: Tensor, states: StateTensors) -> tuple[dict[str, Tensor], StateTensors]:
        # To float first: TensorRT does nothing else with bytes.
        outputs, after = self.model.outputs(frame.float().permute(0, 3, 1, 2) / 255, states)
        # In the order of the given ones, which is that of the graph's inputs.
        after = {name: after[name] for name in states}
        return {**outputs, "state_change": state_change(self._newest(states), after, frame)}, after

    def _newest(self, states: StateTensors) -> StateTensors:
        """What the frame before this one left: the states, and of rings the entry that it wrote."""
        ring = self.model.ring
        if ring is None:
            return states
        slot = self.previous_slot[states["counter"].long()]
        newest = {}
        for name, state in states.items():
            if not of_the_scene(name):
                continue
            outer, (slots, *inner) = state.shape[: ring.axis], state.shape[ring.axis :]
            # The rows are gathered from one long list of entries, which leaves the ring itself unread.
            first = torch.arange(math.prod(outer), device=state.device) * slots
            rows = first + slot.repeat_interleave(len(first) // len(slot))
            newest[name] = state.reshape(len(first) * slots, -1).index_select(0, rows).view(*outer, *inner)
        return newest


def state_change(before: StateTensors, after: StateTensors, frame: Tensor) -> Tensor:
    """‖s' − s‖ / (‖s‖ + eps) over all that a stream remembers of its last frame, [B]; 0 for a network without states.

    What is no memory of the scene is left out: the counter, whose wrap would look like a cut, and the statistics that
    `dynamic` is made of.
    """
    moved = size = torch.zeros(len(frame), device=frame.device)
    for name in before:
        if of_the_scene(name):
            change, memory = (after[name] - before[name]).flatten(1), before[name].flatten(1)
            moved = moved + (change * change).sum(dim=1)
            size = size + (memory * memory).sum(dim=1)
    return moved.sqrt() / (size.sqrt() + 1e-6)

"""What a step graph gives beside the next states: exporter, sessions, parity, Triton and streams go by these tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OutputSpec:
    """An output of step graphs, beside the next states.

    dtype: NumPy's name. axes: what its dimensions are, the stream axis first: "streams", "height" and "width" are the
    contract's, any other name is a length of the model's own. error: how parity measures it, in shares of its "range",
    as a "ratio" to at least 1, or, of a "share", which has a range of 1 whatever the picture, as it is. accumulates:
    errors may pile up from frame to frame; other outputs' come and go with the picture. meaning: for people.
    """

    name: str
    axes: tuple[str, ...]
    error: Literal["range", "ratio", "share"]
    accumulates: bool
    meaning: str
    dtype: str = "float32"


OUTPUTS = (
    OutputSpec(
        name="depth",
        axes=("streams", "height", "width"),
        error="range",
        accumulates=True,
        meaning="depth of every pixel, in the contract's depth kind",
    ),
    OutputSpec(
        name="descriptor",
        axes=("streams", "descriptor"),
        error="range",
        accumulates=False,
        meaning="what the frame looks like as a whole, of unit length",
    ),
    OutputSpec(
        name="state_change",
        axes=("streams",),
        error="ratio",
        accumulates=False,
        meaning="how far this frame moved the states, relative to their size, ≥ 0",
    ),
)
"""The outputs that every step graph has, in its order."""

DYNAMIC = "dynamic"
"""The name of the output that tells what moves by itself; of the parts of networks and states it is made of as well."""

EXTRA_OUTPUTS = (
    OutputSpec(
        name="confidence",
        axes=("streams", "height", "width"),
        error="range",
        accumulates=True,
        meaning="how sure the network is of every pixel, ≥ 1",
    ),
    OutputSpec(
        name="sky",
        axes=("streams", "height", "width"),
        error="range",
        accumulates=True,
        meaning="how much of every pixel is sky, ≥ 0; from 0.3 on it is",
    ),
    OutputSpec(
        name="pose",
        axes=("streams", "pose"),
        error="range",
        accumulates=True,
        meaning="the camera, camera to world, the first frame's being near the origin: translation (3) in the unit "
        "of the depth, quaternion x y z w (4), field of view in radians (2, the height's first)",
    ),
    OutputSpec(
        name=DYNAMIC,
        axes=("streams", "height", "width"),
        error="share",
        accumulates=False,
        meaning="how much of every pixel moves by itself, 0..1; from 0.5 on it does",
    ),
)
"""The outputs that some networks have besides, in the order in which they follow; `StepContract.extra_outputs` names
those of a graph."""

SKY_THRESHOLD = 0.3
"""Of the output `sky`: a pixel with so much or more is sky."""

DYNAMIC_THRESHOLD = 0.5
"""Of the output `dynamic`: a pixel with so much or more moves by itself, and is no landmark."""


def outputs_with(extra: Collection[str]) -> tuple[OutputSpec, ...]:
    """The outputs of a graph that has some of `EXTRA_OUTPUTS`, in its order."""
    return OUTPUTS + tuple(output for output in EXTRA_OUTPUTS if output.name in extra)

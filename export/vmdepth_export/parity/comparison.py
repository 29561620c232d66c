"""How far two sessions are from each other, frame after frame, states included, and how far they may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmdepth_export.parity.settings import PARITY_FRAMES
from vmdepth_export.parity.side_by_side import both
from vmdepth_runtime.contract import DYNAMIC_STATES, StepContract, state_input
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import EXTRA_OUTPUTS, OUTPUTS, SKY_THRESHOLD, OutputSpec
from vmdepth_runtime.sessions.base import StepSession

_Errors: TypeAlias = tuple[float, float, float, float]
"""Of one output in one frame: largest, mean, 99th percentile, cosine."""


@dataclass(frozen=True)
class Tolerance:
    """What is allowed of every output, in shares of its range (see `spread`).

    largest: of any number in any frame; mean: over all numbers and frames; p99: worst 99th percentile of a frame;
    cosine: least of any frame. growth: mean of the last 100 frames ÷ mean of the first 100 (of a third of them, when
    there are fewer than 300). delta1: of the depth, see `Agreement`. None is not judged: half precision has single
    numbers far off, float32 a growth that is all noise.
    """

    largest: float | None
    mean: float
    p99: float
    cosine: float
    growth: float | None
    delta1: float


TOLERANCES = {
    "fp32": Tolerance(largest=1e-4, mean=1e-4, p99=1e-4, cosine=0.99999, growth=None, delta1=0.9999),
    "fp16": Tolerance(largest=None, mean=5e-3, p99=2e-2, cosine=0.999, growth=1.5, delta1=0.99),
    "bf16": Tolerance(largest=None, mean=2e-2, p99=8e-2, cosine=0.99, growth=1.5, delta1=0.98),
    "int8": Tolerance(largest=None, mean=3e-2, p99=1.5e-1, cosine=0.98, growth=1.5, delta1=0.97),
    "fp8": Tolerance(largest=None, mean=4e-2, p99=2e-1, cosine=0.97, growth=1.5, delta1=0.97),
}
"""By the lower precision of the two sides, from the most exact on."""

_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "float8": "fp8"}
_GROWTH_FRAMES = 100
_SHORTEST = 20  # frames in a share below which growth says nothing
_NOISE = 1e-6  # of the range: growth below it is none
_CARRIED = 32  # frames: recurrent states have been carried on for long enough
_OUTPUTS = {output.name for output in OUTPUTS + EXTRA_OUTPUTS}  # all else that is measured are states
_PASSING = tuple(output.name for output in OUTPUTS + EXTRA_OUTPUTS if not output.accumulates)
_FADING = state_input(DYNAMIC_STATES)  # what `dynamic` is made of: averages and pictures, in which errors fade
_PIXELS = 64  # depth is compared by δ1 on a grid of so many rows and columns


def precision_of(contract: StepContract) -> str:
    """The lowest precision that a step graph computes in: a key of `TOLERANCES`."""
    order = list(TOLERANCES)
    return max((_NAMES[dtype] for dtype in contract.precision.values()), key=order.index, default="fp32")


def least_frames(contract: StepContract) -> int:
    """Frames that a comparison has to have at least, no more than `PARITY_FRAMES`.

    Growth is measured where it is judged; rings are full, and of more than 32 slots, which have no upper limit, every
    slot has been written twice.
    """
    judged = TOLERANCES[precision_of(contract)].growth is not None
    long = [2 * state.ring.slots for state in contract.states if state.ring and state.ring.slots > _CARRIED]
    return min(PARITY_FRAMES, max([3 * _SHORTEST if judged else _CARRIED, *long]))


@dataclass(frozen=True)
class OutputFigures:
    """Of one output or state over all frames; the terms are those of `Tolerance`.

    worst_frame: where `largest` was seen, from 0. growth: of depth and states; None where there were too few frames or
    only noise.
    """

    largest: float
    worst_frame: int
    mean: float
    p99: float
    cosine: float
    growth: float | None

    def exceeds(self, allowed: Tolerance) -> list[str]:
        """Names of the figures that are not within tolerance."""
        checks = {
            "largest": allowed.largest is None or self.largest <= allowed.largest,
            "mean": self.mean <= allowed.mean,  # a comparison with NaN is false, so a NaN anywhere exceeds
            "p99": self.p99 <= allowed.p99,
            "cosine": self.cosine >= allowed.cosine,
            "growth": self.growth is None or allowed.growth is None or self.growth <= allowed.growth,
        }
        return [name for name, within in checks.items() if not within]


@dataclass(frozen=True)
class Agreement:
    """Candidate depth against reference depth as if that were true, after one fit of scale and shift over all frames.

    delta1: share of pixels with a ratio below 1.25; absrel: mean |d − d̂| / d. Values are floored at 1 % of the
    reference's largest. Where any depth is not finite there is no agreement: 0 and NaN.
    """

    delta1: float
    absrel: float


@dataclass(frozen=True)
class ParityReport:
    """What a comparison measured. precision: whose tolerance was asked. history: per frame, the mean error of the depth
    and that of the worst state."""

    frames: int
    precision: str
    tolerance: Tolerance
    outputs: dict[str, OutputFigures]
    agreement: Agreement
    history: dict[str, list[float]]

    @property
    def wrong(self) -> dict[str, list[str]]:
        """Output → its figures that exceed the tolerance."""
        found = {name: figures.exceeds(self.tolerance) for name, figures in self.outputs.items()}
        if not self.agreement.delta1 >= self.tolerance.delta1:
            found.setdefault("depth", []).append("delta1")
        return {name: figures for name, figures in found.items() if figures}

    @property
    def agrees(self) -> bool:
        return self.frames > 0 and not self.wrong

    @property
    def worst(self) -> dict[str, float]:
        """Output → largest error of any number in any frame."""
        return {name: figures.largest for name, figures in self.outputs.items()}

    @property
    def depth(self) -> OutputFigures:
        return self.outputs["depth"]

    @property
    def states(self) -> float:
        """The largest error of any state; 0 for a network without any."""
        return max((error for name, error in self.worst.items() if name not in _OUTPUTS), default=0.0)

    def summary(self) -> dict[str, Any]:
        """The few figures that go into a graph's metadata."""
        return {
            "frames": self.frames,
            "precision": self.precision,
            "depth": self.depth.largest,
            "depth_mean": self.depth.mean,
            "states": self.states,
            "delta1": self.agreement.delta1,
        }

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {**asdict(self), "wrong": self.wrong, "agrees": self.agrees}


def compare(reference: StepSession, candidate: StepSession, frames: Iterable[NDArray[np.uint8]]) -> ParityReport:
    """Run both from their initial states over the same frames, each with its own states, and measure.

    frames: uint8 [B, H, W, 3] RGB each. Raises InputError when the two are not of one size or there is no frame.
    """
    check_comparable(reference.contract, candidate.contract)
    precision = max(map(precision_of, (reference.contract, candidate.contract)), key=list(TOLERANCES).index)
    reference.reset()
    candidate.reset()
    history: dict[str, list[_Errors]] = {}
    depths: list[NDArray[np.float32]] = []
    for expected, got in both(reference, candidate, frames):
        got = {**got, "depth": settled_depth(expected, got, TOLERANCES[precision])}
        for output in reference.contract.own_outputs:
            history.setdefault(output.name, []).append(_errors_of(output, expected[output.name], got[output.name]))
        # A ring is what was written into it, so comparing every entry once compares it all.
        states, others = reference.next_states(), candidate.next_states()
        for name, state in states.items():
            history.setdefault(state_input(name), []).append(_errors(state, others[name]))
        depths.append(np.stack([_sparse(expected["depth"]), _sparse(got["depth"])]))
    if not depths:
        raise InputError("there is no readable frame to compare on; choose another --source")
    remembers = bool(reference.contract.states)  # else no error of one frame reaches the next
    outputs = {
        name: _figures(np.array(errors), remembers and not name.startswith((*_PASSING, _FADING)))
        for name, errors in history.items()
    }
    table = {name: np.array(errors)[:, 1] for name, errors in history.items()}
    worst_state = [table[state.input_name] for state in reference.contract.states] or [np.zeros(len(depths))]
    return ParityReport(
        frames=len(depths),
        precision=precision,
        tolerance=TOLERANCES[precision],
        outputs=outputs,
        agreement=_agreement(np.stack(depths, axis=1)),
        history={"depth": table["depth"].tolist(), "states": np.max(worst_state, axis=0).tolist()},
    )


def settled_depth(
    expected: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]], allowed: Tolerance
) -> NDArray[Any]:
    """The candidate's depth, but the reference's where rounding decides which it is; the skies are compared themselves.

    Where the sky of a pixel is all but the threshold, rounding decides whether its depth is its own or that of all sky.
    That one moves a little, too, by the pixel more or less that it is taken from: where every number is judged, the
    depth of sky in such a frame says nothing.
    """
    if "sky" not in expected:
        return got["depth"]
    sky, other = (outputs["sky"] >= SKY_THRESHOLD for outputs in (expected, got))
    unsettled = sky != other
    if allowed.largest is not None:
        unsettled = unsettled.any(axis=(1, 2), keepdims=True) & (sky | other)
    return np.where(unsettled, expected["depth"], got["depth"])


def check_comparable(a: StepContract, b: StepContract) -> None:
    """Raise InputError unless the two are of one size, kind of depth and number of streams, WorkError unless of the
    same states."""
    sizes = [(c.streams, c.height, c.width) for c in (a, b)]
    if sizes[0] != sizes[1]:
        raise InputError(f"reference and candidate differ in streams, height, width: {sizes[0]} and {sizes[1]}")
    kinds = [c.depth_meaning.meaning for c in (a, b)]
    if kinds[0] != kinds[1]:
        raise InputError(f"reference and candidate differ in what depth is: {kinds[0]}; {kinds[1]}")
    outputs = [tuple(output.name for output in c.own_outputs) for c in (a, b)]
    if outputs[0] != outputs[1]:
        raise WorkError(f"reference and candidate differ in outputs: {', '.join(outputs[0])}; {', '.join(outputs[1])}")
    specs = [{s.name: s.shape for s in c.states} for c in (a, b)]
    odd = sorted(name for name in specs[0].keys() | specs[1].keys() if specs[0].get(name) != specs[1].get(name))
    if odd:
        raise WorkError(f"reference and candidate do not have the same states: {', '.join(odd[:5])}")


def spread(reference: NDArray[Any]) -> float:
    """Of the reference from its 1st to its 99th percentile: a few hot values cannot stretch it.

    Where the reference is all but constant that says nothing: the largest magnitude stands in, or 1 for zeros.
    """
    low, high = np.percentile(reference, (1, 99))
    magnitude = float(np.max(np.abs(reference)))
    found = float(high - low)
    return (magnitude if found < 1e-3 * magnitude else found) or 1.0


def ratio_error(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    """max |a − b| ÷ max(1, |a|): for `state_change`, which is a share of the states' size as it is.

    Between two frames that are all but alike it is a small difference of large numbers; relative to itself its last
    digits would say nothing.
    """
    return float(np.max(np.abs(reference - candidate) / np.maximum(1, np.abs(reference))))


def _errors(reference: NDArray[Any], candidate: NDArray[Any]) -> _Errors:
    """Largest, mean and 99th percentile of |a − b| ÷ spread, and the cosine between the two."""
    a, b = reference.astype(np.float32).ravel(), candidate.astype(np.float32).ravel()
    off = np.abs(a - b) / np.float32(spread(a))
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    # Two zeros point the same way.
    cosine = float(a @ b) / lengths if lengths else float(np.array_equal(a, b))
    return float(off.max()), float(off.mean()), float(np.percentile(off, 99)), cosine


def one_frame(reference: NDArray[Any], candidate: NDArray[Any], output: OutputSpec | None = None) -> OutputFigures:
    """The figures of one pair of tensors of one shape, of an output as the contract's table says."""
    found = _errors(reference, candidate) if output is None else _errors_of(output, reference, candidate)
    return _figures(np.array([found]))


def _errors_of(output: OutputSpec, reference: NDArray[Any], candidate: NDArray[Any]) -> _Errors:
    """The errors of an output, measured in the way that the contract's table says."""
    if output.error == "range":
        return _errors(reference, candidate)
    if output.error == "ratio":
        error = ratio_error(reference, candidate)
        return error, error, error, 1.0
    # Where nothing moves such a map is all but zero: its own range would make much of the last digits, and what
    # direction it points in says nothing.
    off = np.abs(reference.astype(np.float32) - candidate.astype(np.float32))
    return float(off.max()), float(off.mean()), float(np.percentile(off, 99)), 1.0


def _figures(errors: NDArray[np.float64], accumulates: bool = False) -> OutputFigures:
    """errors: [N, 4] of `_errors`. NumPy's max and argmax let a NaN win, Python's max may not."""
    largest, mean, p99, cosine = errors.T
    part = min(_GROWTH_FRAMES, len(errors) // 3)
    growth = None
    if accumulates and part >= _SHORTEST and mean[-part:].mean() > _NOISE:
        growth = float(mean[-part:].mean() / max(mean[:part].mean(), _NOISE))
    return OutputFigures(
        float(largest.max()), int(largest.argmax()), float(mean.mean()), float(p99.max()), float(cosine.min()), growth
    )


def _sparse(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = (max(1, size // _PIXELS) for size in depth.shape[1:])
    return depth[:, ::rows, ::columns].ravel().copy()


def _agreement(depths: NDArray[np.float32]) -> Agreement:
    """depths: [2, N, pixels], reference and candidate."""
    if not np.isfinite(depths).all():
        return Agreement(0.0, float("nan"))
    reference, candidate = (side.ravel().astype(np.float64) for side in depths)
    scale, shift = np.polyfit(candidate, reference, 1) if np.ptp(candidate) > 0 else (1.0, 0.0)
    floor = 0.01 * max(float(np.abs(reference).max()), 1e-12)
    a, b = np.maximum(reference, floor), np.maximum(scale * candidate + shift, floor)
    return Agreement(float((np.maximum(a / b, b / a) < 1.25).mean()), float((np.abs(a - b) / a).mean()))

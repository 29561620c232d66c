"""From what was recorded to figures: of every frame, of every hundred frames, of a sequence, of all sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth.data.rgbd import RgbdFrame
from vmdepth.evaluation.accuracy import (
    FARTHEST,
    Accuracy,
    frame_errors,
    mean_map_accuracy,
    pooled,
)
from vmdepth.evaluation.alignment import alignment_of, fit_maps
from vmdepth.evaluation.array_file import ArrayFile
from vmdepth.evaluation.consistency import alignment_error, flow_flicker, static_flicker
from vmdepth.evaluation.masks import MaskScore, Overlap, added, scored
from vmdepth.evaluation.parabola import parabola_accuracy
from vmdepth.evaluation.recording import Model, ModelTrack, Recording, record
from vmdepth.evaluation.truth import MEASURED, Truth
from vmdepth.fitting import Alignment
from vmdepth_runtime.contract import Resize
from vmdepth_runtime.errors import InputError

BUCKET = 100  # frames
FIRST_FRAMES = 16  # that the second fit may see


@dataclass(frozen=True)
class Figures:
    """Of some frames together, or means of such over sequences. None: cannot be known from this data or model.

    delta1, absrel, rmse: `Accuracy` after one fit over the whole sequence, of what the model's kind of depth leaves
    open (`SequenceFigures.alignment`). affine_…: after one fit of scale and shift, whatever the kind: models of
    different kinds on equal terms. first_…: after a fit on its first 16 frames (the first half of fewer than 32), open
    to what the first fit is: what has drifted away since shows here; None where nothing is fitted. frame_…: mean over
    frames, each after a fit of scale and shift of its own: how right every picture is, whatever becomes of its scale.
    tae: percent. opw: 1/m. flicker: 1/m, `static_flicker`; beside a teacher's depth, and where masks say what moves and
    no pose is known, `flow_flicker`. state_rms: mean over frames. Pairs of frames count for the later one. Where truth
    is a teacher's, metres are `Truth.unit`.
    """

    delta1: float | None
    absrel: float | None
    rmse: float | None
    affine_delta1: float | None
    affine_absrel: float | None
    first_delta1: float | None
    first_absrel: float | None
    first_rmse: float | None
    frame_delta1: float | None
    frame_absrel: float | None
    tae: float | None
    opw: float | None
    flicker: float | None
    state_rms: float | None


@dataclass(frozen=True)
class Blind:
    """What a parabola in y reaches that is fitted to the truth as the model is (see `parabola_accuracy`)."""

    delta1: float
    absrel: float
    rmse: float
    frame_delta1: float
    frame_absrel: float


@dataclass(frozen=True)
class SequenceFigures:
    """Of one model on one sequence.

    alignment: what was fitted. fit: scale and shift from predicted to true inverse depth (1/m), over all frames.
    first_frames: how many the other fit saw. whole, buckets: over all frames, and over every 100. state_growth: RMS of
    the states in the last 100 frames that were begun over that in the first 100; of fewer than 200 frames, second half
    over first. per_frame: "tae", "opw", "flicker", "state_rms", "frame_delta1", "frame_absrel" → [N], NaN where there
    is none. moving: of what it says moves with what does; None where either is not known.
    """

    frames: int
    alignment: Alignment
    fit: tuple[float, float]
    first_frames: int
    whole: Figures
    buckets: list[Figures]
    state_growth: float | None
    per_frame: dict[str, NDArray[np.float64]]
    moving: Overlap | None = None


@dataclass(frozen=True)
class ModelFigures:
    """Of one model: means over groups of sequences (of a bucket, over those long enough to have it), and every
    sequence's own; masks of what moves over all that have them."""

    whole: Figures
    buckets: list[Figures]
    state_growth: float | None
    sequences: list[SequenceFigures]
    masks: MaskScore | None = None

    @property
    def alignment(self) -> str:
        """What was fitted of its sequences: "scale", "none or scale" where their cameras are known in part."""
        return " or ".join(sorted({one.alignment for one in self.sequences}))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: NaN is None."""
        return {
            "alignment": self.alignment,
            "figures": asdict(self.whole) | {"state_growth": self.state_growth},
            "masks": asdict(self.masks) if self.masks else None,
            "buckets": [asdict(bucket) for bucket in self.buckets],
            "sequences": [
                {
                    "frames": one.frames,
                    "first_frames": one.first_frames,
                    "alignment": one.alignment,
                    "fit": {"scale": one.fit[0], "shift": one.fit[1]},
                    "figures": asdict(one.whole) | {"state_growth": one.state_growth},
                    "buckets": [asdict(bucket) for bucket in one.buckets],
                    "per_frame": {
                        name: [None if np.isnan(value) else value for value in values.tolist()]
                        for name, values in one.per_frame.items()
                    },
                }
                for one in self.sequences
            ],
        }


@dataclass(frozen=True)
class Evaluation:
    """models: in the order they came in. mean_map: of `mean_map_accuracy`, where all depth has one shape and sequences
    are in no groups. parabolas: of every sequence; parabola: as means of models are taken. groups: of every sequence,
    by name. first: what the first sequence left. truth: what was compared with."""

    models: list[ModelFigures]
    mean_map: Accuracy | None
    parabolas: list[Blind]
    parabola: Blind
    groups: list[str]
    first: Recording
    truth: Truth = MEASURED

    @property
    def frames(self) -> int:
        return sum(one.frames for one in self.models[0].sequences)


Seen = Callable[[int, Recording, list[SequenceFigures]], None]


def evaluate_sequences(
    models: Sequence[Model],
    sequences: Sequence[Iterable[RgbdFrame]],
    resize: Resize,
    names: Sequence[str] = (),
    groups: Sequence[str] = (),
    seen: Seen | None = None,
    truth: Truth = MEASURED,
    moved: Callable[[], None] = lambda: None,
) -> Evaluation:
    """All figures of every model, streamed frame by frame over the same sequences.

    resize: how frames come to the model's size and depth back to theirs, as in `vmdepth-run`. groups: what each
    sequence belongs to; means are of groups, not of sequences, so that many takes of one place count once. seen: told
    the number, recording and figures per model of every sequence. names: of the sequences, for errors. truth: what the
    depth of their frames is. moved: called after every frame. Raises InputError for a sequence without known depth.
    """
    apart = [str(number) for number in range(len(sequences))]
    found: list[list[SequenceFigures]] = [[] for _ in models]
    truths, lengths, shapes = ArrayFile(), [], set()
    parabolas: list[Blind] = []
    first: Recording | None = None
    for number, frames in enumerate(sequences):
        recording = record(models, frames, resize, truths, truth, moved)
        first = first or recording
        lengths.append(len(recording))
        shapes |= recording.shapes
        try:
            parabolas.append(_blind(recording))
            for track, figures in zip(recording.tracks, found, strict=True):
                figures.append(sequence_figures(recording, track))
        except ValueError as error:
            name = names[number] if names else f"sequence {number}"
            raise InputError(f"{name}: {error}; there is nothing to compare with") from None
        if seen is not None:
            seen(number, recording, [figures[-1] for figures in found])
    assert first is not None
    mean_map = None
    if not groups and len(shapes) == 1:
        ends = np.cumsum(lengths)
        mean_map = mean_map_accuracy([truths[end - length : end] for end, length in zip(ends, lengths, strict=True)])
    groups = groups or apart
    blind = {name: float(np.mean(values)) for name, values in _by_group(Blind, parabolas, groups).items()}
    models_figures = [_model_figures(figures, groups) for figures in found]
    return Evaluation(models_figures, mean_map, parabolas, Blind(**blind), list(groups), first, truth)


def _blind(recording: Recording) -> Blind:
    """Raises ValueError when no depth is known."""
    whole, frames = parabola_accuracy(recording.heights, recording.true)
    known = [frame for frame in frames if frame is not None]
    means = {name: float(np.mean([getattr(frame, name) for frame in known])) for name in ("delta1", "absrel")}
    return Blind(**asdict(whole), frame_delta1=means["delta1"], frame_absrel=means["absrel"])


def sequence_figures(recording: Recording, track: ModelTrack) -> SequenceFigures:
    """Of one model on one sequence. Raises ValueError when no depth is known."""
    frames, alignment = len(recording), alignment_of(track.kind, recording.truth.kind)
    affine = fit_maps(track.measured, recording.true)
    fit = affine if alignment == "scale and shift" else fit_maps(track.measured, recording.true, alignment)
    early = min(FIRST_FRAMES, max(1, frames // 2))
    first_fit = _first_fit(recording, track, early, alignment)
    errors, affine_errors, first_errors = (np.zeros((frames, 4)) for _ in range(3))
    own = np.full((frames, 2), np.nan)
    for number, (inverse, true) in enumerate(zip(track.measured, recording.true, strict=True)):
        errors[number] = frame_errors(inverse, true, fit)
        affine_errors[number] = frame_errors(inverse, true, affine)
        if first_fit is not None:
            first_errors[number] = frame_errors(inverse, true, first_fit)
        if errors[number, 0]:
            alone = pooled(frame_errors(inverse, true, fit_maps([inverse], [true]))[None])
            own[number] = alone.delta1, alone.absrel  # type: ignore[union-attr]  # a pixel is known
    per_frame = {
        **_pair_figures(recording, track, fit),
        "opw": abs(fit[0]) * np.array(track.warp_errors),  # a difference knows no shift
        "state_rms": np.array(track.state_rms, np.float64),  # None becomes NaN
        "frame_delta1": own[:, 0],
        "frame_absrel": own[:, 1],
    }

    def over(part: slice) -> Figures:
        means = {name: _mean(values[part]) for name, values in per_frame.items()}
        equal = pooled(affine_errors[part])
        return Figures(
            **_named(pooled(errors[part])),
            affine_delta1=equal.delta1 if equal else None,
            affine_absrel=equal.absrel if equal else None,
            **_named(pooled(first_errors[part]), "first_"),
            **means,
        )

    buckets = [over(slice(start, start + BUCKET)) for start in range(0, frames, BUCKET)]
    growth = state_growth(per_frame["state_rms"])
    moving = added(track.overlaps)
    return SequenceFigures(frames, alignment, fit, early, over(slice(None)), buckets, growth, per_frame, moving)


def _first_fit(recording: Recording, track: ModelTrack, early: int, alignment: Alignment) -> tuple[float, float] | None:
    """On the first frames; None where nothing is fitted, or the depth camera saw nothing at first."""
    if alignment == "none":
        return None
    try:
        return fit_maps(islice(track.measured, early), islice(recording.true, early), alignment)
    except ValueError:
        return None


def state_growth(rms: NDArray[np.float64]) -> float | None:
    """From the RMS of every frame [N]: its mean over the last bucket of 100 frames by that over the first.

    Of fewer than 200 frames, second half by first. None where there are no states, no second frame, or nothing in the
    states at first.
    """
    frames = len(rms)
    if frames < 2 * BUCKET:
        early, late = rms[: frames // 2], rms[frames // 2 :]
    else:
        early, late = rms[:BUCKET], rms[(frames - 1) // BUCKET * BUCKET :]
    before, after = _mean(early), _mean(late)
    return after / before if before and after is not None else None


def _pair_figures(recording: Recording, track: ModelTrack, fit: tuple[float, float]) -> dict[str, NDArray[np.float64]]:
    """TAE in percent and flicker in 1/m, [N] each: of every frame with the one before it; NaN for the first."""
    tae, flicker = np.full(len(recording), np.nan), np.full(len(recording), np.nan)
    poses = recording.poses
    before: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    for number in range(len(recording)):
        pose = poses[number]
        if pose is None and not recording.by_flow:
            break  # a sequence has all its poses or none
        now = (fit[0] * track.inverse[number] + np.float32(fit[1])).astype(np.float32), recording.static[number]
        last = poses[number - 1]
        if before is not None and recording.by_flow:
            flicker[number] = flow_flicker(before[0], now[0], before[1], now[1], recording.flows[number - 1])
        elif before is not None and pose is not None and last is not None:
            here, there = recording.intrinsics[number - 1], recording.intrinsics[number]
            assert here is not None and there is not None  # who knows poses knows the camera
            cameras = here, there, np.linalg.inv(pose) @ last
            depth, next_depth = (1 / np.maximum(inverse, np.float32(1 / FARTHEST)) for inverse in (before[0], now[0]))
            tae[number] = 100 * alignment_error(depth, next_depth, *cameras)
            flicker[number] = static_flicker(before[0], now[0], before[1], now[1], *cameras)
        before = now
    return {"tae": tae, "flicker": flicker}


def _model_figures(sequences: list[SequenceFigures], groups: Sequence[str]) -> ModelFigures:
    longest = max(len(one.buckets) for one in sequences)
    by_bucket = [
        [(one.buckets[i], group) for one, group in zip(sequences, groups, strict=True) if i < len(one.buckets)]
        for i in range(longest)
    ]
    growths = _group_means([one.state_growth for one in sequences], groups)
    moving = [one.moving for one in sequences if one.moving]
    return ModelFigures(
        _mean_figures([one.whole for one in sequences], groups),
        [_mean_figures([bucket for bucket, _ in those], [group for _, group in those]) for those in by_bucket],
        _mean(growths),
        sequences,
        scored(moving) if moving else None,
    )


def _mean_figures(figures: Sequence[Figures], groups: Sequence[str]) -> Figures:
    return Figures(**{name: _mean(values) for name, values in _by_group(Figures, figures, groups).items()})


def _by_group(
    kind: type[Figures] | type[Blind], of: Sequence[Figures] | Sequence[Blind], groups: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Figure → the mean of every group; NaN where none of it has one."""
    return {f.name: _group_means([getattr(one, f.name) for one in of], groups) for f in fields(kind)}


def _group_means(values: Sequence[float | None], groups: Sequence[str]) -> NDArray[np.float64]:
    """Of every group, in the order they come in, over what is not None; NaN where that is nothing."""
    numbers = np.array(values, np.float64)
    means = [_mean(numbers[[group == name for group in groups]]) for name in dict.fromkeys(groups)]
    return np.array(means, np.float64)


def _mean(values: NDArray[np.float64]) -> float | None:
    """Over those that are no NaN."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _named(accuracy: Accuracy | None, prefix: str = "") -> dict[str, float | None]:
    return {prefix + f.name: None if accuracy is None else getattr(accuracy, f.name) for f in fields(Accuracy)}

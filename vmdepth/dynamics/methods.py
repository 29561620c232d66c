"""Methods that tell what moves: which statistics each needs, and how its masks come of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics import maps
from vmdepth.dynamics.first_pass import LEAST_FRAMES, FirstPass, Floats, Reach, Statistic
from vmdepth.dynamics.mask_stages import METHODS, WINDOWED, MaskStages, Method
from vmdepth.dynamics.stages import guided
from vmdepth.dynamics.stages.clusters import cluster_means, feature_clusters
from vmdepth.dynamics.stages.otsu import best_threshold
from vmdepth.networks.moving.bands import Bands
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import DYNAMIC_THRESHOLD

REST, REST_FRAMES = 3.0, 6  # of 255; frames on either side, as many as the released window reaches


@dataclass(frozen=True)
class Masks:
    """What moves in T frames of H × W pixels.

    Attributes:
        soft: float32 [T, H, W], 0..1, how much.
        moves: bool [T, H, W], what does.
        threshold: that parts them; of a hysteresis the high one, inf where nothing moves in the whole clip.
        stages: the maps on the way by name, in order, float32 0..1, [T, h, w] of patches or [T, H, W] of pixels.
        low: of a hysteresis the low threshold; None where there is none.
    """

    soft: Floats
    moves: NDArray[np.bool_]
    threshold: float
    stages: Mapping[str, Floats]
    low: float | None = None


def needs(method: Method, choice: Bands, reach: Reach = "all") -> list[Statistic]:
    """What the first pass has to be asked for.

    Args:
        method: a name of `METHODS`.
        choice: the blocks.
        reach: the frames that the global statistics meet; published and full have the window of their own.
    """
    check_method(method)
    if method == "cross":
        return [Statistic("QK", "similarity", choice.shallow, reach)]
    reach = "window" if method in WINDOWED else reach
    wanted = [
        Statistic("KK", "similarity", choice.shallow, reach),
        Statistic("QK", "variance", choice.shallow, reach),
        Statistic("QQ", "similarity", choice.middle, reach),
        Statistic("QQ", "similarity", choice.deep, reach),
        Statistic("QQ", "variance", choice.deep_variance, reach),
    ]
    if method not in WINDOWED:
        wanted.append(Statistic("QK", "similarity", choice.shallow, reach))
    return list(dict.fromkeys(wanted))  # middle and deep may be one band


def least_frames(method: Method) -> int:
    """Frames that a method takes: of the window ± 2, 4, 6 every frame needs another one."""
    return LEAST_FRAMES if method in WINDOWED else 2


def check_method(method: str, frames: int | None = None) -> None:
    """Raises InputError for a method that does not exist, and for fewer frames than it takes."""
    if method not in METHODS:
        raise InputError(f"method '{method}': there are {', '.join(METHODS)}")
    least = least_frames(method)
    if frames is not None and frames < least:
        raise InputError(f"{frames} frame{'s' * (frames != 1)}: the method '{method}' takes {least} or more")


def masks(
    first: FirstPass, method: Method, choice: Bands, stages: MaskStages | None = None, reach: Reach = "all"
) -> Masks:
    """What moves in a video, of the first pass alone: "full" is "published", still to be refined.

    Args:
        first: with the raw maps that `needs` names.
        method: "published": VGGT4D's released code, product of window maps, clusters, multi-Otsu. "cross": 1 − S^QK
            alone. "fused": the one-pass fusion of global statistics. "guided": that, brought to the edges of picture
            and depth, smoothed over time, parted by hysteresis.
        choice: the blocks.
        stages: None: all as they are by default.
        reach: of the global statistics.

    Raises:
        InputError: too few frames, or a first pass that was asked for other statistics.
        WorkError: statistics that are not finite.
    """
    stages = stages or MaskStages()
    check_method(method, len(first.images))
    _check_statistics(first, method, choice, reach)
    windowed = method in WINDOWED
    steps = published_maps(first, choice, stages) if windowed else global_maps(first, method, choice, reach)
    height, width = first.images.shape[1:3]
    soft = guided.upsampled(list(steps.values())[-1], height, width)
    if method == "guided":
        soft = _guided(first, soft, stages, steps)
    rests = resting_frames(first.images, first.grid) if stages.allow_empty else np.zeros(len(soft), bool)
    soft[rests] = 0
    threshold, moves = _parted(soft, method, stages, ~rests)
    low = stages.low if method == "guided" and stages.threshold is None else None
    return Masks(soft, moves, threshold, steps, low)


def published_maps(first: FirstPass, choice: Bands, stages: MaskStages) -> dict[str, Floats]:
    """The released code's maps [T, h, w] by name, the last one being what is parted."""
    normalise = maps.whole_clip if stages.allow_empty else maps.per_frame
    steps = _weights(first, choice, "window", normalise)
    steps["product"] = normalise(maps.product(steps["w_shallow"], steps["w_middle"], steps["w_deep"]))
    if stages.clusters:
        labels = feature_clusters(first.features, stages.clusters, stages.seed)
        steps["clustered"] = normalise(cluster_means(steps["product"], labels))
    return steps


def global_maps(first: FirstPass, method: Method, choice: Bands, reach: Reach) -> dict[str, Floats]:
    """Maps [T, h, w] of the global statistics by name, normalised over the whole clip; the last is what is parted."""
    steps = {"inv_similarity_qk": maps.map_of(first.raw, "inv_similarity", "QK", choice.shallow, reach)}
    if method == "cross":
        return steps
    steps.update(_weights(first, choice, reach, maps.percentiles_2_98))
    steps["fused"] = maps.fused(steps["inv_similarity_qk"], steps["w_shallow"], steps["w_middle"], steps["w_deep"])
    return steps


def resting_frames(images: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """In which frames the picture rests: from t − 6 to t + 6 the mean colour of no patch changes by more than 3 of 255.

    images: uint8 [T, H, W, 3]; grid: rows and columns of patches. Returns bool [T].
    """
    rows, columns = grid
    count, height, width, _ = images.shape
    patches = (count, rows, height // rows, columns, width // columns, 3)
    colours = np.stack([x.reshape(patches[1:]).mean(axis=(1, 3), dtype=np.float32) for x in images])
    near = (colours[max(0, t - REST_FRAMES) : t + REST_FRAMES + 1] for t in range(count))
    return np.array([np.ptp(frames, axis=0).max() <= REST for frames in near])


def _weights(first: FirstPass, choice: Bands, reach: Reach, normalise: maps.Normalise) -> dict[str, Floats]:
    raw = first.raw
    kk = maps.map_of(raw, "similarity", "KK", choice.shallow, reach, normalise)
    qk = maps.map_of(raw, "variance", "QK", choice.shallow, reach, normalise)
    middle = maps.map_of(raw, "similarity", "QQ", choice.middle, reach, normalise)
    deep = maps.map_of(raw, "similarity", "QQ", choice.deep, reach, normalise)
    spread = maps.map_of(raw, "variance", "QQ", choice.deep_variance, reach, normalise)
    return {
        "similarity_kk_shallow": kk,
        "variance_qk_shallow": qk,
        "similarity_qq_middle": middle,
        "similarity_qq_deep": deep,
        "variance_qq_deep": spread,
        "w_shallow": maps.w_shallow(kk, qk),
        "w_middle": maps.w_middle(middle),
        "w_deep": maps.w_deep(deep, spread),
    }


def _guided(first: FirstPass, soft: Floats, stages: MaskStages, steps: dict[str, Floats]) -> Floats:
    if stages.guide_radius:
        for t, (image, depth) in enumerate(zip(first.images, first.depth, strict=True)):
            guides = guided.rgbd_guides(image, depth, first.inverse)
            soft[t] = guided.guided_filter(soft[t], guides, stages.guide_radius, stages.guide_softness).clip(0, 1)
        steps["guided"] = soft
    if stages.smooth_frames:
        soft = steps["smoothed"] = guided.smoothed_over_frames(soft, stages.smooth_frames)
    return soft


def _parted(
    soft: Floats, method: Method, stages: MaskStages, awake: NDArray[np.bool_]
) -> tuple[float, NDArray[np.bool_]]:
    """The threshold, and what moves of soft [T, H, W]; awake: the frames that have a say in it."""
    if stages.threshold is None and method == "guided":
        return stages.high, guided.hysteresis(soft, stages.high, stages.low)
    if stages.threshold is not None:
        threshold = stages.threshold
    elif method in WINDOWED:
        threshold = best_threshold(soft if awake.all() else soft[awake]).value
    else:
        threshold = DYNAMIC_THRESHOLD
    return threshold, soft > threshold


def _check_statistics(first: FirstPass, method: Method, choice: Bands, reach: Reach) -> None:
    wanted = needs(method, choice, reach)
    if any(statistic not in first.raw for statistic in wanted):
        raise InputError(_missing(first, method, choice, reach))
    for statistic in wanted:
        if not np.isfinite(first.raw[statistic]).all():
            raise WorkError(f"the statistic {statistic.name} is not finite everywhere; try the network in float32")


def _missing(first: FirstPass, method: Method, choice: Bands, reach: Reach) -> str:
    """What a first pass was made for, and what it had to be made for."""

    def kinds(statistics: Iterable[Statistic]) -> set[tuple[str, str, str]]:
        return {(one.pair, one.kind, one.reach) for one in statistics}

    of = {name: kinds(needs(name, choice, reach)) for name in METHODS}
    there = kinds(first.raw)
    if of[method] <= there:
        return (
            f"the first pass asked other blocks than '{method}' needs with these layers; choose those of that run, "
            "or run the network again with these"
        )
    within = {name: len(asked) for name, asked in of.items() if asked <= there}
    made = _either(name for name, size in within.items() if size == max(within.values()))
    enough = _either(name for name, asked in of.items() if of[method] <= asked)
    return (
        f"the first pass was made for {made or 'no method of these'}, and the method '{method}' takes a run of the "
        f"network for {enough}"
    )


def _either(names: Iterable[str]) -> str:
    """ "a, b or c"; "" of none."""
    *others, last = [*names] or [""]
    return f"{', '.join(others)} or {last}" if others else last

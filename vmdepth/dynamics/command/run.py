"""A video becomes a folder of masks: first pass, masks, second pass without what moves, refinement, files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.command.arrays_file import Seen, read_arrays, write_arrays
from vmdepth.dynamics.command.beforehand import check_beforehand
from vmdepth.dynamics.command.reading import read_frames
from vmdepth.dynamics.command.settings import MasksSettings
from vmdepth.dynamics.command.writing import write_all
from vmdepth.dynamics.layers import choose_layers
from vmdepth.dynamics.mask_stages import WINDOWED
from vmdepth.dynamics.methods import Masks, check_method, masks, needs
from vmdepth.dynamics.refinement.options import How
from vmdepth.dynamics.refinement.refine import refine
from vmdepth.networks.moving.bands import Bands
from vmdepth.views.geometry import inverse
from vmdepth_runtime.atomic_files import whole_folder
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.progress import ProgressLine


@dataclass(frozen=True)
class Made:
    """folder: what was made. frames: how many. size: height and width of the masks. share: of the pixels that move,
    0..1. unrefined: the same before masks were checked; None where they were not. threshold: that parted the map. low:
    the low one of a hysteresis, else None. notes: lines about what is missing and why."""

    folder: Path
    frames: int
    size: tuple[int, int]
    share: float
    unrefined: float | None
    threshold: float
    low: float | None
    notes: list[str]


def make_masks(settings: MasksSettings, progress: ProgressLine | None = None) -> Made:
    """Masks of what moves in a video, as `vmdepth-masks` makes them.

    The folder appears when all of it is there.

    Raises:
        InputError: a source, checkpoint, file of arrays or choice that cannot be used, too few frames, or a folder that
            holds something.
        WorkError: where the network gives what is no number, or the disk takes no more.
    """
    progress = progress or ProgressLine("loading")
    check_beforehand(settings)
    with whole_folder(settings.output) as part:
        seen, found, notes = (_again if settings.arrays else _anew)(settings, progress)
        moves = found.moves
        checked: dict[str, NDArray[Any]] = {}
        if settings.refined_by is not None:
            moves, checked = _refined(settings, seen, found.moves, progress)
        # The last map on the way is this one at the size of patches, or itself.
        maps = {**dict(list(found.stages.items())[:-1]), "soft": found.soft}
        write_all(part, seen, moves, maps, progress)
        if settings.out_arrays is not None:
            named = {f"map/{name}": values for name, values in {**found.stages, "soft": found.soft}.items()}
            progress.stage(f"writing {settings.out_arrays}")
            write_arrays(settings.out_arrays, seen, mask=moves, mask_unrefined=found.moves, **checked, **named)
    if not moves.any():
        notes.append("nothing moves, as far as these maps tell")
    size = seen.frames.height, seen.frames.width
    unrefined = None if settings.refined_by is None else float(found.moves.mean())
    return Made(settings.output, len(moves), size, float(moves.mean()), unrefined, found.threshold, found.low, notes)


def _anew(settings: MasksSettings, progress: ProgressLine) -> tuple[Seen, Masks, list[str]]:
    """Ask the network."""
    from vmdepth.dynamics.command.two_passes import TwoPasses

    assert settings.model is not None
    progress.stage(f"loading {settings.model}")
    network = TwoPasses(settings)
    choice = choose_layers(settings.layers, network.blocks)
    if settings.refined_by is not None and not network.tells_cameras:
        raise InputError(
            f"{settings.model}: tells no cameras, by which --refine {settings.refined_by} checks masks; "
            f"{settings.unrefined_option} leaves them as they are"
        )
    progress.stage("reading", unit="frames")
    frames, notes = read_frames(settings, progress.update)
    _check_count(settings, len(frames), notes)
    first = network.first(frames.images, needs(settings.method, choice), progress)
    found = _masks(settings, Seen(frames, network.blocks, first), choice, progress)
    second = network.second(first, found.moves, progress)
    if second is None and settings.extent is not None:
        notes.append(f"no second pass: {settings.model} tells no cameras, which it is for")
    return Seen(frames, network.blocks, first, second), found, notes


def _again(settings: MasksSettings, progress: ProgressLine) -> tuple[Seen, Masks, list[str]]:
    """Take what an earlier run found."""
    assert settings.arrays is not None
    progress.stage(f"reading {settings.arrays}")
    seen, notes = read_arrays(settings.arrays), list[str]()
    if settings.source is not None:
        progress.stage("reading", unit="frames")
        frames, notes = read_frames(settings, progress.update)
        if frames.images.shape != seen.frames.images.shape or (frames.images != seen.frames.images).any():
            raise InputError(
                f"{settings.arrays}: is of other frames than {settings.source} ({len(seen.frames)} of them); give the "
                "options of the run that made it, or leave SOURCE out"
            )
    _check_count(settings, len(seen.frames), notes)
    if settings.refined_by is not None and seen.first.extrinsics is None:
        raise InputError(
            f"{settings.arrays}: has no cameras, by which --refine {settings.refined_by} checks masks; "
            f"{settings.unrefined_option} leaves them as they are"
        )
    found = _masks(settings, seen, choose_layers(settings.layers, seen.blocks), progress)
    if seen.second is not None:
        notes.append(f"cameras are those of {settings.arrays}: of a second pass without what moved by its masks")
    return seen, found, notes


def _check_count(settings: MasksSettings, frames: int, skipped: list[str]) -> None:
    """Raise InputError for fewer frames than the method, or the refinement, takes."""
    left = f" ({len(skipped)} could not be read)" if skipped else ""
    where = settings.source or settings.arrays
    try:
        check_method(settings.method, frames)
    except InputError as error:
        others = "; cross, fused and guided take 2" if settings.method in WINDOWED else ""
        more = "; a smaller --every takes more of the video" if settings.read.every > 1 else ""
        raise InputError(f"{where}: {error}{others}{left}{more}") from None
    every = settings.refinement.every
    if settings.refined_by is not None and every >= frames:
        raise InputError(
            f"--refine-every {every}: {where} has {frames} frames{left}, of which one at least besides the first is "
            "checked against"
        )


def _masks(settings: MasksSettings, seen: Seen, choice: Bands, progress: ProgressLine) -> Masks:
    progress.stage("making masks")
    try:
        return masks(seen.first, settings.method, choice, settings.stages)
    except InputError as error:
        if settings.arrays is None:
            raise
        raise InputError(f"{settings.arrays}: {error}") from None


def _refined(
    settings: MasksSettings, seen: Seen, moves: NDArray[np.bool_], progress: ProgressLine
) -> tuple[NDArray[np.bool_], dict[str, NDArray[Any]]]:
    """Check masks, bool [T, H, W], against the first pass's depth from the second's cameras. Returns the masks, and
    arrays by name that say how it went."""
    first = seen.first
    poses = first.extrinsics if seen.second is None else seen.second.extrinsics
    assert poses is not None
    assert first.intrinsics is not None
    to_world = np.tile(np.eye(4), (len(poses), 1, 1))
    to_world[:, :3] = inverse(poses)
    progress.stage("refining", len(moves), "frames")
    done = refine(
        first.images,
        first.depth,
        moves,
        to_world,
        first.intrinsics,
        cast("How", settings.refined_by),
        scale=settings.refine_scale,
        options=settings.refinement,
        progress=progress.update,
    )
    return done.masks, {"refine_labels": done.labels, "refine_losses": done.losses}

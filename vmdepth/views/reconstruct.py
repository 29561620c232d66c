"""Views of one place become a folder of depth, cameras and points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmdepth.byte_amounts import check_budget
from vmdepth.views.given_cameras import read_cameras
from vmdepth.views.network import AskedNetwork, GivenCameras, pieces
from vmdepth.views.reading import Picture, Pictures, read_pictures
from vmdepth.views.results import Results
from vmdepth.views.settings import ViewsSettings
from vmdepth.views.windows import Chain, Seam, spans
from vmdepth.views.writing import write_all
from vmdepth_runtime.atomic_files import whole_folder
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.encoding import pictures
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.progress import ProgressLine


@dataclass(frozen=True)
class Reconstructed:
    """folder: what was made. views: how many. size: height and width of the depth. seams: how windows were joined.
    points: of the cloud; None where there is none. notes: lines about what is missing and why."""

    folder: Path
    views: int
    size: tuple[int, int]
    seams: list[Seam]
    points: int | None
    notes: list[str]


def reconstruct(settings: ViewsSettings, progress: ProgressLine | None = None) -> Reconstructed:
    """Depth, cameras and points of several views of one place, as `vmdepth-views` makes them.

    The folder appears when all of it is there.

    Raises:
        InputError: sources, checkpoints, cameras and budgets that cannot be used, or a folder that holds something.
        WorkError: where windows cannot be aligned, or the disk takes no more.
    """
    progress = progress or ProgressLine("loading")
    check_budget(settings.memory_budget)
    lens = Lens.of(intrinsics=settings.intrinsics)
    with whole_folder(settings.output) as part:
        progress.stage(f"loading {settings.model}")
        network = AskedNetwork(settings.model, settings.device)
        if network.alone and (unused := settings.of_several_views()):
            raise InputError(
                f"{unused[0]}: {settings.model} sees each picture alone and tells no confidence; leave "
                f"{' and '.join(unused)} out"
            )

        def keep(name: str, image: Picture) -> None:
            (part / "images").mkdir(exist_ok=True)
            (part / "images" / name).write_bytes(pictures.picture(image, ".png"))

        progress.stage("reading", unit="views")
        views = read_pictures(settings, progress.update, keep)
        _check(settings, network, views)
        given = _given(settings, views, lens)
        results = Results(part)
        chain = _ask(settings, network, views, given, results, progress)
        seams = [] if network.alone else chain.seams
        progress.stage("writing", len(views.names), "views")
        points, notes = write_all(part, settings, network, views, given, results, seams, progress)
    if given is not None and network.tells_cameras and not chain.scaled:
        notes.append("the given cameras all stand at one place: depth keeps the network's scale")
    return Reconstructed(settings.output, len(views.names), results.size, seams, points, [*views.skipped, *notes])


def _check(settings: ViewsSettings, network: AskedNetwork, views: Pictures) -> None:
    count = len(views.names)
    if count < 2 and not network.alone:
        left = f" ({len(views.skipped)} could not be read)" if views.skipped else ""
        raise InputError(
            f"{settings.sources[0]}: is one view{left}, and cameras and a cloud take two or more of the same place; "
            "the depth of one is vmdepth-run's"
        )
    if len(spans(count, settings.window, settings.shared)) > 1 and not (network.alone or network.tells_cameras):
        raise InputError(
            f"{settings.model}: tells no cameras, by which windows are aligned; --window 0 takes all {count} views at "
            "once, --memory-budget limits what that takes"
        )


def _given(settings: ViewsSettings, views: Pictures, lens: Lens | None) -> GivenCameras | None:
    if settings.poses is None:
        return None
    try:
        extrinsics, intrinsics = read_cameras(settings.poses, views.names, views.sizes, lens)
    except InputError as error:
        left = f" (of the views {len(views.skipped)} could not be read)" if views.skipped else ""
        raise InputError(f"{error}{left}") from None
    return GivenCameras(extrinsics, views.to_network @ intrinsics)


def _ask(
    settings: ViewsSettings,
    network: AskedNetwork,
    views: Pictures,
    given: GivenCameras | None,
    results: Results,
    progress: ProgressLine,
) -> Chain:
    """Ask the network for one window after the other, and put them together."""
    count = len(views.names)
    windows = pieces(count) if network.alone else spans(count, settings.window, settings.shared)
    chain = Chain(None if given is None else given.extrinsics)
    name = "looking" if len(windows) == 1 else f"looking, in {len(windows)} windows"
    progress.stage(name, count, "views")
    for number, window in enumerate(windows):
        part = slice(window.start, window.stop)
        told = network.look(
            views.images[part],
            None if given is None else given[part],
            memory_budget=settings.memory_budget,
            reference=settings.reference,
        )
        if not all(np.isfinite(view.depth).all() for view in told):
            raise WorkError(f"{settings.model}: gives what is no number for views {window.start + 1} to {window.stop}")
        following = windows[number + 1].start if number + 1 < len(windows) else count
        for _, view in chain.add(window.start, told, following):
            results.add(view)
        progress.update(window.stop)
    return chain

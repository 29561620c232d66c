"""What a run refuses before anything is written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from vmdepth_runtime.atomic_files import check_report
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.camera.rectifier import known_distortion
from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.depth.scale.metres import Metres, check_metres
from vmdepth_runtime.depth.stream import MIN_SIDE
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.depth_encodings import check_encoding
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.palettes import PALETTE
from vmdepth_runtime.pipeline.jobs import Job
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.sessions.engine_sidecar import read_sidecar
from vmdepth_runtime.sinks.files import NAME, numbered
from vmdepth_runtime.sinks.files import is_pattern as is_numbered
from vmdepth_runtime.sinks.open import (
    check_frames,
    check_output,
    has_clouds,
    is_coloured,
    is_file,
    is_for_eyes,
    is_one_file,
    is_recording,
    needs_camera,
    takes_camera,
)
from vmdepth_runtime.sources.base import Source
from vmdepth_runtime.sources.listing import is_pattern, names_of, recorded_files, refuse_part, would_read
from vmdepth_runtime.sources.listing import is_recording as is_recorded
from vmdepth_runtime.sources.uri import NETWORK, camera_of, redacted, scheme_of

_LIVE = ("csi", *(scheme for scheme in NETWORK if not scheme.startswith("http")))  # http may be a file


def check_outputs(settings: RunSettings, jobs: Sequence[Job]) -> None:
    """Raise InputError unless all outputs and the report can be written without harm to the sources or each other.

    Touches nothing.
    """
    lens = Lens.of(settings.fov, settings.intrinsics)
    if settings.rectify and lens is not None:
        known_distortion(lens)
    elif settings.rectify and not any(job.recording for job in jobs):
        raise InputError("--rectify: needs --camera FILE, a calibration with distortion coefficients")
    has_camera = lens is not None
    shared = [path for job in jobs if job.listed for path in job.paths]
    for job in jobs:
        for output in job.outputs:
            # A recording may know its camera, which shows when it is open.
            check_output(output, [*job.paths[:1], *shared], has_camera=has_camera or job.recording)
            if job.pictures:
                _check_pictures(output, job, settings)
    _check_palette(settings, jobs, None)
    if settings.max_height != RunSettings.max_height and not any(is_for_eyes(o) for job in jobs for o in job.outputs):
        raise InputError(f"--max-height {settings.max_height}: no output is a video, window or page, which have one")
    _check_recordings(settings, jobs, has_camera=has_camera)
    if not settings.points:
        _check_clouds(settings.cloud, jobs, has_camera=has_camera)
    calibration = Path(settings.intrinsics) if isinstance(settings.intrinsics, (str, Path)) else None
    check_report(settings.report, settings.model, calibration)
    _check_clashes(settings, jobs)
    _check_topics(settings, jobs)
    if settings.read.images is not None and not any(_may_hold_images(job) for job in jobs):
        option = "--images" if settings.read.images else "--no-images"
        raise InputError(f"{option}: is of images, and no source is a folder or pattern of them; leave it out")


def _may_hold_images(job: Job) -> bool:
    """Whether a source is of images; what holds none yet is told when it is opened."""
    return bool(job.files) or any(map(_is_listed, () if job.recording else job.paths))


def _is_listed(path: Path) -> bool:
    return is_pattern(path) or os.path.isdir(path)  # noqa: PTH112 (which never raises)


def _check_topics(settings: RunSettings, jobs: Sequence[Job]) -> None:
    """Raise InputError where the pictures of one topic are taken twice, a recording would read what is written, or none
    of the sources has topics."""
    other = next((job for job in jobs if not job.recording), None)
    if settings.align_to is not None and other is not None:
        raise InputError(
            f"--align-to {settings.align_to}: follows depth in a recording of a robot (.mcap, a rosbag2 folder), and "
            f"{redacted(other.source)} is none; leave it out"
        )
    for output in (Path(output) for job in jobs for output in job.outputs if is_file(output)):
        if is_recorded(output.parent) and would_read(output.parent, output):
            raise InputError(f"{output}: would be a part of the recording {output.parent}; choose another folder")
    recordings = [path for job in jobs if job.recording for path in job.paths]
    seen: dict[str, Path] = {}  # files of the recordings before
    for path in recordings:
        files = [os.path.realpath(file) for file in recorded_files(path)]
        before = next((seen[file] for file in files if file in seen), None)
        if before is not None:
            whole = os.path.realpath(before) == os.path.realpath(path)
            told = f"{path.name}: is a source twice" if whole else f"{path}: has files of {before}, a source as well"
            raise InputError(f"{told}, and both are of one topic; leave one out")
        seen |= dict.fromkeys(files, path)
    for path in (path for job in jobs for path in job.paths):
        refuse_part(path)
    if settings.read.topic is not None and not recordings:
        raise InputError(
            f"--topic {settings.read.topic}: is of recordings of robots, and no source is one; leave it out"
        )


def _check_recordings(settings: RunSettings, jobs: Sequence[Job], *, has_camera: bool) -> None:
    """Raise InputError for what was asked for of recordings where there are none, and for points without a camera."""
    recordings = [output for job in jobs for output in job.outputs if is_recording(output)]
    if not recordings:
        asked = ["--points"] if settings.points else []
        if settings.depth_encoding != RunSettings.depth_encoding:
            asked.append(f"--depth-encoding {settings.depth_encoding}")
        if asked:
            raise InputError(f"{asked[0]}: no output is a recording (.mcap); leave it out, or add one")
    elif settings.points and not (has_camera or any(job.recording for job in jobs)):  # which may know it
        raise InputError(
            f"{recordings[0]}: points need the camera; give --fov DEGREES or --intrinsics FX,FY,CX,CY|FILE"
        )


def _check_palette(settings: RunSettings, jobs: Sequence[Job], kind: DepthKind | None) -> None:
    """Raise InputError where colours were chosen, and no output has any. kind: of the depth; None: not known yet."""
    if settings.palette == PALETTE:
        return
    if not any(is_coloured(output, colour=job.colour, kind=kind) for job in jobs for output in job.outputs):
        raise InputError(
            f"--palette {settings.palette}: no output has colours; --colour gives .png some, .jpg has them"
        )


def _check_clouds(cloud: CloudSettings, jobs: Sequence[Job], *, has_camera: bool) -> None:
    """Raise InputError for a setting that was asked for of clouds, where there are none."""
    clouds = [(output, has_camera or job.recording) for job in jobs for output in job.outputs if has_clouds(output)]
    if any(known for _, known in clouds):  # a recording may know its camera
        return
    way_out = "no output is a cloud (.ply); leave it out, or add one, or --points to .mcap"
    if clouds:
        way_out = (
            f"{clouds[0][0]} has clouds where the camera is known; give --fov DEGREES or --intrinsics FX,FY,CX,CY|FILE"
        )
    for field in fields(cloud):
        value = getattr(cloud, field.name)
        if value != field.default:
            option = field.name.replace("_", "-") + ("" if value is True else f" {value:.10g}")
            raise InputError(f"--{option}: {way_out}")


def _check_pictures(output: str, job: Job, settings: RunSettings) -> None:
    """Raise InputError where an output has no room for pictures that each stand on their own."""
    count = len(job.files) if settings.read.frames is None else min(len(job.files), settings.read.frames)
    if count == 1:
        return
    if output == "-" or (is_file(output) and NAME not in output and not is_numbered(Path(output))):
        ending = Path(output).suffix if is_file(output) and not is_one_file(output) else ".png"
        instead = f"-o '{Path(output).stem.strip('-') or 'depth'}/{NAME}{ending}' gives each a file of its own"
        if job.listed:
            instead += ", --no-images takes them as the frames of one video"
        raise InputError(f"{output}: {_told(job, count)}, each on its own; {instead}")


def _told(job: Job, count: int) -> str:
    return f"{job.source} is {count} pictures" if job.listed else f"there are {count} pictures"


def _check_clashes(settings: RunSettings, jobs: Sequence[Job]) -> None:
    """Raise InputError where two outputs, or an output and a source, are the same file."""
    targets = [(output, path) for job in jobs for output in job.outputs for path in _targets(job, output, settings)]
    if settings.report is not None:
        targets.append((str(settings.report), str(settings.report)))
    folders: dict[str, str] = {}  # as named → as they are: there may be very many files in each

    def real(path: str | Path) -> str:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder or ".")
        return os.path.join(folders[folder], name)  # noqa: PTH118 (a hundred thousand times)

    sources = {real(path) for job in jobs for path in (job.files if job.pictures else job.paths)}
    seen: set[str] = set()
    for output, path in targets:
        place = path if scheme_of(path) else real(path)
        if place in sources:
            raise InputError(f"{path}: is the source itself; choose another output")
        if place in seen:
            way_out = "give each its own name"
            if len(jobs) > 1 and NAME in output:
                way_out = f"put the source's number {{}} there, too, as in '{{}}_{NAME}{Path(output).suffix}'"
            elif len(jobs) > 1 and settings.outputs.count(output) <= 1:
                way_out = "with several sources put {name} or {} where their name or number goes, as in '{name}.mp4'"
            raise InputError(f"{path}: is named as an output twice; {way_out}")
        seen.add(place)


def _targets(job: Job, output: str, settings: RunSettings) -> Iterator[str]:
    """The files of an output: of pictures one each, else its own name, also where that is a pattern. Another kind of
    output, such as a page, may be used again by the next source, but not by two at once."""
    if not is_file(output):
        yield from [output] if settings.streams or len(set(job.outputs)) < len(job.outputs) else []
    elif job.pictures and (NAME in output or is_numbered(Path(output))):
        for index, name in enumerate(names_of(job.files)):
            target = output.replace(NAME, name)
            yield str(numbered(Path(target), index)) if is_numbered(Path(output)) else target
    else:
        yield output


def check_live(jobs: Sequence[Job]) -> None:
    """Raise InputError where a live source, which has no end, has others after it."""
    for job in jobs:
        if len(jobs) > 1 and (camera_of(job.source) or scheme_of(job.source) in _LIVE):
            raise InputError(
                f"{redacted(job.source)}: is live and has no end; --streams takes all {len(jobs)} sources at once, by "
                f"a model made with 'vmdepth-export --streams {len(jobs)}'"
            )


def check_model(settings: RunSettings, contract: StepContract, count: int) -> None:
    """Raise InputError unless the model takes as many streams at once as there are, and is made for the back end."""
    model = settings.model
    if contract.streams != count:
        way_out, at_a_time = f"export it again with '--streams {count}'", ""
        if not settings.streams and len(settings.sources) > 1:
            at_a_time = " at a time"
            if len(settings.sources) == contract.streams:
                way_out = "--streams takes all sources at once"
        raise InputError(
            f"{model}: made for {_number(contract.streams, 'stream')} at once, and given {_number(count, 'source')}"
            f"{at_a_time}; {way_out}"
        )
    backend = read_sidecar(model)[1].target if model.suffix == ".engine" else "onnxruntime"
    if settings.backend not in ("auto", backend):
        raise InputError(f"--backend {settings.backend}: {model} is made for {backend}; 'vmdepth-export' makes others")


def check_scale(settings: RunSettings, contract: StepContract) -> None:
    """Raise InputError where metres are asked for in two ways, or of a model that they are not for."""
    check_metres(Metres.of(settings.metres), contract, settings.model.name)
    if settings.align_to is None:
        return
    if settings.metres is not None:
        raise InputError(f"--align-to {settings.align_to}: and --metres both make metres; leave one out")
    if settings.rectify:
        raise InputError(
            f"--align-to {settings.align_to}: is of frames as they are, not rectified; leave --rectify out, clouds are "
            "straight without"
        )
    if contract.depth_meaning.unit is not None:
        meaning = contract.depth_meaning.meaning
        raise InputError(f"--align-to {settings.align_to}: {settings.model.name} gives {meaning} already; leave it out")


def depth_kind(settings: RunSettings, contract: StepContract) -> DepthKind:
    """What the depth that a run gives means."""
    return DEPTH_KINDS["metric"] if settings.makes_metres else contract.depth_meaning


def check_depth_kind(settings: RunSettings, contract: StepContract, jobs: Sequence[Job]) -> None:
    """Raise InputError where the depth that a run gives cannot be laid out as is asked for, or has no colours."""
    kind = depth_kind(settings, contract)
    check_encoding(kind, settings.depth_encoding)
    _check_palette(settings, jobs, kind)


def check_camera(settings: RunSettings, contract: StepContract, jobs: Sequence[Job]) -> None:
    """Raise InputError where something is said of the camera and nothing asks for it; or sky has no place in clouds."""
    settings.cloud.check_range(inverse=contract.depth_meaning.inverse and not settings.makes_metres)
    lens = Lens.of(settings.fov, settings.intrinsics)
    asked = settings.rectify or contract.metric_focal is not None
    asked |= settings.align_to is not None  # it may be points, which the camera sees
    asked |= any(takes_camera(output) for job in jobs for output in job.outputs)
    if lens is not None and not asked:
        raise InputError(
            f"{lens.given}: nothing asks for the camera: no output is a cloud (.ply) or recording (.mcap), and "
            f"{settings.model.name} gives {contract.depth_meaning.meaning}, whatever the camera; leave it out"
        )


def check_source(settings: RunSettings, source: Source, outputs: Sequence[str], *, alone: bool) -> None:
    """Raise InputError for frames that are too small for any network, and more of them than an output has room for;
    where an output needs the camera, and neither the run nor the source was told of it; and for a source without an end
    that is not `alone`, as others come before or after it."""
    if source.live and not alone:
        raise InputError(f"{source.name}: is live and has no end; give it alone, or --streams")
    width, height = source.info.width, source.info.height
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{source.name}: its frames are {width}x{height}; at least {MIN_SIDE}x{MIN_SIDE} is needed")
    unknown = source.lens is None and Lens.of(settings.fov, settings.intrinsics) is None
    for output in outputs:
        if unknown and (needs_camera(output) or (settings.points and is_recording(output))):
            why = source.refused_lens or f"{source.name} says nothing of it (no CameraInfo)"
            raise InputError(
                f"{output}: points need the camera, and {why}; give --fov DEGREES or --intrinsics FX,FY,CX,CY|FILE"
            )
    if not source.pictures:
        for output in outputs:
            check_frames(output, source.name, source.wanted if source.live else source.info.frames)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"

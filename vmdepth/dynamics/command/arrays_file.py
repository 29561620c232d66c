"""What a run knows, as one file of arrays: with it masks are made again, without the network."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from vmdepth.dynamics.command.reading import Frames
from vmdepth.dynamics.first_pass import FirstPass, Floats, Kind, Letter, Pair, Reach, Statistic, Sums
from vmdepth.dynamics.layers import Blocks
from vmdepth.networks.encoder import PATCH
from vmdepth_runtime.atomic_files import being_written, part_name
from vmdepth_runtime.errors import InputError

_RAW = "raw/"
_SUMS = "sums/"  # block, letter and a field of `Sums` follow, as "sums/5/K/mean"
_RESULTS = ("mask", "map/", "refine_")
_FORM = 1  # of the file
_NONE = "{}: is no file of --out-arrays, or a damaged one; make it again with --model"


@dataclass(frozen=True)
class SecondCameras:
    """extrinsics: float64 [T, 3, 4], world to camera, by the second pass. depth: float32 [T, H, W] of it, at the scale
    of the first one's."""

    extrinsics: NDArray[np.float64]
    depth: Floats


@dataclass(frozen=True)
class Seen:
    """frames: what the network saw. blocks: of the network. first: what its first pass found. second: its second pass;
    None where there was none."""

    frames: Frames
    blocks: Blocks
    first: FirstPass
    second: SecondCameras | None = None


def write_arrays(path: Path, seen: Seen, **results: NDArray[Any]) -> None:
    """Write what was seen, and masks and maps by name. Raises WorkError where it cannot be written."""
    frames, first = seen.frames, seen.first
    arrays: dict[str, Any] = {
        "form": np.array(_FORM),
        "images": frames.images,
        "names": np.array(frames.names),
        "frame_size": np.array([frames.height, frames.width]),
        "to_network": frames.to_network,
        "fps": np.array(frames.fps),
        "of_files": np.array(frames.of_files),
        "blocks": np.array(seen.blocks.count),
        "blocks_over_views": np.array(seen.blocks.over_views, np.int64),
        "features": first.features,
        "depth": first.depth,
        "inverse": np.array(first.inverse),
        **{f"{_RAW}{statistic.name}": values for statistic, values in first.raw.items()},
    }
    for (block, letter), sums in first.sums.items():
        own = f"{_SUMS}{block}/{letter}"
        arrays |= {f"{own}/count": np.array(sums.count), f"{own}/mean": sums.mean, f"{own}/scatter": sums.scatter}
    optional: dict[str, Any] = {
        "extrinsics": first.extrinsics,
        "intrinsics": first.intrinsics,
        "reference": first.reference,
    }
    if seen.second is not None:
        optional |= {"second_extrinsics": seen.second.extrinsics, "second_depth": seen.second.depth}
    arrays |= {name: np.asarray(value) for name, value in optional.items() if value is not None}
    part = part_name(path)
    with being_written(path, part), zipfile.ZipFile(part, "w") as archive:
        for name, values in (arrays | results).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
                np.lib.format.write_array(target, np.asanyarray(values), allow_pickle=False)
        archive.close()
        part.replace(path)


def read_arrays(path: Path) -> Seen:
    """The inverse of `write_arrays`, without the results.

    Raises:
        InputError: the file cannot be read, is none of those, or its arrays are of different frames.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files if not name.startswith(_RESULTS)}
        if int(found["form"]) != _FORM:
            raise KeyError("form")
        seen = _seen(found)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give a file of --out-arrays") from None
    except (InputError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, EOFError):
        raise InputError(_NONE.format(path)) from None
    _check(path, seen)
    return seen


def _seen(found: dict[str, NDArray[Any]]) -> Seen:
    height, width = (int(side) for side in found["frame_size"])
    names = [str(name) for name in found["names"]]
    fps, of_files = float(found["fps"]), bool(found["of_files"])
    frames = Frames(found["images"], names, width, height, found["to_network"], fps, of_files)
    raw = {_statistic(name.removeprefix(_RAW)): found[name] for name in found if name.startswith(_RAW)}
    first = FirstPass(
        frames.images,
        raw,
        found["features"],
        found["depth"],
        bool(found["inverse"]),
        found.get("extrinsics"),
        found.get("intrinsics"),
        int(found["reference"]) if "reference" in found else None,
        _sums(found),
    )
    second = None
    if "second_extrinsics" in found:
        second = SecondCameras(found["second_extrinsics"], found["second_depth"])
    blocks = Blocks(int(found["blocks"]), tuple(int(block) for block in found["blocks_over_views"]))
    return Seen(frames, blocks, first, second)


def _statistic(name: str) -> Statistic:
    """By `Statistic.name`. Raises ValueError or InputError for anything else."""
    reach, kind, pair, layers = name.split("/")
    if reach not in get_args(Reach) or kind not in get_args(Kind) or pair not in get_args(Pair):
        raise ValueError(name)
    return Statistic(pair, kind, tuple(int(layer) for layer in layers.split("+")), reach)  # type: ignore[arg-type]


def _sums(found: dict[str, NDArray[Any]]) -> dict[tuple[int, Letter], Sums]:
    """Raises ValueError or KeyError for names or parts that are none of `Sums`."""
    sums: dict[tuple[int, Letter], Sums] = {}
    for own in {name.rpartition("/")[0] for name in found if name.startswith(_SUMS)}:
        block, letter = own.removeprefix(_SUMS).split("/")
        if letter not in get_args(Letter):
            raise ValueError(own)
        count, mean, scatter = (found[f"{own}/{part}"] for part in ("count", "mean", "scatter"))
        if mean.ndim != 2 or scatter.shape != (*mean.shape, mean.shape[1]):
            raise ValueError(own)
        sums[int(block), letter] = Sums(int(count), mean, scatter)  # type: ignore[index]
    return sums


def _check(path: Path, seen: Seen) -> None:
    """Raise InputError unless all arrays are of the same frames, patches and pixels."""
    images, first, second = seen.frames.images, seen.first, seen.second
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or first.features.ndim != 4:
        raise InputError(_NONE.format(path))
    count, pixels = len(images), images.shape[1:3]
    shapes = {
        "names": ((len(seen.frames.names),), (count,)),
        "depth": (first.depth.shape, (count, *pixels)),
        "features": (first.features.shape[:3], (count, *(side // PATCH for side in pixels))),
        **{statistic.name: (values.shape, (count, *first.grid)) for statistic, values in first.raw.items()},
        **{
            f"sums of block {block}, {letter},": ((sums.count,), (count * first.grid[0] * first.grid[1],))
            for (block, letter), sums in first.sums.items()
        },
        "extrinsics": ((count, 3, 4) if first.extrinsics is None else first.extrinsics.shape, (count, 3, 4)),
        "intrinsics": ((count, 3, 3) if first.intrinsics is None else first.intrinsics.shape, (count, 3, 3)),
        "second_extrinsics": ((count, 3, 4) if second is None else second.extrinsics.shape, (count, 3, 4)),
        "second_depth": ((count, *pixels) if second is None else second.depth.shape, (count, *pixels)),
    }
    for name, (shape, expected) in shapes.items():
        if tuple(shape) != tuple(expected):
            raise InputError(
                f"{path}: has {name} of other frames ({'x'.join(map(str, shape))}, and its images need "
                f"{'x'.join(map(str, expected))}); make the file again with --model"
            )

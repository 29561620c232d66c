"""Views out of sources: pictures as the network has them, and where each of their pixels came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from vmdepth.official.preparation import ResizeMethod, crop_views, prepare_view
from vmdepth.views.geometry import Floats
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.listing import is_pattern, is_picture, list_files
from vmdepth_runtime.sources.open import open_source
from vmdepth_runtime.sources.settings import ReadSettings
from vmdepth_runtime.sources.uri import path_of

Picture = NDArray[np.uint8]


class HowRead(Protocol):
    """What settings say of reading: which frames of which sources, and how they become the network's size."""

    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def read(self) -> ReadSettings: ...
    @property
    def process_res(self) -> int: ...
    @property
    def process_res_method(self) -> str: ...


@dataclass(frozen=True)
class Pictures:
    """N pictures of one place.

    names: of the files, each unlike all others; of a video's frame its number, with .png. sizes: width and height of
    every picture. images: uint8 [H, W, 3] RGB each, as the network sees them. to_network: float64 [N, 3, 3], brings
    places in a picture to those in what the network sees, both in pixels from the outer corner. skipped: a line for
    every one that could not be read. fps: at which the first source's follow each other, where it is a video.
    """

    names: list[str]
    sizes: list[tuple[int, int]]
    images: list[Picture]
    to_network: Floats
    skipped: list[str]
    fps: float


def read_pictures(
    settings: HowRead, told: Callable[[int], None], keep: Callable[[str, Picture], None] | None = None
) -> Pictures:
    """Read the views of all sources.

    Args:
        settings: what is read.
        told: called with the number of views read so far.
        keep: takes the frames that are no files of their own, by name; None: nobody does.

    Raises:
        InputError: a source that cannot be read, a picture that cannot become that size, or two of one name.
    """
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    prepared: list[tuple[Picture, NDArray[np.floating] | None]] = []
    skipped: list[str] = []
    rates: list[float] = []
    method = cast("ResizeMethod", settings.process_res_method)
    for uri in settings.sources:
        files = _picture_files(uri)
        read = replace(settings.read, images=True) if files else settings.read
        with open_source(uri, read=read) as source:
            if source.live and settings.read.frames is None:
                raise InputError(f"{source.name}: is live and has no end; say how many views with --frames")
            rates.append(source.info.fps)
            for frame in source:
                try:
                    prepared.append(prepare_view(frame.image, settings.process_res, method, np.eye(3)))
                except ValueError as error:
                    raise InputError(f"{source.name}: {error}; use --process-res-method upper_bound_resize") from None
                if files:
                    names.append(files[frame.index].name)
                else:
                    several = f"{Path(source.name).stem}_" if len(settings.sources) > 1 else ""
                    names.append(f"{several}{frame.index:06d}.png")
                    if keep is not None:
                        keep(names[-1], frame.image)
                sizes.append((frame.image.shape[1], frame.image.shape[0]))
                told(len(names))
            skipped += [f"{source.name}: left out {line}" for line in source.skipped]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: two views have that name; give each a name of its own")
    cropped = crop_views(prepared)
    maps = np.stack([np.asarray(camera, np.float64) for _, camera in cropped])
    return Pictures(names, sizes, [np.ascontiguousarray(image) for image, _ in cropped], maps, skipped, rates[0])


def _picture_files(uri: str) -> list[Path]:
    """The files of a source of pictures; none of any other source."""
    path = path_of(uri)
    if is_picture(path) and path.is_file():
        return [path]
    return list_files(path).images if path.is_dir() or is_pattern(path) else []

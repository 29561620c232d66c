"""Pixels that are not square become square: circles are round."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vmdepth_runtime import open_source
from vmdepth_runtime.sources.footage.pixel_aspect import PixelAspect


def disc(width, height, aspect):
    """A frame of a bright disc that is round where pixels are `aspect` times as wide as high."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    radius = 0.4 * min(width * aspect, height)
    inside = ((x - width / 2) * float(aspect)) ** 2 + (y - height / 2) ** 2 < float(radius) ** 2
    image = np.where(inside, 220, 30).astype(np.uint8)
    return av.VideoFrame.from_ndarray(np.repeat(image[..., None], 3, axis=2)).reformat(format="yuv420p")


def extents(image):
    """Columns and rows that the disc spans."""
    bright = image[..., 1] > 125
    return int(bright.any(axis=0).sum()), int(bright.any(axis=1).sum())


@pytest.mark.parametrize(
    ("size", "aspect", "squared"),
    [
        ((144, 96), Fraction(16, 15), (154, 96)),  # PAL, 4:3
        ((144, 96), Fraction(64, 45), (204, 96)),  # PAL, 16:9
        ((144, 96), Fraction(32, 27), (170, 96)),  # NTSC, 16:9
        ((144, 96), Fraction(8, 9), (144, 108)),  # NTSC, 4:3
        ((144, 96), Fraction(1), (144, 96)),
        ((144, 96), Fraction(500, 501), (144, 96)),  # rounding of whoever wrote the file
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_circles_are_round(tmp_path, footage, read, name, size, aspect, squared):
    path = footage(
        tmp_path / name, [disc(*size, aspect) for _ in range(3)], "libx264", {"qp": "4"}, sample_aspect_ratio=aspect
    )
    source, frames = read(path)
    assert (source.info.width, source.info.height) == squared
    told = [f"pixels are not square: 144x96 stretched to {squared[0]}x{squared[1]}"]
    assert source.notes == (told if squared != size else [])
    assert [frame.image.shape for frame in frames] == [(*squared[::-1], 3)] * 3
    columns, rows = extents(frames[1].image)
    assert abs(columns - rows) <= 1
    with open_source(path) as source:
        assert {image.shape for image in source.sample(2)} <= {(*squared[::-1], 3)}


def test_pixels_that_nobody_films_are_taken_for_square(tmp_path, footage, read):
    frames = [disc(144, 96, Fraction(1)) for _ in range(3)]
    source, _ = read(footage(tmp_path / "a.mkv", frames, "libx264", sample_aspect_ratio=Fraction(20)))
    assert (source.info.width, source.info.height) == (144, 96)


def test_a_broadcast_may_change_them(tmp_path, footage):
    """Two programmes in one stream of MPEG-2, of one size."""
    parts = [
        footage(
            tmp_path / f"{k}.m2v",
            [disc(144, 96, aspect) for _ in range(4)],
            "mpeg2video",
            {"qmin": "1", "qmax": "2"},
            sample_aspect_ratio=aspect,
        )
        for k, aspect in enumerate((Fraction(8, 9), Fraction(32, 27)))
    ]
    (tmp_path / "both.m2v").write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(tmp_path / "both.m2v")) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        aspect = PixelAspect(stream)
        sizes = [aspect.square(frame.width, frame.height) for frame in container.decode(stream)]
    assert sizes in [[(144, 108)] * n + [(170, 96)] * (8 - n) for n in (3, 4)]  # the decoder tells a frame early
    with open_source(tmp_path / "both.m2v") as source:
        frames = list(source)
    assert len(frames) == 8
    assert [frame.index for frame in frames if frame.discontinuity] in ([3], [4])
    assert source.warnings == ["both.m2v is 170x96 from here on: the stream starts anew, scaled to 144x108"]

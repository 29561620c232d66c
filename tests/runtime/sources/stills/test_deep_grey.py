"""Grey pictures of 16 bits, which use a part of them: seen from black to white, steady over a video, depth named."""

from __future__ import annotations

import json

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from vmdepth_runtime import InputError, ReadSettings, open_source
from vmdepth_runtime.depth.picture_input import as_frame
from vmdepth_runtime.sources.colour_conversion import RgbConverter
from vmdepth_runtime.sources.stills.image_file import load_image

RAMP = np.linspace(500, 9500, 48 * 64).reshape(48, 64).astype(np.uint16)  # millimetres, as of a depth camera


def read(path, **settings):
    with open_source(path, read=ReadSettings(**settings)) as source:
        return source, list(source)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_the_range_that_a_picture_uses_is_taken_from_black_to_white(tmp_path, ending):
    deep = RAMP.copy()
    deep[:4] = 0  # no depth there
    deep[5, 5] = 65_535  # a broken pixel
    cv2.imwrite(str(tmp_path / f"a.{ending}"), deep)
    source, (frame,) = read(tmp_path / f"a.{ending}")
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (48, 64, 3)
    seen = deep[4:].astype(float)
    black, white = np.percentile(seen, (0.1, 99.9))
    expected = ((seen - black) / (white - black) * 255).clip(0, 255)
    assert np.abs(frame.image[4:] - expected[..., None]).max() <= 1
    assert (frame.image[:4] == 0).all()
    (line,) = source.notes
    assert line == f"16 bits of grey: {black:.0f} to {white:.0f} is taken from black to white"
    # Whatever the picture comes in, it is the same.
    for one in (tmp_path / f"a.{ending}", deep, deep[..., None], Image.fromarray(deep)):
        np.testing.assert_array_equal(as_frame(one, "rgb"), frame.image)


def test_a_picture_that_uses_most_levels_stays_as_it_is(tmp_path):
    deep = np.linspace(12_000, 56_000, 48 * 64).reshape(48, 64).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    source, (frame,) = read(tmp_path / "a.png")
    np.testing.assert_array_equal(frame.image, np.repeat(np.rint(deep / 257)[..., None], 3, axis=2))
    assert source.notes == source.warnings == []


def test_a_flat_picture_and_one_with_opacity(tmp_path):
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((48, 64), 900, np.uint16))
    assert read(tmp_path / "flat.png")[1][0].image.std() == 0
    cv2.imwrite(str(tmp_path / "none.png"), np.zeros((48, 64), np.uint16))
    assert (read(tmp_path / "none.png")[1][0].image == 0).all()
    frame = av.VideoFrame(64, 48, "ya16be")
    frame.planes[0].update(np.dstack([RAMP, np.full_like(RAMP, 65_535)]).astype(">u2").tobytes())
    with av.open(str(tmp_path / "opaque.png"), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "ya16be"
        container.mux(stream.encode(frame))
    cv2.imwrite(str(tmp_path / "plain.png"), RAMP)
    plain, opaque = (load_image(tmp_path / f"{name}.png", RgbConverter()) for name in ("plain", "opaque"))
    np.testing.assert_array_equal(opaque, plain)


def test_frames_of_a_video_are_seen_by_one_range(tmp_path):
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), RAMP + 1000 * number)
    source, frames = read(tmp_path)
    assert not source.pictures
    step = np.diff([frame.image.mean() for frame in frames])
    assert (step > 10).all()
    assert step.max() - step.min() < 1.5  # it grows brighter as it is
    assert len(source.notes) == 1
    np.testing.assert_array_equal(source.sample(6)[2], frames[2].image)
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])  # tells nothing of the others
    damaged, rest = read(tmp_path)
    np.testing.assert_array_equal(np.diff([frame.image.mean() for frame in rest]) > 10, True)
    assert len(damaged.notes) == len(damaged.skipped) == 1
    cv2.imwrite(str(tmp_path / "0.png"), RAMP)
    source, frames = read(tmp_path, images=True)
    assert np.ptp([frame.image.mean() for frame in frames]) < 1
    assert [note.partition(";")[2] for note in source.notes] == [" the others by ranges of their own"]


def test_depth_that_was_written_before_is_no_picture(tmp_path, vmdepth_run, luma_model, make, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make.image(tmp_path / "photo.png", make.noise(1)[0])
    assert vmdepth_run("photo.png", "--model", luma_model, "-o", "near.png").code == 0
    outcome = vmdepth_run("near.png", "--model", luma_model, "-o", "again.png")
    assert outcome.code == 2
    reason = "near.png: is depth that was written before, as near.json says, and no picture"
    assert outcome.lines == [f"vmdepth-run: {reason}; give another picture"]
    (tmp_path / "out").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "out" / f"d{number:06d}.png"), RAMP)
    assert len(read(tmp_path / "out")[1]) == 3
    (tmp_path / "out" / "ddepth.json").write_text(json.dumps({"depth_kind": "metric", "depth_per_step": 0.001}))
    with pytest.raises(InputError, match=r"none of its 3 images can be read, the first: .* as ddepth.json says"):
        open_source(tmp_path / "out")
    for words in ("[]", "{", "3"):
        (tmp_path / "out" / "ddepth.json").write_text(words)
        assert len(read(tmp_path / "out")[1]) == 3

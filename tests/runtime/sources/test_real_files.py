"""Real footage as sources, whole and broken."""

from __future__ import annotations

import shutil
from itertools import pairwise

import av
import numpy as np
import pytest

from vmdepth_runtime import InputError, ReadSettings, open_source


def test_the_portrait_video_stands_upright(shared_data, read):
    path = shared_data / "broken" / "portrait_rotated90.mp4"
    source, frames = read(path)
    assert (source.info.width, source.info.height) == (180, 320)
    assert len(frames) == 30
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    np.testing.assert_array_equal(frames[0].image, np.rot90(stored, -1))  # clockwise: looked at, the person stands


def test_the_variable_rate_video_keeps_its_times(shared_data, read):
    _, frames = read(shared_data / "broken" / "vfr.mp4")
    assert len(frames) == 41
    assert frames[-1].time == pytest.approx(2.833, abs=1e-3)
    steps = np.round(np.diff([f.time for f in frames]) * 1000)
    assert {int(step) for step in steps} == {33, 67, 100, 800}


def test_gray_and_odd_videos(shared_data, read, assert_in_step):
    source, frames = read(shared_data / "broken" / "odd_321x239.mp4")
    assert len(frames) == 40
    assert_in_step(source, frames)
    assert frames[0].image.shape == (239, 321, 3)
    for frame in read(shared_data / "broken" / "gray.mp4")[1]:
        assert (np.ptp(frame.image.astype(int), axis=2) <= 1).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated_no_moov.mp4", r"broken off before its index \(moov\)"),
        ("zero_byte.mp4", "the file is empty"),
        ("README.md", "not a video that can be read"),
    ],
)
def test_real_files_that_cannot_be_read(shared_data, name, message):
    with pytest.raises(InputError, match=f"{name}: {message}"):
        open_source(shared_data / "broken" / name)


def test_the_truncated_video_gives_what_is_there(shared_data, read):
    source, frames = read(shared_data / "broken" / "truncated_tail.mp4")
    assert len(frames) == 31
    assert source.skipped == []
    assert source.warnings == ["truncated_tail.mp4 ended early: 31 of 60 frames"]


def test_a_header_that_counts_one_too_many_is_no_alarm(shared_data, read):
    source, frames = read(shared_data / "videos" / "robot_unitree.mp4")
    assert (source.info.frames, len(frames)) == (175, 174)
    assert source.skipped == source.warnings == []


def test_the_broken_sequence_loses_one_frame(shared_data):
    with open_source(shared_data / "broken" / "seq_corrupt", read=ReadSettings(images=False)) as source:
        frames = list(source)
    assert [f.index for f in frames] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert [s.name for s in source.skipped] == ["000005.jpg"]
    assert "000008.jpg is 240x180" in source.warnings[0]


@pytest.mark.parametrize("name", ["Tokyo-Walk_rgb.mp4", "davis_rollercoaster.mp4", "robot_unitree.mp4"])
def test_real_videos_can_be_sampled_with_few_or_no_key_frames(shared_data, name):
    with open_source(shared_data / "videos" / name) as source:
        images = source.sample(8)
    assert len(images) == 8
    assert all(np.abs(a.astype(int) - b).mean() > 1 for a, b in pairwise(images))


def test_a_copied_image_is_a_source_of_one_frame(shared_data, tmp_path, read):
    shutil.copy(shared_data / "images" / "demo10_room.jpg", tmp_path / "100%d.jpg")
    assert len(read(tmp_path / "100%d.jpg")[1]) == 1

"""Ranges of frames: the same frames, indices and times as of the whole source, wherever reading begins."""

from __future__ import annotations

import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from vmdepth_runtime import InputError, LiveSettings, ReadSettings, open_source
from vmdepth_runtime.pipeline.reader import FrameReader
from vmdepth_runtime.sources import video
from vmdepth_runtime.sources.live import LiveSource
from vmdepth_runtime.sources.settings import start_of


def read(path, **settings):
    with open_source(path, read=ReadSettings(**settings)) as source:
        return source, [(frame.index, frame.time, frame.image.tobytes()) for frame in source]


def assert_ranges_agree(path, starts):
    """Every range is a part of what is decoded from the first frame on, to the last bit."""
    _, whole = read(path)
    for start in starts:
        for frames, every in ((3, 1), (None, 1), (4, 3)):
            seconds = start_of(start)[1]
            first = int(start) if seconds is None else next(i for i, t, _ in whole if t >= seconds - 5e-4)
            wanted = [f for f in whole if f[0] >= first and (f[0] - first) % every == 0][:frames]
            source, got = read(path, start=start, frames=frames, every=every)
            assert got == wanted, (start, frames, every)
            assert source.skipped == source.warnings == []
            assert source.info.begin == (0.0 if first == 0 else wanted[0][1])
            assert source.info.fps == pytest.approx(read(path)[0].info.fps / every)


@pytest.fixture
def sought(monkeypatch):
    """Whether the last opened video began at a key frame."""
    found = []
    find = video.find_start
    monkeypatch.setattr(video, "find_start", lambda *words: found.append(find(*words)) or found[-1])
    return lambda: found[-1] is not None


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("v.mp4", "libx264", "keyint=12:bframes=3"),
        ("v.mp4", "libx264", "keyint=12:bframes=3:open-gop=1"),
        ("v.mkv", "libx264", "keyint=12"),
        ("v.mp4", "libx265", "keyint=12:bframes=4:open-gop=1:log-level=none"),
    ],
)
def test_a_video_is_sought_to_the_frame(tmp_path, make, sought, name, codec, options):
    """With B-frames, open groups of pictures, and frames of changing length."""
    ticks = np.cumsum(np.random.default_rng(0).integers(1, 5, 60)).tolist()
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=30, options={f"{codec[3:]}-params": options})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90)
        for tick, image in zip(ticks, make.noise(60), strict=True):
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
            frame.pts, frame.time_base = tick, Fraction(1, 90)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = read(tmp_path / name)[1]
    assert_ranges_agree(tmp_path / name, [1, 13, 59, f"{whole[29][1]:.4f}s", f"0:{whole[59][1]:.3f}"])
    assert sought()


def test_what_packets_do_not_tell_is_decoded(tmp_path, make, sought):
    """AVI with B-frames has packets that show nothing; a pipe, and a raw stream, cannot be sought."""
    path = make.video(tmp_path / "v.avi", make.noise(20), codec="mpeg4", bf="2")
    assert_ranges_agree(path, [7])
    assert not sought()
    content = make.video(tmp_path / "v.ts", make.noise(20), codec="mpeg2video").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    with open_source(tmp_path / "pipe", read=ReadSettings(start=5, every=5)) as source:
        assert [frame.index for frame in source] == [5, 10, 15]
    writer.join()


@pytest.mark.parametrize("name", ["videos/robot_unitree.mp4", "videos/davis_rollercoaster.mp4", "broken/vfr.mp4"])
def test_real_videos(shared_data, name):
    _, whole = read(shared_data / name)
    place = len(whole) * 2 // 3
    for start in (place, f"{whole[place][1]:.3f}s"):
        assert read(shared_data / name, start=start, frames=3)[1] == whole[place : place + 3]


def test_a_range_is_no_early_end_and_damage_outside_it_is_not_told(tmp_path, make):
    def damage(k, content):
        return bytes(len(content)) if k in (8, 30) else content

    path = make.video(tmp_path / "v.mp4", make.noise(40), codec="mpeg4", damage=damage)
    for start, frames, indices in ((10, 10, range(10, 20)), (0, 5, range(5)), (28, 4, (28, 29, 31))):
        source, got = read(path, start=start, frames=frames)
        assert [index for index, _, _ in got] == list(indices)
        assert [skipped.index for skipped in source.skipped] == [k for k in (30,) if start == 28]
        assert source.warnings == []
        assert source.info.frames == frames


def test_only_what_is_taken_is_sampled(tmp_path, make):
    levels = np.arange(80, dtype=np.uint8)[:, None, None, None] * 3 + np.zeros((1, 48, 64, 3), np.uint8)
    path = make.video(tmp_path / "v.mp4", levels)
    (tmp_path / "frames").mkdir()
    for k, image in enumerate(levels):
        make.image(tmp_path / "frames" / f"{k}.png", image)
    for source in (path, tmp_path / "frames"):
        with open_source(source, read=ReadSettings(start=40, frames=10, every=2)) as opened:
            seen = [round(image.mean() / 3) for image in opened.sample(5)]
        assert len(seen) >= 4
        assert all(39 <= level <= 59 for level in seen), seen


def test_images_have_the_rate_that_is_asked_for(tmp_path, make):
    for k, image in enumerate(make.noise(12)):
        make.image(tmp_path / f"{k}.png", image)
    source, frames = read(tmp_path, start="0.35s", every=2, frames=3, fps=10)
    assert [(index, time) for index, time, _ in frames] == [(4, 0.4), (6, 0.6), (8, 0.8)]
    assert (source.info.fps, source.info.frames, source.info.begin) == (5.0, 3, 0.4)


def test_a_stream_without_times_has_the_rate_that_is_asked_for(tmp_path, make):
    path = make.video(tmp_path / "v.h264", make.noise(10))
    assert [time for _, time, _ in read(path, fps=10)[1]] == pytest.approx([k / 10 for k in range(10)])
    with pytest.raises(InputError, match="has times of its own; --fps is for images"):
        read(make.video(tmp_path / "v.mp4", make.noise(3)), fps=10)


def test_what_is_beyond_the_end_says_how_long_it_is(tmp_path, make):
    path = make.video(tmp_path / "v.mp4", make.noise(30))
    old = make.video(tmp_path / "v.avi", make.noise(30), codec="mpeg4")
    for k, image in enumerate(make.noise(30)):
        make.image(tmp_path / f"{k}.png", image)
    for source in (path, old, tmp_path / "%d.png"):
        for start in (30, "1s", "1:00"):
            with pytest.raises(InputError, match=rf"has 30 frames, 1.0 s; --start {start} is beyond its end"):
                read(source, start=start)
        assert len(read(source, start=29)[1]) == 1


@pytest.mark.parametrize("start", ["", "x", "-3", "1.5", "1:2:3:4", "s"])
def test_starts_that_mean_nothing(start):
    with pytest.raises(InputError, match=r"is a frame's number, or a time such as 12.5s or 1:30"):
        ReadSettings(start=start)


def test_starts():
    assert [start_of(text) for text in (7, "7", "12.5s", "1:30", "1:02:03.5")] == [
        (7, None),
        (7, None),
        (0, 12.5),
        (0, 90.0),
        (0, 3723.5),
    ]
    for wrong in ({"frames": 0}, {"every": 0}, {"fps": 0.0}):
        with pytest.raises(InputError):
            ReadSettings(**wrong)


class Clock:
    """A live reader whose pictures are the numbers of their reading."""

    fps = 30.0

    def __init__(self):
        self.count = 0

    def read(self):
        self.count += 1
        return np.full((48, 64, 3), self.count, np.uint8)

    def close(self):
        return


def test_what_is_dropped_of_a_live_source_does_not_count():
    source = LiveSource("rtsp://camera", Clock, LiveSettings(), Clock())
    source.wanted = 3
    reader = FrameReader(source, (28, 42))
    levels: list[int] = []
    while not reader.ended:
        with reader.changed:
            reader.changed.wait_for(lambda: reader.ready)
            reader.changed.wait_for(lambda before=reader.dropped: reader.dropped > before + 2)  # nobody is so fast
        levels.append(int(reader.take().frame.image[0, 0, 0]))
    reader.close()
    assert len(levels) == 3
    assert reader.take() is None
    assert reader.dropped >= 9


def test_of_a_live_source_so_many_frames_are_taken_as_were_asked_for():
    source = LiveSource("rtsp://camera", Clock, LiveSettings(), Clock())
    source.wanted = 5
    assert len(list(source)) == 5
    for words, option in (({"start": 3}, "start"), ({"every": 2}, "every"), ({"fps": 10.0}, "fps")):
        with pytest.raises(InputError, match=f"is live, and --{option} is for files"):
            open_source("csi://0", read=ReadSettings(**words))

"""The video: every frame at its time, in colours and sizes that browsers play."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import av
import cv2
import numpy as np
import pytest

from vmdepth_runtime import SourceFrame, open_sink, open_source


def read_back(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return frames, [float(frame.pts * stream.time_base) for frame in frames], stream


TIME_BASES = {
    "30 fps": (Fraction(1, 30), 1),
    "NTSC": (Fraction(1001, 30000), 1),
    "mkv milliseconds": (Fraction(1, 1000), 33),
    "MPEG-TS": (Fraction(1, 90000), 3003),
    "mp4": (Fraction(1, 15360), 512),
    "microseconds": (Fraction(1, 1_000_000), 16683),
}


@pytest.mark.parametrize("case", TIME_BASES)
def test_times_come_back_exactly(tmp_path, make, case, facts, fill):
    time_base, step = TIME_BASES[case]
    ticks = np.cumsum([0, 1, 1, 2, 24, 1, 1, 3, 1]) * step  # a variable rate with a long gap
    times = [float(int(tick) * time_base) for tick in ticks]
    with open_sink(tmp_path / "out.mp4", facts(time_base=time_base, fps=1 / float(step * time_base))) as sink:
        fill(sink, make.noise(len(times)), times)
    _, back, stream = read_back(tmp_path / "out.mp4")
    assert back == pytest.approx(times, abs=1e-12)
    assert sink.notes == []
    # The last frame is shown for a while too.
    assert float(stream.duration * stream.time_base) == pytest.approx(times[-1] + float(step * time_base), rel=1e-3)


def test_a_video_that_browsers_play_with_the_source_left_and_colour_right(tmp_path, facts, fill):
    red, blue = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    with open_sink(tmp_path / "out.mp4", facts()) as sink:
        fill(sink, [red] * 5, [k / 30 for k in range(5)], [blue] * 5)
    frames, _, stream = read_back(tmp_path / "out.mp4")
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    picture = frames[2].to_ndarray(format="rgb24")
    assert picture.shape == (48, 128, 3)
    np.testing.assert_allclose(picture[4:-4, 4:60].reshape(-1, 3).mean(0), [200, 0, 0], atol=4)
    np.testing.assert_allclose(picture[4:-4, 68:124].reshape(-1, 3).mean(0), [0, 0, 200], atol=4)


def test_a_video_at_1080p_shows_the_source_as_near_as_may_be(tmp_path, shared_data, facts):
    """Shrunk to 720 rows, against the source at that size, RGB; over 40 frames it is 37.1 dB."""
    with open_source(shared_data / "videos" / "Tokyo-Walk_rgb.mp4") as source:
        frames = [cv2.resize(f.image, (1920, 1080), interpolation=cv2.INTER_CUBIC) for f in islice(source, 8)]
    colour = np.full((720, 1280, 3), 90, np.uint8)
    with open_sink(tmp_path / "out.mp4", facts(1080, 1920, max_height=720)) as sink:
        for k, image in enumerate(frames):
            sink.write(SourceFrame(k, k / 30, image), np.empty((0, 0), np.float32), colour)
    shown = [frame.to_ndarray(format="rgb24")[:, :1280] for frame in read_back(tmp_path / "out.mp4")[0]]
    near = [
        cv2.PSNR(cv2.resize(image, (1280, 720), interpolation=cv2.INTER_AREA), np.ascontiguousarray(left))
        for image, left in zip(frames, shown, strict=True)
    ]
    assert np.mean(near) > 36.5


def test_an_odd_height_gets_one_more_row_and_says_so(tmp_path, make, facts, fill):
    images = make.noise(4, 47, 63)
    with open_sink(tmp_path / "out.mp4", facts(47, 63)) as sink:
        fill(sink, images, [k / 30 for k in range(4)])
    picture = read_back(tmp_path / "out.mp4")[0][0].to_ndarray(format="rgb24").astype(int)
    assert picture.shape == (48, 126, 3)
    assert np.abs(picture[47] - picture[46]).mean() < 6
    assert sink.notes == ["out.mp4: 47 rows are odd, the last one is there twice"]


@pytest.mark.parametrize(("height", "width", "limit"), [(101, 151, 50), (99, 33, 98), (60, 400, 31)])
def test_a_picture_that_is_too_high_is_shrunk_to_even_sizes(tmp_path, make, facts, fill, height, width, limit):
    sink = open_sink(tmp_path / "out.mp4", facts(height, width, max_height=limit))
    rows, columns = sink.colour_size(height, width)
    assert (rows, columns % 2) == (limit - limit % 2, 0)
    assert columns == pytest.approx(width * rows / height, abs=1)
    with sink:
        fill(sink, make.noise(3, height, width), [0.0, 0.1, 0.2], make.noise(3, rows, columns, seed=1))
    picture = read_back(tmp_path / "out.mp4")[0][1].to_ndarray(format="rgb24")
    assert picture.shape == (rows, 2 * columns, 3)
    assert sink.notes == []
    left = cv2.resize(make.noise(3, height, width)[1], (columns, rows), interpolation=cv2.INTER_AREA)
    wanted = np.hstack([left, make.noise(3, rows, columns, seed=1)[1]])
    error = (picture.astype(int) - wanted) @ [0.2126, 0.7152, 0.0722]  # in luma: 4:2:0 blurs the colours
    assert np.abs(error[:, :columns]).mean() < 3
    assert np.abs(error[:, columns:]).mean() < 3


def test_a_repeated_time_and_a_clock_set_back_still_make_a_video(tmp_path, make, facts, fill):
    with open_sink(tmp_path / "out.mp4", facts(time_base=Fraction(1, 1000))) as sink:
        fill(sink, make.noise(6), [0.0, 0.033, 0.033, 0.1, 0.0, 0.033])
    _, times, _ = read_back(tmp_path / "out.mp4")
    assert times == pytest.approx([0.0, 0.033, 0.034, 0.1, 0.133, 0.166])
    assert sink.notes == ["out.mp4: times do not rise at frame 2; some frames are moved"]


def test_the_canvas_may_be_painted_over_while_x264_still_looks_ahead(tmp_path, facts, fill):
    # x264 keeps a dozen frames before it writes one: were they views on the canvas, all would be the last.
    with open_sink(tmp_path / "out.mp4", facts()) as sink:
        fill(sink, [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(12)], [k / 30 for k in range(12)])
    levels = [f.to_ndarray(format="rgb24")[10:40, 10:50].mean() for f in read_back(tmp_path / "out.mp4")[0]]
    np.testing.assert_allclose(levels, np.arange(12) * 20, atol=3)

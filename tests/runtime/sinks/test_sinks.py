from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sinks.mp4 import Mp4Sink
from vmdepth_runtime.sinks.open import check_output, open_sink
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo
from vmdepth_runtime.sources.open import open_source


def facts(height=48, width=64, time_base=Fraction(1, 30), fps=30.0, **other):
    return SinkFacts(VideoInfo(width, height, None, fps, time_base), **other)


def fill(sink, images, times, colours=None):
    for k, (image, time) in enumerate(zip(images, times, strict=True)):
        depth = np.full(image.shape[:2], k + 0.5, np.float32)
        sink.write(SourceFrame(k, time, image), depth, image[::-1] if colours is None else colours[k])


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
def test_times_come_back_exactly(tmp_path, make, case):
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


def test_a_video_that_browsers_play_with_the_source_left_and_colour_right(tmp_path):
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


def test_an_odd_height_gets_one_more_row_and_says_so(tmp_path, make):
    images = make.noise(4, 47, 63)
    with open_sink(tmp_path / "out.mp4", facts(47, 63)) as sink:
        fill(sink, images, [k / 30 for k in range(4)])
    picture = read_back(tmp_path / "out.mp4")[0][0].to_ndarray(format="rgb24").astype(int)
    assert picture.shape == (48, 126, 3)
    assert np.abs(picture[47] - picture[46]).mean() < 6
    assert sink.notes == ["out.mp4: 47 rows are odd, the last one is there twice"]


def test_a_repeated_time_and_a_clock_set_back_still_make_a_video(tmp_path, make):
    with open_sink(tmp_path / "out.mp4", facts(time_base=Fraction(1, 1000))) as sink:
        fill(sink, make.noise(6), [0.0, 0.033, 0.033, 0.1, 0.0, 0.033])
    _, times, _ = read_back(tmp_path / "out.mp4")
    assert times == pytest.approx([0.0, 0.033, 0.034, 0.1, 0.133, 0.166])
    assert sink.notes == ["out.mp4: times do not rise at frame 2; some frames are moved"]


def test_npz_holds_every_depth_and_time(tmp_path, make):
    times = [0.0, 0.1, 0.7]
    with open_sink(tmp_path / "out.npz", facts(47, 63)) as sink:
        fill(sink, make.noise(3, 47, 63), times)
    with np.load(tmp_path / "out.npz") as data:
        assert sorted(data) == ["depth", "times"]
        assert (data["depth"].dtype, data["depth"].shape) == (np.float32, (3, 47, 63))
        np.testing.assert_array_equal(data["depth"][:, 5, 5], [0.5, 1.5, 2.5])
        assert data["times"].dtype == np.float64
        np.testing.assert_array_equal(data["times"], times)


def test_npz_writes_as_it_goes(tmp_path, make):
    sink = open_sink(tmp_path / "out.npz", facts())
    fill(sink, make.noise(20), [k / 30 for k in range(20)])
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written > 18 * 48 * 64 * 4
    sink.abort()


def test_the_npz_header_holds_its_place_at_any_count():
    # A day at 60 fps; the header is written over in place, so it must never outgrow what was reserved.
    from vmdepth_runtime.sinks.arrays import NpzSink

    sink = object.__new__(NpzSink)
    sink._info = facts(2160, 4096).info
    lengths = set()
    for sink.frames in (0, 1, 5_184_000, 10**12):
        lengths.add(len(sink._header()))
    assert lengths == {128}


@pytest.mark.parametrize("ending", [".mp4", ".npz"])
def test_nothing_has_the_final_name_before_it_is_complete(tmp_path, make, ending):
    target = tmp_path / f"out{ending}"
    target.write_bytes(b"an older result")
    sink = open_sink(target, facts())
    fill(sink, make.noise(4), [k / 30 for k in range(4)])
    assert target.read_bytes() == b"an older result"
    sink.close()
    assert target.read_bytes() != b"an older result"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("ending", [".mp4", ".npz"])
@pytest.mark.parametrize("count", [0, 3])
def test_an_error_leaves_nothing(tmp_path, make, ending, count):
    with pytest.raises(ZeroDivisionError), open_sink(tmp_path / f"out{ending}", facts()) as sink:
        fill(sink, make.noise(count), [k / 30 for k in range(count)])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".mp4", ".npz"])
def test_no_frame_leaves_no_file(tmp_path, ending):
    with open_sink(tmp_path / f"out{ending}", facts()):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_gives_out_is_one_line_and_keeps_what_can_be_read(tmp_path):
    """The kernel's own limit on a file's size stands for the disk."""
    code = """
import resource, signal, sys
from fractions import Fraction
import numpy as np
from vmdepth_runtime import WorkError, open_sink
from vmdepth_runtime.sinks.base import SinkFacts
from vmdepth_runtime.sources.base import SourceFrame, VideoInfo
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
sink = open_sink(sys.argv[1], SinkFacts(VideoInfo(160, 120, None, 30.0, Fraction(1, 30))))
try:
    for k in range(1000):
        image = np.random.default_rng(k).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        sink.write(SourceFrame(k, k / 30, image), np.full((120, 160), k, np.float32), image)
except WorkError as error:
    print(error)
try:
    sink.close()
except WorkError as error:
    print(error)
"""
    for name, kept in (("out.mp4", "out.partial.mp4"), ("out.npz", "out.partial.npy")):
        done = subprocess.run([sys.executable, "-c", code, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.stderr == ""
        for line in done.stdout.splitlines():
            assert line.startswith(f"{name}: cannot be written (File too large); is the disk full?")
        assert done.stdout.endswith(f"; what was written before is in {kept}\n")
    assert {p.name for p in tmp_path.iterdir()} == {"out.partial.mp4", "out.partial.npy"}
    depth = np.load(tmp_path / "out.partial.npy")
    assert 10 < len(depth) <= 13
    np.testing.assert_array_equal(depth[:, 3, 3], np.arange(len(depth)))
    with open_source(tmp_path / "out.partial.mp4") as source:  # its last frame is cut through
        assert len(list(source)) > 10


def test_the_canvas_may_be_painted_over_while_x264_still_looks_ahead(tmp_path):
    # x264 keeps a dozen frames before it writes one: were they views on the canvas, all would be the last.
    with Mp4Sink(tmp_path / "out.mp4", facts()) as sink:
        fill(sink, [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(12)], [k / 30 for k in range(12)])
    levels = [f.to_ndarray(format="rgb24")[10:40, 10:50].mean() for f in read_back(tmp_path / "out.mp4")[0]]
    np.testing.assert_allclose(levels, np.arange(12) * 20, atol=3)


def test_targets_that_cannot_be_are_refused_before_any_work(tmp_path):
    source = tmp_path / "source.mp4"
    source.write_bytes(b"x")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "folder.mp4").mkdir()
    for name, message in [
        ("out.avi", "unknown output ending '.avi'; there are .mp4, .npz, one file per frame"),
        ("out", "unknown output ending ''"),
        ("folder.mp4", "is a folder; name a file in it"),
        ("nowhere/out.mp4", "nowhere is not there; make it first"),
        ("source.mp4", "is the source itself"),
        ("link.mp4", "is the source itself"),
    ]:
        with pytest.raises(InputError) as error:
            check_output(str(tmp_path / name), [source])
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert message in str(error.value)
    check_output(str(tmp_path / "out.MP4"), [source])


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # tests may run as root, whom nothing is forbidden
    with pytest.raises(InputError, match="cannot be written to"):
        check_output(str(tmp_path / "out.mp4"))


def test_where_nothing_could_be_written_nothing_is_said_to_be_kept(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    sink = open_sink(folder / "out.mp4", SinkFacts(VideoInfo(64, 48, None, 30.0, Fraction(1, 30))))
    image = np.zeros((48, 64, 3), np.uint8)
    sink.write(SourceFrame(0, 0.0, image), np.zeros((48, 64), np.float32), image)  # it is in the encoder still
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(WorkError, match="is the disk full") as failure:
        sink.close()
    assert "was written before" not in str(failure.value)
    assert sink.frames == 0

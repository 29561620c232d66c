"""Video filmed in fields, as whole frames."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph

from vmdepth_runtime import ReadSettings, open_source
from vmdepth_runtime.sources.footage.deinterlacing import Deinterlacer, whole_frames
from vmdepth_runtime.sources.live_readers import ContainerReader, LostError

NOTE = "interlaced: deinterlaced"
WIDTH, HEIGHT, COUNT = 128, 96, 12


def field(time):
    """A bar that moves by 4 pixels from field to field `[HEIGHT, WIDTH, 3]`."""
    row = np.where((np.arange(WIDTH) - 4 * time) % WIDTH < 30, 200, 60)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).astype(np.uint8)


def woven(number, first):
    """A frame of two fields. first: the line, 0 or 1, with which the earlier one begins."""
    image = field(2 * number + 1).copy()
    image[first::2] = field(2 * number)[first::2]
    return image


def comb(image):
    """How far each line is from the two around it, in the mean."""
    gray = image.astype(float).mean(axis=-1)
    return np.abs(gray[1:-1] - (gray[:-2] + gray[2:]) / 2).mean()


def marked(images, first):
    """Frames that say which field is the first, as encoders are told."""
    graph = Graph()
    layout = av.VideoFormat("yuv420p")
    height, width = images[0].shape[:2]
    source = graph.add_buffer(width=width, height=height, format=layout, time_base=Fraction(1, 25))
    mark, sink = graph.add("setfield", mode=("tff", "bff")[first]), graph.add("buffersink")
    source.link_to(mark)
    mark.link_to(sink)
    graph.configure()
    for k, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
        frame.pts, frame.time_base = k, Fraction(1, 25)
        graph.vpush(frame)
        yield graph.vpull()


X264 = {"flags": "+ildct", "qp": "1"}
MPEG2 = {"flags": "+ildct+ilme", "qmin": "1", "qmax": "2"}


@pytest.fixture(scope="module")
def write(tmp_path_factory, footage):
    def interlaced(name="tff.mp4", codec="libx264", first=0, options=X264):
        path = tmp_path_factory.mktemp("interlaced") / name
        return footage(path, marked([woven(k, first) for k in range(COUNT)], first), codec, options)

    return interlaced


@pytest.fixture(scope="module")
def video(write):
    return write()


@pytest.mark.parametrize("first", [0, 1])
def test_frames_are_whole_and_of_the_time_of_their_first_field(write, read, first):
    source, frames = read(write(f"{first}.mp4", first=first))
    assert source.notes == [NOTE]
    assert (source.skipped, source.warnings) == ([], [])
    assert [frame.index for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(COUNT) / 25, atol=1e-9)
    assert comb(woven(0, first)) > 5
    for frame in frames:
        assert comb(frame.image) < 1
        assert np.abs(frame.image.astype(int) - field(2 * frame.index)).mean() < 2


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["a.mpg", "a.ts"])
def test_so_are_those_of_mpeg_2(write, read, name, first):
    source, frames = read(write(name, "mpeg2video", first, MPEG2))
    assert len(frames) == COUNT
    assert source.notes == [NOTE]
    assert max(comb(frame.image) for frame in frames) < 1
    assert np.abs(frames[6].image.astype(int) - field(12)).mean() < 2


def test_lines_that_do_not_move_stay_sharp(tmp_path, footage, read):
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[::4] = 200  # finer than one field alone can show
    image[1::4] = 200
    _, taken = read(footage(tmp_path / "still.mp4", marked([image] * 5, 0), "libx264", X264))
    for frame in taken[1:]:
        assert np.abs(frame.image.astype(int) - image).mean() < 3


@pytest.mark.parametrize("taken", [{"start": "5"}, {"start": "0.2s", "every": 3}, {"frames": 4}])
def test_ranges_have_the_same_frames(video, read, taken):
    _, frames = read(video)
    with open_source(video, read=ReadSettings(**taken)) as source:
        some = list(source)
    assert 0 < len(some) < COUNT
    for frame in some:
        np.testing.assert_array_equal(frame.image, frames[frame.index].image)
        assert frame.time == frames[frame.index].time


def test_a_look_at_some_frames_sees_no_comb(video):
    with open_source(video) as source:
        looks = source.sample(4)
    assert len(looks) == 4
    assert max(comb(image) for image in looks) < 1
    assert np.abs(looks[0].astype(int) - field(0)).mean() < 2


@pytest.mark.parametrize("which", [5, COUNT - 1])
def test_damaged_packets_cost_the_frames_that_lean_on_them(video, tmp_path, read, which):
    with av.open(str(video)) as whole, av.open(str(tmp_path / "damaged.mp4"), "w") as damaged:
        stream = damaged.add_stream_from_template(whole.streams.video[0])
        for k, packet in enumerate(packet for packet in whole.demux(video=0) if packet.dts is not None):
            content = bytes(packet)
            broken = av.Packet(content[:4] + bytes([255]) * 40 if k == which else content)
            broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
            broken.is_keyframe, broken.stream = packet.is_keyframe, stream
            damaged.mux(broken)
    decoded = []
    with av.open(str(tmp_path / "damaged.mp4")) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            with suppress(av.FFmpegError):
                decoded += [round(frame.time * 25) for frame in packet.decode() if not frame.is_corrupt]
    assert 0 < len(decoded) < COUNT
    _, frames = read(tmp_path / "damaged.mp4")
    assert [round(frame.time * 25) for frame in frames] == decoded


def test_a_live_source_is_deinterlaced_and_tells(video):
    with av.open(str(video)) as container:
        reader = ContainerReader(container, container.streams.video[0], 5.0)
        images = []
        with pytest.raises(LostError, match="it ended"):
            while True:
                images.append(reader.read())
        assert reader.notes == [NOTE]
    assert len(images) >= COUNT - 1  # the last one waits for its neighbour
    assert max(comb(image) for image in images) < 1


def test_progressive_frames_pass_untouched_before_and_after(video, tmp_path, make):
    """As in broadcasts, which change between two programmes, with and without another size."""
    plain = make.video(tmp_path / "plain.mp4", make.noise(3, HEIGHT, WIDTH))
    large = make.video(tmp_path / "large.mp4", make.noise(3, 2 * HEIGHT, 2 * WIDTH))
    with av.open(str(plain)) as a, av.open(str(video)) as b, av.open(str(large)) as c:
        before, fields, after = (list(container.decode(video=0)) for container in (a, b, c))
    fields += before  # progressive again, at the same size
    notes: list[str] = []
    deinterlacer = Deinterlacer(notes)
    assert [whole for frame in before for whole in deinterlacer(frame)] == before
    assert notes == []
    taken = [whole for frame in fields + after for whole in deinterlacer(frame)] + deinterlacer.flush()
    assert notes == [NOTE]
    assert [frame.pts for frame in taken] == [frame.pts for frame in fields + after]
    for whole, frame in zip(taken[COUNT:], before + after, strict=True):
        np.testing.assert_array_equal(whole.to_ndarray(format="rgb24"), frame.to_ndarray(format="rgb24"))


def test_what_a_frame_says_of_its_colours_stays(tmp_path, footage):
    frames = marked([woven(k, 0) for k in range(3)], 0)
    facts = {"colorspace": 1, "color_range": 2, "color_trc": 18, "color_primaries": 9}
    path = footage(tmp_path / "a.mp4", frames, "libx264", X264, **facts)
    with av.open(str(path)) as container:
        for frame in whole_frames(container.decode(video=0), []):
            assert (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries) == (1, 2, 18, 9)
            assert not frame.interlaced_frame

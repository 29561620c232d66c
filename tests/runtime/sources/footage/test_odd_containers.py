"""Videos whose container says what nobody expects: tags in another alphabet, an unknown codec, a late stream."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vmdepth_runtime import InputError, open_source, predict
from vmdepth_runtime.sources.live_readers import ContainerReader, LostError


def broadcast(path, images, sounds=0):
    """MPEG-TS with so many streams of sound."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream("mpeg2video", rate=25, options={"qmin": "1", "qmax": "1", "bf": "0"})
        video.height, video.width, video.pix_fmt = *images.shape[1:3], "yuv420p"
        streams = [container.add_stream("mp2", rate=48_000) for _ in range(sounds)]
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(video.encode(frame))
            for stream in streams:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 1920), np.int16), format="s16", layout="stereo")
                silence.sample_rate, silence.pts, silence.time_base = 48_000, 1920 * k, Fraction(1, 48_000)
                container.mux(stream.encode(silence))
        for stream in (video, *streams):
            container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """A broadcast of 47 frames, in which sound begins beyond the 5 MB that FFmpeg looks at, and ends before the end."""
    images = np.random.default_rng(0).integers(0, 255, (42, 240, 320, 3), np.uint8)
    folder = tmp_path_factory.mktemp("late")
    silent, sounding = broadcast(folder / "a.ts", images), broadcast(folder / "b.ts", images[:5], sounds=3)
    assert len(silent) > 5_000_000
    path = folder / "late.ts"
    path.write_bytes(silent + sounding + silent)
    with av.open(str(path)) as container:
        assert len(container.streams) == 1
    return path


def test_streams_that_begin_later_do_no_harm(late, read):
    source, frames = read(late)
    assert len(frames) == 42 + 5 + 42
    assert source.skipped == []
    with open_source(late) as source:
        assert len(source.sample(3)) > 0
    with av.open(str(late)) as container:
        reader, count = ContainerReader(container, container.streams.video[0], 5.0), 0
        with pytest.raises(LostError, match="it ended"):
            while True:
                count += reader.read().ndim == 3
    assert count >= 42 + 5 + 41


def test_tags_need_not_be_in_unicode(tmp_path, make, read):
    path = make.video(tmp_path / "v.mp4", make.noise(3))
    with av.open(str(path)) as plain, av.open(str(tmp_path / "named.mp4"), "w") as named:
        named.metadata["title"] = "cafXX"
        stream = named.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                named.mux(packet)
    content = (tmp_path / "named.mp4").read_bytes()
    assert content.count(b"cafXX") == 1
    (tmp_path / "named.mp4").write_bytes(content.replace(b"cafXX", b"caf\xe9!"))  # Latin-1, as of old programs
    assert len(read(tmp_path / "named.mp4")[1]) == 3
    with pytest.raises(InputError, match="is a video"):
        predict(tmp_path / "named.mp4")


def test_a_codec_that_nobody_knows_is_one_line(tmp_path, make):
    content = make.video(tmp_path / "v.mp4", make.noise(3), codec="libx264").read_bytes()
    (tmp_path / "v.mp4").write_bytes(content.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    with pytest.raises(InputError, match=r"v\.mp4: is coded in a way that FFmpeg does not know; convert it"):
        open_source(tmp_path / "v.mp4")

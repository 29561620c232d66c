"""The sound of a source in its mp4: the same packets, at the same times beside the pictures."""

from __future__ import annotations

import os
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from vmdepth_runtime import SinkFacts, open_sink, open_source

RATE = 48_000


def write_with_sound(path, images, codec, seconds=2.0, later=0.0):
    """Images at 30 to the second, and a tone that begins so much later."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=30), container.add_stream(codec, rate=RATE)
        video.height, video.width, video.pix_fmt = *images.shape[1:3], "yuv420p"
        resampler = av.AudioResampler(sound.format, sound.layout, RATE, sound.codec_context.frame_size or 1024)
        tone = np.sin(np.arange(int(seconds * RATE)) * 440 * 2 * np.pi / RATE).astype(np.float32) / 3
        heard = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
        heard.sample_rate, heard.pts, heard.time_base = RATE, int(later * RATE), Fraction(1, RATE)
        packets = [packet for frame in resampler.resample(heard) for packet in sound.encode(frame)]
        packets += sound.encode(None)
        for k, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image).reformat(format="yuv420p")
            frame.pts, frame.time_base = k, Fraction(1, 30)
            packets += video.encode(frame)
        packets += video.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def sound_of(path, origin=0.0):
    """The packets of a file's sound by their times after `origin`, to the millisecond."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        found = {}
        for packet in container.demux(stream):
            if packet.pts is not None:
                found[round(float(packet.pts * stream.time_base) - origin, 3)] = bytes(packet)
        return stream.codec_context.codec.canonical_name, found


def first_picture(path):
    with av.open(str(path)) as container:
        return float(next(container.decode(video=0)).time)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.ts", "aac"), ("a.mkv", "ac3"), ("b.mkv", "libopus"), ("c.mkv", "flac")]
)
def test_sound_is_copied_as_it_is(vmdepth_run, tmp_path, make, name, codec):
    path = write_with_sound(tmp_path / name, make.noise(60), codec)
    outcome = vmdepth_run(path, "-o", "out.mp4")
    assert outcome.code == 0
    assert not [line for line in outcome.lines if "sound" in line]
    kind, given = sound_of(path, first_picture(path))
    given = {time: content for time, content in given.items() if time >= 0}  # before the first picture there is none
    copied_kind, copied = sound_of(tmp_path / "out.mp4")
    assert copied_kind == kind
    assert len(copied) == len(given) > 15
    # Without edit lists an mp4 has every stream begin at once: the first packet may be there a moment earlier.
    np.testing.assert_allclose(sorted(copied)[1:], sorted(given)[1:], atol=2e-3)
    if not name.endswith(".ts"):  # whose packets have headers of their own, which an mp4 has once
        assert [copied[time] for time in sorted(copied)] == [given[time] for time in sorted(given)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 1.9 * RATE
    assert first_picture(tmp_path / "out.mp4") == 0.0


def test_sound_is_of_the_stretch_that_pictures_are_of(tmp_path, make, fill):
    path = write_with_sound(tmp_path / "in.mp4", make.noise(150), "aac", seconds=5.0)
    times = [2.0 + k / 30 for k in range(30)]
    with open_source(path) as source:
        facts = SinkFacts(source.info, sound=source.sound)
    with open_sink(tmp_path / "out.mp4", facts) as sink:
        fill(sink, make.noise(30), times)
    _, given = sound_of(path, 2.0)
    _, copied = sound_of(tmp_path / "out.mp4", first_picture(tmp_path / "out.mp4"))
    wanted = {time: content for time, content in given.items() if 0.0 <= time < 1.0}
    assert list(copied.values()) == list(wanted.values())
    np.testing.assert_allclose(list(copied)[1:], list(wanted)[1:], atol=2e-3)


def test_sound_that_begins_late_or_ends_early_keeps_its_place(vmdepth_run, tmp_path, make):
    path = write_with_sound(tmp_path / "in.mkv", make.noise(90), "ac3", seconds=1.0, later=1.0)
    assert vmdepth_run(path, "-o", "out.mp4").code == 0
    _, given = sound_of(path)
    _, copied = sound_of(tmp_path / "out.mp4")
    assert list(copied.values()) == list(given.values())
    np.testing.assert_allclose(list(copied)[1:], list(given)[1:], atol=2e-3)


def test_sound_that_cannot_be_kept_is_said_to_be_lost(vmdepth_run, tmp_path, make):
    path = write_with_sound(tmp_path / "in.mkv", make.noise(10), "pcm_s16le", seconds=0.3)
    lost = "vmdepth-run: warning: out.mp4: has no sound "
    assert vmdepth_run(path, "-o", "out.mp4", "-o", "out.npz").lines[0] == f"{lost}(mp4 does not hold pcm_s16le)"
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    unknown = write_with_sound(tmp_path / "unknown.mp4", make.noise(10), "aac", seconds=0.3)
    unknown.write_bytes(unknown.read_bytes().replace(b"mp4a", b"zzza").replace(b"esds", b"zzzs"))
    assert vmdepth_run(unknown, "-o", "out.mp4").lines[0] == f"{lost}(FFmpeg does not know its codec)"
    announced = write_with_sound(tmp_path / "announced.ts", make.noise(10), "aac", seconds=0.3)
    packets = np.frombuffer(announced.read_bytes(), np.uint8).reshape(-1, 188).copy()
    packets[(packets[:, 1] & 0x1F == 1) & (packets[:, 2] == 1), 1:3] |= np.array(
        [0x1F, 0xFF], np.uint8
    )  # those of sound are none
    announced.write_bytes(packets.tobytes())
    assert vmdepth_run(announced, "-o", "out.mp4").lines[0] == f"{lost}(none came where the source begins)"
    piped = write_with_sound(tmp_path / "in.ts", make.noise(10), "aac", seconds=0.3)
    os.mkfifo(tmp_path / "pipe")
    feeder = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(piped.read_bytes()))
    feeder.start()
    lines = vmdepth_run(tmp_path / "pipe", "-o", "out.mp4").lines
    feeder.join()
    assert lines[0] == f"{lost}(a pipe's or live source's is not kept)"
    # What has no sound has none to lose.
    silent = make.video(tmp_path / "silent.mp4", make.noise(3))
    assert not [line for line in vmdepth_run(silent, "-o", "out.mp4").lines if "sound" in line]

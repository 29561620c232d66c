from __future__ import annotations

import os
import re
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

from vmdepth_runtime import InputError, ReadSettings, open_source
from vmdepth_runtime.pipeline.reporter import _described

# -- video files ---------------------------------------------------------------------------------------------------


def test_a_video_that_says_how_long_it_is_and_no_count_has_about_so_many_frames(tmp_path, make):
    path = make.video(tmp_path / "v.mkv", make.noise(12), codec="ffv1")
    for read, about in ((ReadSettings(), 12), (ReadSettings(start=3, every=2), 5)):
        with open_source(str(path), read=read) as source:
            assert (source.info.frames, source.info.about) == (None, about)
            assert _described(source).endswith(f" fps, about {about} frames")
    with open_source(str(make.video(tmp_path / "v.mp4", make.noise(12)))) as source:
        assert (source.info.frames, source.info.about) == (12, None)


def test_frames_and_times_of_a_variable_rate_video(tmp_path, make, read, assert_in_step):
    ticks = [0, 1, 3, 4, 28, 29, 40]
    images = make.noise(len(ticks))
    path = make.video(tmp_path / "v.mp4", images, ticks=ticks, time_base=Fraction(1, 90))
    source, frames = read(path)
    assert [f.time for f in frames] == pytest.approx([t / 90 for t in ticks], abs=1e-12)
    assert_in_step(source, frames)
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 8  # 4:2:0 blurs the colours
    assert source.skipped == source.warnings == []
    assert source.info.frames == len(ticks)


@pytest.mark.parametrize(
    ("ending", "codec"), [("avi", "mpeg4"), ("mkv", "libx264"), ("ts", "mpeg2video"), ("h264", "libx264")]
)
def test_other_containers_give_every_frame_too(tmp_path, make, ending, codec, read, assert_in_step):
    source, frames = read(make.video(tmp_path / f"v.{ending}", make.noise(40), codec=codec))
    assert len(frames) == 40
    assert_in_step(source, frames)
    rate = 25 if ending == "h264" else 30  # a raw stream carries no times, 25 is what ffmpeg assumes
    assert [f.time for f in frames] == pytest.approx(list(np.arange(40) / rate), abs=2e-3)
    assert source.skipped == source.warnings == []


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg", "libx264"])
@pytest.mark.parametrize("ticks", [[0, 1, 2, 9, 10, 11, 20, 21], [0, 40, 41, 42], [*range(0, 60, 5)], [*range(20)]])
def test_an_avi_of_a_variable_rate(tmp_path, make, read, codec, ticks):
    # AVI knows one rate only; the gaps are filled with empty chunks.
    images = make.noise(len(ticks))
    source, frames = read(make.video(tmp_path / "v.avi", images, codec=codec, ticks=ticks))
    shown = [f.time * 30 for f in frames]
    # Of frames that were reordered it does not say when they are shown, but in which order; evenly is how they are.
    evenly = len(set(np.diff(ticks))) == 1
    assert shown == (pytest.approx(ticks) if evenly or codec != "libx264" else sorted(set(shown)))
    nearest = [int(np.abs(images.astype(int) - f.image).mean(axis=(1, 2, 3)).argmin()) for f in frames]
    assert nearest == list(range(len(ticks)))
    assert source.skipped == source.warnings == []
    assert source.info.frames == len(ticks)


def test_an_avi_that_ends_in_frames_that_were_dropped(tmp_path, make, read):
    path = make.video(tmp_path / "v.avi", make.noise(20), codec="mjpeg", damage=lambda k, data: data if k < 12 else b"")
    source, frames = read(path)
    assert len(frames) == source.info.frames == 12
    assert source.skipped == source.warnings == []
    content = path.read_bytes()
    path.write_bytes(content + b"JUNK")
    assert read(path)[0].warnings == []
    path.write_bytes(content[:-200])  # within its index
    assert read(path)[0].warnings == ["v.avi ended early: 12 of 20 frames"]
    path.write_bytes(content[: len(content) * 2 // 3])
    (warning,) = read(path)[0].warnings
    assert re.fullmatch(r"v\.avi ended early: \d of 20 frames", warning)


@pytest.mark.parametrize("lost", [7, 19, 29])
def test_an_avi_of_reordered_frames_with_a_damaged_one(tmp_path, make, lost):
    def damage(k, content):
        return content[:8] + bytes(len(content) - 8) if k == lost else content

    path = make.video(tmp_path / "v.avi", np.concatenate([make.noise(10)] * 4), damage=damage)
    with open_source(path) as source:
        frames = list(source)
        assert len(source.sample(4)) == 4
    assert len(frames) + len(source.skipped) == 40
    assert (np.diff([f.time for f in frames]) > 0).all()


def test_a_range_of_an_avi_of_reordered_frames(tmp_path, make):
    path = make.video(tmp_path / "v.avi", np.concatenate([make.noise(10)] * 4))
    with open_source(path) as source:
        whole = list(source)
    with open_source(path, read=ReadSettings(start=13, frames=9, every=2)) as source:
        frames = list(source)
    assert [(f.index, f.time) for f in frames] == [(f.index, f.time) for f in whole[13:31:2]]
    for frame, same in zip(frames, whole[13:31:2], strict=True):
        np.testing.assert_array_equal(frame.image, same.image)


@pytest.mark.parametrize("name", ["a:b.mp4", "frame_%03d.mp4", "with space é.mp4", "-o.mp4"])
def test_names_that_mean_something_to_ffmpeg_are_only_names(tmp_path, make, monkeypatch, name, read):
    make.video(tmp_path / "v.mp4", make.noise(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(name)[1]) == 3


def garbage(*which):
    return lambda k, content: bytes((7 * k + 31 * j) % 251 for j in range(len(content))) if k in which else content


@pytest.mark.parametrize("lost", [[20], [20, 21, 35], [38], [38, 39], [0]])
def test_damaged_packets_cost_their_own_frames_only(tmp_path, make, lost, read):
    # mpeg4 without B-frames: packet k is frame k.
    path = make.video(tmp_path / "v.mp4", make.noise(40), codec="mpeg4", damage=garbage(*lost))
    source, frames = read(path)
    assert [f.index for f in frames] == [k for k in range(40) if k not in lost]
    assert [f.time for f in frames] == pytest.approx([k / 30 for k in range(40) if k not in lost])
    assert [s.index for s in source.skipped] == lost
    for k, skipped in zip(lost, source.skipped, strict=True):
        assert skipped.name == f"v.mp4 at {k / 30:.3f} s"
        assert "does not decode" in skipped.reason
    assert source.warnings == []


@pytest.mark.parametrize("hit", [(20,), (39,), (20, 39)])
def test_damage_in_a_reordered_stream_is_named_by_time(tmp_path, make, hit, read):
    def damage(k, content):
        return content[:8] + bytes(len(content) - 8) if k in hit else content

    source, frames = read(make.video(tmp_path / "v.mp4", make.noise(40), damage=damage))
    assert len(frames) == 40 - len(hit)
    assert len(source.skipped) == len(hit)
    assert {f.index for f in frames} | {s.index for s in source.skipped} == set(range(40))
    assert [f.time for f in frames] == pytest.approx([f.index / 30 for f in frames])


def test_a_guessed_picture_is_skipped_and_named(tmp_path, make, read):
    def halve(k, content):
        return content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2) if k == 5 else content

    path = make.video(tmp_path / "v.mp4", make.noise(12, 240, 320), codec="mpeg4", damage=halve)
    source, frames = read(path)
    assert [f.index for f in frames] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert "guess" in source.skipped[0].reason


def test_a_file_that_breaks_off_says_so(tmp_path, make, read):
    noisy = make.noise(60, 120, 160) ^ np.random.default_rng(0).integers(0, 64, (60, 120, 160, 3), dtype=np.uint8)
    # With the index at the front a file that was cut off still opens.
    make.video(tmp_path / "whole.mp4", noisy, movflags="+faststart")
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 6 // 10])
    source, frames = read(tmp_path / "cut.mp4")
    assert 10 < len(frames) < 50
    assert source.warnings == [f"cut.mp4 ended early: {len(frames) + len(source.skipped)} of 60 frames"]
    assert read(tmp_path / "whole.mp4")[0].warnings == []


def test_sampling_is_even_and_does_not_disturb_the_iteration(tmp_path, make):
    images = np.repeat(np.arange(80, dtype=np.uint8)[:, None, None, None] * 3, 3, axis=3) + np.zeros(
        (1, 48, 64, 1), np.uint8
    )
    with open_source(make.video(tmp_path / "v.mp4", images)) as source:
        frames = iter(source)
        head = [next(frames).index for _ in range(3)]
        levels = [image.mean() / 3 for image in source.sample(8)]
        rest = [frame.index for frame in frames]
    assert head + rest == list(range(80))
    assert len(levels) == 8
    for part, level in enumerate(levels):
        assert part * 10 - 1 <= level <= part * 10 + 10


def test_sampling_a_single_frame(tmp_path, make):
    with open_source(make.video(tmp_path / "v.mp4", make.noise(1))) as source:
        assert 1 <= len(source.sample(8)) <= 8
        assert len(list(source)) == 1


def test_a_pipe_is_read_once_and_cannot_be_sampled(tmp_path, make):
    content = make.video(tmp_path / "v.ts", make.noise(40), codec="mpeg2video").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    with open_source(tmp_path / "pipe") as source:
        assert not source.seekable
        assert source.sample(8) == []
        assert len(list(source)) == 40
    writer.join()


# -- folders -------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_in_natural_order(tmp_path, make, read):
    images = make.noise(12)
    for k, image in enumerate(images):
        make.image(tmp_path / f"frame_{k}.png", image)
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame_0.png").write_bytes(b"left by a file manager")
    source, frames = read(tmp_path)
    for k, frame in enumerate(frames):
        assert (frame.index, frame.time) == (k, k / 30)
        np.testing.assert_array_equal(frame.image, images[k])
    assert len(frames) == source.info.frames == 12
    assert source.skipped == []


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "bmp", "webp", "tiff", "ppm"])
def test_image_endings(tmp_path, make, ending, read):
    make.image(tmp_path / f"a.{ending}", make.noise(1, 240, 320)[0])
    assert len(read(tmp_path)[1]) == 1


def test_gray_and_palette_and_alpha_images_become_rgb(tmp_path, read):
    import cv2

    gray = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    cv2.imwrite(str(tmp_path / "0.png"), gray)
    cv2.imwrite(str(tmp_path / "1.png"), np.dstack([gray, gray, gray, np.full_like(gray, 255)]))
    cv2.imwrite(str(tmp_path / "2.png"), gray.astype(np.uint16) * 257)
    for frame in read(tmp_path)[1]:
        assert frame.image.shape == (48, 64, 3)
        assert np.abs(frame.image.astype(int) - gray[..., None]).max() <= 1


def test_frames_of_another_size_are_scaled_and_unreadable_ones_named(tmp_path, make, assert_in_step):
    for k, image in enumerate(make.noise(6)):
        make.image(tmp_path / f"{k}.png", image)
    (tmp_path / "1.png").write_bytes(b"garbage")
    (tmp_path / "2.png").write_bytes(b"")
    make.image(tmp_path / "4.png", make.noise(1, 20, 30)[0])
    with open_source(tmp_path, read=ReadSettings(images=False)) as source:
        frames = list(source)
    assert_in_step(source, frames)
    assert [(f.index, f.discontinuity) for f in frames] == [(0, False), (3, False), (4, True), (5, True)]
    assert [(s.index, s.name) for s in source.skipped] == [(1, "1.png"), (2, "2.png")]
    assert source.warnings == [
        f"{tmp_path.name}: 4.png is 30x20, the first image 64x48: scaled to it, the stream starts anew; --images takes "
        "each picture on its own, at its own size"
    ]
    assert len(source.sample(8)) == 3


# -- nothing to read -----------------------------------------------------------------------------------------------


def no_stream(path):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


BAD = {
    "missing": (lambda p: None, "no such file or folder"),
    "an empty file": (lambda p: p.write_bytes(b""), "the file is empty"),
    "an empty folder": (lambda p: p.mkdir(), "the folder is empty"),
    "a folder of other things": (
        lambda p: (p.mkdir(), (p / "a.txt").write_text("x")),
        "none of its 1 files is an image or a video",
    ),
    "a folder of broken images": (
        lambda p: (p.mkdir(), (p / "a.png").write_text("x")),
        "none of its 1 images can be read",
    ),
    "text": (lambda p: p.write_text("hello\n" * 50), "not a video"),
    "sound only": (no_stream, "there is no picture in it"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_source_without_a_frame_is_refused_by_name(tmp_path, case):
    build, message = BAD[case]
    build(tmp_path / "bad.mp4")
    with pytest.raises(InputError) as error:
        open_source(tmp_path / "bad.mp4")
    assert str(error.value).startswith(f"{tmp_path / 'bad.mp4'}: {message}")
    assert "; " in str(error.value) or "," in str(error.value)
    assert "\n" not in str(error.value)


def test_text_that_ffmpeg_would_play_is_no_video(tmp_path):
    (tmp_path / "notes.txt").write_text("hello world\nthis is text\n" * 20)
    with pytest.raises(InputError, match="no picture in it"):
        open_source(tmp_path / "notes.txt")


def test_a_video_of_which_nothing_decodes_is_refused(tmp_path, make):
    path = make.video(tmp_path / "v.mp4", make.noise(5), damage=garbage(0, 1, 2, 3, 4))
    with pytest.raises(InputError, match="not one frame of it can be read"):
        open_source(path)


def test_a_video_whose_size_changes_goes_on_at_its_first_size(tmp_path, make):
    """Two MPEG-TS recordings joined, as a camera does that is switched over."""
    first = make.video(tmp_path / "a.ts", make.noise(20), codec="mpeg2video").read_bytes()
    ticks = range(20, 40)
    second = make.video(tmp_path / "b.ts", make.noise(20, 96, 128), codec="mpeg2video", ticks=list(ticks)).read_bytes()
    (tmp_path / "c.ts").write_bytes(first + second)
    with open_source(tmp_path / "c.ts") as source:
        frames = list(source)
    assert len(frames) >= 38
    assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
    assert sum(frame.discontinuity for frame in frames) == 1
    assert "is 128x96 from here on: the stream starts anew, scaled to 64x48" in source.warnings[0]

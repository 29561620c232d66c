"""Videos and folders by frame number, clips cut from them, and mixtures of sources."""

import json
from collections import Counter
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from vmdepth.data.cutting import cut, draw_frames
from vmdepth.data.mixture import draw, parse_mixture
from vmdepth.data.videos import FrameFolder, Unreadable, VideoFile, find_videos
from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.open import open_source


@pytest.fixture(scope="module")
def demo():
    """All frames of the bundled clip, as the runtime reads them one after the other."""
    return [frame.image for frame in open_source("demo")]


@pytest.fixture
def rgbd(tmp_path):
    """Six frames of one camera: colour all the same, depth 2 m, unknown in the left quarter."""
    folder = tmp_path / "rgbd"
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    depth = np.full((40, 60), 2000, np.uint16)
    depth[:, :15] = 0
    for n in range(6):
        cv2.imwrite(str(folder / "rgb" / f"{n}.png"), np.full((40, 60, 3), 99, np.uint8))
        cv2.imwrite(str(folder / "depth" / f"{n}.png"), depth)
    camera = {"fx": 50.0, "fy": 50.0, "cx": 29.5, "cy": 19.5, "depth_scale_m": 0.001}
    (folder / "intrinsics.json").write_text(json.dumps(camera))
    return folder


def test_any_frame_of_a_video_is_the_one_that_streaming_delivers(demo):
    video = VideoFile(bundled.CLIP)
    assert len(video) == len(demo) == 150
    for numbers in ([0], [149], [7, 8, 9], [40, 90, 140]):
        images = video.read(numbers).images
        assert all(np.array_equal(image, demo[number]) for image, number in zip(images, numbers, strict=True))


@pytest.mark.parametrize(
    ("ending", "codec", "options"),
    [
        (".mp4", "libx264", {"x264-params": "keyint=10:open-gop=1:bframes=2"}),
        (".mkv", "libx264", {"x264-params": "keyint=10:bframes=2"}),
        (".avi", "libx264", {"x264-params": "keyint=10:bframes=2"}),
        (".avi", "mpeg4", {"bf": "2", "g": "10"}),
        (".ts", "libx264", {"x264-params": "keyint=10:bframes=2"}),
        (".mpg", "mpeg2video", {"bf": "2", "g": "10"}),
    ],
    ids=["open GOP", "mkv", "avi", "avi, mpeg4", "ts", "mpg"],
)
def test_frame_numbers_hold_in_every_container(ending, codec, options, tmp_path):
    """Seeking goes wrong in a different way in each of them; a wrong frame would carry a wrong depth."""
    path = tmp_path / f"clip{ending}"
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(40):
            image = np.full((48, 64, 3), 6 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    streamed = [frame.image for frame in open_source(path)]
    video = VideoFile(path)
    right = 0
    for number in range(len(video)):
        try:
            image = video.read([number]).images[0]
        except Unreadable:
            continue  # a packet that shows nothing
        assert np.array_equal(image, streamed[number]), number
        right += 1
    assert right == len(streamed) == 40


def test_frames_of_a_broadcast_are_whole_and_their_pixels_square(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"flags": "+ildct", "qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 72, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for n in range(10):
            image = np.full((48, 72, 3), 40, np.uint8)
            image[1::2, 4 * n : 4 * n + 16] = 200  # x264 takes the lower field for the earlier one
            image[::2, 4 * n + 2 : 4 * n + 18] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    images = VideoFile(path).read([3, 4, 9]).images.astype(int)
    assert images.shape == (3, 48, 96, 3)
    assert np.abs(np.diff(images, axis=1)).mean() < 1


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(frames):
    assert FrameFolder(frames).read([1, 2, 10]).images[:, 0, 0, 0].tolist() == [10, 20, 100]


def test_what_is_found_where(tmp_path, frames, rgbd):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "clip.mp4").write_bytes(bundled.CLIP.read_bytes())
    kinds = {video.path.name: type(video).__name__ for video in find_videos(tmp_path)}
    assert kinds == {"frames": "FrameFolder", "rgbd": "RgbdVideo", "clip.mp4": "VideoFile"}
    assert [video.path.name for video in find_videos(tmp_path / "more" / "clip.mp4")] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nothing", "no such file or folder"),
        (lambda p: p, "no clip found"),
        (lambda p: (p / "a.mp4").write_bytes(b"no video") and p, "a.mp4: not a video"),
    ],
    ids=["missing", "empty", "broken"],
)
def test_what_is_no_footage_is_said(make, message, tmp_path):
    with pytest.raises(InputError, match=message):
        find_videos(make(tmp_path))


def test_clips_keep_their_stride_and_their_span(frames):
    video = FrameFolder(frames)
    rng = np.random.default_rng(0)
    drawn = [draw_frames(video, rng, 3, 4) for _ in range(300)]
    assert {clip[1] - clip[0] for clip in drawn} == {1, 2, 3, 4}
    assert all(clip[2] - clip[1] == clip[1] - clip[0] and clip[0] >= 0 and clip[2] < 12 for clip in drawn)
    assert {clip[0] for clip in drawn} >= {0, 9}
    video.spans = [range(6), range(6, 12)]
    drawn = [draw_frames(video, rng, 3, 4) for _ in range(300)]
    assert all((clip[0] < 6) == (clip[-1] < 6) for clip in drawn)
    assert draw_frames(video, rng, 6, 4)[-1] in (5, 11)  # the stride gives way


def test_a_clip_is_one_part_of_the_picture_all_the_way_through(demo):
    clip = cut(VideoFile(bundled.CLIP), np.random.default_rng(3), 4, 1, 56, 70, with_still=True)
    assert clip.rgb.shape == (1, 4, 3, 56, 70) and clip.rgb.dtype == torch.float32
    assert clip.rgb.min() >= 0 and clip.rgb.max() <= 1
    assert clip.videos == (str(bundled.CLIP),) and clip.frames.diff().eq(1).all()
    assert not clip.labelled.any() and not clip.known.any()
    # Every frame is the same cut of its own picture: find it by trying.
    first = int(clip.frames[0, 0])
    picture = clip.rgb[0, 0].permute(1, 2, 0).numpy() * 255
    others = [np.abs(clip.rgb[0, n].permute(1, 2, 0).numpy() * 255 - picture).mean() for n in range(1, 4)]
    whole = [np.abs(demo[first + n].astype(float) - demo[first]).mean() for n in range(1, 4)]
    assert max(others) < 3 * max(whole) + 2  # no frame jumps by more than the camera does
    assert clip.still.dtype == torch.bool and not clip.still[:, -1].any()


@pytest.mark.parametrize("speed", [0, 4])
def test_what_stands_still_is_found_by_optical_flow(speed, tmp_path):
    rng = np.random.default_rng(0)
    background = cv2.GaussianBlur(rng.integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 3)
    thing = cv2.GaussianBlur(rng.integers(0, 256, (80, 80, 3), np.uint8), (0, 0), 3)
    for n in range(3):
        image = background.copy()
        image[80:160, 120 + speed * n : 200 + speed * n] = thing
        cv2.imwrite(str(tmp_path / f"{n}.png"), image)
    clip = cut(FrameFolder(tmp_path), np.random.default_rng(2), 3, 1, 168, 224, with_still=True)
    share = float(clip.still[:, :-1].float().mean())
    assert share == 1 if speed == 0 else 0.6 < share < 0.95
    assert speed == 0 or not clip.still[0, 0, 0, 84 - 15 : 84 + 5, 112 - 10 : 112 + 10].any()  # the middle


def test_depth_of_an_rgbd_folder_is_cut_with_its_picture_and_unknown_stays_unknown(rgbd):
    (video,) = find_videos(rgbd)
    shares = []
    for seed in range(8):
        clip = cut(video, np.random.default_rng(seed), 2, 1, 28, 42, with_still=False)
        assert clip.labelled.all() and clip.metric.all()
        torch.testing.assert_close(clip.inverse_depth[clip.known].unique(), torch.tensor([0.5]))
        columns = clip.known[0, 0, 0].float().mean(dim=0)
        assert columns[0] + columns[-1] <= 2 and set(columns.tolist()) <= {0.0, 1.0}
        shares.append(float(columns.mean()))
    assert min(shares) < max(shares) <= 1


def test_depth_lies_under_its_picture_to_a_fraction_of_a_pixel(tmp_path):
    """A ramp in both: after every cut, mirrored or not, they still say the same."""
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    ramp = np.tile(np.arange(20.0, 220.0), (150, 1))
    for n in range(2):
        cv2.imwrite(str(tmp_path / "rgb" / f"{n}.png"), np.repeat(ramp[..., None], 3, 2).astype(np.uint8))
        cv2.imwrite(str(tmp_path / "depth" / f"{n}.png"), (1e6 / (10 * ramp)).astype(np.uint16))
    (tmp_path / "intrinsics.json").write_text(
        json.dumps({"fx": 150.0, "fy": 150.0, "cx": 99.5, "cy": 74.5, "registration_px": 0})
    )
    (video,) = find_videos(tmp_path)
    for seed in range(12):
        clip = cut(video, np.random.default_rng(seed), 2, 1, 56, 70, with_still=False)
        grey, inverse = clip.rgb[0, 0, 0] * 255, clip.inverse_depth[0, 0, 0] * 100
        per_pixel = grey.diff(dim=1).abs().mean()
        assert ((inverse - grey).mean() / per_pixel).abs() < 0.25, seed


def test_an_rgbd_folder_without_its_cameras_is_not_taken_for_two_videos(rgbd):
    (rgbd / "intrinsics.json").unlink()
    (video,) = find_videos(rgbd)
    assert video.labelled
    assert np.nanmax(video.read([0]).inverse_depth) == pytest.approx(0.5)


def test_a_path_may_hold_what_separates_sources(frames, tmp_path):
    for name in ("one,two", "half:0.5"):
        folder = frames.rename(tmp_path / name)
        (source,) = parse_mixture(str(folder), 3)
        assert source.weight == 1 and source.videos
        frames = folder


def test_damaged_frames_are_gone_around_and_a_damaged_video_is_named(frames):
    (frames / "frame_5.png").write_bytes(b"broken")
    video = FrameFolder(frames)
    with pytest.raises(Unreadable, match=r"frame_5\.png"):
        video.read([5])
    for seed in range(20):
        clip = cut(video, np.random.default_rng(seed), 3, 1, 28, 42, with_still=False)
        assert 5 not in clip.frames
    for file in frames.iterdir():
        file.write_bytes(b"broken")
    with pytest.raises(Unreadable, match=r"frame_\d+.png"):
        cut(video, np.random.default_rng(0), 3, 1, 28, 42, with_still=False)


def test_a_mixture_keeps_its_weights_and_leaves_short_videos_out(frames, rgbd, tmp_path):
    (tmp_path / "short").mkdir()
    cv2.imwrite(str(tmp_path / "short" / "0.png"), np.zeros((40, 60, 3), np.uint8))
    sources = parse_mixture(f"rendered:0.5,{tmp_path}:1.5", 5)
    assert [(s.weight, s.skipped) for s in sources] == [(0.5, 0), (1.5, 1)]
    rng = np.random.default_rng(0)
    count = Counter(video.path.name if video else "rendered" for video in (draw(sources, rng) for _ in range(4000)))
    assert set(count) == {"rendered", "frames", "rgbd"}
    assert count["rendered"] == pytest.approx(1000, abs=120)
    assert count["frames"] == pytest.approx(2000, abs=150)  # 12 frames against 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rendered:much", "is no weight"),
        ("rendered:0", "above 0"),
        ("rendered:-1", "above 0"),
        ("rendered,", "a name is missing"),
        ("nowhere", "no such file or folder"),
        ("nowhere:0.5", "no such file or folder"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_mixture(text, 4)


def test_all_too_short_is_said_with_numbers(frames):
    with pytest.raises(InputError, match="no clip of 13 frames: all 1 videos were skipped, the longest has 12"):
        parse_mixture(str(frames), 13)

"""A scene that begins is seen with its first frame, and from there on nothing of the one before is left."""

from __future__ import annotations

from itertools import permutations

import cv2
import numpy as np
import pytest

from vmdepth_runtime import DepthStream, KeyframeSettings, open_source
from vmdepth_runtime.depth.scene_cuts import CutDetector
from vmdepth_runtime.depth.stream_batch import StreamBatch
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sources.settings import ReadSettings

RED, BLUE = (1, 0.3, 0.2), (0.2, 0.4, 1)
EVERY_FRAME = KeyframeSettings(capacity=8, interval=3, min_gap=30, similarity=0.99, max_state_change=1e6, drift=0.02)


def scene(count, seed=0, tint=RED, height=28, width=42):
    """Frames uint8 `[count, height, width, 3]`: a camera that pans over a wall of one colour."""
    wall = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width + count)), (0, 0), 3)
    wall = np.interp(wall, (wall.min(), wall.max()), (20, 255))[..., None] * tint
    return np.stack([wall[:, k : k + width] for k in range(count)]).astype(np.uint8)


def depths(stream, frames):
    """Depth and whether it is a cut, of each."""
    results = [(result.depth.copy(), result.cut) for result in map(stream, frames)]
    return np.stack([depth for depth, _ in results]), [number for number, (_, cut) in enumerate(results) if cut]


@pytest.mark.parametrize("keyframes", [False, EVERY_FRAME])
def test_from_a_cut_on_depth_is_that_of_a_fresh_stream(luma_model, keyframes):
    first, second = scene(20), scene(20, 1, BLUE)
    with DepthStream(luma_model, keyframes=keyframes, cuts=True) as stream:
        joined, cuts = depths(stream, [*first, *second])
    with DepthStream(luma_model, keyframes=keyframes) as stream:
        fresh, _ = depths(stream, second)
    with DepthStream(luma_model, keyframes=keyframes) as stream:
        carried, none = depths(stream, [*first, *second])
    assert (cuts, none) == ([20], [])
    np.testing.assert_array_equal(joined[20:], fresh)
    np.testing.assert_array_equal(joined[:20], carried[:20])
    assert (carried[20] != fresh[0]).any()


def test_of_two_streams_only_the_one_with_the_cut_starts_anew(build_graph):
    """Outputs and states of the other are those of a stream that nothing is looked for in."""
    model = build_graph(streams=2, extra_outputs=("confidence", "dynamic"))
    left, right = [*scene(8), *scene(8, 1, BLUE)], list(scene(16, 2))

    def stepped(cuts):
        with OnnxSession(model) as session:
            batch, rows = StreamBatch(session, cuts=cuts), []
            for pair in zip(left, right, strict=True):
                outputs = [
                    {name: np.copy(array) for name, array in result.outputs.items()} for result in batch.step(pair)
                ]
                rows.append((outputs, [result.cut for result in batch._results], session.states()))
            return rows

    looked, plain = stepped([True, True]), stepped(None)
    assert [number for number, (_, cut, _) in enumerate(looked) if cut[0]] == [8]
    assert not any(cut[1] for _, cut, _ in looked)
    for (outputs, _, states), (expected, _, after) in zip(looked, plain, strict=True):
        for name, array in expected[1].items():
            np.testing.assert_array_equal(outputs[1][name], array)
        for name, array in after.items():
            np.testing.assert_array_equal(states[name][1], array[1])
    assert (looked[8][0][0]["depth"] != plain[8][0][0]["depth"]).any()
    assert looked[8][0][0]["dynamic"].max() == 0  # the first frame of a stream says nothing of what moves


def test_key_frames_of_a_scene_match_as_soon_as_it_is_seen_again(build_graph):
    """And none of another counts: as many come of a scene as of a fresh stream."""
    first, second = scene(12), scene(12, 1, BLUE)
    with OnnxSession(build_graph()) as session:
        batch = StreamBatch(session, keyframes=EVERY_FRAME, cuts=[True])
        for frame in [*first, *second, *first]:
            batch.step([frame])
        (bank,) = batch.banks
    report = bank.as_dict()
    assert report["scenes"] == sorted(report["scenes"])
    assert set(report["scenes"]) == {0, 1, 2}
    assert min(visit["first"] for visit in report["visits"]) == 24
    own = [number for number, of in zip(report["kept"], report["scenes"], strict=True) if of == 0]
    assert {visit["keyframe"] for visit in report["visits"]} <= set(own)


def test_what_is_not_finite_goes_back_to_no_other_scene(build_graph):
    with OnnxSession(build_graph()) as session:
        batch = StreamBatch(session, keyframes=EVERY_FRAME, cuts=[True])
        for frame in [*scene(12), *scene(2, 1, BLUE)]:
            batch.step([frame])
        (bank,) = batch.banks
        assert bank.count > 0
        bank.recover()
        states = session.states()
        session.reset()
        for name, array in session.states().items():
            np.testing.assert_array_equal(states[name], array)


def changed(frame, gain=1.0, offset=0.0):
    return np.clip(gain * frame.astype(np.float64) + offset, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "between",
    [
        lambda frame: changed(frame, 0.4),
        lambda frame: changed(frame, 1.8),
        lambda frame: changed(frame, 0.2, 204),
        lambda frame: np.zeros_like(frame),
        lambda frame: np.full_like(frame, 255),
        lambda frame: frame[::-1].copy(),
    ],
    ids=["darker", "brighter", "flash", "black", "white", "the same colours elsewhere"],
)
def test_light_alone_and_motion_alone_are_no_cut(luma_model, between):
    frames = scene(12)
    with DepthStream(luma_model, cuts=True) as stream:
        _, cuts = depths(stream, [*frames[:6], between(frames[6]), *frames[7:]])
    assert cuts == []


def test_a_scene_that_comes_through_black_begins_where_it_is_seen(luma_model):
    black = np.zeros((5, 28, 42, 3), np.uint8)
    with DepthStream(luma_model, cuts=True) as stream:
        _, cuts = depths(stream, [*scene(5), *black, *scene(5, 1, BLUE)])
    assert cuts == [10]


def test_after_a_gap_there_is_nothing_to_compare_with(luma_model):
    with DepthStream(luma_model, cuts=True) as stream:
        depths(stream, scene(5))
        stream.reset()
        _, cuts = depths(stream, scene(5, 1, BLUE))
    assert cuts == []


VIDEOS = (
    "videos/Tokyo-Walk_rgb.mp4",
    "videos/robot_unitree.mp4",
    "videos/davis_rollercoaster.mp4",
    "rgbd_office_a/rgb",
)


@pytest.mark.slow
def test_real_videos_have_no_cut_and_are_told_from_each_other(shared_data):
    """With the bundled model, also where up to three frames are left out between two; and wherever two of them meet."""
    looks = {}
    with DepthStream() as stream:
        session = stream._session
        for name in VIDEOS:
            with open_source(shared_data / name, read=ReadSettings(frames=200)) as source:
                seen = []
                for frame in source:
                    descriptor = stream(frame.image).descriptor.copy()
                    seen.append((session.frame[0].copy(), descriptor))
                looks[name] = seen
    for name, seen in looks.items():
        for stride in (1, 2, 3, 4):
            for start in range(stride):
                detector = CutDetector(stream.contract.keyframes.similarity)
                found = [detector.cuts(*look) for look in seen[start::stride]]
                assert not any(found), (name, stride, start)
    pairs = missed = 0
    for one, other in permutations(looks.values(), 2):
        for before, after in zip(one[::13], other[5::13], strict=False):
            detector = CutDetector(stream.contract.keyframes.similarity)
            detector.cuts(*before)
            missed += not detector.cuts(*after)
            pairs += 1
    assert pairs > 80
    assert missed <= 0.02 * pairs

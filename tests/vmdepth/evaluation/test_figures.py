"""Whole evaluations of predictions that are off by known amounts."""

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vmdepth.data.rgbd import RgbdFolder, RgbdFrame, rendered_rgbd_frames
from vmdepth.evaluation.drawing.plots import write_plots
from vmdepth.evaluation.figures import BUCKET, FIRST_FRAMES, evaluate_sequences, state_growth
from vmdepth.evaluation.recording import Streamed
from vmdepth.evaluation.truth import Truth
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.errors import InputError

SIZE = (12, 16)
CAMERA = np.array([[20.0, 0, 7.5], [0, 20, 5.5], [0, 0, 1]])


class Scripted:
    """A session that gives the depths it was told, and holds states of the RMS it was told."""

    def __init__(self, depths, rms=None, kind="relative", focal=None):
        depths = np.asarray(depths, np.float32)
        height, width = depths.shape[1:]
        self.contract = SimpleNamespace(
            depth_meaning=DEPTH_KINDS[kind], metric_focal=focal, extra_outputs=(), height=height, width=width
        )
        self.frame = np.zeros((1, *depths.shape[1:], 3), np.uint8)
        self._depths, self._rms = depths, rms
        self.reset()

    def reset(self):
        self._next = 0

    def step(self):
        self._next += 1
        return {"depth": self._depths[self._next - 1][None]}

    def next_states(self):
        counter = {"counter": np.full(1, 1e6, np.float32)}  # a number of the frame, not a memory
        if self._rms is None:
            return counter
        rms = np.float32(self._rms[self._next - 1])
        return counter | {"a": np.array([[rms, -rms]]), "b": np.full(6, rms, np.float16)}


def still_frames(count, depth, pose=True):
    """A camera and a world at rest."""
    image = np.random.default_rng(3).integers(0, 256, (*SIZE, 3), np.uint8)
    places = np.stack(np.indices(SIZE)[::-1], axis=-1).astype(np.float32)
    return [RgbdFrame(image, depth, places, CAMERA, np.eye(4) if pose else None) for _ in range(count)]


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(1, 5, SIZE).astype(np.float32)


def evaluated(session, *sequences):
    return evaluate_sequences([Streamed(session)], sequences, "area").models[0]


def test_a_perfect_prediction_up_to_scale_and_shift(depth):
    model = evaluated(Scripted([3 / depth - 0.2] * 4), still_frames(4, depth))
    whole = model.whole
    assert whole.delta1 == whole.first_delta1 == 1
    for figure in ("absrel", "first_absrel", "rmse", "tae", "opw", "flicker"):
        assert getattr(whole, figure) == pytest.approx(0, abs=1e-4), figure
    assert whole.state_rms is None  # a counter is no memory
    assert model.state_growth is None


def test_a_prediction_that_flickers_gives_that_flicker(depth):
    """± a, frame about: least squares shrinks it by var / (var + a²); the camera's rest leaves 2a of it per pair."""
    a, frames = 0.04, 6
    sign = np.array([1, -1] * (frames // 2))[:, None, None]
    whole = evaluated(Scripted(1 / depth + a * sign), still_frames(frames, depth)).whole
    variance = np.var(1 / depth.astype(np.float64))
    expected = 2 * a * variance / (variance + a * a)
    assert whole.flicker == pytest.approx(expected, rel=1e-4)
    assert whole.opw == pytest.approx(expected, rel=1e-2)  # of a still picture, to what DIS sees move in it
    assert whole.tae > 1


def test_flicker_and_opw_are_in_metres_whatever_the_prediction_is_in(depth):
    sign = np.array([1, -1])[:, None, None]
    one = evaluated(Scripted(1 / depth + 0.04 * sign), still_frames(2, depth)).whole
    other = evaluated(Scripted(50 / depth + 2 * sign + 7), still_frames(2, depth)).whole
    for figure in ("flicker", "opw", "tae", "absrel", "rmse"):
        assert getattr(other, figure) == pytest.approx(getattr(one, figure), rel=1e-3), figure


def test_drift_shows_in_the_fit_on_the_first_frames(depth):
    """The second half 1.3 times too near: one fit goes in between and calls all right, the early fit half of it."""
    factor = np.repeat([1, 1.3], FIRST_FRAMES)[:, None, None]
    whole = evaluated(Scripted(factor / depth), still_frames(2 * FIRST_FRAMES, depth)).whole
    assert whole.delta1 == 1
    assert whole.first_delta1 == 0.5
    assert whole.first_absrel == pytest.approx((1 - 1 / 1.3) / 2, rel=1e-3)


def test_short_sequences_are_fitted_on_their_first_half(depth):
    factor = np.array([1, 1, 2, 2])[:, None, None]
    model = evaluated(Scripted(factor / depth), still_frames(4, depth))
    assert model.whole.first_absrel == pytest.approx(0.25, rel=1e-3)
    assert model.sequences[0].first_frames == 2


def test_buckets_share_the_one_fit(depth):
    """Frames from 100 on are wrong; the last bucket has 20 frames."""
    frames = 2 * BUCKET + 20
    noise = np.random.default_rng(1).permutation((1 / depth).ravel()).reshape(SIZE)
    predicted = [1 / depth if number < BUCKET else noise for number in range(frames)]
    model = evaluated(Scripted(predicted, np.arange(1, frames + 1)), still_frames(frames, depth, pose=False))
    assert len(model.buckets) == 3
    first, middle, last = model.buckets
    assert first.first_delta1 == 1
    assert first.delta1 < 1  # the one fit has seen what is wrong
    assert middle.absrel == pytest.approx(last.absrel)
    assert middle.first_delta1 < 0.7
    pixels = (BUCKET * first.absrel + BUCKET * middle.absrel + 20 * last.absrel) / frames
    assert model.whole.absrel == pytest.approx(pixels)
    assert [round(b.state_rms, 3) for b in model.buckets] == [50.5, 150.5, 210.5]
    assert model.state_growth == pytest.approx(210.5 / 50.5)
    json.dumps(model.to_dict(), allow_nan=False)


def test_growth_of_the_states(depth):
    assert state_growth(np.array([1.0, 1, 3, 3])) == 3
    assert state_growth(np.repeat([2.0, 9, 3], BUCKET)) == 1.5
    assert state_growth(np.array([1.0])) is None
    assert state_growth(np.zeros(8)) is None
    model = evaluated(Scripted([1 / depth] * 4, [1, 2, 3, 4]), still_frames(4, depth))
    assert model.whole.state_rms == 2.5
    assert model.state_growth == pytest.approx(7 / 3)


def test_without_poses_nothing_is_said_of_places_in_the_world(depth):
    whole = evaluated(Scripted([1 / depth] * 3), still_frames(3, depth, pose=False)).whole
    assert whole.tae is None
    assert whole.flicker is None
    assert whole.opw == 0


def test_a_single_frame_has_no_consistency(depth):
    whole = evaluated(Scripted([1 / depth]), still_frames(1, depth)).whole
    assert whole.tae is whole.opw is whole.flicker is None
    assert whole.delta1 == whole.first_delta1 == 1


def test_sequences_count_the_same_each(depth):
    short, long = still_frames(2, depth), still_frames(6, depth)
    session = Scripted(np.random.default_rng(5).uniform(0.1, 1, (6, *SIZE)))
    alone = [evaluated(session, frames).whole for frames in (short, long)]
    together = evaluated(session, short, long)
    for figure in ("delta1", "rmse", "first_absrel", "tae", "opw", "flicker"):
        expected = np.mean([getattr(one, figure) for one in alone])
        assert getattr(together.whole, figure) == pytest.approx(expected), figure
    assert [one.frames for one in together.sequences] == [2, 6]


def test_models_side_by_side_are_as_each_alone(depth):
    right, wrong = Scripted([1 / depth] * 3), Scripted([depth] * 3)
    frames = still_frames(3, depth)
    both = evaluate_sequences([Streamed(wrong), Streamed(right)], [frames], "area").models
    assert both[0].whole == evaluated(wrong, frames).whole
    assert both[1].whole == evaluated(right, frames).whole


@pytest.mark.parametrize(
    ("kind", "off", "right", "aligned"),
    [
        ("metric", lambda depth: depth, True, "none"),
        ("metric", lambda depth: 1.5 * depth, False, "none"),
        ("scaled", lambda depth: 7 * depth, True, "scale"),
        ("scaled", lambda depth: 1 / (1 / depth + 0.3), False, "scale"),
        ("relative", lambda depth: 7 / depth + 0.3, True, "scale and shift"),
    ],
)
def test_no_more_is_fitted_than_the_kind_of_depth_leaves_open(kind, off, right, aligned, depth):
    model = evaluated(Scripted([off(depth)] * 3, kind=kind), still_frames(3, depth))
    whole = model.whole
    assert model.alignment == aligned
    assert (whole.delta1 == 1 and whole.absrel < 1e-4) == right
    assert whole.affine_delta1 == whole.frame_delta1 == 1  # on equal terms all of them are right
    assert (whole.first_delta1 is None) == (aligned == "none")
    assert model.to_dict()["alignment"] == model.to_dict()["sequences"][0]["alignment"] == aligned


def test_metres_by_focal_length_take_the_camera_of_the_frame_and_without_one_are_scaled(depth):
    """The pictures are twice as wide as what the network sees, so its focal length is half of the camera's."""
    session = Scripted([depth[:, ::2] * 4] * 2, kind="metric", focal=60.0)
    camera = np.array([[20.0, 0, 7.5], [0, 20, 5.5], [0, 0, 1]])
    frames = [replace(frame, intrinsics=camera) for frame in still_frames(2, depth)]
    known = evaluated(session, frames)
    assert known.alignment == "none"
    expected = Scripted([depth[:, ::2]] * 2, kind="metric")  # (20 / 2 + 20) / 2 / 60 = 1 / 4
    assert known.whole.delta1 == evaluated(expected, frames).whole.delta1
    unknown = [replace(frame, intrinsics=None, pose=None) for frame in frames]
    both = evaluated(session, unknown)
    assert both.alignment == "scale" and both.whole.delta1 is not None
    mixed = evaluate_sequences([Streamed(session)], [frames, unknown], "area").models[0]
    assert mixed.alignment == "none or scale"


@pytest.mark.parametrize(
    ("teacher", "aligned"), [("metric", "none"), ("scaled", "scale"), ("relative", "scale and shift")]
)
def test_what_a_teacher_leaves_open_is_fitted_too(teacher, aligned, depth):
    frames = still_frames(3, depth, pose=False)
    truth = Truth(DEPTH_KINDS[teacher], "teacher.pth")
    model = evaluate_sequences([Streamed(Scripted([depth] * 3, kind="metric"))], [frames], "area", truth=truth).models[
        0
    ]
    assert model.alignment == aligned
    assert model.whole.delta1 == 1
    assert model.whole.flicker == pytest.approx(0, abs=1e-5)  # along the flow: nobody knows where the camera was
    assert model.whole.tae is None


def test_early_frames_without_depth_leave_out_the_early_fit(depth):
    frames = still_frames(4, depth)
    unseen = np.zeros_like(depth)
    frames[:2] = [replace(frame, depth=unseen) for frame in frames[:2]]
    whole = evaluated(Scripted([1 / depth] * 4), frames).whole
    assert whole.delta1 == 1
    assert whole.first_delta1 is None
    with pytest.raises(InputError, match="sequence 0: no pixel of known depth"):
        evaluated(Scripted([1 / depth] * 2), frames[:2])


@pytest.fixture(scope="module")
def rendered():
    return list(rendered_rgbd_frames(1, 4, 56, 70))


def inverse_truth(frames):
    return np.stack([1 / frame.depth for frame in frames])


def test_rendered_truth_is_steady(rendered):
    whole = evaluated(Scripted(inverse_truth(rendered)), rendered).whole
    assert whole.flicker == pytest.approx(0, abs=1e-5)
    assert whole.absrel == pytest.approx(0, abs=1e-4)
    away = [replace(frame, pose=np.linalg.inv(frame.pose)) for frame in rendered]
    assert evaluated(Scripted(inverse_truth(rendered)), away).whole.tae > 1.5 * whole.tae


def test_where_no_pose_is_known_masks_say_what_has_to_be_steady():
    """Found again by the flow; without masks nobody says what stands still."""
    rendered = list(rendered_rgbd_frames(7, 4, 56, 70))
    depth, moving = (np.stack([getattr(frame, name) for frame in rendered]) for name in ("depth", "moving"))
    assert 0.02 < moving.mean() < 0.5
    unposed = [replace(frame, pose=None) for frame in rendered]
    unmasked, all_still = ([replace(frame, moving=mask) for frame in unposed] for mask in (None, moving[0] & False))

    def flicker_of(trembling, frames):
        wrong = depth / (1 + 0.2 * trembling * np.array([0, 1, 0, 1])[:, None, None])
        return evaluated(Scripted(wrong, kind="metric"), frames).whole.flicker

    everything = np.ones_like(moving)
    assert flicker_of(everything, unmasked) is None
    trembles = flicker_of(everything, unposed)
    assert trembles == pytest.approx(flicker_of(everything, rendered), rel=0.1)
    assert flicker_of(moving, all_still) > 3 * flicker_of(moving, unposed)
    assert flicker_of(moving, unposed) < 0.1 * trembles


def test_a_folder_gives_the_figures_of_the_clip_it_was_written_from(rendered, tmp_path):
    """Pictures, depth in millimetres, intrinsics and poses, through files and back."""
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    for number, frame in enumerate(rendered):
        millimetres = np.where(np.isfinite(frame.depth) & (frame.depth < 65), frame.depth * 1000, 0)
        cv2.imwrite(str(tmp_path / "depth" / f"{number}.png"), millimetres.round().astype(np.uint16))
        cv2.imwrite(str(tmp_path / "rgb" / f"{number}.png"), np.ascontiguousarray(frame.image[..., ::-1]))
    k = rendered[0].intrinsics
    (tmp_path / "intrinsics.json").write_text(
        json.dumps({"fx": k[0, 0], "fy": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "registration_px": 0})
    )
    np.savetxt(tmp_path / "poses.txt", np.stack([frame.pose for frame in rendered]).reshape(-1, 16))
    noise = np.random.default_rng(0).uniform(0.9, 1.1, (4, 56, 70))
    session = Scripted(inverse_truth(rendered) * noise)
    clip = evaluated(session, [replace(frame, moving=None) for frame in rendered]).whole
    folder = evaluated(session, RgbdFolder(tmp_path)).whole
    for figure in ("delta1", "absrel", "rmse", "tae", "flicker"):
        assert getattr(folder, figure) == pytest.approx(getattr(clip, figure), rel=2e-2, abs=1e-4), figure


@pytest.mark.parametrize(("rms", "more"), [(None, set()), ([1, 2], {"states.png"})])
def test_states_are_drawn_only_where_there_are_some(depth, tmp_path, rms, more):
    evaluation = evaluate_sequences([Streamed(Scripted([1 / depth] * 2, rms))], [still_frames(2, depth)], "area")
    write_plots(evaluation, ["model"], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"accuracy.png", "steadiness.png"} | more

"""What some networks give besides: confidence, sky and pose, in results, predictions and clouds, of several streams."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vmdepth_runtime import CloudSettings, DepthStream, InputError, KeyframeSettings, OnnxSession, predict
from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.depth.metres import metric_scale
from vmdepth_runtime.depth.stream_batch import StreamBatch

EXTRA = ("confidence", "sky", "pose")


@pytest.fixture(scope="module")
def model(build_graph):
    return build_graph(depth_kind="scaled", extra_outputs=EXTRA)


@pytest.fixture(scope="module")
def image():
    """Twice the model's size, so that its means are exact; above red grows to the right, below is sky."""
    picture = np.zeros((56, 84, 3), np.uint8)
    picture[:28, :, 0] = np.arange(84) * 2
    picture[28:, :, 1] = 200
    picture[..., 2] = 40
    return picture


def test_maps_come_at_the_frames_size_and_the_pose_as_it_is(model, image):
    with DepthStream(model) as stream:
        result = stream(image)
        for name in ("confidence", "sky"):
            brought_back = getattr(result, name)
            assert (brought_back.shape, brought_back.dtype) == ((56, 84), np.float32)
            small = cv2.resize(image, (42, 28), interpolation=cv2.INTER_AREA).astype(np.float32)
            small = 1 + small[..., 0] / 256 if name == "confidence" else small[..., 1] / 256
            np.testing.assert_array_equal(brought_back, cv2.resize(small, (84, 56), interpolation=cv2.INTER_LINEAR))
            np.testing.assert_array_equal(result.outputs[name], small)
        np.testing.assert_allclose(result.pose, np.tile(image.mean((0, 1)), 3), rtol=0.02)
        prediction = stream.predict(image)
        np.testing.assert_array_equal(prediction.confidence, result.confidence)
        np.testing.assert_array_equal(prediction.sky, result.sky)
        np.testing.assert_array_equal(prediction.pose, result.pose)
    with DepthStream() as stream:
        result = stream(image)
        assert (result.confidence, result.sky, result.pose) == (None, None, None)


def test_a_prediction_keeps_them_and_leaves_sky_and_what_is_unsure_out_of_its_points(model, image, tmp_path):
    prediction = predict(image, model=model, fov=60)
    prediction.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as data:
        assert sorted(data) == ["confidence", "depth", "depth_kind", "image", "pose", "sky"]
        assert data["depth_kind"] == "scaled"
        np.testing.assert_array_equal(data["sky"], prediction.sky)

    def count(percentile):
        points, colours = prediction.points(settings=CloudSettings(max_jump=0, confidence_percentile=percentile))
        assert not (colours[:, 1] == 200).all(axis=0)
        assert colours[:, 0].min() >= 2 * 84 * percentile / 100 - 6  # the least red are the least sure
        np.testing.assert_array_equal(np.unique(colours[:, 1]), [0])
        return len(points)

    there = np.count_nonzero((prediction.sky < 0.3) & (prediction.depth > 0))
    assert count(0) == there
    assert count(40) == pytest.approx(0.6 * there, rel=0.05)


def test_depth_up_to_a_scale_is_its_own_z(model, image):
    points = predict(image, model=model).points(fov=60, settings=CloudSettings(max_jump=0, confidence_percentile=0))
    prediction = predict(image, model=model)
    np.testing.assert_allclose(points.points[:, 2].max(), prediction.depth[prediction.sky < 0.3].max())
    assert str(prediction).startswith("Prediction(scaled depth of 84x56")


def test_several_streams_have_their_own(build_graph, make):
    path = build_graph(streams=2, depth_kind="metric", metric_focal=300.0, extra_outputs=EXTRA)
    first, second = make.noise(2, 28, 42), make.noise(2, 28, 42, seed=1)
    with OnnxSession(path) as session:
        batch = StreamBatch(session)
        for images in ((first[0], second[0]), (None, second[1])):
            results = batch.step(images)
        assert results[0] is None
        np.testing.assert_allclose(results[1].outputs["sky"], second[1][..., 1] / 256)
        np.testing.assert_allclose(results[1].outputs["confidence"], 1 + second[1][..., 0] / 256)
        assert results[1].outputs["pose"].shape == (9,)


def test_the_way_of_the_camera_is_in_the_unit_of_the_depth_through_key_frames_and_metres(build_graph, make):
    frame = make.noise(1, 28, 42)[0]
    lens = Lens.of(fov=60)
    for kind, focal in (("scaled", None), ("metric", 300.0), ("relative", None)):
        path = build_graph(depth_kind=kind, metric_focal=focal, extra_outputs=EXTRA)
        with OnnxSession(path) as session:
            session.frame[0] = frame
            given = {name: array[0].copy() for name, array in session.step().items()}
            session.reset(0)
            batch = StreamBatch(session, keyframes=KeyframeSettings(), lens=lens)
            batch.banks[0].scale = 2.0
            (result,) = batch.step([frame])
            ratio = np.mean(result.depth) / np.mean(given["depth"])
            assert ratio == pytest.approx(2 * metric_scale(session.contract, lens, 28, 42) if focal else 2)
            moved = given["pose"][:3] * (1 if kind == "relative" else ratio)
            np.testing.assert_allclose(result.outputs["pose"], [*moved, *given["pose"][3:]], rtol=1e-5)
        if focal:
            with DepthStream(path, fov=60) as stream:
                np.testing.assert_allclose(stream.predict(frame).pose[:3], moved / 2, rtol=1e-5)


def test_a_prediction_is_saved_as_points_of_intrinsics_as_of_a_field_of_view(model, image, tmp_path):
    prediction, focal = predict(image, model=model), 42 / np.tan(np.radians(30))
    prediction.save(tmp_path / "a.ply", fov=60)
    prediction.save(tmp_path / "b.ply", intrinsics=(focal, focal, 41.5, 27.5))
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()
    with pytest.raises(InputError, match="far from the middle"):
        prediction.save(tmp_path / "c.ply", intrinsics=(focal, focal, 320, 240))
    assert not (tmp_path / "c.ply").exists()

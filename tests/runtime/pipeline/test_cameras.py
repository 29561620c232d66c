"""A run whose camera is known, assumed, or asked for by nothing; and networks that give more than depth."""

from __future__ import annotations

import json

import numpy as np
import pytest

EXTRA = ("confidence", "sky", "pose")
ROS = "image_width: 128\nimage_height: 96\ncamera_matrix:\n  data: [100.0, 0, 63.5, 0, 90.0, 47.5, 0, 0, 1]\n"


@pytest.fixture(scope="module")
def metric(build_graph):
    return build_graph(depth_kind="metric", metric_focal=300.0)


@pytest.fixture
def video(make, tmp_path):
    return make.video(tmp_path / "in.mp4", make.noise(5))  # 64×48, the graph 42×28


def depth_of(tmp_path, name="out.npz"):
    with np.load(tmp_path / name) as data:
        return data["depth"]


def test_metres_follow_the_camera_and_the_report_says_which(vmdepth_run, video, metric, build_graph, tmp_path):
    assert vmdepth_run(video, "-o", "plain.npz", "--model", build_graph(depth_kind="metric")).code == 0
    plain = depth_of(tmp_path, "plain.npz")
    (tmp_path / "camera.yaml").write_text(ROS)
    focal = (50 * 42 / 64 + 45 * 28 / 48) / 2  # of frames half as large as those that were calibrated
    for given, told in (("50,45,31.5,23.5", "intrinsics 50,45,31.5,23.5"), ("camera.yaml", "camera.yaml")):
        outcome = vmdepth_run(
            video, "--model", metric, "--intrinsics", given, "-o", "out.npz", "-o", "o.mp4", "--report", "r.json"
        )
        assert outcome.code == 0
        assert not any("assumes" in line for line in outcome.lines)
        np.testing.assert_allclose(depth_of(tmp_path), plain * (focal / 300), rtol=1e-6)
        (source,) = json.loads((tmp_path / "r.json").read_text())["sources"]
        camera = {"given": told, "fx": 50, "fy": 45, "cx": 31.5, "cy": 23.5}
        assert source["camera"] == pytest.approx(camera)
        assert source["colour_range"]["low"] == pytest.approx(np.percentile(plain, 99) * focal / 300, rel=0.05)


def test_what_is_assumed_is_said_in_a_line_and_in_the_report(vmdepth_run, video, metric, tmp_path):
    outcome = vmdepth_run(video, "--model", metric, "-o", "out.npz", "--report", "r.json")
    (line,) = [line for line in outcome.lines if "assumes" in line]
    assert "the longer side of a frame spans 60 degrees; --fov DEGREES" in line
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["model"]["depth_kind"], report["model"]["depth_unit"]) == ("metric", "m")
    assert report["sources"][0]["camera"]["given"] == "assumed: 60 degrees along the longer side"
    assumed = depth_of(tmp_path)
    assert vmdepth_run(video, "--model", metric, "-o", "out.npz", "--fov", "60").code == 0
    np.testing.assert_array_equal(depth_of(tmp_path), assumed)


def test_pictures_of_any_size_have_each_their_metres(vmdepth_run, make, metric, build_graph, tmp_path):
    (tmp_path / "in").mkdir()
    make.image(tmp_path / "in" / "a.png", make.noise(1, 48, 64)[0])
    make.image(tmp_path / "in" / "b.png", make.noise(1, 90, 60)[0])
    for model, folder in ((metric, "m"), (build_graph(depth_kind="metric"), "p")):
        options = ["--fov", "60"] if model is metric else []
        assert vmdepth_run("in", "-o", f"{folder}/{{name}}.npy", "--images", "--model", model, *options).code == 0
    for name, width, height in (("a", 64, 48), ("b", 60, 90)):
        focal = width / 2 / np.tan(np.radians(30)) * (42 / width + 28 / height) / 2
        plain = np.load(tmp_path / "p" / f"{name}.npy")
        np.testing.assert_allclose(np.load(tmp_path / "m" / f"{name}.npy"), plain * (focal / 300), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--intrinsics", "50,45,70,20"], "principal point 70,20 is far from the middle of in.mp4, which is 64x48"),
        (["--intrinsics", "25,25,15,11.5"], "are they of 30x24? give them for this size, or a file that says its"),
        (["--intrinsics", "tall.yaml"], "is of 64x96 frames, and in.mp4 is 64x48, of another shape"),
        (["--intrinsics", "0,45,30,20"], "fx and fy above 0"),
        (["--intrinsics", "45,30,20"], "intrinsics are fx, fy, cx, cy"),
        (["--intrinsics", "none.yaml"], "none.yaml: no such file"),
        (["--intrinsics", "50,45,30,20", "--fov", "60"], "both say what the camera sees"),
    ],
)
def test_intrinsics_that_do_not_fit_end_in_a_line_and_nothing_is_written(
    vmdepth_run, video, metric, tmp_path, arguments, message
):
    (tmp_path / "tall.yaml").write_text(ROS.replace("image_width: 128", "image_width: 64"))
    outcome = vmdepth_run(video, "--model", metric, "-o", "out/%06d.npy", "-o", "out.npz", *arguments)
    assert outcome.code == 2
    (line,) = outcome.lines
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "tall.yaml"]


@pytest.mark.parametrize(
    ("option", "told"), [(("--fov", "60"), "--fov 60"), (("--camera", "50,45,30,20"), "intrinsics 50,45,30,20")]
)
def test_a_camera_that_nothing_asks_for_is_refused(vmdepth_run, video, option, told):
    outcome = vmdepth_run(video, "-o", "out.npz", *option)
    assert outcome.code == 2
    assert f"{told}: nothing asks for the camera: no output is a cloud (.ply)" in outcome.lines[-1]


def test_a_height_that_no_output_has_is_refused(vmdepth_run, video):
    outcome = vmdepth_run(video, "-o", "out.npz", "--max-height", "100")
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert "--max-height 100: no output is a video, window or page" in outcome.lines[0]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-points", "1000"), ("--max-range", "4"), ("--max-jump", "0"), ("--confidence-percentile", "10")],
)
def test_what_only_clouds_have_is_refused_without_one(vmdepth_run, video, tmp_path, option, value):
    outcome = vmdepth_run(video, "-o", "out.npz", option, value)
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    assert f"{option} {value}: no output is a cloud (.ply); leave it out, or add one" in outcome.lines[0]
    assert not (tmp_path / "out.npz").exists()


def test_clouds_of_a_live_view_need_the_camera(vmdepth_run, video):
    outcome = vmdepth_run(video, "-o", "foxglove://127.0.0.1:9", "--max-points", "1000")
    assert (outcome.code, len(outcome.lines)) == (2, 1)
    expected = "--max-points 1000: foxglove://127.0.0.1:9 has clouds where the camera is known; give --fov DEGREES or"
    assert expected in outcome.lines[0]


def test_sky_needs_a_cloud_and_a_range(vmdepth_run, video, build_graph, tmp_path):
    assert "--sky: no output is a cloud (.ply); leave it out" in vmdepth_run(video, "-o", "a.npz", "--sky").lines[0]
    words = (video, "-o", "out/%d.ply", "--fov", "60", "--sky", "--frames", "1")
    outcome = vmdepth_run(*words, "--model", build_graph(depth_kind="metric"))
    assert outcome.code == 2
    assert "--sky: puts what is very far at --max-range, which has to be given where depth has" in outcome.lines[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    assert "--sky: puts what is very far at" in vmdepth_run(*words, "--metres", "1,0.1").lines[-1]
    assert vmdepth_run(*words).code == 0


def test_an_archive_keeps_what_the_network_gives_besides(vmdepth_run, video, build_graph, tmp_path):
    model = build_graph(depth_kind="scaled", extra_outputs=EXTRA)
    assert vmdepth_run(video, "-o", "out.npz", "-o", "out/%d.ply", "--fov", "60", "--model", model).code == 0
    with np.load(tmp_path / "out.npz") as data:
        assert sorted(data) == ["confidence", "depth", "depth_kind", "pose", "sky", "times"]
        assert data["depth_kind"] == "scaled"
        for name, shape, dtype in (
            ("confidence", (5, 28, 42), np.float16),
            ("sky", (5, 28, 42), np.float16),
            ("pose", (5, 9), np.float32),
        ):
            assert (data[name].shape, data[name].dtype) == (shape, dtype)
        assert len(np.unique(data["pose"][:, 0])) == 5  # of each frame its own
        # Noise is green, and green is sky here: at most what is not sky has points.
        for number in range(5):
            head = (tmp_path / "out" / f"{number}.ply").read_bytes().split(b"end_header")[0].decode()
            points = int(head.split("element vertex ")[1].split()[0])
            assert 0 < points <= np.count_nonzero(data["sky"][number] < 0.3) * 64 * 48 / (28 * 42) + 64
    assert not list(tmp_path.glob(".*part*"))


def test_several_cameras_at_once(vmdepth_run, make, build_graph, tmp_path):
    model = build_graph(streams=2, depth_kind="metric", metric_focal=300.0, extra_outputs=EXTRA)
    sources = [make.video(tmp_path / f"{k}.mp4", make.noise(4, seed=k)) for k in (1, 2)]
    assert vmdepth_run(*sources, "--streams", "--model", model, "--fov", "60", "-o", "o{}.npz").code == 0
    first, second = (np.load(tmp_path / f"o{k}.npz") for k in (0, 1))
    assert (first["pose"] != second["pose"]).any()
    assert first["confidence"].shape == second["confidence"].shape == (4, 28, 42)

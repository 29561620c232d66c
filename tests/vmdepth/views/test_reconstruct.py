"""`vmdepth-views` from pictures to files, with tiny networks."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vmdepth.networks.multiview.cameras import relative_to_first
from vmdepth.official.preparation import prepare_views
from vmdepth.views.cloud import cloud_of, write_glb
from vmdepth.views.geometry import world_points
from vmdepth.views.reconstruct import reconstruct
from vmdepth.views.results import Results
from vmdepth.views.similarity import Similarity
from vmdepth.views.windows import View
from vmdepth_runtime.depth.colour_map import colourise
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sources.settings import ReadSettings


def arrays_of(done):
    return dict(np.load(done.folder / "depth.npz"))


def cameras_of(done):
    return json.loads((done.folder / "cameras.json").read_text())


def points_in(path):
    head, _, body = path.read_bytes().partition(b"end_header\n")
    count = int(head.split(b"element vertex ")[1].split()[0])
    return np.frombuffer(body, [("place", "<f4", 3), ("colour", "u1", 3)], count)


def test_all_at_once_is_what_the_network_says(settings, walk, tiny, quiet):
    model = tiny("any-view")
    done = reconstruct(settings, quiet)
    clip, _ = prepare_views([walk.images[6 * number] for number in range(10)], 42)
    out = model(torch.from_numpy(clip)[None])
    arrays = arrays_of(done)
    assert np.array_equal(arrays["depth"], out.depth[0])
    assert np.array_equal(arrays["confidence"], out.confidence[0])
    assert np.array_equal(arrays["image"], (clip * 255).round().astype(np.uint8).transpose(0, 2, 3, 1))
    assert arrays["names"].tolist() == [f"{number}.png" for number in range(10)]
    extrinsics = out.extrinsics[0].numpy().astype(np.float64)
    first = Similarity(1.0, extrinsics[0, :, :3], extrinsics[0, :, 3])  # the world is its camera
    assert arrays["extrinsics"] == pytest.approx(first.cameras(extrinsics), abs=1e-5)
    assert arrays["intrinsics"] == pytest.approx(out.intrinsics[0].numpy())
    assert (done.views, done.size, len(done.seams), done.notes) == (10, (28, 42), 1, [])


def test_files_agree_with_each_other(settings, tiny, quiet):
    tiny("any-view")
    done = reconstruct(replace(settings, colour=True), quiet)
    made = {file.name for file in done.folder.iterdir()} - {"cloud.glb"}
    assert made == {"depth.npz", "depth", "colour", "cameras.json", "colmap", "cloud.ply"}
    arrays, text = arrays_of(done), cameras_of(done)
    sidecar = json.loads((done.folder / "depth" / "depth.json").read_text())
    assert text["depth"].items() >= sidecar.items()
    assert (arrays["depth_kind"], sidecar["depth_kind"], sidecar["unit"]) == ("scaled", "scaled", None)
    assert (sidecar["width"], sidecar["height"]) == (42, 28)
    step = sidecar["depth_per_step"]
    for view, depth, matrix in zip(text["views"], arrays["depth"], arrays["intrinsics"], strict=True):
        picture = cv2.imread(str(done.folder / "depth" / view["name"]), cv2.IMREAD_UNCHANGED)
        assert picture.dtype == np.uint16
        assert picture * step == pytest.approx(depth, abs=step)
        assert cv2.imread(str(done.folder / "colour" / view["name"])).shape == (28, 42, 3)
        # The picture is 84x56, twice as large as what the network saw.
        assert (view["width"], view["height"]) == (84, 56)
        assert np.array(view["intrinsics"])[:2] == pytest.approx(2 * matrix[:2])
        assert np.array(view["depth_intrinsics"]) == pytest.approx(matrix)
    points = points_in(done.folder / "cloud.ply")
    assert len(points) == done.points > 100
    listed = np.loadtxt(done.folder / "colmap" / "points3D.txt")
    assert listed[:, 1:4] == pytest.approx(points["place"], rel=1e-4, abs=1e-4)


def wrap(network, change, monkeypatch):
    """Lets a network say something else of depth."""
    say = network.forward
    monkeypatch.setattr(network, "forward", lambda *a, **k: replace(out := say(*a, **k), depth=change(out.depth)))


def test_one_far_pixel_takes_neither_the_steps_nor_the_colours_of_all_others(settings, tiny, quiet, monkeypatch):
    def far(depth):
        depth = 1 + torch.linspace(0, 1, depth.numel()).reshape(depth.shape)
        depth[0, 0, 0, 1] = 1000
        return depth

    wrap(tiny("any-view"), far, monkeypatch)
    done = reconstruct(replace(settings, colour=True), quiet)
    assert done.notes == ["depth/: 1 pixels were beyond what 16 bits hold, and are 65535"]
    picture = cv2.imread(str(done.folder / "depth" / "9.png"), cv2.IMREAD_UNCHANGED)
    assert 16000 < picture.max() < 17000
    painted = [cv2.imread(str(done.folder / "colour" / f"{number}.png"))[..., ::-1] for number in range(10)]
    depth = arrays_of(done)["depth"]
    low, high = np.percentile(depth, (99, 1))
    assert np.abs(painted[5].astype(int) - colourise(depth[5], low, high)).max() <= 8


def test_metres_are_millimetres_however_far_they_go(settings, tiny, quiet, monkeypatch):
    wrap(tiny("nested"), lambda depth: torch.where(depth > depth.mean(), 70.0, 5.0), monkeypatch)
    done = reconstruct(settings, quiet)
    beyond = np.count_nonzero(arrays_of(done)["depth"] > 65.535)
    assert done.notes == [f"depth/: {beyond} pixels were beyond the 65.535 m that 16 bits hold, and are 0"]
    picture = cv2.imread(str(done.folder / "depth" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(picture)) <= {5000, 0}


def test_windows_make_one_world_of_all_views(settings, tiny, quiet):
    tiny("any-view")
    done = reconstruct(replace(settings, window=4, overlap=2), quiet)
    arrays, text = arrays_of(done), cameras_of(done)
    assert [(seam.first, seam.last, seam.overlap) for seam in done.seams] == [
        (0, 3, 0),
        (2, 5, 2),
        (4, 7, 2),
        (6, 9, 2),
    ]
    assert len(text["windows"]) == 4
    assert len(arrays["depth"]) == len(arrays["extrinsics"]) == len(text["views"]) == 10
    assert np.isfinite(arrays["depth"]).all()
    assert np.isfinite(arrays["extrinsics"]).all()
    assert arrays["extrinsics"][0] == pytest.approx(np.eye(4)[:3], abs=1e-9)


def test_a_budget_changes_no_result(settings, tiny, quiet, tmp_path):
    tiny("any-view")
    free = arrays_of(reconstruct(settings, quiet))
    held = arrays_of(reconstruct(replace(settings, output=tmp_path / "held", memory_budget="9MiB"), quiet))
    assert held["depth"] == pytest.approx(free["depth"], rel=1e-4)


def test_given_cameras_are_told_to_the_network_and_kept(settings, walk, tiny, quiet, tmp_path):
    model = tiny("any-view")
    first = reconstruct(settings, quiet)
    text = cameras_of(first)
    for number, view in enumerate(text["views"]):
        view["extrinsics"] = walk.extrinsics[6 * number].tolist()
        view["intrinsics"] = walk.intrinsics.tolist()
    (tmp_path / "given.json").write_text(json.dumps(text))
    done = reconstruct(replace(settings, poses=tmp_path / "given.json", output=tmp_path / "posed"), quiet)
    arrays = arrays_of(done)
    assert arrays["extrinsics"] == pytest.approx(walk.extrinsics[::6][:10], abs=1e-9)
    assert arrays["intrinsics"][:, :2] == pytest.approx(np.stack([walk.intrinsics[:2] / 2] * 10))
    clip = torch.from_numpy(arrays["image"].transpose(0, 3, 1, 2) / np.float32(255))[None]
    given = relative_to_first(torch.from_numpy(walk.extrinsics[None, ::6])).float()
    out = model(clip, extrinsics=given, intrinsics=torch.from_numpy(arrays["intrinsics"]).float()[None])
    ratio = arrays["depth"] / out.depth[0].numpy()
    assert ratio == pytest.approx(np.full(ratio.shape, ratio[0, 0, 0]), rel=1e-4)
    assert ratio[0, 0, 0] == pytest.approx(done.seams[0].scale, rel=1e-4)
    with pytest.raises(InputError, match=r"given\.json: has 10 cameras, and there are 5 views"):
        reconstruct(
            replace(settings, poses=tmp_path / "given.json", output=tmp_path / "no", read=ReadSettings(frames=5)), quiet
        )


def test_frames_of_a_video_are_kept_where_cameras_name_them(settings, tiny, quiet):
    tiny("any-view")
    done = reconstruct(replace(settings, sources=("demo",), read=ReadSettings(frames=3, every=4)), quiet)
    names = [view["name"] for view in cameras_of(done)["views"]]
    assert names == ["000000.png", "000004.png", "000008.png"]
    assert sorted(file.name for file in (done.folder / "images").iterdir()) == names


@pytest.mark.parametrize(
    ("kind", "why"), [("mono", "one picture"), ("metric", "300 pixels"), ("no-cameras", "decoder")]
)
def test_networks_without_cameras_give_depth_and_say_so(kind, why, settings, tiny, quiet):
    tiny(kind)
    done = reconstruct(settings, quiet)
    assert len(done.notes) == 1
    assert why in done.notes[0]
    assert done.points is None
    assert {file.name for file in done.folder.iterdir()} == {"depth.npz", "depth"}
    assert {"depth", "image", "names"} <= set(arrays_of(done))


def test_the_metric_network_with_cameras_gives_metres_and_a_cloud(settings, walk, tiny, quiet, tmp_path):
    tiny("metric")
    alone = arrays_of(reconstruct(settings, quiet))["depth"]
    views = [
        {
            "name": f"{n}.png",
            "width": 84,
            "height": 56,
            "intrinsics": walk.intrinsics.tolist(),
            "extrinsics": e.tolist(),
        }
        for n, e in enumerate(walk.extrinsics[::6])
    ]
    (tmp_path / "given.json").write_text(json.dumps({"views": views}))
    done = reconstruct(replace(settings, output=tmp_path / "posed", poses=tmp_path / "given.json"), quiet)
    focal = (walk.intrinsics[0, 0] + walk.intrinsics[1, 1]) / 2 / 2
    assert arrays_of(done)["depth"] == pytest.approx(alone * focal / 300, rel=1e-5)
    assert cameras_of(done)["depth"]["depth_kind"] == arrays_of(done)["depth_kind"] == "metric"
    assert cameras_of(done)["depth"]["depth_per_step"] == 0.001
    assert done.points is not None


def test_the_nested_network_gives_metres_sky_and_cameras(settings, tiny, quiet):
    tiny("nested")
    done = reconstruct(replace(settings, window=6), quiet)
    arrays = arrays_of(done)
    assert {"depth", "confidence", "sky", "extrinsics"} <= set(arrays)
    assert cameras_of(done)["depth"]["depth_kind"] == "metric"
    sure = arrays["confidence"] >= np.percentile(arrays["confidence"], 40)
    assert done.points <= np.count_nonzero((arrays["sky"] < 0.3) & sure) * 1.01


def test_a_cloud_of_true_depth_is_the_room(walk, tmp_path):
    """Points of every view lie on what the other views see, or behind it; sky and the least sure have none."""
    results, places = Results(tmp_path), range(0, 60, 12)
    for place in places:
        depth, sky = walk.depth[place], np.isinf(walk.depth[place]).astype(np.float32)
        confidence = np.full_like(depth, 2)
        confidence[:14] = 1.5  # the upper quarter is less sure than the rest
        results.add(View(np.where(sky, 9, depth), confidence, sky, walk.extrinsics[place], walk.intrinsics))
    cloud = cloud_of(results, walk.images[::12], 30, 10_000_000)
    rows, columns = np.nonzero(np.isfinite(walk.depth[0][14:]))
    truth = world_points(walk.depth[0], walk.intrinsics, walk.extrinsics[0], rows + 14, columns)
    mine = cloud.points[: len(truth)]
    nearest = np.linalg.norm(mine[:200, None] - truth[None], axis=-1).min(axis=1)
    assert nearest.max() < 1e-3
    seen = cloud.points @ walk.extrinsics[24][:, :3].T + walk.extrinsics[24][:, 3]
    pixel = (seen[:, :2] / seen[:, 2:] * np.diag(walk.intrinsics)[:2] + walk.intrinsics[:2, 2]).astype(int)
    inside = (seen[:, 2] > 0) & (pixel >= 0).all(1) & (pixel < [84, 56]).all(1)
    there = walk.depth[24][pixel[inside, 1], pixel[inside, 0]]
    assert np.mean(seen[inside, 2] > 0.95 * there) > 0.95
    assert np.mean(np.abs(seen[inside, 2] / there - 1) < 0.05) > 0.8
    assert len(cloud_of(results, walk.images[::12], 30, 1000).points) <= 1000
    results.close()


def test_glb_stands_upright(walk, tmp_path):
    trimesh = pytest.importorskip("trimesh")
    results = Results(tmp_path)
    results.add(View(walk.depth[0].clip(0, 9), None, None, walk.extrinsics[0], walk.intrinsics))
    cloud = cloud_of(results, walk.images[:1], 0, 10_000)
    assert write_glb(tmp_path / "cloud.glb", cloud)
    (read,) = trimesh.load(tmp_path / "cloud.glb").dump()
    assert np.asarray(read.vertices) == pytest.approx(cloud.points * [1, -1, -1], abs=1e-5)
    results.close()


def test_a_full_disk_leaves_nothing(settings, tiny, quiet, monkeypatch):
    tiny("any-view")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WorkError, match="is the disk full"):
        reconstruct(settings, quiet)
    assert not settings.output.exists()
    assert not list(settings.output.parent.glob(".*part"))

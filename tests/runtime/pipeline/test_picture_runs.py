"""Pictures that each stand on their own: a file for each, named after it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from vmdepth_runtime import DepthStream, RunSettings, run


def depth_of(path):
    with np.load(path) as data:
        return data["depth"]


@pytest.fixture
def photos(tmp_path, make):
    """Four pictures of three sizes in a folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for k, size in enumerate([(48, 64), (64, 48), (90, 80), (48, 64)]):
        make.image(folder / f"p{k}.png", make.noise(1, *size, seed=k)[0])
    return folder


def test_a_thousand_photographs_of_two_hundred_sizes_are_a_thousand_pictures(luma_model, tmp_path, make):
    (tmp_path / "photos").mkdir()
    sizes = {}
    for k in range(1000):
        sizes[f"IMG_{k}"] = (20 + k % 20, 20 + k % 200 // 20)
        make.image(tmp_path / "photos" / f"IMG_{k}.jpg", np.full((*sizes[f"IMG_{k}"], 3), k % 256, np.uint8))
    assert len(set(sizes.values())) == 200
    report = run(RunSettings((str(tmp_path / "photos"),), (str(tmp_path / "out" / "{name}.npy"),), luma_model))
    assert report["frames_out"] == 1000
    written = {path.stem: np.load(path).shape for path in (tmp_path / "out").iterdir()}
    assert written == sizes


def test_states_start_anew_at_each_picture(vmdepth_run, photos, tmp_path, luma_model):
    assert vmdepth_run(photos, "-o", "all/{name}.npy", "-o", "numbered/%03d.exr", "-o", "each/{name}.npz").code == 0
    with DepthStream(luma_model) as stream:
        for number, path in enumerate(sorted(photos.glob("*.png"))):
            stream.reset()
            depth = stream(cv2.imread(str(path))[..., ::-1].copy()).depth
            np.testing.assert_array_equal(np.load(tmp_path / "all" / f"{path.stem}.npy"), depth)
            np.testing.assert_array_equal(depth_of(tmp_path / "each" / f"{path.stem}.npz"), depth[None])
            assert (tmp_path / "numbered" / f"{number:03}.exr").exists()


def test_each_picture_has_its_own_step_and_says_it(vmdepth_run, photos, tmp_path):
    assert vmdepth_run(photos, "-o", "out/{name}.png", "-o", "out/{name}.npy").code == 0
    for path in photos.glob("*.png"):
        sidecar = json.loads((tmp_path / "out" / f"{path.stem}.json").read_text())
        steps = cv2.imread(str(tmp_path / "out" / path.name), cv2.IMREAD_UNCHANGED)
        assert steps.shape == (sidecar["height"], sidecar["width"])
        depth = np.load(tmp_path / "out" / f"{path.stem}.npy")
        np.testing.assert_allclose(steps * sidecar["depth_per_step"], depth, atol=sidecar["depth_per_step"])


def test_a_camera_sees_as_far_to_the_sides_in_pictures_of_all_sizes(vmdepth_run, photos, tmp_path):
    assert vmdepth_run(photos, "-o", "out/{name}.ply", "--fov", "60").code == 0
    for name in ("p0", "p2"):
        content = (tmp_path / "out" / f"{name}.ply").read_bytes()
        head, _, body = content.partition(b"end_header\n")
        assert b"format binary_little_endian" in head
        points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
        widest = np.abs(points[:, 0] / points[:, 2]).max()
        assert widest == pytest.approx(np.tan(np.radians(30)), rel=0.03)


def test_a_calibration_is_of_pictures_of_all_sizes_of_its_shape(vmdepth_run, make, tmp_path):
    (tmp_path / "in").mkdir()
    for name, size in (("a", (48, 64)), ("b", (96, 128))):
        make.image(tmp_path / "in" / f"{name}.png", make.noise(1, *size)[0])
    (tmp_path / "camera.json").write_text('{"width": 64, "height": 48, "fx": 50, "fy": 70, "cx": 29.5, "cy": 25.5}')
    options = ["--intrinsics", "camera.json", "--max-jump", "0"]
    assert vmdepth_run("in", "--images", "-o", "out/{name}.ply", *options).code == 0
    for name, scale in (("a", 1), ("b", 2)):
        body = (tmp_path / "out" / f"{name}.ply").read_bytes().partition(b"end_header\n")[2]
        points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
        slopes = points[:, :2] / points[:, 2:]
        np.testing.assert_allclose(slopes.min(0), (-(30 - 0.5 / scale) / 50, -(26 - 0.5 / scale) / 70), rtol=1e-4)
        np.testing.assert_allclose(slopes.max(0), ((34 - 0.5 / scale) / 50, (22 - 0.5 / scale) / 70), rtol=1e-4)


def test_default_outputs_of_pictures(vmdepth_run, photos, tmp_path):
    assert vmdepth_run("photos").code == 0
    assert {path.stem for path in (tmp_path / "photos.depth").glob("*.png")} == {"p0", "p1", "p2", "p3"}
    assert vmdepth_run("photos/p1.png").lines[-1] == "vmdepth-run: wrote p1.depth.png"
    assert vmdepth_run("photos/p2.png", "photos/p3.png").lines[-1] == "vmdepth-run: wrote {name}.depth.png"
    assert {path.name for path in tmp_path.glob("*.png")} == {f"p{k}.depth.png" for k in (1, 2, 3)}


def test_two_sets_with_pictures_of_one_name_are_kept_apart(vmdepth_run, photos, tmp_path):
    photos.joinpath("../other").resolve().symlink_to(photos)
    outcome = vmdepth_run("photos", "other", "-o", "out/{name}.npy")
    assert outcome.code == 2
    assert (
        "p0.npy: is named as an output twice; put the source's number {} there, too, as in '{}_{name}.npy'"
        in (outcome.lines[0])
    )
    assert vmdepth_run("photos", "other", "-o", "out/{}_{name}.npy").code == 0
    assert len(list((tmp_path / "out").iterdir())) == 8
    assert vmdepth_run("photos/p0.png", "other/p0.png", "-o", "out2/{name}.npy").code == 0
    assert {path.name for path in (tmp_path / "out2").iterdir()} == {"photos_p0.npy", "other_p0.npy"}
    outcome = vmdepth_run("photos", "-o", "photos.npy", "--no-images")
    assert "-o 'photos/%06d.npy' is one per frame" in outcome.lines[0]
    (photos / "p9.depth.png").write_bytes((photos / "p0.png").read_bytes())
    line = vmdepth_run("photos", "-o", "out3/{name}.npy").lines[0]
    assert line == "vmdepth-run: photos: 1 file is not taken, as named *.depth.* by an earlier run"


def test_what_a_folder_holds_and_is_not_read_is_named_once(vmdepth_run, photos, videos):
    for number in range(4):
        (photos / f"{number}.cr2").write_bytes(b"1")
    outcome = vmdepth_run("photos", "-o", "out/{name}.npy")
    named = "vmdepth-run: photos: not read: 0.cr2, 1.cr2, 2.cr2, 3.cr2"
    assert [line for line in outcome.lines if "cr2" in line] == [named]
    (photos / "more").mkdir()
    (photos / "notes.txt").write_bytes(b"1")
    line = vmdepth_run("photos", "-o", "out/{name}.npy").lines[0]
    assert line == f"{named}, more/ and 1 more; folders in it are not looked into"
    (videos / "notes.txt").write_bytes(b"1")
    assert vmdepth_run("videos", "-o", "out/{name}.npz").lines[0] == "vmdepth-run: videos: not read: notes.txt"


def test_outputs_may_be_in_the_home_folder(vmdepth_run, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert vmdepth_run("photos", "-o", "~/out/{name}.npy").code == 0
    assert len(list((tmp_path / "home" / "out").iterdir())) == 4


def test_one_picture_is_one_file(vmdepth_run, photos, videos, tmp_path):
    for output in ("depth.png", "depth.npy", "depth.exr", "new/depth.npz", "depth.mp4"):
        assert vmdepth_run(photos / "p0.png", "-o", output).code == 0
        assert (tmp_path / output).exists()
    assert cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    assert vmdepth_run(videos / "a.mp4", "-o", "fifth.npy", "--start", "4", "--frames", "1").code == 0
    outcome = vmdepth_run(photos, "-o", "second.npy", "--start", "1", "--frames", "1")
    assert outcome.code == 0
    assert outcome.lines[0].startswith("vmdepth-run: 1 frame in, 1 out")
    assert np.load(tmp_path / "second.npy").shape == (64, 48)


def test_pictures_are_refused_what_has_no_room_for_them(vmdepth_run, photos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for words, message in [
        (["-o", "out.mp4"], "out.mp4: photos is 4 pictures, each on its own; -o 'out/{name}.png' gives each a file of"),
        (["-o", "out.npz"], "--no-images takes them as the frames of one video"),
        (["-o", "out.exr"], "-o 'out/{name}.exr' gives each a file of its own"),
        (["-o", "-"], "-: photos is 4 pictures"),
        (["-o", "photos/{name}.png"], "among the source's own files"),
    ]:
        outcome = vmdepth_run("photos", *words)
        assert outcome.code == 2
        assert message in outcome.lines[0]
    outcome = vmdepth_run("photos/p0.png", "-o", "photos/{name}.png")
    assert "p0.png: is the source itself" in outcome.lines[0]
    assert sorted(tmp_path.rglob("*")) == before
    assert vmdepth_run("photos", "--no-images", "-o", "out.npz").code == 0
    assert depth_of(tmp_path / "out.npz").shape == (4, 48, 64)


def test_a_picture_that_cannot_be_read_is_a_failure_and_the_others_are_done(vmdepth_run, photos, tmp_path):
    (photos / "p1.png").write_bytes(b"garbage")
    outcome = vmdepth_run("photos", "-o", "out/{name}.npy", "--report", "r.json")
    assert outcome.code == 1
    assert "skipped frame 1 (p1.png): not a readable image" in outcome.lines[0]
    assert outcome.lines[-1] == (
        "vmdepth-run: photos: 1 of 4 pictures could not be read, as told above; the others are done"
    )
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"p0", "p2", "p3"}
    assert json.loads((tmp_path / "r.json").read_text())["frames_out"] == 3


def test_of_pictures_and_videos_in_one_folder_it_is_said_which_are_taken(vmdepth_run, photos, make, tmp_path):
    make.video(photos / "clip.mov", make.noise(2))
    outcome = vmdepth_run("photos", "-o", "out/{name}.npy")
    assert outcome.code == 0
    assert outcome.lines[0] == "vmdepth-run: photos: its 4 images are taken, 1 video is not; 'photos/*.mov' takes those"
    assert vmdepth_run("photos/*.mov", "-o", "out.npz").code == 0


def test_a_picture_that_the_intrinsics_do_not_fit_is_named(vmdepth_run, photos):
    for ending in ("ply", "mcap"):
        outcome = vmdepth_run("photos", "-o", f"out/{{name}}.{ending}", "--intrinsics", "50,50,45,23.5")
        assert outcome.code == 2
        assert outcome.lines[-1].startswith("vmdepth-run: p1: intrinsics 50,50,45,23.5: its principal point 45,23.5 is")


def test_of_gifs_that_stand_still_and_that_move_the_moving_ones_are_named(vmdepth_run, tmp_path, make):
    """A pattern of both would take the still ones again."""
    (tmp_path / "gifs").mkdir()
    still, *moving = (Image.fromarray(frame) for frame in make.noise(4))
    still.save(tmp_path / "gifs" / "still.gif")
    moving[0].save(tmp_path / "gifs" / "moving.gif", save_all=True, append_images=moving[1:], duration=100)
    make.video(tmp_path / "gifs" / "clip.mov", make.noise(2))
    outcome = vmdepth_run("gifs", "-o", "out/{name}.npy")
    told = "its 1 image is taken, 2 videos are not; 'gifs/*.mov' 'gifs/moving.gif' takes those"
    assert outcome.lines[0] == f"vmdepth-run: gifs: {told}"
    assert vmdepth_run("gifs/*.mov", "gifs/moving.gif", "-o", "{name}.npz").code == 0
    assert depth_of(tmp_path / "moving.npz").shape == (3, 48, 64)


def test_images_of_one_size_that_are_not_counted_may_be_meant_as_pictures(vmdepth_run, tmp_path, make):
    (tmp_path / "photos").mkdir()
    for number, image in zip((12, 15, 31), make.noise(3), strict=True):
        make.image(tmp_path / "photos" / f"IMG_{number}.png", image)
    line = (
        "vmdepth-run: photos: its 3 images are of one size and taken as the frames of a video; --images takes each on "
        "its own"
    )
    assert vmdepth_run("photos", "-o", "out.npz").lines[0] == line
    assert line not in vmdepth_run("photos", "-o", "out.npz", "--no-images").lines
    assert line not in vmdepth_run("photos", "-o", "out/{name}.npy", "--images").lines
    (tmp_path / "photos" / "IMG_15.png").rename(tmp_path / "photos" / "IMG_00.png")
    (tmp_path / "photos" / "IMG_31.png").rename(tmp_path / "photos" / "IMG_24.png")
    assert line not in vmdepth_run("photos", "-o", "out.npz").lines


def test_whether_images_are_pictures_is_nothing_to_ask_of_a_video(vmdepth_run, make, tmp_path):
    make.video(tmp_path / "in.mp4", make.noise(2))
    for option in ("--images", "--no-images"):
        outcome = vmdepth_run("in.mp4", option, "-o", "out.npz")
        assert outcome.code == 2
        assert outcome.lines == [
            f"vmdepth-run: {option}: is of images, and no source is a folder or pattern of them; leave it out"
        ]


def test_the_folder_one_is_in_has_a_name(vmdepth_run, tmp_path, monkeypatch):
    (tmp_path / "odd").mkdir()
    cv2.imwrite(str(tmp_path / "odd" / "a.png"), np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 7)
    cv2.imwrite(str(tmp_path / "odd" / "b.png"), np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 5)
    monkeypatch.chdir(tmp_path / "odd")
    for number, source in enumerate((".", "../odd")):
        outcome = vmdepth_run(source, "-o", f"../{number}.npz", "--report", "../r.json", "--no-images")
        assert outcome.code == 0
        assert json.loads((tmp_path / "r.json").read_text())["sources"][0]["name"] == "odd"
        assert not any("vmdepth-run: :" in line for line in outcome.lines)

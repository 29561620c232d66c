"""Plain footage: a teacher's depth stands in for the truth, and what is told is agreement with it."""

import json

import cv2
import numpy as np
import pytest
import torch

from vmdepth import checkpoint
from vmdepth.data.rgbd import rendered_rgbd_frames
from vmdepth.evaluate import command
from vmdepth.evaluation.teacher_footage import open_footage
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.offline import open_offline
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Inverse depth and metres of the same network."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = {"encoder": "tiny", "features": 32, "out_channels": (24, 48, 96, 192), "head": NoHead(), "taps": ()}
    for kind in ("relative", "metric"):
        network = VideoDepth(NetworkConfig(**config, depth=kind))
        checkpoint.save(folder / f"{kind}.safetensors", network, kind)
    return folder


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    for number, frame in enumerate(rendered_rgbd_frames(1, 4, 56, 84)):
        cv2.imwrite(str(folder / f"{number}.png"), frame.image[..., ::-1])
    return folder


def refused(words, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(command, [str(word) for word in words])
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_masks_beside_the_pictures_are_of_their_frames(models, footage, tmp_path):
    (tmp_path / "moving").mkdir()
    (tmp_path / "rgb").symlink_to(footage)
    masks = np.random.default_rng(0).integers(0, 2, (4, 56, 84), np.uint8) * 255
    for number, mask in enumerate(masks):
        cv2.imwrite(str(tmp_path / "moving" / f"mask_{number:03d}.png"), mask)
    ((video,), _) = open_footage(tmp_path, models / "relative.safetensors")
    np.testing.assert_array_equal([frame.moving for frame in video], masks > 0)


def test_the_teacher_is_read_once_for_all_videos(models, footage, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "walks" / name).mkdir(parents=True)
        for file in footage.iterdir():
            (tmp_path / "walks" / name / file.name).symlink_to(file)
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes((models / "metric.safetensors").read_bytes())
    videos, _ = open_footage(tmp_path / "walks", teacher)
    teacher.unlink()
    assert [len(list(video)) for video in videos] == [4, 4]


def test_the_depth_is_what_the_teacher_says_in_units_of_its_median(models, footage):
    (video,), kind = open_footage(footage, models / "relative.safetensors")
    assert (kind.name, len(video)) == ("relative", 4)
    frames, again = list(video), list(video)
    session = open_offline(models / "relative.safetensors", (56, 84))
    session.begin((frame.image, False) for frame in frames)
    said = np.stack([session.step()["depth"][0] for _ in frames])
    depth = np.stack([frame.depth for frame in frames])
    np.testing.assert_allclose(depth * said, (depth * said).mean(), rtol=1e-4)
    assert np.median(depth) == pytest.approx(1, rel=0.05)
    np.testing.assert_array_equal(frames[3].depth, again[3].depth)
    assert frames[0].pose is frames[0].intrinsics is None


@pytest.mark.parametrize(("model", "teacher", "aligned"), [
    ("metric", "metric", "none"), ("metric", "relative", "scale and shift"), ("relative", "metric", "scale and shift"),
])  # fmt: skip
def test_agreement_is_told_as_such(model, teacher, aligned, models, footage, tmp_path, capsys):
    """A network agrees with itself, up to what its frames lose on the way."""
    words = [models / f"{model}.safetensors", footage, "--teacher", models / f"{teacher}.safetensors"]
    words += ["--report", tmp_path / "r.json", "--plots", tmp_path / "plots"]
    with pytest.raises(SystemExit, match=r"^0$"):
        run_command(command, [str(word) for word in words])
    told = capsys.readouterr().out
    unit = "m" if teacher == "metric" else "u"
    for said in ("agreement with the teacher", f"on 4 frames of {footage}", f"RMSE to 80 {unit}", f"OPW, 1/{unit}"):
        assert said in told
    assert "flicker along the flow" in told and "still" not in told
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["truth"]["measure"] == "agreement with the teacher"
    assert report["truth"]["teacher"] == str(words[3])
    (found,) = report["models"]
    assert found["alignment"] == aligned
    assert found["figures"]["flicker"] is not None and found["figures"]["tae"] is None
    assert (found["figures"]["delta1"] == 1) or model != teacher
    assert (tmp_path / "plots" / "agreement.png").exists()


def test_what_needs_no_teacher_or_is_no_footage_is_refused(models, footage, tmp_path, capsys):
    model, teacher = models / "relative.safetensors", models / "metric.safetensors"
    assert "has depth of its own; leave --teacher out" in refused([model, "rendered:1x2", "--teacher", teacher], capsys)
    assert "no such file or folder" in refused([model, tmp_path / "none", "--teacher", teacher], capsys)
    assert "none.pth: no such file" in refused([model, footage, "--teacher", "none.pth"], capsys)
    assert "--teacher CHECKPOINT" in refused([model, footage], capsys)
    (tmp_path / "walk.mp4").write_bytes(b"")
    assert "name a --teacher CHECKPOINT" in refused([model, tmp_path / "walk.mp4"], capsys)
    for name in ("rgb", "depth"):
        (tmp_path / "rgbd" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "rgbd" / name / "0.png"), np.ones((28, 42), np.uint16))
    with pytest.raises(InputError, match="has depth of its own"):
        open_footage(tmp_path / "rgbd", teacher)

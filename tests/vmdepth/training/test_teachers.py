"""Teachers: whoever they are, they give inverse depth, they never learn, and their depth keeps on disk."""

import functools
import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from vmdepth import checkpoint
from vmdepth.data.videos import FrameFolder, find_videos
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.precompute import precompute, write_depth
from vmdepth.training.precompute_settings import PrecomputeSettings
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.setup import lessons
from vmdepth.training.teacher_depth import SPAN, LabelledVideo, read_index
from vmdepth.training.teachers import Teacher
from vmdepth.training.trainer import Trainer
from vmdepth_runtime.errors import InputError, WorkError

CPU = torch.device("cpu")


@pytest.fixture
def official(tmp_path, official_weights):
    def write(name, file):
        torch.save(official_weights(name), tmp_path / file)
        return tmp_path / file

    return write


@pytest.fixture
def footage(tmp_path):
    """A folder of 40 frames: a smooth picture that slides."""
    folder = tmp_path / "footage"
    folder.mkdir()
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.integers(0, 256, (48, 140, 3), np.uint8), (9, 9), 0)
    for n in range(40):
        cv2.imwrite(str(folder / f"{n:03d}.png"), wide[:, n : n + 70])
    return folder


def fingerprint(teacher):
    digest = hashlib.sha256()
    for name, tensor in sorted(teacher.network.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def clip(frames=3):
    return torch.rand(2, frames, 3, 42, 56, generator=torch.Generator().manual_seed(1))


def test_a_still_teacher_sees_every_frame_alone(official):
    teacher = Teacher(official("da2_vits", "depth_anything_v2_vits.pth"), CPU)
    depth = teacher(clip())
    assert depth.shape == (2, 3, 1, 42, 56) and (depth >= 0).all()
    torch.testing.assert_close(teacher(clip()[:, 1:2])[:, 0], depth[:, 1])


def test_a_video_teacher_sees_the_whole_clip(official):
    teacher = Teacher(official("vda_vits", "video_depth_anything_vits.pth"), CPU)
    assert teacher.network.config.head.temporal == "bidirectional"
    depth, later = teacher(clip()), clip()
    later[:, 2] = 0.5
    assert (teacher(later)[:, 0] - depth[:, 0]).abs().max() > 1e-6  # the future counts


def test_a_metric_teacher_gives_inverse_metres(official):
    path = official("da2_vits", "depth_anything_v2_metric_hypersim_vits.pth")
    teacher = Teacher(path, CPU)
    metres, _ = teacher.network(clip())
    torch.testing.assert_close(teacher(clip()), 1 / metres.clamp_min(1e-3))


def test_a_clip_of_another_stride_is_seen_at_the_nearest_size(official, tmp_path):
    """The edge preset learns at multiples of 16, its teachers see multiples of 14; and the other way round."""
    teacher = Teacher(official("da2_vits", "depth_anything_v2_vits.pth"), CPU)
    odd = torch.rand(1, 2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    depth = teacher(odd)
    assert depth.shape == (1, 2, 1, 48, 64)
    small = torch.nn.functional.interpolate(odd[0], (42, 70), mode="bilinear", antialias=True)[None]
    torch.testing.assert_close(depth.mean(), teacher(small).mean(), rtol=0.02, atol=0)
    checkpoint.save(tmp_path / "edge.safetensors", VideoDepth(replace(PRESETS["edge"], head=NoHead())), "edge")
    assert Teacher(tmp_path / "edge.safetensors", CPU)(clip()).shape == (2, 3, 1, 42, 56)


def test_a_teacher_of_views_is_asked_clip_by_clip(official):
    teacher = Teacher(official("da3_small", "model.pth"), CPU)
    depth = teacher(clip())
    assert depth.shape == (2, 3, 1, 42, 56)
    assert depth.isfinite().all() and (depth >= 0).all()
    torch.testing.assert_close(teacher(clip()[1:]), depth[1:])
    with torch.no_grad():
        metres = teacher.network(clip()[:1]).depth[0]
    torch.testing.assert_close(depth[0, :, 0], 1 / metres)
    later = clip()
    later[:, 2] = 0.5
    assert (teacher(later)[:, 0] - depth[:, 0]).abs().max() > 1e-6  # the future counts


@pytest.mark.parametrize("settings", [{}, {"fit": "frame"}], ids=["clip", "frame"])
def test_training_leaves_the_teacher_as_it_is_and_learns_from_it(settings, official, footage, tmp_path):
    path = official("vda_vits", "video_depth_anything_vits.pth")
    chosen = TrainSettings(
        data=str(footage), teacher=str(path), size="42x56", clip_length=3, batch=2, steps=3, warmup=1, device="cpu"
    )
    trainer = Trainer(replace(chosen, **settings), tmp_path / "run", resume=False)
    before = fingerprint(trainer.teacher)
    assert not trainer.teacher.network.training
    assert not any(parameter.requires_grad for parameter in trainer.teacher.network.parameters())
    weights = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    assert trainer.run(lambda _: None)
    assert fingerprint(trainer.teacher) == before
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in trainer.model.state_dict().items())
    batch = trainer.labelled(trainer.plan().batch(0, CPU))
    assert batch.labelled.all() and not batch.metric.any()
    torch.testing.assert_close(batch.inverse_depth, trainer.teacher(batch.clean))


def test_depth_on_disk_is_what_the_teacher_says(official, footage, tmp_path):
    teacher = Teacher(official("da2_vits", "depth_anything_v2_vits.pth"), CPU)
    out = tmp_path / "depth"
    videos = find_videos(footage)
    assert write_depth(videos, teacher, out, 42, lambda *_: None) == []
    video = LabelledVideo(FrameFolder(footage), out, read_index(out))
    assert [len(span) for span in video.spans] == [SPAN, SPAN]  # the last reaches back: 40 frames
    numbers = [30, 34, 38]
    stored = video.read(numbers)
    assert stored.inverse_depth.shape == (3, 42, 56)  # 48 x 70 pixels, shorter side 42
    images = np.stack([cv2.resize(image, (56, 42), interpolation=cv2.INTER_AREA) for image in stored.images])
    asked = teacher(torch.from_numpy(images).permute(0, 3, 1, 2)[None].float() / 255)[0, :, 0].numpy()
    ratio = stored.inverse_depth / asked
    assert ratio.std() / ratio.mean() < 2e-3  # half precision, in units of the span's largest
    assert not stored.metric


def test_a_stopped_precomputation_goes_on_and_processes_share_it(official, footage, tmp_path):
    path = official("da2_vits", "depth_anything_v2_vits.pth")
    teacher, videos = Teacher(path, CPU), find_videos(footage)
    out = tmp_path / "depth"
    for process in (0, 1):
        write_depth(videos, teacher, out, 42, lambda *_: None, process, 2)
        assert len(list(out.glob("*/*.npz"))) == process + 1
    first, second = sorted(out.glob("*/*.npz"))
    second.unlink()
    stamp = first.stat().st_mtime_ns
    write_depth(videos, teacher, out, 42, lambda *_: None)
    assert first.stat().st_mtime_ns == stamp and second.exists()
    assert not list(out.rglob("*.part"))
    with pytest.raises(InputError, match="another teacher or size"):
        write_depth(videos, teacher, out, 56, lambda *_: None)


def test_what_is_not_precomputed_yet_is_asked_for_while_training(official, footage, tmp_path):
    """A span of frames is missing, as after a precomputation that was stopped, and a video came in since."""
    path = official("da2_vits", "depth_anything_v2_vits.pth")
    out = tmp_path / "depth"
    write_depth(find_videos(footage), Teacher(path, CPU), out, 42, lambda *_: None)
    _, second = sorted(out.glob("*/*.npz"))
    second.unlink()
    new = footage.parent / "data" / "new"
    new.mkdir(parents=True)
    for number in range(2):
        (new / f"{number}.png").symlink_to(footage / f"{number:03d}.png")
    data = f"{footage},{new}"
    settings = TrainSettings(
        data=data, teacher=str(path), precomputed=str(out), size="42x56", clip_length=2, device="cpu"
    )
    found = lessons(settings, CPU)
    assert found.remark == f"{out}: has the depth of 1 of 3 spans of frames; {path} is asked for the other 2"
    (slides,), (added,) = (source.videos for source in found.sources)
    assert (slides.read([3, 4]).inverse_depth is None, slides.read([38, 39]).inverse_depth is None) == (False, True)
    assert added.read([0, 1]).inverse_depth is None
    trainer = Trainer(replace(settings, batch=8, steps=1), tmp_path / "run", resume=False)
    batch = trainer.plan().batch(0, CPU)
    assert batch.labelled.any() and not batch.labelled.all()
    assert trainer.labelled(batch).labelled.all()
    assert trainer.run(lambda _: None)
    alone = lessons(replace(settings, data=str(footage), teacher=str(out), precomputed=""), CPU)
    assert alone.teacher is None and f"teacher={path} precomputed={out} asks for them" in alone.remark
    with pytest.raises(InputError, match=f"holds no depth of {new}"):
        lessons(replace(settings, teacher=""), CPU)
    other = tmp_path / "other.pth"
    other.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"not of teacher=.*other\.pth; precompute with that one"):
        lessons(replace(settings, teacher=str(other)), CPU)


def test_a_teacher_with_nothing_left_to_say_is_not_loaded_and_may_lie_elsewhere_now(official, footage, tmp_path):
    path = official("da2_vits", "depth_anything_v2_vits.pth")
    write_depth(find_videos(footage), Teacher(path, CPU), tmp_path / "depth", 42, lambda *_: None)
    (tmp_path / "moved").mkdir()
    path = path.rename(tmp_path / "moved" / path.name)
    assert write_depth(find_videos(footage), Teacher(path, CPU), tmp_path / "depth", 42, lambda *_: None) == []
    settings = TrainSettings(data=str(footage), teacher=str(path), precomputed=str(tmp_path / "depth"), device="cpu")
    found = lessons(settings, CPU)
    assert (found.teacher, found.remark) == (None, "")


@pytest.fixture
def vmdepth_train(call_command):
    return functools.partial(call_command, "vmdepth.train")


def test_what_the_command_does_is_a_function_anyone_can_call(official, footage, tmp_path):
    path = official("da2_vits", "depth_anything_v2_vits.pth")
    told = []
    settings = PrecomputeSettings(footage, path, tmp_path / "depth", side=42, device="cpu")
    done = precompute(settings, lambda *progress: told.append(progress))
    assert (done.videos, done.left_out) == (1, [])
    assert told[0] == (0, 2, 1) and told[-1] == (2, 2, 1)
    assert len(list((tmp_path / "depth").glob("*/*.npz"))) == 2


def test_precompute_and_train_by_command(official, footage, tmp_path, call_command, vmdepth_train):
    path = official("da2_vits", "depth_anything_v2_vits.pth")
    out = tmp_path / "depth"
    done = call_command("vmdepth.precompute", footage, "--teacher", path, "--side", 42, "--out", out)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "index.json").read_text())["teacher"] == str(path)
    settings = ["size=42x56", "clip_length=3", "batch=2", "steps=2", "fit=frame", "device=cpu"]
    done = vmdepth_train("tiny", f"data={footage}", f"teacher={out}", *settings, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (footage.parent / "other").mkdir()
    cv2.imwrite(str(footage.parent / "other" / "0.png"), np.zeros((48, 70, 3), np.uint8))
    done = vmdepth_train(
        "tiny", f"data={footage.parent / 'other'}", f"teacher={out}", "clip_length=1", "--out", tmp_path / "x"
    )
    assert done.returncode == 2 and "run vmdepth-precompute with it" in done.stderr


def test_what_turns_out_unreadable_ends_the_run_in_one_line(official, footage, tmp_path, vmdepth_train):
    """Said by the process that makes the batches; the run must end of it, and leave no process behind."""
    path = official("da2_vits", "depth_anything_v2_vits.pth")
    out = tmp_path / "depth"
    write_depth(find_videos(footage), Teacher(path, CPU), out, 42, lambda *_: None)
    for file in out.glob("*/*.npz"):
        file.write_bytes(file.read_bytes()[:500])
    arguments = [f"data={footage}", f"teacher={out}", "size=42x56", "clip_length=3", "batch=2", "device=cpu"]
    command = [sys.executable, "-m", "vmdepth.train", "tiny", *arguments, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "delete it and precompute again" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    for file in out.glob("*/*.npz"):
        file.unlink()
    done = vmdepth_train("tiny", *arguments, "--out", tmp_path / "other")
    assert done.returncode == 2 and "no clip of 3 frames" in done.stderr


def test_a_clip_longer_than_the_teacher_can_see_is_refused(official, footage, tmp_path):
    path = official("vda_vits", "video_depth_anything_vits.pth")
    settings = TrainSettings(data=str(footage), teacher=str(path), clip_length=33, device="cpu")
    with pytest.raises(InputError, match="sees 32 frames at most"):
        Trainer(settings, tmp_path / "run", resume=False)
    assert not (tmp_path / "run").exists()


def test_precompute_that_can_read_nothing_says_so(official, footage, tmp_path):
    for file in footage.iterdir():
        file.write_bytes(b"broken")
    teacher = Teacher(official("da2_vits", "depth_anything_v2_vits.pth"), CPU)
    with pytest.raises(WorkError, match="no frame could be read"):
        write_depth(find_videos(footage), teacher, tmp_path / "depth", 42, lambda *_: None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data={footage}"], "has no depth to learn; name a teacher"),
        (["teacher=none.pth"], "has depth of its own; leave teacher out"),
        (["data={footage}", "teacher=none.pth"], "none.pth: no such file"),
        (["data={footage}", "teacher={footage}/000.png"], "000.png: not a readable checkpoint"),
        (["data={footage}", "clip_length=41"], "no clip of 41 frames: all 1 videos were skipped"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_anything_is_made(settings, message, footage, tmp_path, vmdepth_train):
    chosen = [text.format(footage=footage) for text in settings]
    done = vmdepth_train("tiny", *chosen, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()

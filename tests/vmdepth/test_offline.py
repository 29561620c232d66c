"""`vmdepth-run --offline`: a checkpoint over a whole video, every frame with its future in sight."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vmdepth import checkpoint
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.offline import open_offline
from vmdepth.session import TorchSession
from vmdepth.whole_video.clip_windows import clip_depth, offline_depth, offline_depths
from vmdepth_runtime import Lens, Rectifier, RunSettings, run
from vmdepth_runtime.errors import InputError

SIZE = (28, 42)


def awakened(preset):
    """A network whose heads do something: untrained ones add nothing, and time would not matter."""
    torch.manual_seed(1)
    model = VideoDepth(PRESETS[preset])
    for name, parameter in model.named_parameters():
        if "proj_out" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    """A checkpoint of ours with attention over time."""
    path = tmp_path_factory.mktemp("offline") / "causal.safetensors"
    checkpoint.save(path, awakened("vda-small-causal"), "causal")
    return path


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    """A checkpoint of ours with recurrent heads."""
    path = tmp_path_factory.mktemp("offline") / "edge.safetensors"
    checkpoint.save(path, awakened("edge"), "edge")
    return path


def pictures(count, size=SIZE, seed=0):
    """A moving gradient with noise, uint8 [count, H, W, 3]."""
    noise = np.random.default_rng(seed).integers(0, 60, (count, *size, 3))
    ramp = np.linspace(0, 150, size[1])[None, None, :, None]
    return (noise + ramp + np.arange(count)[:, None, None, None]).astype(np.uint8)


def stepped(session, frames, cuts=()):
    session.begin((frame, number in cuts) for number, frame in enumerate(frames))
    return np.stack([session.step()["depth"][0].copy() for _ in frames])


def test_attention_sees_the_future_in_the_official_windows(causal):
    session, frames = open_offline(causal, SIZE, size=SIZE), pictures(36)
    model = checkpoint.load(causal, temporal="bidirectional")
    plain = list(offline_depths(model, frames, lambda f: f.astype(np.float32) / np.float32(255), lambda depth: depth))
    depth = stepped(session, frames)
    np.testing.assert_allclose(depth, plain, rtol=1e-5, atol=1e-6)
    assert session.remark == ""
    changed = frames.copy()
    changed[20:] = 255 - changed[20:]
    assert np.abs(stepped(session, changed)[:20] - depth[:20]).max() > 1e-3 * np.ptp(depth)


def test_official_weights_are_prepared_the_official_way(tmp_path, official_weights):
    path = tmp_path / "video_depth_anything_vits.pth"
    torch.save(official_weights("vda_vits"), path)
    frames = pictures(3, (56, 84))
    assert open_offline(path, (270, 480)).contract.model == "video_depth_anything_vits, offline at 518x924"
    expected = offline_depth(checkpoint.load(path, temporal="bidirectional"), frames, size=28)
    depth = stepped(open_offline(path, (56, 84), size=SIZE), frames)
    np.testing.assert_allclose(depth, expected, rtol=1e-5, atol=1e-5 * expected.max())


def test_depth_anything_3_sees_all_frames_as_views(tmp_path, official_weights):
    save_file(official_weights("da3_small"), tmp_path / "model.safetensors")
    frames, session = pictures(3), open_offline(tmp_path / "model.safetensors", SIZE, size=SIZE)
    assert (session.contract.depth_kind, session.contract.extra_outputs) == ("scaled", ("confidence",))
    assert session.remark == ""
    clip = torch.from_numpy(frames.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)[None]
    with torch.no_grad():
        views = checkpoint.load(tmp_path / "model.safetensors")(clip)
    np.testing.assert_allclose(stepped(session, frames), views.depth[0], rtol=1e-4)
    session.begin((frame, False) for frame in frames)
    np.testing.assert_allclose(session.step()["confidence"], views.confidence[0, :1], rtol=1e-4)
    official = open_offline(tmp_path / "model.safetensors", (270, 480))
    assert official.contract.model == "small, offline at 280x504"


def test_a_network_without_future_gives_what_streaming_does_and_says_so(edge):
    size = (32, 48)
    frames, session = pictures(11, size), open_offline(edge, size, size=size)
    assert session.remark == "edge never sees the future: --offline gives what streaming does"
    streaming = TorchSession(checkpoint.load_stepping(edge), *size)
    expected = []
    for number, frame in enumerate(frames):
        if number == 9:
            streaming.reset()
        np.copyto(streaming.frame[0], frame)
        expected.append(streaming.step()["depth"][0].copy())
    np.testing.assert_allclose(stepped(session, frames, cuts={9}), expected, rtol=1e-4, atol=1e-5)


def test_before_it_begins_a_step_sees_the_picture_alone(causal):
    session, (frame,) = open_offline(causal, SIZE, size=SIZE), pictures(1)
    np.copyto(session.frame[0], frame)
    model = checkpoint.load(causal, temporal="bidirectional")
    alone, _ = clip_depth(model, [frame.astype(np.float32) / np.float32(255)])
    np.testing.assert_allclose(session.step()["depth"], alone, rtol=1e-5, atol=1e-6)


def test_sizes_that_cannot_be_are_refused(causal):
    with pytest.raises(InputError, match="no multiple of 14"):
        open_offline(causal, SIZE, size=(30, 42))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Nine frames that also come through a pipe."""
    path = tmp_path_factory.mktemp("video") / "walk.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for picture in pictures(9, (64, 96)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_every_output_works(edge, video, tmp_path):
    outputs = tuple(str(tmp_path / name) for name in ("a.mp4", "a.npz", "%03d.png", "%03d.npy"))
    report = run(RunSettings(sources=(str(video),), outputs=outputs, model=edge, offline=True, threads=1))
    assert report["frames_out"] == 9 and report["backend"] == "torch"
    assert report["model"]["name"] == "edge, offline at 192x272"
    depth = np.load(tmp_path / "a.npz")["depth"]
    assert depth.shape == (9, 64, 96) and np.isfinite(depth).all() and np.ptp(depth) > 0
    assert np.array_equal(np.load(tmp_path / "008.npy"), depth[8])
    assert cv2.imread(str(tmp_path / "000.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9


def test_the_whole_video_is_looked_at_rectified(edge, tmp_path):
    """Which is its own frames, rectified, looked at as they are."""
    camera = tmp_path / "wide.yaml"
    camera.write_text("fx: 60\nfy: 60\ncx: 47.5\ncy: 31.5\nD: [0.02, 0.0, 0.0, 0.0]\ndistortion_model: fisheye\n")
    rectify = Rectifier(Lens.of(intrinsics=camera), 96, 64)
    for folder, change in (("bent", lambda picture: picture), ("straight", rectify)):
        (tmp_path / folder).mkdir()
        for number, picture in enumerate(pictures(3, (64, 96))):
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), change(picture)[..., ::-1])
    given = RunSettings((), model=edge, input_size=(32, 48), offline=True, threads=1)
    depths = []
    for folder, options in (("bent", {"intrinsics": camera, "rectify": True}), ("straight", {}), ("bent", {})):
        output = str(tmp_path / "out.npz")
        run(replace(given, sources=(str(tmp_path / folder),), outputs=(output,), **options))
        depths.append(np.load(output)["depth"])
    np.testing.assert_array_equal(depths[0], depths[1])
    assert (depths[0] != depths[2]).any()


def vmdepth_run(*words, **options):
    command = [sys.executable, "-m", "vmdepth_runtime.pipeline.cli", *map(str, words), "--offline"]
    return subprocess.run(command, capture_output=True, text=False, check=False, **options)


def test_what_cannot_be_gone_over_is_one_line(edge, video, tmp_path):
    out = tmp_path / "out.npz"
    for words, options, said in (
        (["demo"], {}, "--offline: takes a checkpoint (.safetensors, .pth), given with --model; edge.onnx"),
        (["demo", "demo", "--model", edge], {}, "one source at a time"),
        (["demo", "--model", edge, "--backend", "onnxruntime"], {}, "--backend onnxruntime: --offline runs in PyTorch"),
        (
            ["demo", "--model", edge, "--device", "tensorrt"],
            {},
            "--device tensorrt: --offline runs in PyTorch; cpu, cuda",
        ),
        (["demo", "--model", edge, "--device", "cuda:99"], {}, "--device cuda:99: PyTorch finds "),
        (["demo", "--model", edge, "--device", "gpu"], {}, "--device gpu: no such device; cpu, cuda, cuda:1"),
        (["/dev/stdin", "--model", edge], {"input": Path(video).read_bytes()}, "record it to a file first"),
    ):
        done = vmdepth_run(*words, "-o", out if words[1:2] != ["demo"] else f"{out}{{}}.npz", **options)
        lines = done.stderr.decode().strip().splitlines()
        assert done.returncode == 2 and len(lines) == 1 and said in lines[0], lines
    assert list(tmp_path.iterdir()) == []

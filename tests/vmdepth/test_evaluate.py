"""The command, on the bundled model: what it tells, writes and refuses."""

import json
from dataclasses import replace
from functools import partial

import av
import cv2
import numpy as np
import pytest
import torch

from vmdepth import checkpoint
from vmdepth.data.rgbd import RgbdFolder, rendered_rgbd_frames
from vmdepth.evaluate import command
from vmdepth.evaluation.evaluator import OFFICIAL_PICTURE, evaluate, open_models
from vmdepth.evaluation.figures import evaluate_sequences
from vmdepth.evaluation.recording import Streamed, Streamer
from vmdepth.evaluation.sequences import HeldOut, RenderedClip, open_data
from vmdepth.evaluation.settings import EvalSettings
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.presets import AnyViewConfig, MonoConfig
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.preparation import depth_at, network_size, prepare_still
from vmdepth.session import TorchSession
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_runtime import bundled
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

MODEL_FIGURES = {"delta1", "absrel", "rmse", "affine_delta1", "affine_absrel", "first_delta1",
                 "first_absrel", "first_rmse", "frame_delta1", "frame_absrel", "tae", "opw", "flicker",
                 "state_rms", "state_growth"}  # fmt: skip


@pytest.fixture
def vmdepth_eval(call_command):
    return partial(call_command, "vmdepth.evaluate")


def still_model(**settings):
    torch.manual_seed(0)
    return VideoDepth(replace(PRESETS["tiny"], head=NoHead(), taps=(), **settings)).eval()


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "still.safetensors"
    checkpoint.save(path, still_model(), "tiny")
    return path


@pytest.fixture
def folder(tmp_path):
    """A textured plane at 2 m before a camera that goes sideways, 3 frames."""
    place = tmp_path / "plane"
    wide = np.random.default_rng(0).integers(0, 256, (45, 66, 3), np.uint8)
    for name in ("rgb", "depth"):
        (place / name).mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(place / "rgb" / f"{number}.png"), wide[:, number : number + 61])
        cv2.imwrite(str(place / "depth" / f"{number}.png"), np.full((45, 61), 2000 + number, np.uint16))
    (place / "intrinsics.json").write_text(json.dumps({"fx": 60, "fy": 60, "cx": 30, "cy": 22}))
    lines = [f"1 0 0 {number * 2 / 60} 0 1 0 0 0 0 1 0 0 0 0 1" for number in range(3)]
    (place / "poses.txt").write_text("\n".join(lines))
    return place


def shown(path):
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def test_rendered_clips_with_everything_written(tmp_path, untrained, vmdepth_eval):
    report, plots, video = tmp_path / "report.json", tmp_path / "plots", tmp_path / "side.mp4"
    outputs = ("--report", report, "--plots", plots, "--video", video)
    done = vmdepth_eval(bundled.MODEL, "rendered:2x8", "--against", untrained, *outputs)
    assert done.returncode == 0, done.stderr
    assert "on 2 held-out rendered clips of 8 frames" in done.stdout
    for said in (bundled.MODEL, untrained, "δ1, %", "TAE", "OPW", "flicker", "growth", "best mean map"):
        assert str(said) in done.stdout
    facts = json.loads(report.read_text())
    assert [model["model"] for model in facts["models"]] == [str(bundled.MODEL), str(untrained)]
    own, other = facts["models"]
    assert set(own["figures"]) == MODEL_FIGURES
    assert all(value > 0 for value in own["figures"].values())
    assert own["figures"]["delta1"] > other["figures"]["delta1"]
    assert other["figures"]["state_growth"] is None  # a network for still pictures
    assert [len(one["per_frame"]["flicker"]) for one in own["sequences"]] == [8, 8]
    assert own["sequences"][0]["per_frame"]["flicker"][0] is None
    assert {file.name for file in plots.iterdir()} == {"accuracy.png", "steadiness.png", "states.png"}
    assert all(cv2.imread(str(file)) is not None for file in plots.iterdir())
    pictures = shown(video)
    assert len(pictures) == 8
    assert pictures[0].shape == (192, 3 * 272, 3)  # colour, model, other
    assert {file.name for file in tmp_path.iterdir()} == {"report.json", "plots", "side.mp4"}  # and no part of any


def test_a_folder_with_and_without_poses(tmp_path, folder, vmdepth_eval):
    report, video = tmp_path / "report.json", tmp_path / "side.mp4"
    done = vmdepth_eval(bundled.MODEL, folder, "--report", report, "--video", video)
    assert done.returncode == 0, done.stderr
    assert f"on 3 frames of {folder}" in done.stdout
    (model,) = json.loads(report.read_text())["models"]
    assert model["figures"]["tae"] > 0
    assert model["figures"]["flicker"] > 0
    pictures = shown(video)
    assert len(pictures) == 3
    assert pictures[0].shape == (46, 184, 3)  # colour, truth, model: 3 × 61 and 45, made even
    np.testing.assert_allclose(pictures[0][:40, 70:110].std(axis=(0, 1)), 0, atol=3)  # the plane's truth is one colour
    assert pictures[0][:40, 5:55].std() > 30
    (folder / "poses.txt").unlink()
    with OnnxSession(bundled.MODEL) as session:
        whole = evaluate_sequences([Streamed(session)], [RgbdFolder(folder)], "area").models[0].whole
    assert whole.tae is whole.flicker is None
    assert whole.delta1 == model["figures"]["delta1"]
    assert whole.opw == model["figures"]["opw"]


def write_scene(place, depths):
    """Pictures of noise with depths [h, w] in millimetres, of a camera that nobody knows."""
    for name in ("rgb", "depth"):
        (place / name).mkdir(parents=True)
    for number, depth in enumerate(depths):
        noise = np.random.default_rng(number).integers(0, 256, (*depth.shape, 3), np.uint8)
        cv2.imwrite(str(place / "rgb" / f"{number}.png"), noise)
        cv2.imwrite(str(place / "depth" / f"{number}.png"), depth.astype(np.uint16))


def test_scenes_of_all_kinds_are_told_one_by_one_and_averaged_over_groups(tmp_path, vmdepth_eval):
    """Sequences and single pictures of any size; beside each what a parabola in y gets on the same frames."""
    ramp = 1000 + 2000 * np.linspace(1, 0, 60)[:, None].repeat(80, axis=1)
    across = ramp[:48, :48].T
    write_scene(tmp_path / "scenes" / "lab_a", [ramp, ramp * 1.5])
    write_scene(tmp_path / "scenes" / "lab_b", [ramp])
    write_scene(tmp_path / "scenes" / "street_a", [across])
    write_scene(tmp_path / "scenes" / "street_dark", [np.zeros((40, 40))])  # knows nothing, and is left out
    report, sheet = tmp_path / "report.json", tmp_path / "sheet.png"
    done = vmdepth_eval(bundled.MODEL, tmp_path / "scenes", "--report", report, "--sheet", sheet)
    assert done.returncode == 0, done.stderr
    assert "on 3 scenes in 2 groups below" in done.stdout and "4 frames, means over groups" in done.stdout
    for said in ("lab_a (2)", "lab_b (1)", "street_a (1)", "parabola"):
        assert said in done.stdout
    assert "street_dark" not in done.stdout
    facts = json.loads(report.read_text())
    assert facts["groups"] == ["lab", "lab", "street"]
    assert facts["mean_map"] is None  # of pictures of several sizes there is none
    blind = facts["parabolas"]
    assert blind[1]["delta1"] == blind[1]["frame_delta1"] == 1.0  # a ramp is one
    assert blind[0]["frame_delta1"] == 1.0 > blind[0]["delta1"]  # but not two at different distances
    assert blind[2]["frame_delta1"] < 0.6
    assert facts["parabola"]["frame_delta1"] == pytest.approx((1 + blind[2]["frame_delta1"]) / 2)
    (model,) = facts["models"]
    scenes = [one["figures"]["frame_delta1"] for one in model["sequences"]]
    assert model["figures"]["frame_delta1"] == pytest.approx(((scenes[0] + scenes[1]) / 2 + scenes[2]) / 2)
    picture = cv2.imread(str(sheet))
    assert picture.shape[0] == 3 * (144 + 16) and picture.shape[1] == 3 * 192  # colour, truth, model


def test_a_folder_in_which_nothing_has_depth_is_refused(tmp_path, capsys):
    write_scene(tmp_path / "dark_a", [np.zeros((40, 40))])
    write_scene(tmp_path / "dark_b", [np.zeros((40, 40))])
    with pytest.raises(SystemExit) as left:
        run_command(command, [str(bundled.MODEL), str(tmp_path)])
    assert left.value.code == 2
    assert f"{tmp_path}: nothing in it has depth: every pixel of its 2 folders is 0" in capsys.readouterr().err


def test_measured_depth_of_a_real_sequence(shared_data, tmp_path):
    """A short copy of it: as it is written, the command reads every frame and fits once."""
    real = shared_data / "rgbd_office_a"
    for name, ending in (("rgb", "jpg"), ("depth", "png")):
        (tmp_path / name).mkdir()
        for number in range(0, 40, 10):
            file = f"{name}/{number:06d}.{ending}"
            (tmp_path / file).symlink_to(real / file)
    (tmp_path / "intrinsics.json").symlink_to(real / "intrinsics.json")
    (tmp_path / "poses.txt").write_text("\n".join((real / "poses.txt").read_text().splitlines()[:40:10]))
    with OnnxSession(bundled.MODEL) as session:
        evaluation = evaluate_sequences([Streamed(session)], [RgbdFolder(tmp_path)], "area")
    whole = evaluation.models[0].whole
    assert evaluation.frames == 4
    assert evaluation.mean_map.delta1 > 0.4
    assert whole.delta1 > 0.4
    assert whole.tae < 20
    assert whole.flicker < 0.1


def test_clips_are_streamed_from_the_initial_states():
    with OnnxSession(bundled.MODEL) as session:
        size = session.contract.height, session.contract.width
        images = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
        once, again = (np.stack(list(map(Streamer(session, "area"), images))) for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_official_preparation_is_that_of_depth_anything():
    model = still_model()
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    prepared = prepare_still(image, 42)
    depth = Streamer(TorchSession(model, *network_size(30, 50, 42)), "cubic")(image)
    rounded = torch.from_numpy((prepared * 255).clip(0, 255).round() / 255).permute(2, 0, 1)
    with torch.no_grad():
        expected = depth_at(model(rounded[None, None].float())[0][0, 0, 0].numpy(), 30, 50)
    assert np.abs(depth - expected).max() < 0.01 * np.ptp(expected)  # OpenCV's cubic of bytes is off by a grey level


def _size(model):
    return model.session.contract.height, model.session.contract.width


def test_checkpoints_take_the_size_of_the_graph_they_are_compared_with_where_their_stride_allows(untrained, tmp_path):
    def sizes(*paths):
        return [_size(model) for model in open_models([*paths], None)[0]]

    small = tmp_path / "small.onnx"
    export_step_graph(still_model(), small, 42, 56, frames=2)
    assert sizes(untrained, small) == [(42, 56), (42, 56)]
    assert sizes(untrained, bundled.MODEL) == [(196, 252), (192, 272)]
    (alone,), _ = open_models([untrained], network_size(*OFFICIAL_PICTURE))
    assert _size(alone) == (518, 686)


def test_a_model_against_itself_is_the_same_twice():
    (first, second), _ = open_models([bundled.MODEL, bundled.MODEL], None)
    size = _size(first)
    own, other = evaluate_sequences([first, second], HeldOut(1, 3).sequences(*size), "area").models
    assert own.whole == other.whole


def test_a_bidirectional_network_is_given_whole_clips(tmp_path):
    """What streaming is measured against; it has no step, so every frame's depth comes from one look at all of them."""
    torch.manual_seed(0)
    config = replace(PRESETS["tiny"], features=64, head=AttentionSettings("bidirectional"), taps=("layer_3",))
    network = VideoDepth(config).eval()
    torch.nn.init.normal_(network.heads["layer_3"].proj_out.weight, std=0.3)
    checkpoint.save(tmp_path / "both.safetensors", network, "both")
    (model,), size = open_models([tmp_path / "both.safetensors"], (28, 42))
    assert size == (28, 42)
    frames = list(rendered_rgbd_frames(3, 4, 28, 42))
    predicted = np.stack(list(model.predictions(frames, "area")))
    clip = torch.from_numpy(np.stack([frame.image for frame in frames])).permute(0, 3, 1, 2)[None].float() / 255
    with torch.no_grad():
        expected = network(clip)[0][0, :, 0].numpy()
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-6)
    found = evaluate_sequences([model], [RenderedClip(3, 4, 28, 42)], "area").models[0]
    assert found.whole.delta1 is not None and found.whole.state_rms is None
    with pytest.raises(InputError, match="sees 32 frames at once"):
        evaluate_sequences([model], [RenderedClip(3, 33, 28, 42)], "area")


def test_depth_anything_3_sees_the_whole_sequence_and_its_network_for_single_images_one(tmp_path, monkeypatch):
    torch.manual_seed(0)
    views = AnyViewDepth(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4)).eval()
    single = MonoDepth(MonoConfig("tiny", 32, (24, 48, 96, 192), metric=True)).eval()
    for network in (views, single):
        monkeypatch.setattr("vmdepth.evaluation.evaluator.load", lambda *_, network=network: network)
        (model,), size = open_models([tmp_path / "da3.safetensors"], (28, 42))
        assert size == (28, 42)
        found = evaluate_sequences([model], [RenderedClip(3, 4, 28, 42)], "area").models[0]
        assert found.whole.delta1 is not None
        assert (type(model).__name__, found.alignment) == (
            ("ClipNetwork", "scale") if network is views else ("Streamed", "none")
        )
        assert open_models([tmp_path / "da3.safetensors"], None)[1] == (252, 336)


def test_what_the_command_does_is_a_function_anyone_can_call(tmp_path, folder):
    settings = EvalSettings(bundled.MODEL, str(folder), report=tmp_path / "report.json")
    done = evaluate(settings)
    (told,) = json.loads((tmp_path / "report.json").read_text())["models"]
    assert done.evaluation.models[0].whole.delta1 == told["figures"]["delta1"]
    assert len(done.data) == done.evaluation.frames == 3


def margin_over_the_mean_map(held_out):
    """δ1 of the bundled model above the best map that never looks at the picture."""
    with OnnxSession(bundled.MODEL) as session:
        size = session.contract.height, session.contract.width
        evaluation = evaluate_sequences([Streamed(session)], held_out.sequences(*size), "area")
    return evaluation.models[0].whole.delta1 - evaluation.mean_map.delta1


def test_the_bundled_model_looks_at_the_picture():
    assert margin_over_the_mean_map(HeldOut(32, 2)) >= 0.05


def test_no_real_scene_is_below_its_parabola(shared_data):
    scenes = open_data(str(shared_data / "real"))
    with OnnxSession(bundled.MODEL) as session:
        evaluation = evaluate_sequences([Streamed(session)], scenes.folders, "area", scenes.names, scenes.groups)
    for name, figures, blind in zip(scenes.names, evaluation.models[0].sequences, evaluation.parabolas, strict=True):
        assert figures.whole.frame_delta1 > blind.frame_delta1, name


def test_a_real_sequence_never_trained_on_beats_its_mean_map_by_10_points(shared_data):
    """One fit for every fifth of 500 frames."""
    folder = RgbdFolder(shared_data / "rgbd_office_a")
    with OnnxSession(bundled.MODEL) as session:
        evaluation = evaluate_sequences([Streamed(session)], [[folder[number] for number in range(0, 500, 5)]], "area")
    assert evaluation.models[0].whole.delta1 >= evaluation.mean_map.delta1 + 0.1


@pytest.mark.slow
def test_the_bundled_model_beats_the_best_mean_map_by_15_points():
    assert margin_over_the_mean_map(HeldOut()) >= 0.15


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.onnx", "rendered:2"), "no such model file"),
        (("none.pth", "rendered"), "none.pth"),
        ((bundled.MODEL, "nowhere"), "no such folder"),
        ((bundled.MODEL, "rendered:0"), "rendered:CLIPSxFRAMES"),
        ((bundled.MODEL, "rendered:2xmany"), "rendered:CLIPSxFRAMES"),
        ((bundled.MODEL, "rendered:20000"), "only 10000 rendered worlds are held out"),
        ((bundled.MODEL, "rendered:1x1", "--against", "none.onnx"), "none.onnx"),
        ((bundled.MODEL, "rendered:1x1", "--report", "nowhere/report.json"), "the folder nowhere is not there"),
        ((bundled.MODEL, "rendered:1x1", "--plots", "nowhere/plots"), "the folder nowhere is not there"),
        ((bundled.MODEL, "rendered:1x1", "--plots", bundled.MODEL), "is a file"),
        ((bundled.MODEL, "rendered:1x1", "--video", "side.avi"), "use .mp4"),
        ((bundled.MODEL, "rendered:1x1", "--video", "nowhere/side.mp4"), "the folder nowhere is not there"),
        ((bundled.MODEL, "rendered", "--official"), "made for 192x272"),
        ((bundled.MODEL, "rendered:1x1", "--sheet", "sheet.gif"), "use .png"),
        ((bundled.MODEL, "rendered:1x1", "--sheet", "nowhere/sheet.png"), "the folder nowhere is not there"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(command, list(map(str, arguments)))
    assert left.value.code == 2
    stderr = capsys.readouterr().err
    assert len(stderr.strip().splitlines()) == 1
    assert said in stderr

"""Depth Anything 3 over a video as a step graph: rings of keys and values, one of them for ever the first frame's."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import vmdepth
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.presets import WINDOW, AnyViewConfig
from vmdepth.session import TorchSession, open_session
from vmdepth_export.bench.views import AnewSession
from vmdepth_export.conversion.cli import command
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.conversion.settings import VIEWS_WINDOW
from vmdepth_export.graph import read_step_graph, with_contract
from vmdepth_export.parity.cli import command as parity
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames, source_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.precision import bake
from vmdepth_runtime import DepthStream, KeyframeSettings
from vmdepth_runtime.contract import Ring
from vmdepth_runtime.depth.keyframes import KeyframeBank
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

HEIGHT, WIDTH = 28, 42
STEP = ["--temporal", "causal", "--window", "5", "--size", f"{HEIGHT}x{WIDTH}"]


@pytest.fixture(scope="module")
def files(tmp_path_factory, official_weights):
    """The official checkpoint, with the recipe's weights, and its step graph with a window of 5."""
    folder = tmp_path_factory.mktemp("da3")
    checkpoint, graph = folder / "model.safetensors", folder / "causal.onnx"
    weights = {f"model.{name}": weight.contiguous() for name, weight in official_weights("da3_small").items()}
    save_file(weights, checkpoint)
    CliRunner().invoke(
        command, [str(checkpoint), "-o", str(graph), *STEP, "--proof-frames", "8"], catch_exceptions=False
    )
    return checkpoint, graph


@pytest.fixture(scope="module")
def video(shared_data):
    """48 frames of real video."""
    clip = shared_data / "videos" / "robot_unitree.mp4"
    return list(source_frames(str(clip), 48, HEIGHT, WIDTH, 1))


def depths(session, frames):
    for frame in frames:
        session.frame[...] = frame
        yield session.step()["depth"].copy()


def test_the_graph_is_the_network_over_real_video(files, video):
    checkpoint, path = files
    graph = OnnxSession(path)
    assert graph.contract.extra_outputs == ("confidence", "pose")
    assert graph.contract.depth_kind == "scaled"
    assert {state.ring for state in graph.contract.states} == {None, Ring(5, 1, 2)}
    network = open_session(checkpoint, like=graph.contract)  # which finds the form in the rings
    assert network.contract.states == graph.contract.states
    report = compare(network, graph, video)
    assert report.frames == 48
    assert report.agrees, report.wrong
    assert max(figures.largest for figures in report.outputs.values()) <= 1e-4


def test_float16_keeps_half_rings_and_is_near(files, video):
    _, path = files
    proto, contract = bake(*read_step_graph(path), "fp16")
    assert {s.name: s.dtype for s in contract.states} == {
        s.name: "float16" if s.ring else "float32" for s in contract.states
    }
    report = compare(OnnxSession(path), open_graph(with_contract(proto, contract)), video)
    assert report.agrees, report.wrong
    assert max(report.outputs[name].mean for name in ("depth", "confidence", "pose")) <= 5e-3
    assert report.states <= 5e-3


@pytest.mark.tensorrt_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_rtx_builds_it(precision, files, elsewhere, tmp_path):
    from vmdepth_export.conversion.proven_engine import build_engine
    from vmdepth_export.engine import BuildSettings
    from vmdepth_export.graph import save_step_graph

    path = tmp_path / "causal.onnx"
    save_step_graph(with_contract(*bake(*read_step_graph(files[1]), precision)), path)
    assert build_engine(path, tmp_path / "causal.engine", BuildSettings("tensorrt-rtx", (elsewhere,)))


def test_a_stream_goes_on_from_its_states_and_forgets_on_reset(files, video):
    _, path = files
    with OnnxSession(path) as one, OnnxSession(path) as other:
        *_, last = depths(one, video[:11])
        one.save(0, snapshot := one.snapshot())
        other.restore(0, snapshot)
        np.testing.assert_array_equal(list(depths(one, video[11:16])), list(depths(other, video[11:16])))
        other.reset()
        np.testing.assert_array_equal(list(depths(other, video[:11]))[-1], last)


def test_a_key_frame_brings_the_rings_back(files, video):
    _, path = files
    settings = KeyframeSettings(capacity=2, interval=10, min_gap=20, similarity=0.99, max_state_change=0.5, drift=0.02)
    here, there, kept = np.float32([1, 0, 0]), np.float32([0, 1, 0]), None
    relief = 5 + np.random.default_rng(0).random((28, 42), np.float32)
    with OnnxSession(path) as session:
        bank = KeyframeBank(settings, session)
        for number in range(36):
            session.frame[...] = video[number]
            session.step()
            bank.update(relief * (0.8 if number > 33 else 1), here if number < 15 or number > 33 else there, 0.1)
            kept = session.states() if number == 10 else kept
            if number == 34:
                for name, array in session.states().items():
                    np.testing.assert_array_equal(array, kept[name], err_msg=name)
        assert bank.resets == 1


def test_a_single_picture_leaves_the_stream_as_it_was(files, video):
    with DepthStream(files[1], keyframes=False) as stream, DepthStream(files[1], keyframes=False) as alone:
        for (frame,) in video[:7]:
            expected = alone(frame).depth
            stream.predict(video[20][0])
            got = stream(frame).depth
        np.testing.assert_array_equal(got, expected)


def test_streams_in_one_batch_do_not_meet(tmp_path):
    torch.manual_seed(0)
    network = AnyViewDepth(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4)).eval()
    model, path = CausalViews(network, 3), tmp_path / "two.onnx"
    export_step_graph(model, path, HEIGHT, WIDTH, streams=2, frames=6, attention="fused")
    both, alone = OnnxSession(path), TorchSession(model, HEIGHT, WIDTH)
    for session in (both, alone):
        session.reset()
    for number, frame in enumerate(clip_frames(9, HEIGHT, WIDTH, 2)):
        if number == 4:
            both.reset(1)  # from here on the two are at different frames, and at different slots of their rings
            alone.reset()
        both.frame[...], alone.frame[0] = frame, frame[1]
        depth, expected = both.step()["depth"][1], alone.step()["depth"][0]
        np.testing.assert_allclose(depth, expected, atol=1e-4 * np.ptp(expected))


def test_the_parity_command_finds_the_form_in_the_graph(files):
    checkpoint, graph = map(str, files)
    done = CliRunner().invoke(parity, [checkpoint, graph, "--frames", "6"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_a_window_that_cannot_be_is_refused_before_anything_is_made(files, tmp_path):
    checkpoint, output = files[0], tmp_path / "x.onnx"
    model = vmdepth.load(checkpoint, temporal="causal", window=1_000_000)
    with pytest.raises(
        InputError, match=r"window 1000000: .* takes \d+\.\d GiB of memory, .* a window of \d+ would fit$"
    ):
        export_step_graph(model, output, HEIGHT, WIDTH)
    with pytest.raises(InputError, match=r"window 1: is 2 frames or more"):
        vmdepth.load(checkpoint, temporal="causal", window=1)
    assert not output.exists()
    assert VIEWS_WINDOW == WINDOW == vmdepth.load(checkpoint, temporal="causal").window


@torch.inference_mode()
def test_the_benchmark_runs_the_whole_network_on_the_frames_that_a_step_sees(files, video):
    with open_session(files[0], like=read_step_graph(files[1])[1]) as session:
        anew = AnewSession(session.model, session.contract)
    *_, got = depths(anew, video[:8])
    clip = torch.from_numpy(np.concatenate([video[n] for n in (0, 3, 4, 5, 6, 7)])).permute(0, 3, 1, 2)[None] / 255
    expected = vmdepth.load(files[0])(clip, reference="first").depth[:, -1]
    np.testing.assert_allclose(got, expected, atol=2e-5 * float(expected.max()))

"""Attention over time as a step graph: ring states, of which the graph returns one entry per frame."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

import vmdepth
from vmdepth import checkpoint
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession, open_session
from vmdepth_export.bench.heads import head_times, reprojecting_step
from vmdepth_export.conversion.cli import command
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.graph import read_step_graph, with_contract
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.precision import bake
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (28, 42)
TAPS = ("layer_3", "layer_4", "path_4", "path_3")


def video_network(temporal, window=32):
    """A small network with attention heads that matter."""
    torch.manual_seed(0)
    # 64 features as the smallest official one: with 32, a group norm of 32 groups would amplify flat channels.
    config = replace(PRESETS["tiny"], features=64, head=AttentionSettings(temporal, window), taps=TAPS)
    model = VideoDepth(config).eval()
    with torch.no_grad():
        for head in model.heads.values():
            torch.nn.init.normal_(head.proj_out.weight, std=0.3)
    return model


@pytest.fixture(scope="module", params=[("streaming", 32), ("causal", 8)], ids=["streaming", "causal"])
def case(request, tmp_path_factory):
    model = video_network(*request.param)
    path = tmp_path_factory.mktemp("rings") / "video.onnx"
    return model, path, export_step_graph(model, path, *SIZE, frames=90)


def test_the_graph_is_the_network_past_every_turn_of_the_ring(case):
    model, _, report = case
    assert report.agrees
    assert report.frames == 90 > 2 * model.ring.slots


def test_rings_of_a_float16_graph_are_float16_and_agree(case):
    model, path, _ = case
    proto, contract = bake(*read_step_graph(path), "fp16")
    assert {state.name: state.dtype for state in contract.states} == {
        state.name: "float16" if state.ring else "float32" for state in contract.states
    }
    session = open_graph(with_contract(proto, contract))
    report = compare(TorchSession(model, *SIZE), session, clip_frames(2 * model.ring.slots, *SIZE, 1))
    assert report.agrees, report.wrong
    assert all(array.dtype == np.float16 for name, array in session.states().items() if name != "counter")


def test_the_graph_returns_one_entry_and_has_no_control_flow(case):
    model, path, _ = case
    proto = onnx.load(path)
    assert not {node.op_type for node in proto.graph.node} & {"If", "Loop", "Scan"}
    facts = {state["name"]: state for state in json.loads(proto.metadata_props[0].value)["states"]}
    assert facts["counter"]["kind"] == "recurrent"
    outputs = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in proto.graph.output}
    for name, shape in model.state_shapes(1, *SIZE).items():
        if name == "counter":
            continue
        ring = facts[name]["ring"]
        assert facts[name]["kind"] == "ring"
        assert (ring["slots"], ring["anchors"]) == (model.ring.slots, model.ring.anchors)
        assert facts[name]["shape"] == list(shape)
        assert outputs[f"next.{name}"] == [size for axis, size in enumerate(shape) if axis != ring["axis"]]


def test_states_of_session_and_network_are_the_same(case):
    model, path, _ = case
    session, states = OnnxSession(path), None
    with torch.no_grad():
        for image in clip_frames(45, *SIZE, 1):
            session.frame[...] = image
            session.step()
            _, states = model.step(torch.from_numpy(image).permute(0, 3, 1, 2) / 255, states)
    for name, array in session.states().items():
        np.testing.assert_allclose(array, states[name], atol=1e-4 * float(states[name].abs().max()), err_msg=name)


def test_a_stream_goes_on_from_its_states_and_forgets_on_reset(case):
    _, path, _ = case
    images = list(clip_frames(50, *SIZE, 1))
    one, other = OnnxSession(path), OnnxSession(path)
    first = None
    for number, image in enumerate(images):
        one.frame[...] = image
        depth = one.step()["depth"].copy()
        first = depth if first is None else first
        if number == 44:
            one.save(0, snapshot := one.snapshot())
            other.restore(0, snapshot)
    for image in images[45:]:
        other.frame[...] = image
        again = other.step()["depth"]
    np.testing.assert_array_equal(depth, again)
    other.reset()
    other.frame[...] = images[0]
    np.testing.assert_array_equal(other.step()["depth"], first)


def test_an_engine_keeps_its_rings_on_the_gpu_as_they_are_kept_in_host_memory(case, assert_engine_steps_as):
    model, path, _ = case
    assert_engine_steps_as(path, model.ring.slots + 6)


def test_state_change_is_of_the_newest_entries(case):
    _, path, _ = case
    session = OnnxSession(path)
    before = None
    for image in clip_frames(44, *SIZE, 1):
        session.frame[...] = image
        before = {name: array.copy() for name, array in session.next_states().items() if name != "counter"}
        change = session.step()["state_change"]
    after = session.next_states()
    moved = np.sqrt(sum(((after[n] - before[n]) ** 2).sum() for n in before))
    size = np.sqrt(sum((before[n] ** 2).sum() for n in before))
    assert change[0] == pytest.approx(moved / size, rel=1e-4)


def test_streams_in_one_batch_do_not_meet(tmp_path):
    model, path = video_network("causal", 4), tmp_path / "two.onnx"
    export_step_graph(model, path, *SIZE, streams=2, frames=9)
    both, alone = OnnxSession(path), TorchSession(model, *SIZE)
    for image in clip_frames(9, *SIZE, 2):
        both.frame[...] = image
        alone.frame[0] = image[1]
        depth, expected = both.step()["depth"][1], alone.step()["depth"][0]
    np.testing.assert_allclose(depth, expected, atol=1e-4 * np.ptp(expected))
    both.reset(1)  # from here on the two are at different frames, and at different slots of their rings
    alone.reset()
    for image in clip_frames(6, *SIZE, 2):
        both.frame[...] = image
        alone.frame[0] = image[1]
        depth, expected = both.step()["depth"][1], alone.step()["depth"][0]
        np.testing.assert_allclose(depth, expected, atol=1e-4 * np.ptp(expected))


def test_the_official_streaming_numbers_come_out_of_onnx_runtime(official_weights, shared_reference, tmp_path):
    torch.save(official_weights("vda_vits"), tmp_path / "video_depth_anything_vits.pth")
    model = vmdepth.load(tmp_path / "video_depth_anything_vits.pth")
    path = tmp_path / "vda.onnx"
    assert export_step_graph(model, path, *SIZE, frames=2).agrees
    io = np.load(shared_reference / "io_vda_vits_stream.npz")
    session, depths = OnnxSession(path), []
    for image in io["frames"]:
        session.frame[0] = image
        depths.append(session.step()["depth"][0].copy())
    assert np.abs(np.stack(depths) - io["depth"]).max() <= 1e-4 * np.abs(io["depth"]).max()
    reference = TorchSession(model, *SIZE)
    assert compare(reference, session, (image[None] for image in io["frames"])).agrees


def test_the_commands_take_form_and_window_and_parity_finds_them_in_the_graph(tmp_path):
    checkpoint.save(tmp_path / "video.safetensors", video_network("streaming"), "video")
    for options in (["--temporal", "causal", "--window", "5"], ["--temporal", "streaming"]):
        arguments = [
            str(tmp_path / "video.safetensors"),
            "-o",
            str(tmp_path / "video.onnx"),
            "--size",
            "28x42",
            *options,
        ]
        assert CliRunner().invoke(command, arguments, catch_exceptions=False).exit_code == 0
        graph = OnnxSession(tmp_path / "video.onnx")
        network = open_session(tmp_path / "video.safetensors", like=graph.contract)
        assert network.contract.states == graph.contract.states
        assert compare(network, graph, clip_frames(8, *SIZE, 1)).agrees


def test_a_bidirectional_network_cannot_be_exported(tmp_path):
    with pytest.raises(InputError, match="no step"):
        export_step_graph(video_network("bidirectional"), tmp_path / "x.onnx", *SIZE)


@torch.no_grad()
def test_the_benchmark_compares_with_the_same_numbers():
    model = video_network("streaming")
    head = model.heads["layer_3"]
    states = {name: torch.randn(shape) for name, shape in head.state_shapes(1, 2, 3).items()}
    image = torch.randn(1, 96, 2, 3)
    for number in (1.0, 20.0, 41.0):
        counter = torch.tensor([number])
        got, entries = head.step(image, states, counter)
        expected, again = reprojecting_step(head, image, states, counter)
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(entries, again)
    assert head_times(model, *SIZE, frames=1).keys() == {"step", "re-projected"}

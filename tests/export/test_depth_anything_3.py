"""Depth Anything 3 as step graphs of one view: official numbers, precision, what they say of themselves, refusals."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import save_file

from vmdepth.checkpoint import load_stepping
from vmdepth.networks.multiview.presets import NESTED, VIEW_PRESETS
from vmdepth.networks.multiview.single_view import SingleView
from vmdepth.official.depth_anything_3 import DEPTH_ANYTHING_3, empty, official_names, unused_shapes
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth.session import TorchSession, contract_of
from vmdepth_export.conversion.convert import export
from vmdepth_export.conversion.proven_graph import bake_step_graph, export_step_graph
from vmdepth_export.conversion.settings import ExportSettings
from vmdepth_export.graph import element_types, expand, read_step_graph, region_of
from vmdepth_export.info.models import model_facts
from vmdepth_export.parity.comparison import compare
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.parity.opening import open_pair
from vmdepth_export.step_graph import to_onnx
from vmdepth_export.triton import write_repository
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession

SIZE = (28, 42)
OFFICIAL = {"depth": "depth", "depth_conf": "confidence", "pose_enc": "pose"}


def published(folder, weights, keys):
    """A checkpoint as it is published: with a prefix, and without names that share their tensor."""
    named = {f"model.{key}": tensor for key, tensor in weights.items() if "shared_with" not in keys[key]}
    save_file(named, folder / "model.safetensors")
    return folder / "model.safetensors"


def past_normalisation(proto):
    """The part of a step graph that takes what the official arrays give as input: a normalised picture."""
    conv = next(node for node in proto.graph.node if node.name == "encoder.patch_embed.proj/Conv_1")
    proto.graph.ClearField("value_info")
    proto = onnx.shape_inference.infer_shapes(proto)
    outputs = [value.name for value in proto.graph.output if value.name not in ("descriptor", "state_change")]
    part = onnx.utils.Extractor(proto).extract_model([conv.input[0]], outputs)
    session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: dict(zip(outputs, session.run(outputs, {conv.input[0]: images}), strict=True))


def assert_official(got, expected):
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.fixture(scope="module")
def small(official_weights, shared_reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("DA3-SMALL")
    keys = json.loads((shared_reference / "keys_da3_small.json").read_text())["keys"]
    return published(folder, official_weights("da3_small"), keys)


@pytest.fixture(scope="module")
def small_graph(small):
    """As `vmdepth-export` writes it, and what that tells."""
    told = []
    settings = ExportSettings(small, small.with_suffix(".onnx"), size=(70, 98), proof_frames=5)
    export(settings, tell=told.append)
    return settings.output, told


def test_the_graph_of_a_published_file_gives_the_official_numbers(small_graph, shared_reference):
    io = np.load(shared_reference / "io_da3_small_n1.npz")
    got = past_normalisation(onnx.load(small_graph[0]))(io["input"][0])
    for theirs, ours in OFFICIAL.items():
        assert_official(got[ours], io[theirs][0])


@pytest.mark.slow
def test_so_does_the_base_network(official_weights, shared_reference):
    network = DEPTH_ANYTHING_3.build(CheckpointFile(Path("base"), official_weights("da3_base")), LoadOptions())
    io = np.load(shared_reference / "io_da3_base_n1.npz")
    got = past_normalisation(expand(to_onnx(SingleView(network), 56, 70, 1, "explicit")))(io["input"][0])
    for theirs, ours in OFFICIAL.items():
        assert_official(got[ours], io[theirs][0])


@pytest.mark.slow
def test_so_does_the_mono_network_and_the_metric_one_that_shares_it(official_weights, shared_reference):
    """The official code takes two pictures for one scene; here each is a stream, and its sky by the rule its own."""
    from vmdepth.networks.multiview.mono_depth import with_far_sky

    file = CheckpointFile(Path("mono"), official_weights("da3_mono_large"))
    model = SingleView(DEPTH_ANYTHING_3.build(file, LoadOptions(metric=True)))
    assert contract_of(model, 56, 70, 2).metric_focal == 300
    io = np.load(shared_reference / "io_da3_mono_large.npz")
    got = past_normalisation(expand(to_onnx(model, 56, 70, 2, "explicit")))(io["input"][0])
    assert_official(got["sky"], io["sky"][0])
    images = zip(torch.from_numpy(io["head_depth"][0]), torch.from_numpy(io["sky"][0]), strict=True)
    assert_official(got["depth"], torch.stack([with_far_sky(*image) for image in images]).numpy())
    clear = io["sky"][0] < 0.3
    assert_official(got["depth"][clear], io["depth"][0][clear])


def test_a_graph_says_what_it_is_and_agrees_with_its_checkpoint(small, small_graph):
    path, (line,) = small_graph
    assert "model.onnx: 70x98, fp32, depth up to one scale, larger is farther, confidence, pose, " in line
    assert "over 5 frames: depth " in line
    assert "states" not in line
    _, contract = read_step_graph(path)
    assert (contract.depth_kind, contract.metric_focal, contract.states) == ("scaled", None, ())
    assert contract.extra_outputs == ("confidence", "pose")
    facts = dict(model_facts(path))
    assert facts["depth"] == "depth up to one scale, larger is farther"
    assert facts["outputs"] == "depth, descriptor, state_change, confidence, pose"
    assert dict(model_facts(small))["outputs"] == facts["outputs"]
    with open_pair(small, path) as (network, graph):
        report = compare(network, graph, clip_frames(3, 70, 98, 1))
    assert report.agrees
    assert {"confidence", "pose"} <= report.outputs.keys()
    with pytest.raises(InputError, match="which has no temporal='streaming'"):
        export(ExportSettings(small, path, temporal="streaming"))


@pytest.fixture(scope="module", params=["any-view", "metric"])
def graph(request, view_graph):
    """Of a small network, fp32."""
    return view_graph(request.param)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_proves_itself_and_leaves_the_last_steps_alone(graph, precision, tmp_path):
    assert bake_step_graph(graph, tmp_path / "half.onnx", precision, frames=10).agrees
    proto, contract = read_step_graph(tmp_path / "half.onnx")
    types, found = element_types(proto), defaultdict(set)
    for node in proto.graph.node:
        if node.op_type in ("MatMul", "Gemm", "Conv", "Exp"):
            found[region_of(node)] |= {types[name] for name in node.output}
            last = "camera_decoder" in node.name or node.op_type == "Exp" or "output_conv2.2/" in node.name
            assert (region_of(node) == "depth") == last, node.name
    assert found["depth"] == {TensorProto.FLOAT}
    half = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[precision]
    assert found["encoder"] == found["decoder"] == {half}
    assert contract.precision["depth"] == "float32"


def test_the_joints_of_the_encoder_bear_its_name(graph):
    """Else they would go to float32 and back in half precision."""
    proto, _ = read_step_graph(graph)
    joints = [node.name for node in proto.graph.node if node.op_type == "Concat"]
    assert joints
    assert not [name for name in joints if name.startswith("graph/")]


@pytest.mark.parametrize("kind", ["any-view", pytest.param("metric", marks=pytest.mark.slow)])
def test_streams_and_the_fused_form_agree_too(kind, small_views, tmp_path):
    model = SingleView(small_views(kind))
    report = export_step_graph(model, tmp_path / "two.onnx", *SIZE, streams=2, attention="fused", frames=3)
    assert report.agrees
    assert OnnxSession(tmp_path / "two.onnx").step()["depth"].shape == (2, *SIZE)


def test_sky_at_the_threshold_is_judged_by_its_sky(small_views, tmp_path):
    """Rounding decides whether such a pixel has its own depth or that of all sky: no depth to compare."""
    networks = [small_views("mono") for _ in range(2)]
    networks[1].decoder.scratch.sky_output_conv2[2].bias.add_(1e-4)
    sessions = [TorchSession(SingleView(network), *SIZE) for network in networks]
    frames = list(clip_frames(30, *SIZE, 1))
    moved = 0
    for frame in frames:
        for session in sessions:
            session.frame[...] = frame
        first, second = (session.step() for session in sessions)
        moved += int(((first["sky"] >= 0.3) != (second["sky"] >= 0.3)).sum())
    assert moved > 0
    report = compare(*sessions, frames)
    assert report.agrees, report.wrong
    networks[1].decoder.scratch.output_conv2[2].bias.add_(1e-2)
    assert "depth" in compare(sessions[0], TorchSession(SingleView(networks[1]), *SIZE), frames[:3]).wrong


def test_metres_are_said_with_their_focal_length(view_graph, tmp_path):
    path = view_graph("metric")
    assert read_step_graph(path)[1].metric_focal == 300
    facts = dict(model_facts(path))
    assert facts["depth"] == "depth in metres, larger is farther (at a focal length of 300 pixels of the frame)"
    assert facts["outputs"] == "depth, descriptor, state_change, sky"
    folder = write_repository(path, tmp_path / "triton")
    assert '{ name: "sky" data_type: TYPE_FP32 dims: [1, 28, 42] }' in (folder / "config.pbtxt").read_text()


def test_networks_without_a_graph_are_refused_in_a_line(tmp_path):
    with torch.device("meta"):
        giant = SingleView(empty(VIEW_PRESETS["giant"]))
        nested = empty(NESTED)
    with pytest.raises(InputError, match=r"giant: its 4\.5 GiB of weights do not fit .* take a smaller network"):
        export_step_graph(giant, tmp_path / "giant.onnx", *SIZE)
    assert not list(tmp_path.iterdir())
    state = nested.state_dict()
    shapes = {official: state[ours].shape for ours, official in official_names(nested).items()} | unused_shapes(nested)
    # Every weight is the same few bytes of its tensor: the nested network has 6 GB of them.
    path = tmp_path / "nested.pth"
    torch.save({name: torch.zeros(1).expand(tuple(shape)) for name, shape in shapes.items()}, path)
    with pytest.raises(InputError, match=r"nested giant, two networks .* no step; .* alone, DA3METRIC-LARGE"):
        load_stepping(path)

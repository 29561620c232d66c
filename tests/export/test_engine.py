"""Every graph we export goes through NVIDIA's parser and compiler: TensorRT-RTX builds without a GPU."""

import json
from dataclasses import replace
from functools import lru_cache

import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import TensorProto

from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import contract_of
from vmdepth_calibrate.quantise import layers, quantise, watched_tensors
from vmdepth_calibrate.ranges import observe
from vmdepth_export.conversion.cli import command
from vmdepth_export.conversion.proven_engine import build_engine
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.engine import BuildSettings, choose_capabilities
from vmdepth_export.graph import check, element_types, expand, read_step_graph, save_step_graph, with_contract
from vmdepth_export.parity.engine_probe import EngineProbe
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.precision import bake
from vmdepth_export.step_graph import to_onnx
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.integrity import file_hash
from vmdepth_runtime.sessions.engine_sidecar import load_library, read_sidecar, sidecar_of, to_sidecar
from vmdepth_runtime.sessions.gpu import find_gpu

pytestmark = pytest.mark.tensorrt_rtx
SIZE = (28, 42)
# Not for the GPU that may be here: these tests build, and what could run here would have to be run.
HERE = find_gpu()
ELSEWHERE = [name for name in ("8.9", "12.0", "12.1") if HERE is None or name != HERE.capability]
RTX = BuildSettings("tensorrt-rtx", (ELSEWHERE[0],))


def build(source, output, settings=RTX):
    return build_engine(source, output, settings)


CASES = [(name, precision) for name in PRESETS for precision in ("fp32", "fp16", "bf16", "int8")]
CASES += [(name, precision) for name in ("edge", "tiny", "vda-small-causal") for precision in ("fp8", "int8 and fp16")]
SLOW = ("vda-base-causal", "vda-large-causal")  # the small one's graph, wider


@lru_cache(maxsize=1)  # cases of one preset follow each other
def small_graph(name, narrowed):
    """The float32 step graph of a preset, and its contract: with four blocks, the large ones narrower; the edge preset
    whole."""
    torch.manual_seed(0)
    with narrowed(name, few=True) as config:
        return graph_of(config, tuple(2 * config.stride * side // 28 for side in SIZE))


def graph_of(config, size):
    model = VideoDepth(config).eval()
    contract = contract_of(model, *size, 1)
    return with_contract(expand(to_onnx(model, *size, 1, "explicit")), contract), contract


@pytest.mark.parametrize(
    ("name", "precision"),
    [pytest.param(*case, marks=pytest.mark.slow) if case[0] in SLOW else case for case in sorted(CASES)],
)
def test_every_preset_builds_in_every_precision(name, precision, narrowed, tmp_path):
    assert_builds(*small_graph(name, narrowed), precision, tmp_path)


VIEW_CASES = [("any-view", "fp16"), ("metric", "fp16")]
SLOW_VIEW_CASES = [("any-view", precision) for precision in ("fp32", "bf16", "int8")]
SLOW_VIEW_CASES += [("metric", precision) for precision in ("fp32", "bf16", "int8")]


@pytest.mark.parametrize(
    ("kind", "precision"), [*VIEW_CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_VIEW_CASES)]
)
def test_networks_of_one_view_build_too(kind, precision, view_graph, tmp_path):
    proto, contract = read_step_graph(view_graph(kind))
    tensors = assert_builds(expand(proto), contract, precision, tmp_path)
    assert set(contract.extra_outputs) < tensors.keys()


def assert_builds(proto, contract, precision, folder):
    """A graph becomes an engine with the contract's inputs and outputs. Returns the engine's tensors."""
    size = contract.height, contract.width
    first, _, second = precision.partition(" and ")
    if first in ("int8", "fp8"):
        session = open_graph(proto)
        frames = list(clip_frames(2, *size, 1))
        ranges = observe(proto, watched_tensors(proto, "tensorrt"), session, frames).ranges()
        proto, contract = quantise(proto, contract, ranges, [n.name for n in layers(proto)], "tensorrt", first)
        first = second or "fp32"
    if first != "fp32":
        proto, contract = bake(proto, contract, first)
    check(proto)  # full shape inference, no If, Loop or Scan
    source, output = folder / "model.onnx", folder / "model.engine"
    save_step_graph(with_contract(proto, contract), source)
    assert build(source, output)
    built, facts = read_sidecar(output)
    assert facts.engine_hash == file_hash(output)
    assert built.precision == contract.precision
    assert facts.tensors["frame"] == ["uint8", 1, *size, 3]
    assert facts.tensors["depth"] == ["float", 1, *size]
    assert {f"next.{s.name}" for s in contract.states} <= facts.tensors.keys()
    return facts.tensors


@pytest.fixture(scope="module")
def engine(step_graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "tiny.engine"
    assert build(step_graph, path)
    return path


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("fp16", True)])
def test_fp32_engines_are_built_without_tf32(step_graph, tmp_path, watched, precision, allowed):
    proto, contract = read_step_graph(step_graph)
    if precision != "fp32":
        proto, contract = bake(proto, contract, precision)
    source, output = tmp_path / "model.onnx", tmp_path / "model.engine"
    save_step_graph(with_contract(proto, contract), source)
    library = watched("tensorrt-rtx")
    assert build(source, output)
    assert library.tf32 == [allowed]
    assert read_sidecar(output)[1].tf32 is allowed


def test_an_engine_from_before_tf32_was_kept_is_built_again(step_graph, tmp_path):
    output = tmp_path / "model.engine"
    assert build(step_graph, output)
    contract, facts = read_sidecar(output)
    sidecar = json.loads(to_sidecar(contract, facts))
    del sidecar["digest"], sidecar["engine"]["tf32"]
    sidecar_of(output).write_text(json.dumps(sidecar))
    assert read_sidecar(output)[1].tf32
    assert build(step_graph, output)
    assert not build(step_graph, output)


def test_it_is_rebuilt_only_when_something_changed(engine, step_graph):
    before = file_hash(engine)
    assert not build(step_graph, engine)
    assert file_hash(engine) == before
    assert build(step_graph, engine, replace(RTX, capabilities=(ELSEWHERE[1],)))
    engine.write_bytes(engine.read_bytes()[:-1])
    assert build(step_graph, engine)


def test_without_a_gpu_every_capability_that_fits_is_built_for(step_graph):
    library = load_library("tensorrt-rtx")
    _, contract = read_step_graph(step_graph)

    def chosen(dtype, *capabilities):
        settings = BuildSettings("tensorrt-rtx", capabilities)
        return choose_capabilities(library, settings, replace(contract, precision={"encoder": dtype}), None)

    assert "7.5" in chosen("float16")
    assert "7.5" not in chosen("float32")
    assert {"8.9", "12.0"} <= set(chosen("float8"))
    with pytest.raises(InputError, match=r"compute capability 8.6: too old for a graph of float8, which needs 8.9"):
        chosen("float8", "8.6")
    with pytest.raises(InputError, match=r"compute capability 8.7: tensorrt-rtx builds for 7.5, 8.0"):
        chosen("float16", "8.7")


def test_a_graph_the_library_does_not_take_leaves_nothing_behind(step_graph, tmp_path):
    proto = onnx.load(step_graph)
    node = next(n for n in proto.graph.node if n.op_type == "Gelu")
    node.op_type, node.domain = "Unheard", "ours"
    source = tmp_path / "odd.onnx"
    save_step_graph(proto, source)
    with pytest.raises(WorkError, match="tensorrt-rtx does not take this graph"):
        build(source, tmp_path / "odd.engine")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.onnx"]


@pytest.mark.parametrize("precision", ["fp16", pytest.param("bf16", marks=pytest.mark.slow)])
def test_fused_attention_builds_in_half_precision(network, tmp_path, precision):
    source = tmp_path / "fused.onnx"
    export_step_graph(network, source, *SIZE, frames=2, precision=precision, attention="fused")
    assert build(source, tmp_path / "fused.engine")


@pytest.mark.no_gpu  # with one, it builds for that alone
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_smallest_builds_for_every_capability_it_can_have(step_graph, tmp_path, precision):
    source = tmp_path / "model.onnx"
    proto, contract = read_step_graph(step_graph)
    if precision != "fp32":
        proto, contract = bake(proto, contract, precision)
    save_step_graph(with_contract(proto, contract), source)
    assert build(source, tmp_path / "all.engine", BuildSettings("tensorrt-rtx"))
    _, facts = read_sidecar(tmp_path / "all.engine")
    assert {"8.0", "8.6", "8.9", "12.0"} <= set(facts.capabilities)


def test_engines_that_give_inner_tensors_out_build_for_every_part_of_the_graph(step_graph, engine):
    """What `--bisect` runs on a GPU to look inside an engine; reading them is all that takes one."""
    proto, _ = read_step_graph(step_graph)
    _, facts = read_sidecar(engine)
    proto = expand(proto)
    types = element_types(proto)
    names = [name for node in proto.graph.node for name in node.output if types[name] == TensorProto.FLOAT]
    for part in (names[:64], names[-64:]):
        probe = EngineProbe(proto, part, facts)
        assert set(part) <= probe.edges.keys()
        assert len(memoryview(probe.plan)) > 1_000_000


@pytest.mark.no_gpu  # with one, the engine is run
def test_the_command_bakes_and_builds(step_graph, tmp_path):
    output = tmp_path / "half.engine"
    arguments = [str(step_graph), "-o", str(output), "--precision", "fp16", "--target", "tensorrt-rtx"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert "not compared, as it does not run on this machine" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.engine", "half.engine.json", "half.fp16.onnx"]
    sidecar = json.loads(sidecar_of(output).read_text())
    assert sidecar["precision"]["encoder"] == "float16"
    assert sidecar["parity"] == {}  # that of its graph is not its own


@pytest.mark.no_gpu
def test_tensorrt_itself_needs_the_gpu_it_builds_for(step_graph, tmp_path):
    done = CliRunner().invoke(command, [str(step_graph), "-o", str(tmp_path / "x.engine")])
    assert isinstance(done.exception, InputError)
    assert "build ahead of time with '--target tensorrt-rtx'" in str(done.exception)

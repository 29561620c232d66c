"""PyTorch against TensorRT: from a checkpoint to an engine in one command, then depth and every state over many frames.

Where a GPU and TensorRT are, every preset goes that way in every precision; everywhere else a small one does on their
stand-ins (`tests/stand_ins`), which round as TensorRT does.
"""

import sys
from contextlib import contextmanager

import pytest
import torch
from click.testing import CliRunner

from vmdepth import checkpoint
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_calibrate.quantise import layers, quantise, watched_tensors
from vmdepth_calibrate.ranges import observe
from vmdepth_export.conversion import proven_engine
from vmdepth_export.conversion.cli import command
from vmdepth_export.graph import expand, read_step_graph, save_step_graph, with_contract
from vmdepth_export.parity.frames import clip_frames
from vmdepth_export.parity.opening import open_graph
from vmdepth_export.parity.proof import compare_models
from vmdepth_export.parity.settings import PARITY_FRAMES, ParitySettings
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.engine_sidecar import least_capability, read_sidecar
from vmdepth_runtime.sessions.gpu import find_gpu

FLOATS, QUANTISED = ("fp32", "fp16", "bf16"), ("int8", "fp8", "int8 and fp16")
# In FP8 convolutions of few channels each turn a last digit into percents of the depth (docs/verified.md).
QUANTISED_CASES = [(name, how) for name in PRESETS for how in QUANTISED if (name, how) != ("edge", "fp8")]


def lively(config):
    """A network whose depth is not nearly flat, of which rounding would be a large share, and that uses its states."""
    torch.manual_seed(0)
    model = VideoDepth(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Blocks and heads that add as much as they are given are ill conditioned.
            if name.endswith("gamma"):
                weight.fill_(0.1)
            elif weight.ndim > 1:
                share = 0.1 if name.endswith("proj_out.weight") else 1
                torch.nn.init.normal_(weight, std=share * weight[0].numel() ** -0.5)
        last = model.decoder.output_conv2 if config.encoder == "mobilenet" else model.decoder.scratch.output_conv2
        last[2].bias.fill_(1)  # away from where a ReLU would end at 0
    return model


@pytest.fixture(scope="module")
def saved(narrowed, tmp_path_factory):
    """`with saved("large") as (file, size):` its checkpoint with weights as of `lively`, and the size of small frames.
    The large ones are narrower: the giant's weights do not fit into one ONNX file. few: as of `narrowed`."""
    folder = tmp_path_factory.mktemp("checkpoints")

    @contextmanager
    def make(name, *, few=False):
        file = folder / f"{name}-{few}.safetensors"
        with narrowed(name, few=few) as config:
            if not file.exists():
                checkpoint.save(file, lively(config), name)
            # Of fewer places some normalise what is nearly alike, of which rounding is a large share.
            yield file, f"{3 * config.stride}x{4 * config.stride}"

    return make


def export(*arguments):
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if done.exception:
        raise done.exception
    return done.output


def quantised(graph, precision):
    """A step graph with every layer quantised, beside it."""
    proto, contract = read_step_graph(graph)
    proto = expand(proto)
    frames = list(clip_frames(8, contract.height, contract.width, 1))
    ranges = observe(proto, watched_tensors(proto, "tensorrt"), open_graph(proto), frames).ranges()
    proto, contract = quantise(proto, contract, ranges, [n.name for n in layers(proto)], "tensorrt", precision)
    output = graph.with_suffix(f".{precision}.onnx")
    save_step_graph(with_contract(proto, contract), output)
    return output


def assert_agree(reference, candidate, frames=PARITY_FRAMES):
    """In depth, in everything else that a step gives, and in every state."""
    report = compare_models(ParitySettings(reference, candidate, frames=frames))
    assert report.frames == frames
    contract, _ = read_sidecar(candidate)
    assert report.outputs.keys() == {output.name for output in contract.own_outputs} | {
        state.input_name for state in contract.states
    }
    assert report.agrees, report.wrong


@pytest.mark.tensorrt
@pytest.mark.parametrize("precision", FLOATS)
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_in_tensorrt_what_it_is_in_pytorch(name, precision, saved, watched, tmp_path):
    library = watched("tensorrt")
    engine = tmp_path / "model.engine"
    with saved(name) as (file, size):
        told = export(file, "-o", engine, "--size", size, "--precision", precision)
        assert "agrees with" in told
        assert_agree(file, engine)
    proven, facts = read_sidecar(engine)
    assert proven.parity["frames"] == PARITY_FRAMES  # against ONNX Runtime, by the command itself
    assert proven.parity["reference"] == "model.onnx"
    assert library.tf32 == [facts.tf32] == [precision != "fp32"]


@pytest.mark.tensorrt
@pytest.mark.parametrize(("name", "precision"), QUANTISED_CASES)
def test_every_quantised_preset_is_in_tensorrt_what_its_graph_is(name, precision, saved, tmp_path):
    graph, engine = tmp_path / "model.onnx", tmp_path / "model.engine"
    first, _, second = precision.partition(" and ")
    with saved(name) as (file, size):
        export(file, "-o", graph, "--size", size, "--proof-frames", 8)
    source = quantised(graph, first)
    least = least_capability(read_step_graph(source)[1])
    if float(find_gpu().capability) < least:
        pytest.skip(f"a graph of {first} needs compute capability {least}")
    export(source, "-o", engine, *(("--precision", second) if second else ()))
    proven, _ = read_sidecar(engine)
    assert proven.parity["frames"] == PARITY_FRAMES
    assert proven.parity["precision"] == first


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_small_one_is_on_the_stand_ins(precision, stand_in_gpu, saved, watched, tmp_path):
    library = watched("tensorrt")
    engine = tmp_path / "model.engine"
    with saved("tiny", few=True) as (file, size):
        told = export(file, "-o", engine, "--size", size, "--precision", precision, "--proof-frames", 8)
        assert "agrees with" in told
        assert_agree(file, engine, frames=40)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.engine", "model.engine.json", "model.onnx"]
    assert library.tf32 == [precision != "fp32"]


def test_an_fp32_engine_with_tf32_is_refused_by_its_figures(stand_in_gpu, step_graph, monkeypatch, tmp_path):
    monkeypatch.setattr(proven_engine, "precision_of", lambda contract: "fp16")  # by which TF32 is allowed
    with pytest.raises(WorkError, match=r"not kept: the engine disagrees .* in depth"):
        export(step_graph, "-o", tmp_path / "model.engine", "--proof-frames", 8)
    assert not list(tmp_path.iterdir())


@pytest.mark.no_gpu
def test_without_a_gpu_the_form_in_two_steps_is_told(saved, tmp_path):
    with saved("tiny", few=True) as (file, size), pytest.raises(InputError) as told:
        export(file, "-o", tmp_path / "a b.engine", "--size", size)
    assert f"here with 'vmdepth-export {file} -o 'a b.onnx'' and the options given here, then" in str(told.value)
    assert "on the device with 'vmdepth-export 'a b.onnx' -o 'a b.engine''" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_so_it_is_on_a_device_without_pytorch(stand_in_gpu, saved, monkeypatch, tmp_path):
    with saved("tiny", few=True) as (file, _):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(InputError, match=r"only PyTorch reads a checkpoint.* then the engine here with"):
            export(file, "-o", tmp_path / "model.engine")
    assert not list(tmp_path.iterdir())

"""`--causal` and `--no-causal` where a network has to step: the one is a form like any other, the other has no step."""

from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from vmdepth import checkpoint
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession, contract_of, open_session
from vmdepth_export.bench.cli import command as bench
from vmdepth_export.conversion.cli import command as export
from vmdepth_export.graph import read_step_graph
from vmdepth_export.parity.bisect import graph_of
from vmdepth_export.parity.cli import command as parity
from vmdepth_runtime.errors import InputError

NO_STEP = "a bidirectional network has no step; load it with temporal='causal' or 'streaming' (commands: --causal)"
SIZE = ["--size", "28x42"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory, network):
    """A network that was trained with the future in sight, and one with Mamba heads."""
    folder = tmp_path_factory.mktemp("saved")
    config = replace(PRESETS["tiny"], features=64, head=AttentionSettings("bidirectional"), taps=("layer_4",))
    torch.manual_seed(0)
    checkpoint.save(folder / "both.safetensors", VideoDepth(config), "both")
    checkpoint.save(folder / "mamba.safetensors", network, "mamba")
    return folder


def said(command, *words):
    """What a command says on both channels, and how it ends: its value or its error."""
    done = CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)
    return done.output, done.exception or done.return_value


@pytest.fixture(scope="module")
def graph(saved):
    path = saved / "causal.onnx"
    words = [saved / "both.safetensors", "-o", path, *SIZE, "--causal", "--window", 4, "--proof-frames", 8]
    output, error = said(export, *words)
    assert error is None, output
    return path


def test_a_bidirectional_network_is_exported_as_a_causal_one(graph):
    _, contract = read_step_graph(graph)
    assert {state.ring.slots for state in contract.states if state.ring} == {3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{both}", "--no-causal"], "both.safetensors: " + NO_STEP),
        (["{both}"], "both.safetensors: " + NO_STEP),
        (["{both}", "--causal", "--temporal", "streaming"], "--causal and --temporal streaming: are two forms"),
        (["{both}", "--no-causal", "--temporal", "causal"], "--no-causal and --temporal causal: are two forms"),
        (["{both}", "--no-causal", "--window", "8"], "a window belongs to temporal='causal', not to 'bidirectional'"),
        (["{mamba}", "--no-causal"], "mamba.safetensors: has no attention over time and never sees the future"),
        (["{graph}", "--causal", "--precision", "fp16"], "causal.onnx is a graph already"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_export_says_what_cannot_be(words, message, saved, graph, tmp_path):
    names = {"both": saved / "both.safetensors", "mamba": saved / "mamba.safetensors", "graph": graph}
    _, error = said(export, *(word.format(**names) for word in words), "-o", tmp_path / "a.onnx")
    assert message in str(error)
    assert not list(tmp_path.iterdir())


def test_parity_of_checkpoint_and_graph_in_the_form_asked_for(saved, graph):
    both, mamba = saved / "both.safetensors", saved / "mamba.safetensors"
    output, result = said(parity, both, graph, "--frames", 8, "--causal")
    assert result == 0, output
    assert NO_STEP in str(said(parity, both, both, "--frames", 2)[1])
    assert NO_STEP in str(said(parity, both, graph, "--frames", 2, "--no-causal")[1])
    assert "leave --no-causal out" in str(said(parity, mamba, graph, "--no-causal")[1])
    assert "is a graph already" in str(said(parity, graph, graph, "--causal")[1])


@pytest.mark.slow  # it exports once more
def test_what_looks_for_a_divergence_takes_the_form_too(saved, graph):
    _, contract = graph_of(saved / "both.safetensors", like=graph, causal=True)
    assert {state.ring.slots for state in contract.states if state.ring} == {3}


def test_parity_of_a_form_that_the_graph_has_not(saved):
    both = saved / "both.safetensors"
    streaming = contract_of(checkpoint.load(both, temporal="streaming"), 28, 42, 1)
    with pytest.raises(InputError, match="--causal is another form than that of both, which it is compared with"):
        open_session(both, streaming, causal=True)


def test_bench_takes_the_form_asked_for_or_says_why_not(saved, graph):
    both, mamba = saved / "both.safetensors", saved / "mamba.safetensors"
    assert NO_STEP in str(said(bench, both)[1])
    assert NO_STEP in str(said(bench, both, "--no-causal")[1])
    assert "leave --no-causal out" in str(said(bench, mamba, "--no-causal")[1])
    assert "is a graph already" in str(said(bench, graph, "--causal")[1])
    session = open_session(both, size=(28, 42), causal=True)  # as the measurement does
    assert isinstance(session, TorchSession)
    assert session.model.config.head == AttentionSettings("causal")

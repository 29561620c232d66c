"""The motion head says the same of a clip, frame by frame, in a checkpoint and in a graph, and changes no depth."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

import vmdepth
from vmdepth.checkpoint import save, write_tensors
from vmdepth.model_files import has_motion_head
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.motion_head import FEATURES, STARTED, MotionSettings, alike
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession
from vmdepth_export.step_graph import to_onnx
from vmdepth_runtime.contract import FRAME, state_input
from vmdepth_runtime.errors import InputError

HEADS = {"mamba": PRESETS["edge"].head, "attention": AttentionSettings("causal", 4), "none": NoHead()}
MOTION = MotionSettings(("path_3", "layer_1"), width=8, forgetting=0.5, radius=1)
SIZE = 32, 48


def _network(head="mamba", motion=MOTION, seed=0):
    torch.manual_seed(seed)
    network = VideoDepth(replace(PRESETS["edge"], head=HEADS[head], motion=motion)).eval().requires_grad_(False)
    if network.dynamic is not None:
        network.dynamic.conv2.bias.zero_()
        network.dynamic.conv2.weight.normal_()
    return network


@pytest.fixture(scope="module")
def clip():
    return torch.rand(2, 6, 3, *SIZE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", HEADS)
def test_clip_and_steps_say_the_same(head, clip):
    network = _network(head)
    depth, dynamic, after = network.clip(clip)
    assert dynamic.shape == (2, 6, *SIZE)
    assert dynamic.min() >= 0 and dynamic.max() <= 1 and dynamic[:, 1:].std() > 0.05
    states = network.init_states(2, *SIZE)
    for number, frame in enumerate(clip.unbind(1)):
        said, _ = network.outputs(frame, states)
        stepped, states = network.step(frame, states)
        assert torch.allclose(said["dynamic"], dynamic[:, number], atol=1e-5)
        assert torch.allclose(stepped, depth[:, number], atol=1e-5)
    assert states.keys() == after.keys()
    assert all(torch.allclose(states[name], after[name], atol=1e-4) for name in (FEATURES, STARTED))


def test_a_clip_in_pieces_is_the_clip(clip):
    network = _network()
    _, whole, _ = network.clip(clip)
    _, first, states = network.clip(clip[:, :4])
    _, second, _ = network.clip(clip[:, 4:], states)
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-5)


def test_nothing_is_told_of_a_first_frame_nor_of_a_picture(clip):
    """But of every other one, whatever the head says: here that everything moves."""
    network = _network()
    network.dynamic.conv2.weight.zero_()
    network.dynamic.conv2.bias.fill_(3.0)
    _, dynamic, states = network.clip(clip[:, :2])
    assert not dynamic[:, 0].any() and (dynamic[:, 1:] > 0.9).all()
    assert (network.clip(clip[:, 2:], states)[1] > 0.9).all()
    assert not network.outputs(clip[:, 3], network.init_states(2, *SIZE))[0]["dynamic"].any()


def test_depth_is_that_of_the_network_without_it(clip):
    network, bare = _network(), VideoDepth(replace(PRESETS["edge"], motion=None)).eval()
    weights = {name: value for name, value in network.state_dict().items() if not name.startswith("dynamic.")}
    bare.load_state_dict(weights)
    assert torch.equal(network(clip)[0], bare(clip)[0])
    assert bare.clip(clip)[1] is None and bare.extra_outputs == ()
    assert network.extra_outputs == ("dynamic",)


def test_with_the_first_frame_nothing_has_changed_yet():
    """Then the remembered maps fade by the factor that is set."""
    head = _network().dynamic
    maps = torch.rand(1, 3, head.channels, 4, 6)
    before, after = head.remembered(maps, {FEATURES: torch.zeros_like(maps[:, 0]), STARTED: torch.zeros(1)})
    assert torch.equal(before[:, 0], maps[:, 0]) and torch.equal(before[:, 1], maps[:, 0])
    assert torch.allclose(before[:, 2], 0.5 * maps[:, 0] + 0.5 * maps[:, 1])
    assert torch.allclose(after[FEATURES], 0.5 * before[:, 2] + 0.5 * maps[:, 2])
    assert after[STARTED] == 1


def test_likeness_finds_where_a_place_was():
    before = torch.randn(1, 12, 7, 9, generator=torch.Generator().manual_seed(0))
    now = before.roll((1, -1), dims=(2, 3))  # what is here now was one row higher and one column to the right
    found = alike(now, before, 1)[0, :, 2:-2, 2:-2]
    assert (found.argmax(dim=0) == 0 * 3 + 2).all()
    assert torch.allclose(found[2], torch.ones(3, 5), atol=1e-4)


def test_a_checkpoint_says_whether_it_has_one(tmp_path):
    path = tmp_path / "x.safetensors"
    for motion in (MOTION, None):
        save(path, _network(motion=motion), "x")
        assert has_motion_head(path) == (motion is not None)
    for spoilt in (b"", b"\xff" * 40, (1).to_bytes(8, "little") + b"5"):
        path.write_bytes(spoilt)
        assert not has_motion_head(path)


def test_a_checkpoint_keeps_it(tmp_path, clip):
    network = _network()
    save(tmp_path / "moving.safetensors", network, "moving")
    again = vmdepth.load(tmp_path / "moving.safetensors")
    assert again.config == network.config
    assert torch.equal(again.clip(clip)[1], network.clip(clip)[1])
    assert NetworkConfig.from_dict(PRESETS["edge"].to_dict()).motion is None
    write_tensors(
        tmp_path / "broken.safetensors",
        network.state_dict(),
        {"name": "x", "network": {**network.config.to_dict(), "motion": {"taps": ["path_9"]}}},
    )
    with pytest.raises(InputError, match="path_9"):
        vmdepth.load(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("values", "name"),
    [({"taps": ()}, "taps"), ({"width": 0}, "width"), ({"forgetting": 1.0}, "forgetting"), ({"radius": -1}, "radius")],
)
def test_settings_that_cannot_be(values, name):
    with pytest.raises(ValueError, match=name):
        MotionSettings(**values)


def test_the_step_graph_and_the_session_say_the_same():
    network = _network()
    session = TorchSession(network, *SIZE)
    assert session.contract.extra_outputs == ("dynamic",)
    proto = to_onnx(network, *SIZE, 1, "explicit")
    graph = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in graph.get_outputs()]
    states = {state_input(n): np.zeros(s, np.float32) for n, s in network.state_shapes(1, *SIZE).items()}
    frames = np.random.default_rng(0).integers(0, 256, (8, 1, *SIZE, 3), np.uint8)
    for number, frame in enumerate(frames):
        session.frame[:] = frame
        expected = session.step()
        got = dict(zip(names, graph.run(None, {FRAME: frame, **states}), strict=True))
        assert np.abs(got["dynamic"] - expected["dynamic"]).max() < 1e-4
        assert got["dynamic"].any() == (number > 0)
        states = {name: got[name.replace("state.", "next.", 1)] for name in states}
    assert {n.name.partition(".")[0].partition("/")[0] for n in proto.graph.node if "dynamic" in n.name} == {"dynamic"}

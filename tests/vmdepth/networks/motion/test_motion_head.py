"""The motion head says the same of a clip, frame by frame and in a checkpoint, and changes no depth."""

from dataclasses import replace

import pytest
import torch

import vmdepth
from vmdepth.checkpoint import save, write_tensors
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.model_files import has_motion_head
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.motion.camera_motion import halved
from vmdepth.networks.motion.motion_head import FRAMES, STARTED, MotionSettings, Seen
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError

HEADS = {"mamba": PRESETS["edge"].head, "attention": AttentionSettings("causal", 4), "none": NoHead()}
MOTION = MotionSettings("path_3", width=8, gap=2)
SIZE = 96, 144


def _network(head="mamba", motion=MOTION, seed=0):
    torch.manual_seed(seed)
    network = VideoDepth(replace(PRESETS["edge"], head=HEADS[head], motion=motion)).eval().requires_grad_(False)
    if network.dynamic is not None:
        network.dynamic.conv2.bias.zero_()
        network.dynamic.conv2.weight.normal_()
    return network


@pytest.fixture(scope="module")
def clip():
    return render_clips([5, 21], 6, *SIZE).rgb


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
    assert all(torch.allclose(states[name], after[name], atol=1e-4) for name in (FRAMES, STARTED))


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


def test_it_looks_back_to_the_first_frame_and_then_over_the_gap(clip):
    """So of a picture that stays nothing is left over, and of one that has jumped something, for as many frames."""
    head = _network().dynamic
    frames = clip[:1, [0, 0, 1, 1, 1, 1]]
    depth, appearance = torch.ones(1, 6, 1, *SIZE), torch.zeros(1, 6, 48, 12, 18)
    start = {FRAMES: torch.zeros(1, 2, 48, 72), STARTED: torch.zeros(1)}
    seen, after = head.seen(frames, depth[:, :6], appearance, start)
    unmoved = seen.geometry[:, 9].mean(dim=(1, 2))
    assert [bool(share > 1e-3) for share in unmoved] == [False, False, True, True, False, False]
    assert after[STARTED] == 1 and after[FRAMES].shape == start[FRAMES].shape
    assert torch.equal(after[FRAMES][:, 0], after[FRAMES][:, 1])  # the last two frames are the same


def test_depth_in_metres_is_looked_at_as_inverse_depth(clip):
    config = replace(PRESETS["edge"], motion=MOTION, output="sigmoid", depth="metric", max_depth=20.0)
    network = VideoDepth(config).eval().requires_grad_(False)
    inverse = halved(halved(1 / network(clip[:1, :2])[0][0]))[:, 0]
    expected = torch.log1p(20 * inverse / inverse.mean((1, 2), keepdim=True))
    assert torch.allclose(network.seen_of_motion(clip[:1, :2]).geometry[:, 6], expected, atol=1e-3)


def test_what_it_looks_at_can_be_mirrored():
    clip = render_clips([5], 3, 96, 136).rgb[0]
    head = _network().dynamic
    depth, appearance = torch.ones(2, 3, 1, 96, 136), torch.zeros(2, 3, 48, 4, 6)
    start = {FRAMES: torch.zeros(2, 2, 48, 68), STARTED: torch.zeros(2)}
    seen, _ = head.seen(torch.stack([clip, clip.flip(-1)]), depth, appearance, start)
    mirrored = Seen(*seen).mirrored().geometry
    assert seen.geometry[1:3, :2].abs().mean() > 0.05
    assert (mirrored[4:] - seen.geometry[1:3]).abs().mean() < 0.01


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
        {"name": "x", "network": {**network.config.to_dict(), "motion": {"tap": "path_9", "width": 8, "gap": 2}}},
    )
    with pytest.raises(InputError, match="path_9"):
        vmdepth.load(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("values", "name"),
    [({"tap": "path_9"}, "path_9"), ({"width": 0}, "width"), ({"gap": 0}, "gap")],
)
def test_settings_that_cannot_be(values, name):
    with pytest.raises(ValueError, match=name):
        MotionSettings(**values)

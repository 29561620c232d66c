"""What is known of a kind of head: by its name, in files, on the command line."""

import json
from dataclasses import asdict, fields

import pytest
import torch

import vmdepth
from vmdepth import checkpoint
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.heads.kinds import KINDS, head_from_dict, head_kind, setting_types
from vmdepth.networks.heads.mamba_head import CYCLE, MambaSettings
from vmdepth.networks.presets import PRESETS, VDA_TAPS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth_runtime.contract import Ring
from vmdepth_runtime.errors import InputError

# As files have held the settings of a network since before kinds of heads owned theirs: those of all kinds, whatever
# the head.
FLAT = {
    "encoder": "tiny",
    "features": 32,
    "out_channels": [24, 48, 96, 192],
    "output": "softplus",
    "depth": "relative",
    "max_depth": 1.0,
    "head": "mamba2",
    "taps": ["layer_2", "layer_3", "layer_4"],
    "temporal_width": 48,
    "head_dim": 16,
    "d_state": 16,
    "expand": 1,
    "temporal": "causal",
    "window": 32,
}


@pytest.mark.parametrize(
    ("changed", "head"),
    [
        ({}, MambaSettings(temporal_width=48)),
        ({"temporal_width": 32, "d_state": 8, "expand": 2}, MambaSettings(32, d_state=8, expand=2)),
        ({"head": "attention", "taps": list(VDA_TAPS), "temporal": "streaming"}, AttentionSettings("streaming")),
        ({"head": "attention", "window": 8}, AttentionSettings("causal", 8)),
        ({"head": "none", "taps": []}, NoHead()),
    ],
    ids=str,
)
def test_networks_of_older_files_are_read(changed, head):
    config = NetworkConfig.from_dict(json.loads(json.dumps({**FLAT, **changed})))
    assert config.head == head
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_older_checkpoint_loads_to_the_bit(tmp_path):
    torch.manual_seed(0)
    model = VideoDepth(PRESETS["tiny"]).eval()
    facts = {"name": "tiny", "network": FLAT, "made": {}}
    checkpoint.write_tensors(tmp_path / "old.safetensors", model.state_dict(), facts)
    loaded = vmdepth.load(tmp_path / "old.safetensors")
    assert loaded.config == PRESETS["tiny"]
    frame = torch.rand(1, 3, 28, 42)
    with torch.no_grad():
        assert torch.equal(loaded.step(frame)[0], model.step(frame)[0])


def test_an_unknown_head_is_an_error_that_names_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="head 'lstm': there are mamba2, attention, none"):
        head_kind("lstm")
    weights = VideoDepth(PRESETS["tiny"]).state_dict()
    facts = {"name": "tiny", "network": {**FLAT, "head": "lstm"}, "made": {}}
    checkpoint.write_tensors(tmp_path / "lstm.safetensors", weights, facts)
    with pytest.raises(InputError, match=r"lstm\.safetensors: .*head 'lstm': there are mamba2, attention, none"):
        vmdepth.load(tmp_path / "lstm.safetensors")


def test_no_setting_of_a_head_takes_the_name_of_another_setting():
    taken = {f.name for f in fields(TrainSettings)} | {f.name for f in fields(NetworkConfig)}
    assert not taken & setting_types().keys()
    for kind in KINDS.values():
        assert head_from_dict({"head": kind.kind, **asdict(kind())}) == kind()


def test_every_kind_says_what_others_have_to_know():
    starts = {name: kind().random_starts for name, kind in KINDS.items()}
    assert starts == {"mamba2": CYCLE, "attention": 1, "none": 1}
    assert [name for name, kind in KINDS.items() if kind().recurrent] == ["mamba2"]
    both = AttentionSettings("bidirectional")
    assert (both.cycle, both.ring, both.longest_clip) == (None, None, 32)
    assert AttentionSettings().offline == both and MambaSettings().offline == MambaSettings()
    for head in (AttentionSettings("causal", 8), AttentionSettings("streaming")):
        assert both.like(head.ring) == head
    assert MambaSettings().like(Ring(7, 0, 2)) == MambaSettings()


@torch.no_grad()
def test_the_same_weights_in_another_form():
    torch.manual_seed(0)
    causal = VideoDepth(PRESETS["vda-small-causal"]).eval()
    both = causal.with_head(causal.config.head.offline)
    assert not both.can_step and causal.can_step
    weights = both.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in causal.state_dict().items())
    with pytest.raises(ValueError, match="a bidirectional network has no step; load it with temporal="):
        both.step(torch.rand(1, 3, 28, 42))
    with pytest.raises(ValueError, match="are not those of"):
        causal.with_head(MambaSettings())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"temporal_width": 0}, "temporal_width=0: must be above 0"),
        ({"d_state": -1}, "d_state=-1: must be above 0"),
        ({"temporal_width": 40}, "temporal_width=40: times expand=1 it should be a multiple of head_dim=16"),
        ({"blocks": (1, 0, 1)}, "blocks=1,0,1: every tap has one at least"),
        ({"feed_forward": -2}, "feed_forward=-2: must not be negative"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_name(values, said):
    with pytest.raises(ValueError, match=said):
        MambaSettings(**values)

"""Video Depth Anything: official files are loaded as they are, and refused with the reason."""

import json
from dataclasses import replace

import pytest
import torch

import vmdepth
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.official.dpt_names import official_shapes
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth.official.video_depth_anything import network_config, network_name
from vmdepth_runtime.errors import InputError


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_names_and_shapes_are_those_of_the_official_file(size, shared_reference, tmp_path):
    keys = json.loads((shared_reference / f"keys_vda_vit{size[0]}.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    config = network_config(CheckpointFile(tmp_path / "any.pth", file), LoadOptions())
    assert official_shapes(config) == {name: tuple(entry["shape"]) for name, entry in keys.items()}
    assert (config.encoder, config.head.kind, config.features) == (size, "attention", PRESETS[size].features)
    assert network_name(config) == f"video_depth_anything_vit{size[0]}"
    assert replace(config, head=AttentionSettings("causal")) == PRESETS[f"vda-{size}-causal"]  # which starts from it


def test_wrong_names_end_in_one_line(tmp_path, official_weights):
    weights = official_weights("vda_vits")
    path = tmp_path / "broken.pth"
    torch.save({k: v for k, v in weights.items() if "motion_modules.2" not in k}, path)
    with pytest.raises(
        InputError,
        match=r"broken.pth: looks like Video Depth Anything small, but head\.motion.* is missing, and 23 more",
    ):
        vmdepth.load(path)
    torch.save({**weights, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"extra\.weight does not belong to it"):
        vmdepth.load(path)
    torch.save({**weights, "pretrained.pos_embed": torch.zeros(1, 5, 384)}, path)
    with pytest.raises(InputError, match=r"pos_embed is \[1, 5, 384\] instead of \[1, 1370, 384\]"):
        vmdepth.load(path)


def test_forms_that_cannot_be_are_refused(tmp_path, official_weights):
    video = tmp_path / "video.pth"
    torch.save(official_weights("vda_vits"), video)
    with pytest.raises(InputError, match="window belongs to temporal='causal'"):
        vmdepth.load(video, window=8)
    for wrong in ({"temporal": "casual"}, {"temporal": "causal", "window": 0}, {"temporal": "causal", "window": 33}):
        with pytest.raises(InputError, match=r"video\.pth: (temporal form 'casual'|window \d+): "):
            vmdepth.load(video, **wrong)
    with pytest.raises(InputError, match="needs no max_depth"):
        vmdepth.load(video, max_depth=20)
    with pytest.raises(ValueError, match="no step"):
        vmdepth.load(video, temporal="bidirectional").step(torch.zeros(1, 3, 28, 28))

"""Depth Anything V2: official files and Hugging Face's are loaded as they are, and refused with the reason."""

import json

import pytest
import torch
from safetensors.torch import load_file

import vmdepth
from vmdepth.networks.presets import PRESETS
from vmdepth.official.depth_anything_v2 import DEPTH_ANYTHING_V2, network_config, network_name
from vmdepth.official.dpt_names import official_shapes
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth_runtime.errors import InputError


@pytest.mark.parametrize("size", ["small", "base", "large", "giant"])
def test_names_and_shapes_are_those_of_the_official_file(size, shared_reference, tmp_path):
    keys = json.loads((shared_reference / f"keys_da2_vit{size[0]}.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    config = network_config(CheckpointFile(tmp_path / "any.pth", file), LoadOptions())
    assert official_shapes(config) == {name: tuple(entry["shape"]) for name, entry in keys.items()}
    assert (config.encoder, config.head.kind, config.features) == (size, "none", PRESETS[size].features)
    assert network_name(config) == f"depth_anything_v2_vit{size[0]}"


def test_hugging_face_names_are_checked_as_they_are(transformers_network, tmp_path):
    theirs = transformers_network()
    theirs.save_pretrained(tmp_path)  # in memory the library has other names than in its files
    names = load_file(tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    assert vmdepth.load(path).name == "depth_anything_v2_vits"
    key = "backbone.encoder.layer.3.attention.attention.key.weight"

    def complaint(**changed):
        tensors = {k: v for k, v in {**names, **changed}.items() if v is not None}
        file = CheckpointFile(path, tensors)
        assert DEPTH_ANYTHING_V2.recognises(file)
        with pytest.raises(InputError) as error:
            DEPTH_ANYTHING_V2.build(file, LoadOptions())
        return str(error.value)

    assert f"{key} is missing" in complaint(**{key: None})
    assert f"{key} is [5, 384] instead of [384, 384]" in complaint(**{key: torch.empty(5, 384, device="meta")})
    assert "cls_token is missing" in complaint(**{"backbone.embeddings.cls_token": None})
    assert "holds pretrained.norm.weight twice" in complaint(**{"pretrained.norm.weight": torch.empty(384)})


@pytest.mark.parametrize(
    ("place", "metres"),
    [
        ("depth_anything_v2_vits.pth", None),
        ("depth_anything_v2_metric_hypersim_vits.pth", 20),
        ("Depth-Anything-V2-Metric-Outdoor-Small-hf/model.safetensors", 80),
        ("models--depth-anything--Depth-Anything-V2-Metric-Indoor-Small-hf/snapshots/ab12/model.safetensors", 20),
        ("models--depth-anything--Depth-Anything-V2-Small-hf/snapshots/ab12/model.safetensors", None),
    ],
)
def test_metric_files_are_told_by_their_official_places(place, metres, shared_reference, tmp_path):
    keys = json.loads((shared_reference / "keys_da2_vits.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    config = network_config(CheckpointFile(tmp_path / place, file), LoadOptions())
    assert (config.depth == "metric") == (metres is not None)
    assert config.max_depth == (metres or 1)


def test_forms_that_cannot_be_are_refused(tmp_path, official_weights):
    path = tmp_path / "still.pth"
    torch.save(official_weights("da2_vits"), path)
    with pytest.raises(InputError, match="no attention over time; temporal and window do not apply"):
        vmdepth.load(path, temporal="causal")
    with pytest.raises(InputError, match="how many metres"):
        vmdepth.load(path, metric=True)
    with pytest.raises(InputError, match="contradict each other"):
        vmdepth.load(path, metric=False, max_depth=20)

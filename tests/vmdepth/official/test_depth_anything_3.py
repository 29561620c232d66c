"""Official Depth Anything 3 keys: recognised, strict in both directions, with and without what files leave out."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vmdepth
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import METRIC, MONO, NESTED, VIEW_PRESETS, AnyViewConfig
from vmdepth.networks.observer import Observer
from vmdepth.official.depth_anything_3 import (
    DEPTH_ANYTHING_3,
    empty,
    network_config,
    official_names,
    unused_shapes,
)
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth_runtime.errors import InputError

FILES = {
    **{f"da3_{name}": config for name, config in VIEW_PRESETS.items()},
    "da3_mono_large": MONO,
    "da3_metric_large": MONO,  # the same keys
    "da3_nested_giant_large": NESTED,
}


def official(folder, name):
    """Official tensors on the meta device, without the prefix, and the names that a file leaves out."""
    keys = json.loads((folder / f"keys_{name}.json").read_text())["keys"]
    tensors = {key: torch.empty(facts["shape"], device="meta") for key, facts in keys.items()}
    return tensors, [key for key, facts in keys.items() if "shared_with" in facts]


def shapes(tensors):
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def file_of(tensors):
    return CheckpointFile(Path("any.safetensors"), tensors)


def build(tensors, metric=None):
    return DEPTH_ANYTHING_3.build(file_of(tensors), LoadOptions(metric=metric))


@pytest.mark.parametrize("name", FILES)
def test_names_and_shapes_are_the_official_ones(name, shared_reference):
    tensors, _ = official(shared_reference, name)
    assert network_config(file_of(tensors), LoadOptions()) == FILES[name]
    with torch.device("meta"):
        network = empty(FILES[name])
    state = network.state_dict()
    names = official_names(network)
    ours = {theirs: tuple(state[mine].shape) for mine, theirs in names.items()}
    assert len(ours) == len(state)
    assert not ours.keys() & unused_shapes(network).keys()
    assert ours | unused_shapes(network) == shapes(tensors)


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("name", FILES)
def test_whole_and_published_forms_load(name, prefix, shared_reference):
    tensors, shared = official(shared_reference, name)
    whole = {prefix + key: tensor for key, tensor in tensors.items()}
    published = {prefix + key: tensor for key, tensor in tensors.items() if key not in shared}
    for form in (whole, published):
        network = build(form)
        assert isinstance(network, (AnyViewDepth, MonoDepth, NestedDepth))
        assert not network.training
    if name == "da3_small":
        assert (len(whole), len(published)) == (443, 437)


def test_the_shared_layer_norm_comes_from_its_first_name(shared_reference):
    tensors, shared = official(shared_reference, "da3_small")
    first = {key: torch.full(tensor.shape, 3.0) if "aux.0.2." in key else tensor for key, tensor in tensors.items()}
    network = build({key: tensor for key, tensor in first.items() if key not in shared})
    assert (network.decoder.scratch.output_conv2_aux["3"][2].weight == 3).all()


def test_metric_is_told_from_outside(shared_reference):
    tensors, _ = official(shared_reference, "da3_metric_large")
    assert build(tensors, metric=True).config == METRIC
    assert build(tensors).config == MONO


def test_parts_that_are_optional(shared_reference):
    giant, _ = official(shared_reference, "da3_giant")
    build({key: tensor for key, tensor in giant.items() if not key.startswith("gs_head.")})
    small, _ = official(shared_reference, "da3_small")
    network = build({key: tensor for key, tensor in small.items() if not key.startswith("cam_")})
    assert network.config == replace(VIEW_PRESETS["small"], camera_encoder=False, camera_decoder=False)


def test_what_does_not_fit_is_named(shared_reference):
    tensors, _ = official(shared_reference, "da3_small")
    wrong = dict(tensors)
    for index in range(7):
        del wrong[f"backbone.pretrained.blocks.{index}.ls1.gamma"]
    with pytest.raises(
        InputError, match=r"like Depth Anything 3 small, but .*ls1.gamma is missing.*, and 2 more"
    ) as error:
        build(wrong)
    assert str(error.value).count("gamma") == 5
    extra = dict(tensors, **{"head.extra": torch.empty(1, device="meta")})
    with pytest.raises(InputError, match=r"but head\.extra does not belong to it$"):
        build(extra)
    lost = {key: tensor for key, tensor in tensors.items() if key != "head.scratch.output_conv2_aux.0.2.weight"}
    for level in "123":
        del lost[f"head.scratch.output_conv2_aux.{level}.2.weight"]
    with pytest.raises(InputError, match=r"but head\.scratch\.output_conv2_aux\.0\.2\.weight is missing"):
        build(lost)
    unused = dict(tensors, **{"head.scratch.output_conv1_aux.0.0.bias": torch.empty(1, device="meta")})
    with pytest.raises(InputError, match=r"but head.scratch.output_conv1_aux.0.0.bias is \[1\] instead of"):
        build(unused)


def test_a_tap_has_to_see_all_views():
    with pytest.raises(ValueError, match="tap 6 does not see all views: it has to be odd, from 4 to 11"):
        AnyViewConfig("small", 64, (48, 96, 192, 384), (5, 6, 9, 11), 4)
    with pytest.raises(ValueError, match="there are tiny, small"):
        AnyViewConfig("huge", 64, (48, 96, 192, 384), (5, 7, 9, 11), 4)


def test_depth_anything_3_loads_from_its_published_file(tmp_path, official_weights, shared_reference):
    keys = json.loads((shared_reference / "keys_da3_small.json").read_text())["keys"]
    published = {f"model.{k}": t for k, t in official_weights("da3_small").items() if "shared_with" not in keys[k]}
    save_file(published, tmp_path / "model.safetensors")
    views = vmdepth.load(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="has no metric form"):
        vmdepth.load(tmp_path / "model.safetensors", metric=True)
    save_file(dict(published, **{"head.norm.weight": torch.zeros(768)}), tmp_path / "twice.safetensors")
    with pytest.raises(InputError, match=r"holds model\.head\.norm\.weight also without 'model\.'"):
        vmdepth.load(tmp_path / "twice.safetensors")
    io = np.load(shared_reference / "io_da3_small_n2.npz")
    seen = []
    out = views(torch.from_numpy(io["input"]), normalised=True, observe=Observer(seen.append))
    assert not any(one.values.requires_grad for one in seen)
    for got, expected in ((out.depth, io["depth"]), (out.confidence, io["depth_conf"])):
        assert np.abs(got.numpy() - expected).max() <= 2e-5 * np.abs(expected).max()
    causal = vmdepth.load(tmp_path / "model.safetensors", temporal="causal", window=5)
    assert (causal.window, causal.name) == (5, "Depth Anything 3 small")
    assert all(torch.equal(weight, views.state_dict()[name].float()) for name, weight in causal.state_dict().items())
    for options, match in (
        ({"temporal": "causal", "window": 1}, "model.safetensors: window 1: is 2 frames or more"),
        ({"temporal": "streaming"}, "no temporal='streaming': causal is how it streams"),
        ({"window": 8}, "a window only with temporal='causal'"),
        ({"max_depth": 20.0}, "max_depth does not apply"),
    ):
        with pytest.raises(InputError, match=match):
            vmdepth.load(tmp_path / "model.safetensors", **options)
    published.pop("model.head.norm.weight")
    save_file(published, tmp_path / "broken.safetensors")
    with pytest.raises(InputError, match=r"broken.safetensors: looks like Depth Anything 3 small.*head\.norm\.weight"):
        vmdepth.load(tmp_path / "broken.safetensors")


def test_the_metric_network_is_told_by_its_folder_or_by_word(tmp_path, shared_reference):
    keys = json.loads((shared_reference / "keys_da3_metric_large.json").read_text())["keys"]
    folder = tmp_path / "DA3METRIC-LARGE"
    folder.mkdir()
    save_file(
        {f"model.{k}": torch.zeros(v["shape"], dtype=torch.float16) for k, v in keys.items()},
        folder / "model.safetensors",
    )
    assert vmdepth.load(folder / "model.safetensors").config.metric
    assert not vmdepth.load(folder / "model.safetensors", metric=False).config.metric
    with pytest.raises(InputError, match="metric, a network for single images, which has no attention over"):
        vmdepth.load(folder / "model.safetensors", temporal="causal")

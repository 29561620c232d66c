"""The networks of Depth Anything 3 give the official numbers, tap by tap."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vmdepth.networks.attention import use_attention
from vmdepth.networks.multiview.cameras import from_cameras
from vmdepth.networks.multiview.memory import Slices
from vmdepth.official.depth_anything_3 import DEPTH_ANYTHING_3
from vmdepth.official.family import CheckpointFile, LoadOptions

TOLERANCE = 2e-5  # of the largest value of the reference
OUTPUTS = {
    "depth": "depth",
    "depth_conf": "confidence",
    "ray": "rays",
    "ray_conf": "ray_confidence",
    "extrinsics": "extrinsics",
    "intrinsics": "intrinsics",
    "sky": "sky",
}
ANY_VIEW = [
    "io_da3_small_n1",
    "io_da3_small_n2",
    "io_da3_small_n4",
    "io_da3_small_n3b2",
    "io_da3_small_n4_first",
    "io_da3_small_n5_middle",
    "io_da3_small_posed",
    "io_eps_da3_small",
    "io_da3_base_n1",
    "io_da3_base_n4",
    "io_da3_large_n3",
]


@pytest.fixture(scope="module")
def reference(shared_reference, recipe, official_weights):
    """name of a file → (network, arrays, facts); one network is alive at a time."""
    manifest = json.loads((shared_reference / "manifest.json").read_text())
    facts = {file["file"]: file for file in manifest["files"]}
    networks = {}

    def get(name):
        model = facts[f"{name}.npz"]["model"]
        key = (model, name.startswith("io_eps"))
        if key not in networks:
            networks.clear()
            weights = official_weights(model)
            if key[1]:
                weights = recipe.scaled(weights, recipe.EPS_PROBE["da3"])
            networks[key] = DEPTH_ANYTHING_3.build(CheckpointFile(Path(model), weights), LoadOptions())
        io = {k: torch.from_numpy(v) for k, v in np.load(shared_reference / f"{name}.npz").items()}
        return networks[key], io, facts[f"{name}.npz"]["info"]

    return get


def options(io, info):
    chosen = {"normalised": True, "rays": True, "reference": info.get("strategy", "saddle_balanced")}
    if info.get("posed"):
        chosen |= {"extrinsics": io["in_extrinsics"], "intrinsics": io["in_intrinsics"]}
    return chosen


def assert_near(name, got, expected, info):
    if got.shape != expected.shape:  # some large arrays are stored for a part of the views
        views = info["tapped_views"]
        got = got[views] if got.ndim == 4 else got[:, views]
    assert got.shape == expected.shape, name
    error = ((got - expected).abs().max() / expected.abs().max()).item()
    assert error <= TOLERANCE, f"{name}: {error:.1e}"


def check(name, reference, **more):
    network, io, info = reference(name)
    maps = {}

    def tap(path, image):
        maps[path] = torch.cat([maps[path], image]) if path in maps else image.clone()
        return image

    with torch.inference_mode():
        out = network(io["input"], tap=tap, **options(io, info), **more)
    for key, field in OUTPUTS.items():
        if key in io:
            assert_near(key, getattr(out, field), io[key], info)
    for key in {"path_1", "path_2"} & io.keys():
        assert_near(key, maps[key], io[key], info)


@pytest.mark.parametrize("name", ANY_VIEW)
def test_outputs(name, reference):
    check(name, reference)


@pytest.mark.parametrize("name", ["io_da3_small_n2", "io_da3_mono_large"])
def test_images_of_0_to_1_are_normalised_inside(name, reference):
    """The stored inputs are normalised ones; taken back to 0..1 they give the same depth."""
    network, io, info = reference(name)
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        assert_near("depth", network(io["input"] * std + mean).depth, io["depth"], info)


@pytest.mark.parametrize("name", ANY_VIEW)
def test_taps_of_the_encoder(name, reference):
    network, io, info = reference(name)
    batch, views = io["input"].shape[:2]
    special = network.camera_tokens(io.get("in_extrinsics"), io.get("in_intrinsics"), io["input"])
    got = {}

    def sink(level, first, patches, token):
        got.setdefault(f"feat_{level}", []).append(patches)
        got.setdefault(f"camera_token_{level}", []).append(token)

    strategy = info.get("strategy", "saddle_balanced")
    with torch.inference_mode():
        network.encoder.in_slices(io["input"].flatten(0, 1), views, sink, Slices(2, 2), special, strategy)
    for key in got.keys() & io.keys():
        assert_near(key, torch.cat(got[key]).unflatten(0, (batch, views)), io[key], info)
    if special is not None:
        assert_near("camera_condition", special.unflatten(0, (batch, views)), io["camera_condition"], info)


@pytest.mark.parametrize("name", ["io_da3_small_n4", "io_da3_small_n3b2", "io_da3_small_posed"])
def test_poses_and_reference_views(name, reference, monkeypatch):
    from vmdepth.networks.multiview import encoder

    chosen = []
    network, io, info = reference(name)
    choose = encoder.reference_view
    monkeypatch.setattr(encoder, "reference_view", lambda *a: chosen.append(choose(*a)) or chosen[-1])
    with torch.inference_mode():
        out = network(io["input"], **options(io, info))
        numbers = network.camera_decoder(io["camera_token_3"])
    assert_near("pose_enc", numbers, io["pose_enc"], info)
    assert torch.equal(chosen[0], io["reference_view"]) if "reference_view" in io else not chosen
    back = from_cameras(out.extrinsics, out.intrinsics, *io["input"].shape[-2:])
    assert_near("translation and fields of view", back[..., [0, 1, 2, 7, 8]], numbers[..., [0, 1, 2, 7, 8]], info)


@pytest.mark.parametrize("cut", [{"chunk": 1}, {"chunk": 3}, {"memory_budget": "17MiB"}])
@pytest.mark.parametrize("form", ["fused", "explicit"])
def test_slices_and_attention_forms_give_the_official_numbers_too(cut, form, reference):
    with use_attention(form):
        check("io_da3_small_n4", reference, **cut)


def test_the_mono_network(reference):
    network, io, info = reference("io_da3_mono_large")
    with torch.inference_mode():
        maps = network.encoder(io["input"].flatten(0, 1))
        before_rule = network.decoder(maps, (4, 5))
    for level, tokens in enumerate(maps):
        assert_near(f"feat_{level}", tokens.unflatten(0, (1, 2)), io[f"feat_{level}"], info)
    assert_near("head_depth", before_rule.depth[None], io["head_depth"], info)
    maps = {}

    def tap(path, image):
        maps.setdefault(path, image.clone())
        return image

    with torch.inference_mode():
        for chunk in (None, 1):
            out = network(io["input"], chunk=chunk, normalised=True, tap=tap)
            assert_near("path_2", maps["path_2"][:1], io["path_2"], info)
            assert_near("depth", out.depth, io["depth"], info)
            assert_near("sky", out.sky, io["sky"], info)

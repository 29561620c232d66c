"""The encoder: official names, position table, and attention in two forms."""

import json

import pytest
import torch

from vmdepth.networks.attention import attend, attention_form, causal_mask, use_attention
from vmdepth.networks.encoder import Encoder


@pytest.mark.parametrize(("name", "table"), [("small", "vits"), ("base", "vitb"), ("large", "vitl"), ("giant", "vitg")])
def test_names_and_shapes_are_the_official_ones(name, table, shared_reference):
    official = json.loads((shared_reference / f"keys_da2_{table}.json").read_text())["keys"]
    prefix = "pretrained."
    expected = {k.removeprefix(prefix): tuple(v["shape"]) for k, v in official.items() if k.startswith(prefix)}
    expected.pop("mask_token")  # used in pre-training only
    with torch.device("meta"):
        encoder = Encoder(name)
    assert {k: tuple(v.shape) for k, v in encoder.state_dict().items()} == expected


@torch.no_grad()
@pytest.mark.parametrize("form", ["fused", "explicit"])
def test_taps_are_the_official_numbers(form, shared_reference, official_weights):
    import numpy as np

    weights = {
        name.removeprefix("pretrained."): tensor
        for name, tensor in official_weights("da2_vits").items()
        if name.startswith("pretrained.") and "mask_token" not in name
    }
    encoder = Encoder("small").eval()
    encoder.load_state_dict(weights)
    io = np.load(shared_reference / "io_da2_vits.npz")
    with use_attention(form):
        maps = encoder(torch.from_numpy(io["input"]))
    for index, tokens in enumerate(maps):
        expected = torch.from_numpy(io[f"feat_{index}"])
        got = tokens[: len(expected)]
        assert (got - expected).abs().max() <= 2e-5 * expected.abs().max(), f"tap {index}"


@torch.no_grad()
def test_untrained_positions_look_alike_at_any_size():
    encoder = Encoder("tiny")
    coarse, fine = (encoder.positions(grid)[:, 1:].unflatten(1, grid).movedim(-1, 1) for grid in ((7, 9), (14, 18)))
    at_coarse = torch.nn.functional.avg_pool2d(fine, 2)
    assert torch.cosine_similarity(coarse, at_coarse, dim=1).min() > 0.9
    elsewhere = coarse.roll((3, 4), dims=(2, 3))
    assert torch.cosine_similarity(coarse, elsewhere, dim=1).max() < 0.9


@torch.no_grad()
def test_folded_positions_give_the_same_maps():
    torch.manual_seed(0)
    encoder = Encoder("tiny").eval()
    images = torch.randn(1, 3, 42, 70)
    before = encoder(images)
    encoder.fold(42, 70)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder(images), strict=True))


def test_at_the_table_s_own_size_nothing_is_resized():
    encoder = Encoder("tiny")
    assert encoder.positions((37, 37)) is encoder.pos_embed


def test_attention_forms_agree():
    q, k, v = torch.randn(3, 2, 4, 30, 16).unbind(0)
    with use_attention("fused"):
        fused = attend(q, k, v)
    with use_attention("explicit"):
        torch.testing.assert_close(attend(q, k, v), fused)


def test_attention_form_can_be_chosen_from_outside(monkeypatch):
    assert attention_form() == "fused"
    monkeypatch.setenv("VMDEPTH_ATTENTION", "explicit")
    assert attention_form() == "explicit"
    with use_attention("fused"):
        assert attention_form() == "fused"
    monkeypatch.setenv("VMDEPTH_ATTENTION", "flash")
    with pytest.raises(ValueError, match="it can be 'fused' or 'explicit'"):
        attention_form()
    with pytest.raises(ValueError, match="it can be 'fused' or 'explicit'"), use_attention("flash"):
        pass


def test_the_causal_mask_is_additive_and_lower_triangular():
    mask = causal_mask(4, torch.device("cpu"))
    assert torch.equal(mask.exp(), torch.ones(4, 4).tril())

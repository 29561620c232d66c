"""Official checkpoints are recognised, loaded as they are, and refused with the reason where they are not whole."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import vmdepth
from vmdepth.networks.presets import PRESETS
from vmdepth.official.depth_anything import official_shapes, recognise
from vmdepth.official.depth_anything_3 import build
from vmdepth.session import open_session
from vmdepth_runtime.errors import InputError


@pytest.mark.parametrize(
    ("table", "preset", "head"),
    [
        ("da2_vit" + letter, size, "none")
        for letter, size in zip("sblg", ("small", "base", "large", "giant"), strict=True)
    ]
    + [("vda_vit" + letter, size, "attention") for letter, size in zip("sbl", ("small", "base", "large"), strict=True)],
)
def test_names_and_shapes_are_those_of_the_official_file(table, preset, head, shared_reference, tmp_path):
    keys = json.loads((shared_reference / f"keys_{table}.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    _, config, name = recognise(tmp_path / "any.pth", file, None, None)
    assert official_shapes(config) == {name: tuple(entry["shape"]) for name, entry in keys.items()}
    assert (config.encoder, config.head.kind, config.features) == (preset, head, PRESETS[preset].features)
    assert name.endswith(table[-4:])


@torch.no_grad()
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
    out = views(torch.from_numpy(io["input"]), normalised=True)
    for got, expected in ((out.depth, io["depth"]), (out.confidence, io["depth_conf"])):
        assert np.abs(got.numpy() - expected).max() <= 2e-5 * np.abs(expected).max()
    with pytest.raises(InputError, match="temporal, window and max_depth do not apply"):
        vmdepth.load(tmp_path / "model.safetensors", temporal="causal")
    with pytest.raises(InputError, match="no step to stream"):
        open_session(tmp_path / "model.safetensors")
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
    torch.save({"module.a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"not a checkpoint of a network we know; it begins with module\.a"):
        vmdepth.load(path)


@pytest.mark.parametrize("model", ["da2_vits", "vda_vits", "da3_small", "da3_mono_large"])
@pytest.mark.parametrize("change", ["missing", "of another shape"])
def test_any_one_key_may_be_wrong_and_the_family_is_still_told(model, change, shared_reference, tmp_path):
    keys = json.loads((shared_reference / f"keys_{model}.json").read_text())["keys"]
    file = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    top = [name for name in file if not re.search(r"blocks\.\d+|auxiliary|_aux\.", name)]
    for name in top:
        wrong = {key: tensor for key, tensor in file.items() if key != name}
        if change != "missing":
            wrong[name] = torch.empty(7, 3, device="meta")
        with pytest.raises((InputError, ValueError)) as error:
            build(wrong) if model.startswith("da3") else recognise(tmp_path / "any.pth", wrong, None, None)
        assert re.search(r"looks like (Depth|Video Depth) Anything", str(error.value)), name
        assert name in str(error.value)


def test_hugging_face_names_are_checked_as_they_are(transformers_network, tmp_path):
    theirs = transformers_network()
    theirs.save_pretrained(tmp_path)  # in memory the library has other names than in its files
    names = load_file(tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    recognise(path, names, None, None)
    key = "backbone.encoder.layer.3.attention.attention.key.weight"

    def complaint(**changed):
        with pytest.raises(InputError) as error:
            recognise(path, {k: v for k, v in {**names, **changed}.items() if v is not None}, None, None)
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
    config = recognise(tmp_path / place, file, None, None)[1]
    assert (config.depth == "metric") == (metres is not None)
    assert config.max_depth == (metres or 1)


class Harmful:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"a": Harmful()}, path)
    with pytest.raises(InputError, match="not a readable checkpoint of plain weights"):
        vmdepth.load(path)
    assert capsys.readouterr().out == ""


def test_forms_that_cannot_be_are_refused(tmp_path, official_weights):
    still, video = tmp_path / "still.pth", tmp_path / "video.pth"
    torch.save(official_weights("da2_vits"), still)
    torch.save(official_weights("vda_vits"), video)
    with pytest.raises(InputError, match="no attention over time"):
        vmdepth.load(still, temporal="causal")
    with pytest.raises(InputError, match="window belongs to temporal='causal'"):
        vmdepth.load(video, window=8)
    for wrong in ({"temporal": "casual"}, {"temporal": "causal", "window": 0}, {"temporal": "causal", "window": 33}):
        with pytest.raises(InputError, match=r"video\.pth: (temporal form 'casual'|window \d+): "):
            vmdepth.load(video, **wrong)
    with pytest.raises(InputError, match="contradict"):
        vmdepth.load(still, metric=False, max_depth=20)
    with pytest.raises(InputError, match="needs no max_depth"):
        vmdepth.load(video, max_depth=20)
    with pytest.raises(ValueError, match="no step"):
        vmdepth.load(video, temporal="bidirectional").step(torch.zeros(1, 3, 28, 28))

"""Names and shapes tell which one family a file is of, even where one of them is wrong; or that it is of none."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import vmdepth
from vmdepth import checkpoint
from vmdepth.checkpoint import FAMILIES, load_stepping, recognise
from vmdepth.networks.multiview.views import ViewNetwork, Views
from vmdepth.official.family import CheckpointFile, Family, LoadOptions
from vmdepth_runtime.errors import InputError

PUBLISHED = {
    **{f"da2_vit{letter}": "Depth Anything V2" for letter in "sblg"},
    **{f"vda_vit{letter}": "Video Depth Anything" for letter in "sbl"},
    **{f"da3_{name}": "Depth Anything 3" for name in ("small", "base", "large", "giant", "mono_large", "metric_large")},
    "da3_nested_giant_large": "Depth Anything 3",
}


def published(folder, name):
    """The tensors of an official file, on the meta device."""
    keys = json.loads((folder / f"keys_{name}.json").read_text())["keys"]
    return {key: torch.empty(entry["shape"], device="meta") for key, entry in keys.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_file_is_of_one_family_whatever_their_order(name, shared_reference):
    file = CheckpointFile(Path("any.pth"), published(shared_reference, name))
    assert [family.name for family in FAMILIES if family.recognises(file)] == [PUBLISHED[name]]


@pytest.mark.parametrize("model", ["da2_vits", "vda_vits", "da3_small", "da3_mono_large"])
@pytest.mark.parametrize("change", ["missing", "of another shape"])
def test_any_one_key_may_be_wrong_and_the_family_is_still_told(model, change, shared_reference):
    tensors = published(shared_reference, model)
    top = [name for name in tensors if not re.search(r"blocks\.\d+|auxiliary|_aux\.", name)]
    for name in top:
        wrong = {key: tensor for key, tensor in tensors.items() if key != name}
        if change != "missing":
            wrong[name] = torch.empty(7, 3, device="meta")
        file = CheckpointFile(Path("any.pth"), wrong)
        family = recognise(file)
        assert family.name == PUBLISHED[model], name
        with pytest.raises(InputError, match=f"^any.pth: looks like {family.name} ") as error:
            family.build(file, LoadOptions())
        assert name in str(error.value)


@pytest.mark.parametrize("load", [vmdepth.load, load_stepping])
def test_a_file_of_no_family_is_told_which_there_are(load, tmp_path):
    torch.save({"module.b": torch.zeros(1), "module.a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError) as error:
        load(tmp_path / "other.pth")
    assert str(error.value) == (
        f"{tmp_path / 'other.pth'}: not a checkpoint of a network we know; it begins with module.a, module.b. "
        f"There are: vmdepth-train's own, Video Depth Anything, Depth Anything V2, Depth Anything 3"
    )
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(InputError, match=r"empty\.safetensors: not a checkpoint of a network we know; it is empty"):
        load(tmp_path / "empty.safetensors")


def test_a_file_of_an_encoder_is_no_network_and_says_what_starts_from_it(tmp_path):
    path = tmp_path / "deeplabv3_mnv2_pascal_quant.tflite"
    path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"holds the encoder of DeepLabv3 .* starts from it: init={path}$"):
        vmdepth.load(path)


class Brightness(ViewNetwork):
    """A network of a family that nobody else has."""

    def forward(self, clip):
        return Views(clip.mean(2))


BRIGHTNESS = Family("Brightness", lambda file: "brightness" in file.tensors, lambda file, options: Brightness().eval())


def test_another_family_needs_its_place_in_the_tuple_and_goes_by_its_own_name(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    save_file({"brightness": torch.zeros(1)}, path)
    monkeypatch.setattr(checkpoint, "FAMILIES", (*FAMILIES, BRIGHTNESS))
    assert isinstance(vmdepth.load(path), Brightness)
    with pytest.raises(InputError, match=r"is Brightness, a network of views: it has no step to stream"):
        load_stepping(path)
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"There are: vmdepth-train's own, .*, Brightness$"):
        vmdepth.load(path)

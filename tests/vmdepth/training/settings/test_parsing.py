"""Settings: everything that is wrong is said before anything starts."""

import pytest

from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.training.settings.parsing import parse_settings
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth_runtime.errors import InputError


def test_a_preset_and_overrides():
    settings = parse_settings("small", ["steps=10", "learning_rate=3e-4", "size=98x126"])
    assert settings == TrainSettings(preset="small", steps=10, learning_rate=3e-4, size="98x126")
    assert settings.height_width == (98, 126)


def test_yes_no_and_the_form_of_attention():
    settings = parse_settings("vda-small-causal", ["freeze_encoder=true", "temporal=bidirectional"])
    assert settings.freeze_encoder is True
    assert settings.network.head.temporal == "bidirectional"
    assert parse_settings("vda-small-causal", ["window=8"]).network.head.window == 8
    assert parse_settings("vda-small-causal", ["freeze_encoder=false"]).network.head.temporal == "causal"


def test_a_yaml_file_and_overrides(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: small\nsteps: 7\nbatch: 2\n")
    assert parse_settings(str(file), ["batch=3"]) == TrainSettings(preset="small", steps=7, batch=3)


@pytest.mark.parametrize(
    ("start", "overrides", "message"),
    [
        ("huge", [], "there are edge, tiny, small"),
        ("tiny", ["stepz=3"], "did you mean 'steps'"),
        ("tiny", ["steps"], "key=value"),
        ("tiny", ["steps=many"], "should be int"),
        ("tiny", ["steps=1.5"], "should be int"),
        ("tiny", ["init=https://host/net.pth"], "init=https://host/net.pth: is an address; download"),
        ("tiny", ["data=https://host/walk.mp4"], "data=https://host/walk.mp4: is an address; download"),
        ("tiny", ["steps=0"], "above 0"),
        ("tiny", ["size=200x250"], "no multiple of 14; the nearest are 196x238 and 210x252"),
        ("edge", ["size=196x252"], "no multiple of 16; the nearest are 192x240 and 208x256"),
        ("tiny", ["size=big"], "HxW"),
        ("edge", ["textures=nowhere"], "textures=nowhere: no such folder"),
        ("tiny", ["freeze_encoder=maybe"], "true or false"),
        ("tiny", ["temporal=causal"], "no attention over time"),
        ("vda-small-causal", ["temporal=acausal"], "there are bidirectional, causal, streaming"),
        ("vda-small-causal", ["window=40"], "can be 2..32 frames"),
        ("vda-small-causal", ["window=8", "temporal=streaming"], "belongs to temporal=causal"),
        ("tiny", ["window=8"], "no attention over time"),
        ("tiny", ["head=lstm"], "head 'lstm': there are mamba2, attention, none"),
        ("tiny", ["d_stat=8"], "did you mean 'd_state'"),
        ("tiny", ["d_state=0"], "d_state=0: must be above 0"),
        ("tiny", ["blocks=2,1"], "there are 3 taps"),
        ("tiny", ["blocks=two"], "whole numbers with commas between"),
        ("tiny", ["temporal_width=50"], "a multiple of head_dim=16"),
        ("vda-small-causal", ["d_state=8"], "has no Mamba-2 heads; leave d_state out"),
        ("tiny", ["scan=fast"], "scan=fast: there are auto, quadratic, chunked"),
        ("tiny", ["preset=huge"], "there are edge, tiny"),
        ("none.yaml", [], "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_said(start, overrides, message):
    with pytest.raises(InputError, match=message):
        parse_settings(start, overrides)


def test_a_yaml_file_that_is_no_mapping_is_refused(tmp_path):
    file = tmp_path / "list.yaml"
    file.write_text("- a\n")
    with pytest.raises(InputError, match="key: value"):
        parse_settings(str(file), [])


def test_sizes_of_mamba_heads_are_settings():
    overrides = ["temporal_width=32", "d_state=8", "blocks=2,1,1", "feed_forward=2"]
    settings = parse_settings("tiny", overrides)
    assert settings.network.head == MambaSettings(32, d_state=8, blocks=(2, 1, 1), feed_forward=2)
    assert settings.to_dict()["d_state"] == 8
    assert parse_settings("edge", ["blocks=2"]).network.head == MambaSettings(32, blocks=(2,))
    assert parse_settings("edge", ["time_code=false"]).network.head == MambaSettings(32, time_code=False)
    assert parse_settings("edge", ["d_state="]).network.head == MambaSettings(32)  # empty is the preset's
    fresh = parse_settings("vda-small-causal", ["head=mamba2", "d_state=32"])
    assert fresh.network.head == MambaSettings(d_state=32)


def test_settings_of_a_head_stand_in_yaml_files_too(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: tiny\nblocks: [2, 1, 1]\nfeed_forward: 1\n")
    assert parse_settings(str(file), []).network.head == MambaSettings(48, blocks=(2, 1, 1), feed_forward=1)

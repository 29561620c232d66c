"""Settings: everything that is wrong is said before anything starts."""

import pytest

from vmdepth.training.settings import TrainSettings, parse_settings
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

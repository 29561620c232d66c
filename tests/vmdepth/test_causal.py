"""`--causal` and `--no-causal` are names of forms, at every command alike; what cannot be is said in one line."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from vmdepth import checkpoint
from vmdepth.causal import check_asked
from vmdepth.evaluate import command as evaluate
from vmdepth.evaluation.evaluator import open_models
from vmdepth.evaluation.recording import Streamed
from vmdepth.evaluation.whole_clip import ClipNetwork
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.train import command as train
from vmdepth.training.settings.parsing import in_form, settings_of
from vmdepth_runtime.errors import InputError

SMALL = ["size=28x42", "clip_length=2", "batch=1", "steps=1", "warmup=1", "validate_every=0", "device=cpu"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Networks trained with the future in sight, and with heads that never see it."""
    folder = tmp_path_factory.mktemp("saved")
    attention = replace(PRESETS["tiny"], features=64, head=AttentionSettings("bidirectional"), taps=("layer_3",))
    for name, config in {"both": attention, "mamba": PRESETS["tiny"]}.items():
        torch.manual_seed(0)
        model = VideoDepth(config).eval()
        for head in model.heads.values():
            torch.nn.init.normal_(head.proj_out.weight, std=0.3)
        checkpoint.save(folder / f"{name}.safetensors", model, name)
    return folder


def said(command, *words):
    """What a command says on both channels, and how it ends: None or its error."""
    done = CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)
    return done.output, done.exception


def test_training_has_the_form_and_keeps_it(tmp_path):
    words = ["edge", *SMALL, "size=32x48", "head=attention", "--no-causal", "--out", tmp_path / "run"]
    output, error = said(train, *words)
    assert error is None, output
    assert checkpoint.load(tmp_path / "run" / "last.safetensors").config.head == AttentionSettings("bidirectional")
    assert "was started with another temporal" in str(said(train, "--resume", tmp_path / "run", "--causal")[1])


@pytest.mark.parametrize("given", [{"preset": "vda-base-causal"}, {"preset": "edge", "head": "attention"}], ids=str)
def test_the_flag_is_the_setting_of_attention_heads(given):
    for causal, form in ((True, "causal"), (False, "bidirectional")):
        assert settings_of(in_form(given, causal, pytest.fail)).network.head == AttentionSettings(form)


def test_training_says_what_cannot_be(tmp_path):
    out = ["--out", tmp_path / "run"]
    message = "--no-causal and temporal=causal: are two forms; give one of them"
    assert message in str(said(train, "vda-small-causal", "temporal=causal", "--no-causal", *out)[1])
    assert message in str(said(train, "temporal=causal", "head=attention", "--no-causal", *out)[1])
    message = (
        "preset 'tiny' with head=mamba2: has no attention over time and never sees the future; it is causal anyway"
    )
    assert f"{message}; leave --no-causal out" in str(said(train, "tiny", "--no-causal", *out)[1])
    assert "head=none" in str(said(train, "tiny", "head=none", "--no-causal", *out)[1])
    assert "window=8: belongs to temporal=causal" in str(
        said(train, "vda-small-causal", "window=8", "--no-causal", *out)[1]
    )
    assert "there are edge, tiny" in str(said(train, "preset=huge", "--causal", *out)[1])
    assert not (tmp_path / "run").exists()


def test_training_says_that_mamba_heads_are_causal_anyway(tmp_path):
    output, error = said(train, "tiny", "steps=0", "--causal", "--out", tmp_path / "run")
    assert "preset 'tiny' with head=mamba2: has no attention over time and never sees the future" in output
    assert "steps=0" in str(error)


def test_a_model_is_evaluated_in_the_form_asked_for(saved):
    both, mamba = saved / "both.safetensors", saved / "mamba.safetensors"
    (whole,), _ = open_models([both], None, causal=False)
    assert isinstance(whole, ClipNetwork)
    (streamed,), _ = open_models([both], None, causal=True)
    assert isinstance(streamed, Streamed)
    assert streamed.session.model.config.head == AttentionSettings("causal")
    lines = []
    open_models([both, mamba], None, causal=True, warn=lines.append)
    assert lines == [f"{mamba}: has no attention over time and never sees the future; it is causal anyway"]


def test_the_future_makes_a_difference_and_the_command_shows_it(saved):
    both = saved / "both.safetensors"
    tables = [said(evaluate, both, "rendered:1x4", word) for word in ("--causal", "--no-causal")]
    assert all(error is None for _, error in tables)
    assert tables[0][0] != tables[1][0]
    assert tables[1][0] == said(evaluate, both, "rendered:1x4")[0]  # as it was trained


def test_evaluation_says_what_cannot_be(saved):
    mamba = saved / "mamba.safetensors"
    assert "leave --no-causal out" in str(said(evaluate, mamba, "rendered:1x4", "--no-causal")[1])
    for path in ("a.onnx", "a.engine"):
        with pytest.raises(InputError, match=f"--causal: is chosen when a checkpoint is exported; {path} is a graph"):
            check_asked(True, [Path(path)])
    check_asked(False, [Path("a.onnx"), Path("a.pth")])  # a graph beside a checkpoint stays as it is

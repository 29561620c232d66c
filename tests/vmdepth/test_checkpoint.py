"""A checkpoint is the network it was made from, or an error that says what it is instead."""

import doctest
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import vmdepth
from vmdepth import checkpoint
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(3)
    model = VideoDepth(PRESETS["tiny"])
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    checkpoint.save(path, model, "tiny", {"steps_done": 5})
    return path, model


def tampered(saved, folder, change):
    path, _ = saved
    tensors, facts = checkpoint.read_tensors(path)
    change(tensors, facts)
    checkpoint.write_tensors(folder / "tampered.safetensors", tensors, facts)
    return folder / "tampered.safetensors"


def test_what_is_loaded_is_what_was_saved(saved):
    path, model = saved
    loaded = vmdepth.load(path)
    assert loaded.config == model.config
    assert loaded.name == "tiny"
    assert not loaded.training
    assert all(
        torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert checkpoint.weights_hash(loaded) == checkpoint.weights_hash(model)


def test_what_is_loaded_is_for_use_and_learns_when_it_is_told_to(saved):
    model = vmdepth.load(saved[0])
    assert not any(parameter.requires_grad for parameter in model.parameters())
    depth, states = model(torch.rand(1, 2, 3, 28, 42))
    frame_depth, after = model.step(torch.rand(1, 3, 28, 42), states)
    assert not any(tensor.requires_grad for tensor in (depth, frame_depth, *states.values(), *after.values()))
    model.requires_grad_()(torch.rand(1, 2, 3, 28, 42))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_stream_of_200_frames_keeps_memory_flat(saved):
    model = vmdepth.load(saved[0])
    frame, states, pages = torch.rand(1, 3, 56, 84), None, []
    for _ in range(210):
        _, states = model.step(frame, states)
        pages.append(resident())
    # What libraries keep from the first calls is not the loop's; the least of many is free of what comes and goes.
    assert min(pages[-50:]) < 1.02 * pages[10]


def test_the_hash_tells_weights_apart(saved):
    other = vmdepth.load(saved[0])
    with torch.no_grad():
        other.encoder.cls_token[0, 0, 0] += 1e-3
    assert checkpoint.weights_hash(other) != checkpoint.weights_hash(saved[1])


def test_missing_extra_and_misshapen_weights_are_named(saved, tmp_path):
    def change(tensors, facts):
        del tensors["encoder.norm.bias"]
        tensors["encoder.extra"] = torch.zeros(1)
        tensors["encoder.norm.weight"] = torch.zeros(7)

    with pytest.raises(InputError, match="looks like its network 'tiny', but") as error:
        vmdepth.load(tampered(saved, tmp_path, change))
    assert all(name in str(error.value) for name in ("encoder.norm.bias", "encoder.extra", "encoder.norm.weight"))


def test_settings_that_cannot_be_are_refused(saved, tmp_path):
    for setting, value in (("encoder", "huge"), ("no_such", 1)):
        with pytest.raises(InputError, match="network settings are not readable"):
            vmdepth.load(
                tampered(saved, tmp_path, lambda _, facts, s=setting, v=value: facts["network"].update({s: v}))
            )


def test_other_files_are_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors: no such file"):
        vmdepth.load(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("not tensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    for path, reason in (
        (text, r"not a readable checkpoint \(.*\); get it again"),
        (foreign, "not a checkpoint of a network we know"),
    ):
        with pytest.raises(InputError, match=f"{path.name}: {reason}"):
            vmdepth.load(path)


def test_a_checkpoint_is_plain_safetensors(saved):
    assert load_file(saved[0]).keys() == saved[1].state_dict().keys()


class Harmful:
    def __reduce__(self):
        return (print, ("ran",))


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"a": Harmful()}, path)
    with pytest.raises(InputError, match="not a readable checkpoint of plain weights"):
        vmdepth.load(path)
    assert capsys.readouterr().out == ""


def test_the_example_of_load_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = (test for test in doctest.DocTestFinder().find(vmdepth.load, "load", globs={}) if test.examples)
    assert doctest.DocTestRunner().run(example) == doctest.TestResults(failed=0, attempted=len(example.examples))

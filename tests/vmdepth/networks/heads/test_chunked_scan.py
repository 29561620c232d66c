"""The recurrence by the kernels of mamba-ssm: their numbers, how many sequences they get, when they are taken."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from vmdepth.networks.heads import chunked_scan
from vmdepth.networks.heads.chunked_scan import chunked
from vmdepth.networks.heads.mamba2 import Mamba2
from vmdepth.networks.heads.scan import quadratic
from vmdepth.networks.heads.scan_forms import chosen_scan, use_scan
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
FOLDER = Path(sys.prefix) / "mamba-ssm"  # where make test puts it
KERNELS = pytest.mark.skipif(
    not find_spec("triton") or not (find_spec("mamba_ssm") or FOLDER.is_dir()),
    reason="needs mamba-ssm and Triton; 'make .venv/mamba-ssm' installs both, or see docs/training.md",
)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """What the real kernels gave on the CPU, beside ours."""
    results = tmp_path_factory.mktemp("interpreted") / "results.pt"
    script = Path(__file__).with_name("interpreted_kernels.py")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_F32_DEFAULT"}
    environment["PYTHONPATH"] = os.pathsep.join([str(FOLDER), environment.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-W", "ignore", script, results], check=True, env=environment)
    return torch.load(results)


def difference(ours, theirs):
    return float((ours - theirs).abs().max() / ours.abs().max())


@KERNELS
@pytest.mark.parametrize("case", ["one frame", "a clip, watched, in slices", "two chunks", "decay beyond float32"])
def test_the_kernels_give_the_same_clip_states_and_gradients(interpreted, case):
    for name, (ours, theirs) in interpreted["cases"][case].items():
        assert ours.any() or name == "conv"
        assert difference(ours, theirs) <= 1e-5, name


@KERNELS
def test_they_are_chosen_for_cuda_computed_in_float32_and_loaded_without_the_rest_of_the_package(interpreted):
    assert interpreted["auto on cuda"] == "chunked"
    assert interpreted["products"] == "ieee"
    assert not interpreted["whole package loaded"]


@pytest.mark.parametrize(
    ("frames", "chunk", "sequences", "state", "expected"),
    [
        (6, 16, 87_616, (4, 16, 16), [65_535, 22_081]),  # four clips at the finest map of 518 × 518: blocks of a grid
        (100, 64, 50_000, (4, 16, 16), [32_767, 17_233]),  # in two chunks each
        (6, 16, 40_000, (8, 64, 64), [32_767, 7_233]),  # offsets of 32 bits, into the states of one chunk and before it
    ],
)
def test_no_call_gets_more_sequences_than_the_kernels_count(frames, chunk, sequences, state, expected):
    x = torch.empty(sequences, frames, *state[:2], device="meta")
    states = torch.empty(sequences, *state, device="meta")
    parts = list(chunked_scan._slices(chunk, x, x[..., 0], states))
    assert [[len(part) for part in same] for same in zip(*parts, strict=True)] == [expected] * 3


def test_what_one_call_gives_is_handed_on_without_a_copy(monkeypatch):
    given, told = [], []

    def scan(x, *_, initial_states, return_final_states=False, **more):
        given.append((x.clone(), initial_states.clone()) if return_final_states else x.clone())
        return given[-1]

    monkeypatch.setattr(chunked_scan, "kernels", lambda: scan)
    x, into, state = torch.zeros(3, 5, 2, 8), torch.zeros(3, 5, 4), torch.zeros(3, 2, 8, 4)
    outputs, after = chunked(x, x[..., 0], into, into, state, *torch.zeros(3, 2), told.append)
    (y, states), means = given
    assert outputs is y
    assert after is states
    assert told == [means]


def test_without_cuda_auto_is_quadratic_and_the_kernels_are_refused():
    assert chosen_scan("auto", CPU).scan is quadratic
    with pytest.raises(ValueError, match=r"^scan=chunked: its kernels run on a CUDA device, and this is cpu; leave"):
        chosen_scan("chunked", CPU)


def test_without_the_package_auto_is_quadratic_and_says_why(monkeypatch):
    chunked_scan.kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)  # as where it is not installed
    monkeypatch.setenv("TRITON_F32_DEFAULT", "ieee")
    chosen = chosen_scan("auto", CUDA)
    assert chosen.scan is quadratic
    assert "mamba-ssm cannot be used: " in chosen.why
    assert "pip install --no-build-isolation 'vmdepth[cuda]'" in chosen.why
    with pytest.raises(ValueError, match=r"^scan=chunked: mamba-ssm cannot be used: .*vmdepth\[cuda\]', or leave"):
        chosen_scan("chunked", CUDA)
    assert chosen_scan("quadratic", CUDA).why == ""


def test_every_mixer_of_a_network_goes_by_the_form_that_was_chosen():
    network = VideoDepth(PRESETS["edge"])
    mixers = [part for part in network.modules() if isinstance(part, Mamba2)]
    assert {part.scan for part in mixers} == {quadratic}
    use_scan(network, chunked)
    assert {part.scan for part in mixers} == {chunked}


@KERNELS
@pytest.mark.gpu
@pytest.mark.parametrize("tokens", [3, 70_000])  # within and beyond a grid
def test_on_a_gpu_they_give_the_same(tokens, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    torch.manual_seed(0)
    block = Mamba2(width=32, head_dim=16, d_state=16, expand=1).cuda()
    x = torch.randn(tokens, 6, 32, device="cuda")
    states = [torch.randn(shape, device="cuda") for shape in block.state_shapes(1, tokens).values()]
    results = []
    for scan in (quadratic, chosen_scan("chunked", CUDA).scan):
        use_scan(block, scan)
        given, means = [value.clone().requires_grad_() for value in (x, *states)], []
        values = [*block(*given, means.append), *means]
        sum((value * value).sum() for value in values).backward()
        results.append([*values, *(value.grad for value in given)])
    for ours, theirs in zip(*results, strict=True):
        assert difference(ours, theirs) <= 1e-5

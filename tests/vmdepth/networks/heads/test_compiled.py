"""The clip form of a mixer by TorchInductor, which compiles it with g++ on a CPU."""

import shutil

import pytest
import torch
import torch._inductor.config

from vmdepth.networks.heads.mamba2 import Mamba2
from vmdepth.networks.heads.scan import quadratic


def learnt(block, form, x, states):
    """Outputs, states, what a watch is told, and all gradients."""
    block.zero_grad()
    x, *states = (given.clone().requires_grad_() for given in (x, *states))
    means = []
    values = [*form(x, *states, means.append), *means]
    sum((value * value).sum() for value in values).backward()
    return [*values, x.grad, *(state.grad for state in states), *(weight.grad for weight in block.parameters())]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_outputs_states_and_gradients_are_those_of_plain_pytorch(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing that was compiled before
    torch.manual_seed(0)
    block = Mamba2(width=16, head_dim=8, d_state=4, expand=1)
    x, states = torch.randn(6, 5, 16), [torch.randn(shape) for shape in block.state_shapes(2, 3).values()]
    expected = learnt(block, block, x, states)
    # In this process, and without asking one more for each instruction set whether it really is there: that is most of
    # the time.
    with torch._inductor.config.patch({"compile_threads": 1, "cpp.vec_isa_ok": True}):
        got = learnt(block, torch.compile(block), x, states)
    assert len(got) == len(expected)
    for ours, theirs in zip(expected, got, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * ours.abs().max()


def test_a_scan_whose_kernels_are_compiled_already_is_called_as_it_is():
    torch.manual_seed(0)
    block = Mamba2(width=16, head_dim=8, d_state=4, expand=1)
    x, states = torch.randn(6, 5, 16), [torch.randn(shape) for shape in block.state_shapes(2, 3).values()]
    expected, called = learnt(block, block, x, states), []

    def scan(*given):
        called.append(torch.compiler.is_compiling())
        return quadratic(*given)

    block.scan = torch.compiler.disable(scan)  # as `chosen_scan` gives the kernels of mamba-ssm
    got = learnt(block, torch.compile(block, backend="eager"), x, states)
    assert called == [False]
    for ours, theirs in zip(expected, got, strict=True):
        torch.testing.assert_close(theirs, ours)

"""The real kernels of mamba-ssm on the CPU, by Triton's interpreter, beside our own form: a process of its own.

    python interpreted_kernels.py results.pt

It writes {"cases": {case: {what: (ours, theirs)}}} and how kernels were chosen and loaded. Triton decides when it is
first imported whether it interprets, so no process that may have imported it before will do. Given to the interpreter:
what mamba-ssm asks a CUDA device for. Only how long a configuration of a kernel takes is not measured: the first is
taken.
"""

from __future__ import annotations

import contextlib
import os
import sys
from types import SimpleNamespace

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor
from triton import knobs
from triton.runtime.autotuner import Autotuner

from vmdepth.networks.heads import chunked_scan
from vmdepth.networks.heads.chunked_scan import chunked
from vmdepth.networks.heads.mamba2 import Mamba2
from vmdepth.networks.heads.scan import Scan, quadratic
from vmdepth.networks.heads.scan_forms import chosen_scan

Values = dict[str, Tensor]


def mixer(**sizes: int) -> Mamba2:
    torch.manual_seed(0)
    return Mamba2(**({"width": 32, "head_dim": 16, "d_state": 8, "expand": 1} | sizes))


def learnt(block: Mamba2, scan: Scan, x: Tensor, states: list[Tensor], watched: bool) -> Values:
    """A clip, the states after it, and the gradients of a loss on all of them."""
    block.scan = scan
    block.zero_grad()
    x, states = x.clone().requires_grad_(), [state.clone().requires_grad_() for state in states]
    means: list[Tensor] = []
    y, ssm, conv = block(x, *states, means.append if watched else None)
    values = {"y": y, "ssm": ssm, "conv": conv} | ({"watched": means[0]} if watched else {})
    sum((value * torch.linspace(-1, 2, value.numel()).view_as(value)).sum() for value in values.values()).backward()
    values |= {"gradient of x": x.grad, "gradient of ssm": states[0].grad, "gradient of conv": states[1].grad}
    values |= {f"gradient of {name}": parameter.grad for name, parameter in block.named_parameters()}
    return {name: value.detach().clone() for name, value in values.items()}


def both(block: Mamba2, frames: int, tokens: int, watched: bool = False) -> dict[str, tuple[Tensor, Tensor]]:
    """The same clip with carried-in states by both forms."""
    x = torch.randn(tokens, frames, block.in_proj.in_features)
    states = [torch.randn(shape) for shape in block.state_shapes(1, tokens).values()]
    ours, theirs = (learnt(block, scan, x, states, watched) for scan in (quadratic, chunked))
    return {name: (value, theirs[name]) for name, value in ours.items()}


def cases() -> dict[str, dict[str, tuple[Tensor, Tensor]]]:
    results = {"one frame": both(mixer(), frames=1, tokens=1)}
    chunked_scan._GRID = 2  # two sequences at once: three take two calls
    results["a clip, watched, in slices"] = both(mixer(head_dim=32), frames=6, tokens=3, watched=True)
    results["two chunks"] = both(mixer(), frames=70, tokens=1)
    with torch.no_grad():
        block = mixer()
        block.dt_bias.fill_(60.0)  # one step forgets by exp(−60 · 16)
        x, states = torch.randn(1, 12, 32), [torch.zeros(shape) for shape in block.state_shapes(1, 1).values()]
        forms = []
        for block.scan in (quadratic, chunked):
            forms.append(block(x, *states))
        results["decay beyond float32"] = {
            name: (ours, theirs) for name, ours, theirs in zip(("y", "ssm", "conv"), *forms, strict=True)
        }
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.cuda.device = lambda device: contextlib.nullcontext()
    torch.cuda.get_device_properties = lambda device: SimpleNamespace(multi_processor_count=1)
    Autotuner.do_bench = lambda tuner, call, quantiles: [0.0] * 3
    facts = {"auto on cuda": chosen_scan("auto", torch.device("cuda")).name, "cases": cases()}
    facts |= {"products": knobs.language.fp32_default, "whole package loaded": "mamba_ssm" in sys.modules}
    torch.save(facts, sys.argv[1])

"""A larger network to check with, whose weights are made on the spot: its step graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth_export.verify.outcome import LeftOut, Seen

if TYPE_CHECKING:
    from vmdepth.networks.step_network import StepNetwork

_SIZE = (252, 336)
_SEED = 0
_LAST_BIAS = "decoder.scratch.output_conv2.2.bias"


def make_reference(output: str, size: tuple[int, int] = _SIZE) -> Seen:
    """The step graph of `reference_network`, proven, where it is not there yet. Raises LeftOut without torch."""
    from vmdepth_export.graph import read_step_graph

    path = Path(output)
    if path.is_file():
        _, contract = read_step_graph(path)
        return Seen(f"given: {contract.model}, {contract.height}x{contract.width}")
    try:
        network = reference_network()
        from vmdepth_export.conversion.proven_graph import export_step_graph
    except ModuleNotFoundError as error:
        raise LeftOut(
            f"making it takes '{error.name}'; make it on a workstation with 'vmdepth-verify --quick --reference "
            "reference.onnx --make-reference', and give it here as --reference"
        ) from None
    report = export_step_graph(network, path, *size)
    told = f"depth {report.depth.largest:.1e}, states {report.states:.1e} over {report.frames} frames"
    return Seen(told, figures=report.summary())


def reference_network() -> StepNetwork:
    """Video Depth Anything small, streaming by the official rule, with weights that keep a signal alive.

    They are the same everywhere, whatever torch draws: the numbers come from NumPy's PCG64, of one seed.
    """
    from dataclasses import replace

    import numpy as np
    import torch

    from vmdepth.networks.heads.attention_head import AttentionSettings
    from vmdepth.networks.presets import PRESETS, VDA_TAPS
    from vmdepth.networks.video_depth import VideoDepth

    streaming = replace(PRESETS["small"], output="relu", head=AttentionSettings("streaming"), taps=VDA_TAPS)
    network = VideoDepth(streaming).eval().requires_grad_(False)
    numbers = np.random.default_rng(_SEED)
    for name, weight in network.named_parameters():
        if name == _LAST_BIAS:
            weight.fill_(3.0)  # depth that is nowhere near zero, where ratios say nothing
        elif name.endswith("gamma"):
            weight.fill_(0.1)  # blocks that add as much as they are given are ill conditioned
        elif weight.ndim == 1:
            weight.fill_(1.0 if name.endswith("weight") else 0.05)
        else:
            drawn = numbers.standard_normal(weight.shape, np.float32) / np.sqrt(max(1, weight[0].numel()))
            weight.copy_(torch.from_numpy(drawn))
    return network

"""Which form of the recurrence the Mamba-2 mixers of a network go over clips by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from vmdepth.networks.heads.chunked_scan import chunked, kernels
from vmdepth.networks.heads.mamba2 import Mamba2
from vmdepth.networks.heads.scan import Scan, quadratic

ScanForm = Literal["auto", "quadratic", "chunked"]

INSTALL = "pip install --no-build-isolation 'vmdepth[cuda]'"


@dataclass(frozen=True)
class ChosenScan:
    """A form of the recurrence. name: "quadratic" or "chunked". why: what keeps "auto" from the kernels on a CUDA
    device; empty where nothing does."""

    scan: Scan
    name: str
    why: str = ""


def chosen_scan(form: ScanForm, device: torch.device) -> ChosenScan:
    """The form asked for; of "auto", the kernels of mamba-ssm on a CUDA device where they are there.

    Raises ValueError, saying what to do, for "chunked" where it cannot be.
    """
    if form == "quadratic" or (form == "auto" and device.type != "cuda"):
        return ChosenScan(quadratic, "quadratic")
    if device.type != "cuda":
        raise ValueError(f"scan=chunked: its kernels run on a CUDA device, and this is {device}; leave scan out")
    try:
        kernels()
    except Exception as error:  # whatever ails a package that does not fit torch, Triton or the driver
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        why = f"mamba-ssm cannot be used: {reason}; {INSTALL}"
        if form == "chunked":
            raise ValueError(f"scan=chunked: {why}, or leave scan out") from error
        return ChosenScan(quadratic, "quadratic", why)
    return ChosenScan(torch.compiler.disable(chunked), "chunked")  # of kernels that are compiled already


def use_scan(network: nn.Module, scan: Scan) -> None:
    """Let every Mamba-2 mixer of a network go over clips by this form."""
    for part in network.modules():
        if isinstance(part, Mamba2):
            part.scan = scan

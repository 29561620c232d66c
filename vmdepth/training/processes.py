"""Several processes that train one model together, as `torchrun` starts them: every one has a part of each batch."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from vmdepth_runtime.errors import InputError


class Processes:
    """This process among the others; alone where `torchrun` started none.

    rank, count: its number and how many there are. device: the one it is to use. Gradients are averaged by PyTorch's
    DistributedDataParallel: NCCL between GPUs, gloo between CPUs. Raises InputError for a device that is not there.
    """

    def __init__(self, device: str) -> None:
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
        try:
            self.device = torch.device("cuda" if cuda else "cpu" if device == "auto" else device)
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device={device}: cannot be used here ({str(error).splitlines()[0]})") from None
        if self.count > 1:
            if cuda:
                self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
                torch.cuda.set_device(self.device)
            distributed.init_process_group("nccl" if cuda else "gloo")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def wrap(self, model: Any) -> nn.Module:
        """The model, its gradients averaged over all processes."""
        if self.count == 1:
            return model
        return DistributedDataParallel(model, [self.device] if self.device.type == "cuda" else None)

    def without_sync(self, model: Any, last: bool) -> AbstractContextManager[Any]:
        """For backward passes before the last of a step: gradients add up here, and are averaged once."""
        return nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
            values = values / self.count
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process: then all know, and stop at the same step."""
        if self.count == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def close(self) -> None:
        if self.count > 1:
            distributed.destroy_process_group()

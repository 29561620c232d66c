"""Training batches rendered on the fly, in the background when a CPU trains."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from vmdepth.data.synthetic import RenderedClips, render_clips

HELD_OUT_SEEDS = 10_000  # clips with a seed below this are for evaluation; training never renders them


class _RenderedBatches(Dataset[RenderedClips]):
    """Batch k of a run: its clips follow from k and the run's seed alone, so a resumed run sees what it would have."""

    def __init__(self, seed: int, batch: int, clip_length: int, height: int, width: int, device: torch.device) -> None:
        self.first_seed = HELD_OUT_SEEDS + seed * 10**8
        self.batch, self.clip_length, self.height, self.width, self.device = batch, clip_length, height, width, device

    def __getitem__(self, index: int) -> RenderedClips:
        start = self.first_seed + index * self.batch
        seeds = range(start, start + self.batch)
        return render_clips(seeds, self.clip_length, self.height, self.width, device=self.device)


def rendered_batches(
    seed: int, first: int, last: int, *, batch: int, clip_length: int, height: int, width: int, device: torch.device
) -> Iterator[RenderedClips]:
    """Batches `first` … `last` − 1 of the run with this seed, on `device`."""
    dataset = _RenderedBatches(seed, batch, clip_length, height, width, device)
    # A GPU renders faster than a worker could hand over; a CPU renders in one process beside the training.
    workers = 0 if device.type == "cuda" else 1
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        worker_init_fn=_leave_signals_to_parent,
    )
    return iter(loader)


def _leave_signals_to_parent(worker: int) -> None:
    """Ctrl-C and service managers signal every process of a run; a worker that died of it would take the run along."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)

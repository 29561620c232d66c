"""Training batches, made in the background; each follows from the run's seed and its number alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vmdepth.data.augment import augment
from vmdepth.data.clips import TrainingClips, collate, from_rendered
from vmdepth.data.cutting import cut, draw_stretch
from vmdepth.data.mixture import ClipSource, draw
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth_runtime.errors import InputError

HELD_OUT_SEEDS = 10_000  # clips with a seed below this are for evaluation; training never renders them


@dataclass(frozen=True)
class BatchPlan:
    """What every batch of a run is like. clips: in a batch, over all processes; a process makes every `processes`-th,
    from number `process` on. length: frames of a clip. photos: photographs for the rendered world. single_frames: share
    of the batches that hold clips · length single pictures instead. stride: longest step between a clip's frames.
    with_clean, with_still: as in `TrainingClips`."""

    sources: Sequence[ClipSource]
    seed: int
    clips: int
    length: int
    height: int
    width: int
    single_frames: float = 0.0
    stride: int = 1
    augmented: bool = True
    with_clean: bool = False
    with_still: bool = False
    process: int = 0
    processes: int = 1
    photos: Path | None = None

    def batch(self, number: int, device: torch.device) -> TrainingClips:
        """Batch `number` of the run (this process's share of it)."""
        # Drawn once for all processes: a batch is of clips for all of them, or for none.
        single = np.random.default_rng((self.seed, number)).random() < self.single_frames
        count, length = (self.clips * self.length, 1) if single else (self.clips, self.length)
        # Every batch has its own range of numbers, whatever it holds.
        first = number * self.clips * self.length
        numbers = range(first + self.process, first + count, self.processes)
        generators = [np.random.default_rng((self.seed, 1, n)) for n in numbers]
        videos = [draw(self.sources, generator) for generator in generators]
        made: dict[int, TrainingClips] = {}
        seeds = [HELD_OUT_SEEDS + self.seed * 10**8 + n for n, v in zip(numbers, videos, strict=True) if v is None]
        if seeds:
            stretch = [draw_stretch(np.random.default_rng((seed, 2)), self.height, self.width) for seed in seeds]
            clips = render_clips(
                seeds, length, self.height, self.width, device=device, photos=self.photos, stretch=stretch
            )
            rendered = from_rendered(clips, seeds)
            if not self.with_still:
                rendered = replace(rendered, still=None)
            made = dict(zip((i for i, v in enumerate(videos) if v is None), rendered.split(), strict=True))
        for place, (video, generator) in enumerate(zip(videos, generators, strict=True)):
            if video is not None:
                made[place] = cut(video, generator, length, self.stride, self.height, self.width, self.with_still).to(
                    device
                )
        batch = collate([made[place] for place in range(len(videos))])
        if self.with_clean:
            batch = replace(batch, clean=batch.rgb)
        if self.augmented:
            noise = torch.Generator()
            pictures = [
                augment(clip, noise.manual_seed((self.seed * 10**8 + n) * 7 + 3))
                for clip, n in zip(batch.rgb, numbers, strict=True)
            ]
            batch = replace(batch, rgb=torch.stack(pictures))
        return batch


class _Batches(Dataset["TrainingClips | InputError"]):
    """Made on `device`, handed over in host memory: what a process has on a GPU is gone once that process ends."""

    def __init__(self, plan: BatchPlan, device: torch.device) -> None:
        self.plan, self.device = plan, device

    def __getitem__(self, index: int) -> TrainingClips | InputError:
        try:
            return self.plan.batch(index, self.device).to(torch.device("cpu"))
        except InputError as error:
            return error  # raised in a worker it would come with the worker's traceback in its message


def batches(plan: BatchPlan, first: int, last: int, device: torch.device) -> Generator[TrainingClips, None, None]:
    """Batches `first` … `last` − 1 of a run, on `device`. Close it, or its processes outlive an error elsewhere.

    Raises InputError where footage cannot be read.
    """
    renders = any(source.videos is None for source in plan.sources)
    loader = DataLoader(
        _Batches(plan, device if renders else torch.device("cpu")),
        batch_size=None,
        sampler=range(first, last),
        num_workers=worker_count(device),
        # Processes of their own, not forks of this one: those would have decoders whose threads are not there, and wait
        # for them without end when they come to free one.
        multiprocessing_context="spawn",
        worker_init_fn=_leave_at_once,
    )
    iterator = _start(loader)
    try:
        for batch in iterator:
            if isinstance(batch, InputError):
                raise batch
            yield batch.to(device)
    finally:
        # The workers are deaf to signals: left to the end of the program, they would be waited for without end.
        iterator._shutdown_workers()  # type: ignore[attr-defined]


def worker_count(device: torch.device) -> int:
    """Processes that make batches for a network that learns on `device`.

    On a CPU one, as the network takes all cores. A GPU is fed by all that this process may run on, but one for itself:
    drawing worlds and what is new in every picture is work of the CPU, wherever they are rendered.
    """
    if device.type == "cpu":
        return 1
    cores, sharing = len(os.sched_getaffinity(0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, cores // sharing - 1)


def _leave_at_once(worker: int) -> None:
    """Ends a process that makes batches without tidying up, once all it has to do is done.

    Python, tidying up, stops the thread that hands tensors over within code of C++, which ends such a process as if it
    had crashed, and the run with it.
    """
    Finalize(None, os._exit, args=(0,), exitpriority=-100)


def _start(loader: DataLoader[TrainingClips | InputError]) -> Iterator[TrainingClips | InputError]:
    """Its batches, from a process that is deaf to SIGINT and SIGTERM from its first moment on.

    Ctrl-C and service managers signal every process of a run; a worker that died of it would take the run along.
    """
    resource_tracker.ensure_running()  # its own start, which comes first, unblocks them (Python before 3.12)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""The training loop: clips in, checkpoints, pictures and curves out."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from vmdepth.data.batches import BatchPlan, batches
from vmdepth.data.clips import TrainingClips
from vmdepth.evaluation.accuracy import Accuracy
from vmdepth.networks.heads.base import StateTensors
from vmdepth.training import run_folder, setup
from vmdepth.training.objective import NAMES, losses
from vmdepth.training.processes import Processes
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.students import inverse_depth
from vmdepth.training.watch.run_log import RunLog
from vmdepth.training.watch.validation import Validation
from vmdepth_runtime.errors import InputError, WorkError


@dataclass(frozen=True)
class Progress:
    """What a finished step reports. losses: by the names of `objective.NAMES`, unweighted means over all processes and
    the steps since the last report. held_out: what the last validation found; None before any."""

    step: int
    losses: dict[str, float]
    learning_rate: float
    frames_per_second: float
    held_out: Accuracy | None = None


class Trainer:
    """One run in one folder, alone or as one of several processes (see `Processes`).

    The folder holds `last.safetensors` (the model: the average of its weights over time), `best.safetensors` (as it was
    when it was most right on the clips of `Validation`), `train_state.safetensors` (all that resuming needs),
    `settings.json`, `pictures/` and TensorBoard's event files. Raises InputError for anything that is wrong with the
    settings, before a folder is made.
    """

    def __init__(self, settings: TrainSettings, folder: Path, resume: bool) -> None:
        self.folder = folder
        self.processes = Processes(settings.device)
        run_folder.check(folder, settings, resume)
        torch.manual_seed(settings.seed)
        self.model = setup.first_network(settings)
        self.model.name = settings.preset
        self.scan = setup.choose_scan(self.model, settings, self.processes.device)
        if setup.encoder_stays(settings):
            settings = replace(settings, freeze_encoder=True)
        self.settings = settings
        learnt_from = setup.lessons(settings, self.processes.device)
        self.sources, self.teacher, self.remark = learnt_from.sources, learnt_from.teacher, learnt_from.remark
        self._check_share()
        self.processes.wait()  # all have seen the folder as it was
        if not resume and self.processes.first:
            run_folder.claim(folder, settings)
        self.model.to(self.processes.device).train()
        setup.choose_what_learns(self.model, settings)
        self.model.encoder.checkpointing = settings.checkpointing
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a sixth faster on a CPU
        self.optimizer = torch.optim.AdamW(
            setup.parameter_groups(self.model, settings.weight_decay, settings.heads_rate, settings.encoder_rate),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
        )
        self.step = 0
        self.average: dict[str, Tensor] = {}
        if settings.ema:
            self.average = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        self.held_out: Accuracy | None = None  # of the last validation
        self.best: Accuracy | None = None
        if resume:
            self.step, self.average, self.best = run_folder.load(folder, self.model, self.optimizer)
            if self.processes.first:
                run_folder.claim(folder, settings)  # which may have more steps than before
        self._validate = Validation(*settings.height_width, self.processes.device)
        self._wrapped = self.processes.wrap(torch.compile(self.model) if settings.compile else self.model)

    def run(
        self,
        report: Callable[[Progress], None],
        stepped: Callable[[int, float], None] = lambda step, seconds: None,
        validating: Callable[[], None] = lambda: None,
    ) -> bool:
        """Train to the last step, or until SIGINT or SIGTERM.

        Args:
            report: told every ten steps, at every save and at every validation, in the first process.
            stepped: told after every step how many are done, and the seconds since the one before.
            validating: told before every validation, in the first process.

        Returns:
            Whether the last step was reached.

        Raises:
            WorkError: when the loss is no longer finite or the memory does not suffice (nothing is saved then).
        """
        settings, processes = self.settings, self.processes
        stopping = _StopSignals()
        stream = batches(self.plan(), self.step, settings.steps, processes.device)
        with stopping, contextlib.closing(stream), contextlib.ExitStack() as logs:
            log = logs.enter_context(contextlib.closing(RunLog(self.folder, self.step))) if processes.first else None
            since: list[Tensor] = []
            clock = time.perf_counter()
            before: float | None = None  # the first batch may have been waited for
            for clips in stream:
                before = before or time.perf_counter()
                clips = self.labelled(clips)
                since.append(self.train_step(clips))
                asked = processes.any(stopping.asked)
                saving = self._due(settings.save_every) or asked
                looking = self._due(settings.validate_every)
                if self.step % 10 == 0 or saving or looking:  # nothing is saved that has not been looked at
                    terms = self._finite_means(since)
                    speed = len(since) * settings.batch * settings.clip_length / (time.perf_counter() - clock)
                    if log:
                        if looking:
                            validating()
                            self._look(log)
                        progress = Progress(self.step, terms, self._learning_rate(), speed, self.held_out)
                        report(progress)
                        log.numbers(self.step, {f"loss/{name}": value for name, value in terms.items()})
                        log.numbers(self.step, {"learning_rate": progress.learning_rate, "frames_per_second": speed})
                    since, clock = [], time.perf_counter()
                if log and self.step % settings.picture_every == 0:
                    log.picture(self.step, self.model, clips.piece(0, settings.chunk or settings.clip_length))
                if saving:
                    if log:
                        log.flush()
                    self.save()
                now = time.perf_counter()
                stepped(self.step, now - before)
                before = now
                if asked:
                    break
        return self.step == settings.steps

    def save(self) -> None:
        """Write the model and what resuming needs, both whole or not at all."""
        if self.processes.first:
            run_folder.save(self.folder, self.settings, self.step, self.model, self.average, self.optimizer, self.best)

    def _due(self, every: int) -> bool:
        """Whether what is done every so many steps, and at the last one, is to be done now; 0 is never."""
        return every > 0 and (self.step % every == 0 or self.step == self.settings.steps)

    def _finite_means(self, terms: list[Tensor]) -> dict[str, float]:
        """The terms of the loss by name, means over all processes. Raises WorkError where one is not finite."""
        means = dict(zip(NAMES, self.processes.mean(torch.stack(terms).mean(dim=0)).tolist(), strict=True))
        if not all(map(math.isfinite, means.values())):
            raise WorkError(
                f"the loss became {means} near step {self.step}: start anew with a lower learning_rate, another "
                f"--out, and perhaps init={self.folder / run_folder.MODEL}"
            )
        return means

    def _look(self, log: RunLog) -> None:
        """See how right the model is by now, and keep it where it never was more so."""
        weights = run_folder.final_weights(self.settings, self.model, self.average)
        self.held_out = found = self._validate(self.model, weights)
        log.held_out(self.step, found)
        if self.best is None or found.delta1 > self.best.delta1:
            self.best = found
            path = self.folder / run_folder.BEST
            run_folder.save_model(path, self.settings, self.step, self.model, self.average, found)

    def plan(self) -> BatchPlan:
        """The batches of this process."""
        settings = self.settings
        height, width = settings.height_width
        return BatchPlan(
            sources=self.sources,
            seed=settings.seed,
            clips=settings.batch,
            length=settings.clip_length,
            height=height,
            width=width,
            single_frames=settings.p_single_frame,
            stride=settings.stride,
            augmented=settings.augment,
            with_clean=self.teacher is not None,
            with_still=settings.smoothness_weight > 0 and self.model.config.recurrent,
            process=self.processes.rank,
            processes=self.processes.count,
            photos=Path(settings.textures) if settings.textures else None,
        )

    def train_step(self, clips: TrainingClips) -> Tensor:
        """One update. Returns the terms of the loss, [5], not yet waited for."""
        settings = self.settings
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self.optimizer.zero_grad(set_to_none=True)
        try:
            terms = self.backward(clips)
        except RuntimeError as error:  # a GPU's is a kind of its own, a CPU's is not
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise WorkError(_out_of_memory(settings)) from None
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.gradient_clip)
        self.optimizer.step()
        self.step += 1
        # Early on the average follows closely, or it would keep the first weights for a thousand steps.
        decay = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self.average:
                    self.average[name].lerp_(parameter, 1 - decay)
        return terms

    def backward(self, clips: TrainingClips) -> Tensor:
        """Gradients of one batch, piece by piece, states carried on without gradient. Returns the terms, [5]."""
        settings = self.settings
        length = clips.rgb.shape[1]
        chunk = min(settings.chunk or length, length)
        states, total = self.first_states(clips), torch.zeros(len(NAMES), device=clips.rgb.device)
        for first in range(0, length, chunk):
            last = min(first + chunk, length)
            piece, share = clips.piece(first, last), (last - first) / length
            summaries: dict[str, Tensor] = {}

            def keep(name: str, state: Tensor, summaries: dict[str, Tensor] = summaries) -> None:
                summaries[name] = state

            watch = keep if piece.still is not None and last - first > 1 else None
            with self.processes.without_sync(self._wrapped, last == length):
                with torch.autocast(clips.rgb.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                    watching = {} if watch is None else {"watch": watch}
                    said, states = self._wrapped(piece.rgb, states, **watching)
                loss, terms = losses(settings, inverse_depth(said), piece, summaries)
                (share * loss).backward()
            states = {name: state.detach() for name, state in states.items()}
            total += share * terms
        return total

    def first_states(self, clips: TrainingClips) -> StateTensors:
        """Zeros, but for the counter, which begins at random where the heads ask for it."""
        count = len(clips.rgb)
        states = self.model.init_states(count, *clips.rgb.shape[-2:])
        if "counter" in states:
            generator = torch.Generator().manual_seed(self.settings.seed * 10**8 + self.step)
            every = torch.randint(self.model.config.random_starts, (count * self.processes.count,), generator=generator)
            states["counter"] = every[self.processes.rank :: self.processes.count].to(states["counter"])
        return states

    def labelled(self, clips: TrainingClips) -> TrainingClips:
        """The clips with the teacher's depth where they have none."""
        bare = ~clips.labelled
        if self.teacher is None or not bare.any():
            return clips
        assert clips.clean is not None
        depth, known = clips.inverse_depth.clone(), clips.known.clone()
        said = self.teacher(clips.clean[bare])
        known[bare] = said.isfinite()
        depth[bare] = said.nan_to_num(0, 0, 0)
        return replace(clips, inverse_depth=depth, known=known, labelled=torch.ones_like(bare))

    def _learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to zero at the last step (Loshchilov & Hutter 2017)."""
        s = self.settings
        if self.step < s.warmup:
            return s.learning_rate * (self.step + 1) / s.warmup
        done = (self.step - s.warmup) / max(s.steps - s.warmup, 1)
        return s.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def _check_share(self) -> None:
        count = self.processes.count
        if self.settings.batch % count:
            raise InputError(f"batch={self.settings.batch}: {count} processes cannot share it; make it a multiple")


def train(
    settings: TrainSettings,
    folder: Path,
    *,
    resume: bool = False,
    begun: Callable[[Trainer], None] = lambda trainer: None,
    report: Callable[[Progress], None] = lambda progress: None,
    stepped: Callable[[int, float], None] = lambda step, seconds: None,
    validating: Callable[[], None] = lambda: None,
) -> bool:
    """A whole run, as `vmdepth-train` makes it. Under torchrun every process does its part.

    Args:
        settings: what is learnt, and how.
        folder: takes the run, as `Trainer` says.
        resume: go on with the run in the folder, exactly where it was saved.
        begun: told of the trainer when all is ready, before the first step.
        report: told every ten steps, at every save and at every validation, in the first process.
        stepped: told after every step how many are done, and the seconds since the one before.
        validating: told before every validation, in the first process.

    Returns:
        Whether the last step was reached; SIGINT and SIGTERM save and stop earlier.

    Raises:
        InputError: for settings, data, checkpoints or a folder that cannot be; for footage that cannot be read.
        WorkError: when the loss is no longer finite or the memory does not suffice.
    """
    trainer = Trainer(settings, folder, resume)
    begun(trainer)
    finished = trainer.run(report, stepped, validating)
    trainer.processes.close()
    return finished


class _StopSignals:
    """While in force, SIGINT and SIGTERM only ask: the step in progress is finished and saved."""

    def __init__(self) -> None:
        self.asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __enter__(self) -> _StopSignals:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _out_of_memory(settings: TrainSettings) -> str:
    length = settings.chunk or settings.clip_length
    height, width = settings.height_width
    return (
        f"out of memory at batch={settings.batch}, {length} frames per backward pass, size={height}x{width}. What "
        f"helps: a smaller batch (memory follows it: half takes half), chunk={max(1, length // 2)} (half the frames at "
        f"once, a fifth to a half less), checkpointing=true (about half, for a third more time)"
    )

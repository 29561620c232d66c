"""The training loop: rendered clips in, checkpoints, pictures and curves out."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from vmdepth import checkpoint
from vmdepth.data.batches import rendered_batches
from vmdepth.data.synthetic import RenderedClips
from vmdepth.losses.affine import affine_invariant_loss, affine_normalise, relative_weight
from vmdepth.losses.temporal import temporal_gradient_loss
from vmdepth.networks.presets import NetworkConfig
from vmdepth.networks.temporal import CYCLE
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.pictures import write_picture
from vmdepth.training.settings import TrainSettings
from vmdepth_runtime.errors import InputError, WorkError

_STATE = "train_state.safetensors"
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Progress:
    """What a finished step reports. depth_loss, temporal_loss: means over the steps since the last report."""

    step: int
    depth_loss: float
    temporal_loss: float
    learning_rate: float
    frames_per_second: float


class Trainer:
    """One run in one folder.

    The folder holds `last.safetensors` (the model), `train_state.safetensors` (all that resuming needs),
    `settings.json`, `pictures/` and TensorBoard's event files. Raises InputError when the folder holds another run, or
    when there is none to resume.
    """

    def __init__(self, settings: TrainSettings, folder: Path, resume: bool) -> None:
        self.settings, self.folder = settings, folder
        self.device = torch.device(
            ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
        )
        torch.manual_seed(settings.seed)
        self.model = _network_from(settings) if settings.init else VideoDepth(settings.network)
        self._claim_folder(resume)
        self.model.name = settings.preset
        self.model.to(self.device).train()
        self.model.encoder.requires_grad_(not settings.freeze_encoder)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a sixth faster on a CPU
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings.weight_decay), lr=settings.learning_rate, betas=(0.9, 0.98)
        )
        self.step = 0
        if resume:
            self._load_state()

    def run(self, report: Callable[[Progress], None]) -> bool:
        """Train to the last step, or until SIGINT or SIGTERM. Returns whether the last step was reached.

        Raises WorkError when the loss is no longer finite (nothing is saved then).
        """
        from torch.utils.tensorboard import SummaryWriter

        stopping = _StopSignals()
        settings = self.settings
        height, width = settings.height_width
        batches = rendered_batches(
            settings.seed,
            self.step,
            settings.steps,
            batch=settings.batch,
            clip_length=settings.clip_length,
            height=height,
            width=width,
            device=self.device,
        )
        writer = SummaryWriter(str(self.folder), purge_step=self.step)
        with stopping:
            since, clock = [], time.perf_counter()
            for clips in batches:
                since.append(self._train_step(clips))
                if self.step % 10 == 0 or self.step == settings.steps:
                    depth_loss, temporal_loss = torch.stack(since).mean(dim=0).tolist()
                    if not math.isfinite(depth_loss + temporal_loss):
                        raise WorkError(
                            f"the loss became {depth_loss} near step {self.step}: lower learning_rate and go on "
                            f"from the last checkpoint in {self.folder}"
                        )
                    frames = len(since) * settings.batch * settings.clip_length
                    speed = frames / (time.perf_counter() - clock)
                    progress = Progress(self.step, depth_loss, temporal_loss, self._learning_rate(), speed)
                    report(progress)
                    writer.add_scalar("loss/depth", depth_loss, self.step)
                    writer.add_scalar("loss/temporal", temporal_loss, self.step)
                    writer.add_scalar("learning_rate", progress.learning_rate, self.step)
                    writer.add_scalar("frames_per_second", speed, self.step)
                    since, clock = [], time.perf_counter()
                if self.step % settings.picture_every == 0:
                    write_picture(self.model, clips, self.folder / "pictures" / f"step_{self.step:06d}.png")
                if self.step % settings.save_every == 0 or stopping.asked or self.step == settings.steps:
                    self._save()
                if stopping.asked:
                    break
        writer.close()
        return self.step == settings.steps

    def _train_step(self, clips: RenderedClips) -> Tensor:
        """One update. Returns the two losses [2], not yet waited for."""
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        truth = 1.0 / clips.depth  # sky is infinitely far: 0
        mask = torch.ones_like(truth, dtype=torch.bool)
        batch = len(truth)
        states = self.model.init_states(batch, *truth.shape[-2:])
        if "counter" in states and self.model.ring is None:
            # Clips begin at a random time, so that no number of the time code means "just started".
            generator = torch.Generator().manual_seed(self.settings.seed * 10**8 + self.step)
            states["counter"] = torch.randint(CYCLE, (batch,), generator=generator).to(states["counter"])
        depth, _ = self.model(clips.rgb, states)
        weight = 1 + relative_weight(truth, mask)
        normalised, truth = affine_normalise(depth, mask), affine_normalise(truth, mask)
        depth_loss = affine_invariant_loss(normalised, truth, mask, weight)
        temporal_loss = temporal_gradient_loss(normalised, truth, mask)
        self.optimizer.zero_grad(set_to_none=True)
        (depth_loss + self.settings.temporal_weight * temporal_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.gradient_clip)
        self.optimizer.step()
        self.step += 1
        return torch.stack([depth_loss, temporal_loss]).detach()

    def _learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to zero at the last step (Loshchilov & Hutter 2017)."""
        s = self.settings
        if self.step < s.warmup:
            return s.learning_rate * (self.step + 1) / s.warmup
        done = (self.step - s.warmup) / max(s.steps - s.warmup, 1)
        return s.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def _claim_folder(self, resume: bool) -> None:
        file = self.folder / _SETTINGS
        if resume:
            if not (self.folder / _STATE).is_file():
                raise InputError(f"{self.folder}: no run to resume there; leave --resume out to start one")
            if json.loads(file.read_text()) != self.settings.to_dict():
                raise InputError(f"{self.folder}: was started with other settings (see {file}); resume with the same")
            return
        if file.exists():
            raise InputError(f"{self.folder}: holds a run already; go on with --resume or choose another --out")
        try:
            (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self.settings.to_dict(), indent=2))
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror})") from None

    def _save(self) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        # Weights and optimiser in one file: a kill between two files could not part them.
        checkpoint.write_tensors(self.folder / _STATE, tensors, {"step": self.step})
        made = {"settings": self.settings.to_dict(), "steps_done": self.step}
        checkpoint.save(self.folder / "last.safetensors", self.model, self.settings.preset, made)

    def _load_state(self) -> None:
        tensors, facts = checkpoint.read_tensors(self.folder / _STATE)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                continue
            self.optimizer.state[parameter] = {
                key: parts["optimizer"][f"{key}.{name}"].to(self.device if key != "step" else "cpu")
                for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.step = facts["step"]


def _network_from(settings: TrainSettings) -> VideoDepth:
    """The preset's network with the weights of `init`.

    A checkpoint without temporal heads lends its encoder and decoder, last activation included, to a preset that has
    some; those start untrained, which changes no depth. Raises InputError where they do not fit.
    """
    asked = settings.network
    given = checkpoint.load_video(settings.init)
    if given.config.depth == "metric":
        raise InputError(f"{settings.init}: gives metres, and training is for relative depth")
    if given.config.head == "attention" == asked.head:
        given = checkpoint.load_video(
            settings.init, asked.temporal, asked.window if asked.temporal == "causal" else None
        )
    asked = replace(asked, output=given.config.output)
    if given.config == asked:
        return given
    if given.config.head == "none" and _without_heads(asked) == _without_heads(given.config):
        network = VideoDepth(asked)
        network.load_state_dict(given.state_dict(), strict=False)
        return network
    raise InputError(f"{settings.init}: is not a '{settings.preset}' network; choose its own preset")


def _without_heads(config: NetworkConfig) -> tuple[str, int, tuple[int, ...]]:
    return config.encoder, config.features, config.out_channels


def parameter_groups(model: VideoDepth, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups of a network's parameters that learn; `rate` is a factor on the learning rate.

    Matrices and kernels decay; gains, biases and the position table do not. The patch embedding learns at a tenth: the
    588 numbers of a patch move together, so at the full rate its output outgrows everything that is added to it later,
    places first of all (Chen et al. 2021, who freeze it, saw the same layer upset training).
    """
    patch, decayed, others = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name == "encoder.patch_embed.proj.weight":
            patch.append(parameter)
        elif parameter.ndim >= 2 and name not in ("encoder.pos_embed", "encoder.cls_token"):
            decayed.append(parameter)
        else:
            others.append(parameter)
    return [
        {"params": patch, "weight_decay": weight_decay, "rate": 0.1},
        {"params": decayed, "weight_decay": weight_decay, "rate": 1.0},
        {"params": others, "weight_decay": 0.0, "rate": 1.0},
    ]


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

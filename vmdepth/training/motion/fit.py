"""Learning a motion head: the loss, and the updates of its weights alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vmdepth import checkpoint
from vmdepth.data.rendering.photographs import find_photographs
from vmdepth.networks.encoder import check_size
from vmdepth.networks.motion.motion_head import MotionHead, MotionSettings, Seen
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.motion.lessons import MotionLessons, motion_lessons, worlds
from vmdepth.training.motion.settings import MotionTrainSettings
from vmdepth_runtime.atomic_files import check_target
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.progress import ProgressLine

_RARE = 2.0  # how much more a place that moves weighs in the cross entropy
_WARMUP = 0.05  # share of the steps
_SEEDS = 10**10  # each has 10^8 numbers for its clips, below 2^63
_SMOOTH = 10.0  # places, in Dice's numerator and denominator: a batch in which nothing moves has no loss of its own


def motion_loss(logits: Tensor, moves: Tensor) -> Tensor:
    """Cross entropy, which asks every place alike, and Dice (Milletari et al. 2016), which asks for overlap, however
    little moves. logits, moves: [n, h, w], the share of each place that moves."""
    entropy = F.binary_cross_entropy_with_logits(logits, moves, pos_weight=logits.new_tensor(_RARE))
    said = logits.sigmoid()
    dice = (2 * (said * moves).sum() + _SMOOTH) / ((said + moves).sum() + _SMOOTH)
    return 2 * entropy + 1 - dice


def fit_head(
    head: MotionHead,
    lessons: MotionLessons,
    settings: MotionTrainSettings,
    stepped: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Learn the weights of a head.

    Args:
        head: changed in place; its normalisation becomes that of the lessons.
        lessons: what it learns from.
        settings: steps, batch, frames, learning_rate, weight_decay and seed are looked at.
        stepped: told after every step how many are done, and a running mean of the loss.
    """
    mean, spread = lessons.spread()
    head.mean.copy_(mean)
    head.scale.copy_(1 / (spread + 1e-3))
    head.requires_grad_()
    optimizer = torch.optim.AdamW(head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    generator = torch.Generator().manual_seed(settings.seed)
    running = 0.0
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _share_of_rate(step, settings.steps)
        seen = [
            _frames_of(lessons, int(clip), settings.frames, generator)
            for clip in torch.randint(len(lessons), (settings.batch,), generator=generator)
        ]
        geometry, appearance, moves = (torch.cat(parts) for parts in zip(*seen, strict=True))
        loss = motion_loss(head.told(Seen(geometry, appearance)), moves)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        running = float(loss.detach()) if not step else 0.98 * running + 0.02 * float(loss.detach())
        stepped(step + 1, running)
    head.requires_grad_(False)


def train_motion(settings: MotionTrainSettings, progress: ProgressLine | None = None) -> VideoDepth:
    """A network with a motion head that has learnt, as `vmdepth-train-motion` makes it; written to `settings.out`.

    Raises InputError for a checkpoint that is none of ours, settings that cannot be and textures that are not there.
    """
    progress = progress or ProgressLine("loading")
    check_target(settings.out, settings.network)
    _check_values(settings)
    torch.manual_seed(settings.seed)  # of the head's weights, too
    network, size = _with_head(settings)
    assert network.dynamic is not None
    progress.stage("rendering clips and seeing them", settings.clips, "clips")
    seeds = worlds(settings.seed, settings.clips)
    lessons = motion_lessons(network, seeds, settings.clip_length, size, settings.textures, progress.update)
    progress.stage("learning", settings.steps, "steps")
    fit_head(network.dynamic, lessons, settings, lambda step, loss: progress.update(step, (f"loss {loss:.3f}",)))
    facts = {key: str(value) if hasattr(value, "parts") else value for key, value in vars(settings).items()}
    checkpoint.save(settings.out, network, network.name, {"motion": facts})
    return network


def _check_values(settings: MotionTrainSettings) -> None:
    """Raise InputError for a number that is out of its range, and for an output that is no checkpoint."""
    for name in ("clips", "clip_length", "steps", "batch", "frames", "learning_rate"):
        if not 0 < getattr(settings, name) < math.inf:
            raise InputError(f"--{name.replace('_', '-')} {getattr(settings, name)}: must be above 0")
    if not 0 <= settings.weight_decay < math.inf:
        raise InputError(f"--weight-decay {settings.weight_decay}: must not be negative")
    if not 0 <= settings.seed < _SEEDS:
        raise InputError(f"--seed {settings.seed}: must be from 0 to {_SEEDS - 1}")
    if settings.out.suffix != ".safetensors":
        raise InputError(f"--out {settings.out}: is to be a checkpoint, which ends in .safetensors")
    if settings.frames >= settings.clip_length:
        raise InputError(f"--frames {settings.frames}: a clip has {settings.clip_length - 1} after its first")
    if settings.textures is not None:
        find_photographs(settings.textures)


def _with_head(settings: MotionTrainSettings) -> tuple[VideoDepth, tuple[int, int]]:
    """The network with a fresh head, and height and width of the clips."""
    given = checkpoint.load(settings.network)
    if not isinstance(given, VideoDepth) or not given.can_step:
        raise InputError(f"{settings.network}: is no network of videos that steps, which a motion head goes with")
    try:
        motion = MotionSettings(settings.tap, settings.width, settings.gap)
        size = _size(settings.size) if settings.size else given.usual_size
        check_size(*size, given.stride)
    except ValueError as error:
        raise InputError(str(error)) from None
    network = VideoDepth(replace(given.config, motion=motion)).eval().requires_grad_(False)
    network.load_state_dict(given.without_motion_head().state_dict(), strict=False)
    network.name = given.name
    return network, size


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise ValueError(f"--size {text}: should be HxW, for example 192x272")
    return int(height), int(width)


def _frames_of(
    lessons: MotionLessons, clip: int, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Some random frames of a clip: both maps of what the head sees, and what moves. Half of them mirrored.

    Not the first: nothing is told of it, and it could teach but what moving things look like.
    """
    chosen = 1 + torch.randperm(lessons.moves.shape[1] - 1, generator=generator)[:count]
    seen = Seen(*(maps[clip, chosen].float() for maps in lessons.seen))
    moves = lessons.moves[clip, chosen].float()
    if torch.rand(1, generator=generator) < 0.5:
        return *seen, moves
    return *seen.mirrored(), moves.flip(-1)


def _share_of_rate(step: int, steps: int) -> float:
    """Of the learning rate: linear warm-up, then half a cosine down to zero (Loshchilov & Hutter 2017)."""
    return min(1.0, (step + 1) / (_WARMUP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))

"""The setup of a run: the network with its first weights, the clips, the teacher, the optimiser's groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vmdepth import checkpoint
from vmdepth.data.mixture import ClipSource, long_enough, parse_mixture
from vmdepth.networks.encoder_kinds import AnyEncoder
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.training.settings import TrainSettings
from vmdepth.training.teacher_depth import LabelledVideo, is_precomputed, read_index
from vmdepth.training.teachers import Teacher
from vmdepth_runtime.errors import InputError


def first_network(settings: TrainSettings) -> VideoDepth:
    """The preset's network, fresh or with the weights of `init`.

    A file that holds an encoder only (of DeepLabv3, `checkpoint.ENCODER_FAMILIES`) lends it. A checkpoint without
    temporal heads lends its encoder and decoder, last activation included, to a preset that has some; those start
    untrained, which changes no depth. Raises InputError where they do not fit.
    """
    asked = settings.network
    if not settings.init:
        return _built(asked, settings)
    lender = checkpoint.encoder_family(Path(settings.init))
    if lender is not None:
        if asked.encoder != lender.encoder:
            have = ", ".join(name for name, preset in PRESETS.items() if preset.encoder == lender.encoder)
            raise InputError(
                f"{settings.init}: holds the encoder of {lender.name}, which preset {have} has, not '{settings.preset}'"
            )
        model = _built(asked, settings)
        model.encoder.load_state_dict(lender.read(Path(settings.init)))
        return model
    given = checkpoint.load_video(settings.init).requires_grad_()
    if given.config.depth == "metric":
        raise InputError(f"{settings.init}: gives metres, and training is for relative depth")
    if given.config.head.shares_weights(asked.head):
        given = given.with_head(asked.head)
    asked = replace(asked, output=given.config.output)
    if given.config == asked:
        return given
    if not given.heads and replace(asked, head=given.config.head, taps=given.config.taps) == given.config:
        model = _built(asked, settings)
        model.load_state_dict(given.state_dict(), strict=False)
        return model
    raise InputError(f"{settings.init}: is not a '{settings.preset}' network; choose its own preset")


def _built(config: NetworkConfig, settings: TrainSettings) -> VideoDepth:
    try:
        return VideoDepth(config)
    except ValueError as error:
        raise InputError(
            f"preset '{settings.preset}' with head={config.head.kind}, taps={','.join(config.taps)}: {error}"
        ) from None


def clips_and_teacher(settings: TrainSettings, device: torch.device) -> tuple[list[ClipSource], Teacher | None]:
    """The sources of clips, and the network that labels them while training, if one has to.

    Raises InputError for footage without depth and without a teacher, and for a teacher or textures with nothing to do.
    """
    sources = parse_mixture(settings.data, settings.clip_length)
    if settings.textures and all(source.videos is not None for source in sources):
        raise InputError(
            f"textures={settings.textures}: data={settings.data} has no rendered clips; leave textures out"
        )
    bare = next((v.name for s in sources for v in s.videos or () if not v.labelled), None)
    if not settings.teacher:
        if bare:
            raise InputError(f"{bare}: has no depth to learn; name a teacher=CHECKPOINT, or teacher=FOLDER precomputed")
        return sources, None
    if bare is None:
        raise InputError(f"teacher={settings.teacher}: data={settings.data} has depth of its own; leave teacher out")
    path = Path(settings.teacher)
    if not is_precomputed(path):
        teacher = Teacher(path, device)
        if teacher.longest_clip is not None and settings.clip_length > teacher.longest_clip:
            raise InputError(
                f"clip_length={settings.clip_length}: the teacher {path} sees {teacher.longest_clip} frames at most"
            )
        return sources, teacher
    index = read_index(path)
    labelled = [
        replace(s, videos=tuple(v if v.labelled else LabelledVideo(v, path, index) for v in s.videos))
        if s.videos
        else s
        for s in sources
    ]
    return [long_enough(source, settings.clip_length) for source in labelled], None


def freeze(encoder: AnyEncoder, blocks: int) -> None:
    """Keep the first blocks of an encoder, and what is before them, as they are; all of it where there are no more."""
    if blocks >= len(encoder.blocks):
        encoder.requires_grad_(False)
    elif blocks:
        for part in (*encoder.begin(), *encoder.blocks[:blocks]):
            part.requires_grad_(False)


def parameter_groups(
    model: VideoDepth, weight_decay: float, heads_rate: float, encoder_rate: float
) -> list[dict[str, Any]]:
    """AdamW's groups of a network's parameters that learn; `rate` is a factor on the learning rate, for temporal heads
    `heads_rate`, for the encoder `encoder_rate`.

    Matrices and kernels decay; gains, biases and the position table do not. The patch embedding learns at a tenth: the
    588 numbers of a patch move together, so at the full rate its output outgrows everything that is added to it later,
    places first of all (Chen et al. 2021, who freeze it, saw the same layer upset training).
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim >= 2 and name not in ("encoder.pos_embed", "encoder.cls_token")
        part = name.partition(".")[0]
        rate = {"encoder": encoder_rate, "heads": heads_rate}.get(part, 1.0)
        if name == "encoder.patch_embed.proj.weight":
            rate *= 0.1
        groups.setdefault((decays, rate), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "rate": rate}
        for (decays, rate), parameters in groups.items()
    ]

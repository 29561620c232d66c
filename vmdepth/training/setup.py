"""The setup of a run: the network with its first weights, the clips, the teacher, the optimiser's groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vmdepth import checkpoint
from vmdepth.data.mixture import ClipSource, long_enough, parse_mixture
from vmdepth.networks.encoder import ENCODERS
from vmdepth.networks.encoder_kinds import AnyEncoder
from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.heads.scan_forms import chosen_scan, use_scan
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.networks.multiview.views import ViewNetwork
from vmdepth.networks.one_view_encoder import lent_by
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.hub import local_file
from vmdepth.training.settings.train_settings import TrainSettings
from vmdepth.training.students import Student, heads_told, over_time, unasked
from vmdepth.training.teacher_depth import LabelledVideo, is_precomputed, read_index
from vmdepth.training.teachers import Teacher
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import file_hash

_NEVER_DECAY = ("encoder.pos_embed", "encoder.cls_token", "encoder.camera_token")


def first_network(settings: TrainSettings) -> Student:
    """The preset's network, fresh or with the weights of `init`.

    A causal network of views starts from the network of views, or from one like itself.

    A file that holds an encoder only (of DeepLabv3, `checkpoint.ENCODER_FAMILIES`) lends it, and so does Depth Anything
    3: the preset's encoder is then of its kind. A checkpoint without temporal heads lends its encoder and decoder, last
    activation included, to a preset that has some; those start untrained, which changes no depth. Raises InputError
    where they do not fit.
    """
    asked = settings.network
    if isinstance(asked, CausalViewsConfig):
        return _first_views(asked, settings)
    if not settings.init:
        return _built(asked, settings)
    init = local_file(settings.init)
    lender = checkpoint.encoder_family(init)
    if lender is not None:
        if asked.encoder != lender.encoder:
            have = ", ".join(name for name, preset in PRESETS.items() if preset.encoder == lender.encoder)
            raise InputError(
                f"{settings.init}: holds the encoder of {lender.name}, which preset {have} has, not '{settings.preset}'"
            )
        model = _built(asked, settings)
        model.encoder.load_state_dict(lender.read(init))
        return model
    given, _ = checkpoint.load_of(init)
    if isinstance(given, ViewNetwork):
        return _with_encoder_of(given, asked, settings)
    if isinstance(given, CausalViews):
        raise _of_another(settings)
    given = given.without_motion_head()  # which would no longer fit once what is below it learns
    given.requires_grad_()
    if not DEPTH_KINDS[given.depth_kind].shifted:
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
    raise _of_another(settings)


def _first_views(asked: CausalViewsConfig, settings: TrainSettings) -> CausalViews:
    """Depth Anything 3 made causal; of `init` the window does not matter, as no weight depends on it."""
    if not settings.init:
        return CausalViews(AnyViewDepth(asked.views), asked.window)
    if checkpoint.encoder_family(Path(settings.init)) is not None:
        raise _of_another(settings)
    given, _ = checkpoint.load_of(settings.init)
    if not isinstance(given, (AnyViewDepth, CausalViews)):
        raise _of_another(settings)
    model = CausalViews(given, asked.window)
    if model.config != asked:
        raise _of_another(settings)
    return model.requires_grad_()


def _of_another(settings: TrainSettings) -> InputError:
    return InputError(f"{settings.init}: is not a '{settings.preset}' network; choose its own preset")


def _with_encoder_of(network: ViewNetwork, asked: NetworkConfig, settings: TrainSettings) -> VideoDepth:
    """The network asked for with the encoder of one of Depth Anything 3, which sees every frame alone."""
    if not isinstance(network, (AnyViewDepth, MonoDepth)):
        raise InputError(f"{settings.init}: is two networks; start from the file of one, such as DA3-GIANT-1.1")
    if asked.encoder != network.config.encoder:
        have = ", ".join(name for name, preset in PRESETS.items() if preset.encoder == network.config.encoder)
        raise InputError(
            f"{settings.init}: holds the encoder of Depth Anything 3 {network.name}, for preset {have}, not "
            f"'{settings.preset}'"
        )
    name, weights = lent_by(network)
    model = _built(replace(asked, encoder=name), settings)
    model.encoder.load_state_dict(weights)
    return model


def encoder_stays(settings: TrainSettings) -> bool:
    """Whether the encoder is frozen: as it is said, else where it comes from an official network and nothing is said of
    how it learns."""
    if settings.freeze_encoder is not None:
        return settings.freeze_encoder
    if not settings.init or settings.frozen_blocks or settings.encoder_rate != 1:
        return False
    path = local_file(settings.init)
    return checkpoint.encoder_family(path) is None and checkpoint.family_of(path) is not checkpoint.OURS


def _built(config: NetworkConfig, settings: TrainSettings) -> VideoDepth:
    try:
        return VideoDepth(config)
    except ValueError as error:
        raise InputError(
            f"preset '{settings.preset}' with head={config.head.kind}, taps={','.join(config.taps)}: {error}"
        ) from None


@dataclass(frozen=True)
class Lessons:
    """sources: of clips. teacher: the network that labels them while training, where one has to. remark: what is worth
    knowing of depth that was precomputed in part; may be empty."""

    sources: list[ClipSource]
    teacher: Teacher | None = None
    remark: str = ""


def lessons(settings: TrainSettings, device: torch.device) -> Lessons:
    """Clips, and who says what their depth is.

    Raises InputError for footage without depth and without a teacher, and for a teacher or textures with nothing to do.
    """
    sources = parse_mixture(settings.data, settings.clip_length)
    if settings.textures and all(source.videos is not None for source in sources):
        raise InputError(
            f"textures={settings.textures}: data={settings.data} has no rendered clips; leave textures out"
        )
    bare = next((v.name for s in sources for v in s.videos or () if not v.labelled), None)
    if not settings.teacher and not settings.precomputed:
        if bare:
            raise InputError(f"{bare}: has no depth to learn; name a teacher=CHECKPOINT, or teacher=FOLDER precomputed")
        return Lessons(sources)
    if bare is None:
        what = "teacher" if settings.teacher else "precomputed"
        raise InputError(
            f"{what}={getattr(settings, what)}: data={settings.data} has depth of its own; leave {what} out"
        )
    if settings.precomputed or is_precomputed(Path(settings.teacher)):
        return _precomputed(settings, sources, device)
    return Lessons(sources, _teacher(settings, device))


def _teacher(settings: TrainSettings, device: torch.device) -> Teacher:
    path = Path(settings.teacher)
    teacher = Teacher(path, device)
    if teacher.longest_clip is not None and settings.clip_length > teacher.longest_clip:
        raise InputError(
            f"clip_length={settings.clip_length}: the teacher {path} sees {teacher.longest_clip} frames at most"
        )
    return teacher


def _precomputed(settings: TrainSettings, sources: list[ClipSource], device: torch.device) -> Lessons:
    """Depth from a folder, and where there is a teacher besides, from it what the folder lacks."""
    folder = Path(settings.precomputed or settings.teacher)
    index = read_index(folder)
    asks = bool(settings.precomputed and settings.teacher)
    # By its weights: the same teacher may be given by name, or lie elsewhere now.
    if asks and index.get("weights") != file_hash(local_file(settings.teacher)):
        raise InputError(
            f"{folder}: holds depth of {index['teacher']}, not of teacher={settings.teacher}; precompute with that one"
        )
    labelled = [
        replace(
            source,
            videos=tuple(v if v.labelled else LabelledVideo(v, folder, index, asks) for v in source.videos),
        )
        if source.videos
        else source
        for source in sources
    ]
    labelled = [long_enough(source, settings.clip_length) for source in labelled]
    videos = [v for source in labelled for v in source.videos or () if isinstance(v, LabelledVideo)]
    there, missing = (sum(getattr(video, count) for video in videos) for count in ("stored", "missing"))
    if not missing:
        return Lessons(labelled)
    has = f"{folder}: has the depth of {there} of {there + missing} spans of frames"
    if asks:
        return Lessons(
            labelled, _teacher(settings, device), f"{has}; {settings.teacher} is asked for the other {missing}"
        )
    way_out = f"teacher={index['teacher']} precomputed={folder} asks for them"
    return Lessons(labelled, None, f"{has}; the others are left out, {way_out}")


def choose_what_learns(student: Student, settings: TrainSettings) -> None:
    """Keep as it is what the settings say of the encoder, and what no loss asks for.

    A frozen encoder is what sees every frame alone: blocks in which frames see others are what a mask changes.
    """
    freeze(student.encoder, len(student.encoder.blocks) if settings.freeze_encoder else settings.frozen_blocks)
    if settings.freeze_encoder:
        for part in over_time(student):
            part.requires_grad_()
    for part in unasked(student):
        part.requires_grad_(False)


def choose_scan(student: Student, settings: TrainSettings, device: torch.device) -> str:
    """Let Mamba heads go over clips as the settings say.

    Returns what was chosen, in words, where there is a choice: on a CUDA device. Raises InputError for a form that
    cannot be here, or of heads that are not there.
    """
    if not isinstance(student, VideoDepth) or not isinstance(student.config.head, MambaSettings):
        if settings.scan != "auto":
            raise InputError(
                f"{heads_told(settings.preset, settings.head)} has no {MambaSettings.title}; leave scan out"
            )
        return ""
    try:
        chosen = chosen_scan(settings.scan, device)
    except ValueError as error:
        raise InputError(str(error)) from None
    use_scan(student, chosen.scan)
    return "" if device.type != "cuda" else f"scan={chosen.name}{f' ({chosen.why})' if chosen.why else ''}"


def doubt_of_compiling(settings: TrainSettings, device: torch.device) -> str:
    """One line for `compile=true` where gradients came out wrong: of ViT encoders, by Inductor on a CPU. Or ""."""
    if not settings.compile or device.type != "cpu" or settings.network.encoder not in ENCODERS:
        return ""
    return "compile=true: on a CPU it gave gradients of 0 to a ViT encoder; leave it out (docs/support.md)"


def freeze(encoder: AnyEncoder, blocks: int) -> None:
    """Keep the first blocks of an encoder, and what is before them, as they are; all of it where there are no more."""
    if blocks >= len(encoder.blocks):
        encoder.requires_grad_(False)
    elif blocks:
        for part in (*encoder.begin(), *encoder.blocks[:blocks]):
            part.requires_grad_(False)


def parameter_groups(
    model: Student, weight_decay: float, heads_rate: float, encoder_rate: float
) -> list[dict[str, Any]]:
    """AdamW's groups of a network's parameters that learn; `rate` is a factor on the learning rate, where frames see
    others `heads_rate`, for the rest of the encoder `encoder_rate`.

    Matrices and kernels decay; gains, biases and the position table do not. The patch embedding learns at a tenth: the
    588 numbers of a patch move together, so at the full rate its output outgrows everything that is added to it later,
    places first of all (Chen et al. 2021, who freeze it, saw the same layer upset training).
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    heads = {parameter for part in over_time(model) for parameter in part.parameters()}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim >= 2 and name not in _NEVER_DECAY
        rate = heads_rate if parameter in heads else encoder_rate if name.startswith("encoder.") else 1.0
        if name == "encoder.patch_embed.proj.weight":
            rate *= 0.1
        groups.setdefault((decays, rate), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "rate": rate}
        for (decays, rate), parameters in groups.items()
    ]

"""Every setting of `vmdepth-train`, its default in sight."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from vmdepth.causal import causal_anyway, form_of
from vmdepth.data.rendering.photographs import find_photographs
from vmdepth.losses.affine import Fit
from vmdepth.networks.encoder import check_size
from vmdepth.networks.heads.base import HeadSettings
from vmdepth.networks.heads.kinds import KINDS, head_kind, owner, setting_types
from vmdepth.networks.heads.scan_forms import ScanForm
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.networks.presets import PRESETS
from vmdepth.training.presets import START_PRESETS
from vmdepth.training.students import STUDENTS, StudentConfig, heads_told
from vmdepth_runtime.errors import InputError


@dataclass(frozen=True)
class TrainSettings:
    """What is learnt, and how.

    Attributes:
        preset: The network, by the name of its preset.
        head: Kind of its temporal heads, mamba2, attention or none; empty is the preset's.
        taps: Their places, as layer_3,layer_4,path_4; empty is the preset's.
        head_settings: Settings of that kind which differ from the preset's. On the command line and in files they stand
            among the others: `d_state=32`, `window=8` (see `MambaSettings`, `AttentionSettings`).
        init: Checkpoint, or its name on Hugging Face, to start from: of the same network, or of one without temporal
            heads, such as Depth Anything V2. Or for the encoder alone: Depth Anything 3, and for preset edge
            DeepLabv3's .tflite file.
        freeze_encoder: Whether the encoder stays as it is; empty: where it is from an official depth network, unless
            frozen_blocks or encoder_rate say how it learns. Blocks in which frames see others learn all the same.
        frozen_blocks: How many of its first blocks stay.
        data: `rendered`, a video, a folder of videos, frames or RGB-D, or several with weights
            (`rendered:0.5,videos/:0.5`).
        teacher: Checkpoint, its name on Hugging Face, or folder of `vmdepth-precompute`, that gives depth where the
            data has none.
        precomputed: Folder of `vmdepth-precompute` with depth of the teacher, who is asked for what is not there.
        fit: Scale and shift between depth and truth, one per "clip" or one per "frame" (for a teacher that sees every
            frame alone).
        textures: Folder of photographs for surfaces of the rendered world.
        size: HxW of the clips, pixels; empty is the network's usual one.
        clip_length: Frames of a clip.
        batch: Clips per step, over all processes.
        stride: Longest step between a clip's frames in a video.
        p_single_frame: Share of the steps on single pictures, states at their start.
        augment: Vary colour, exposure, blur and noise.
        metric_weight: Of the loss that asks for one scale for all clips, where truth is in metres; depth has 1.
        gradient_weight: Of the loss at edges (α).
        temporal_weight: Of the loss over changes in time (β).
        smoothness_weight: Of the loss that asks states to keep still while nothing moves (γ).
        steps: How many there are; a run that is resumed may be given more.
        learning_rate: At its highest, after the warm-up; half a cosine takes it to zero at the last step.
        encoder_rate: Factor on the rate for the encoder: one that has seen the world learns at 0.1.
        heads_rate: Factor on the rate for temporal heads, or for blocks in which frames see others. Mamba heads start
            as the identity and are few numbers: beside a decoder that has learnt already they learn to steady depth at
            20, and hardly at 1.
        warmup: Steps over which the learning rate rises.
        weight_decay: Of matrices and kernels, as in AdamW.
        gradient_clip: Longest norm of all gradients together.
        chunk: Frames per backward pass, states carried on without gradient; every chunk has a fit and changes over
            time of its own. 0 is the whole clip.
        ema: Decay of the average of weights that is saved as the model; 0 saves the last ones.
        round_weights: Save its kernels and matrices on a grid of 8 bits, for a graph a quarter as large.
        precision: "fp32" or "bf16" (autocast).
        checkpointing: Recompute the encoder's blocks in the backward pass: less memory, more time.
        compile: With torch.compile.
        scan: How Mamba heads go over clips: "chunked" by the kernels of mamba-ssm, on CUDA; "quadratic" anywhere;
            "auto" takes the kernels where they are there.
        seed: Of weights and clips.
        save_every: Steps between two saves.
        picture_every: Steps between two pictures of what it sees, learns and gives.
        validate_every: Steps between two looks at rendered clips that it never learns from; 0 is never.
        device: "auto" takes a GPU where there is one.
    """

    preset: str = "tiny"
    head: str = ""
    taps: str = ""
    head_settings: Mapping[str, Any] = field(default_factory=dict)
    init: str = ""
    freeze_encoder: bool | None = None
    frozen_blocks: int = 0
    data: str = "rendered"
    teacher: str = ""
    precomputed: str = ""
    fit: Fit = "clip"
    textures: str = ""
    size: str = ""
    clip_length: int = 6
    batch: int = 4
    stride: int = 1
    p_single_frame: float = 0.0
    augment: bool = True
    metric_weight: float = 1.0
    gradient_weight: float = 0.5
    temporal_weight: float = 1.0
    smoothness_weight: float = 0.05
    steps: int = 20_000
    learning_rate: float = 1e-3
    encoder_rate: float = 1.0
    heads_rate: float = 1.0
    warmup: int = 300
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    chunk: int = 0
    ema: float = 0.999
    round_weights: bool = False
    precision: str = "fp32"
    checkpointing: bool = False
    compile: bool = False
    scan: ScanForm = "auto"
    seed: int = 0
    save_every: int = 250
    picture_every: int = 250
    validate_every: int = 250
    device: str = "auto"

    @property
    def head_before(self) -> HeadSettings:
        """The preset's heads, or those of the kind asked for, before `head_settings`. Raises ValueError for no kind.

        Of presets with heads.
        """
        preset = PRESETS[self.preset].head
        return preset if self.head in ("", preset.kind) else head_kind(self.head)()

    @property
    def network(self) -> StudentConfig:
        """The preset, with the temporal heads asked for. Raises ValueError for heads that cannot be."""
        config = STUDENTS[self.preset]
        if isinstance(config, CausalViewsConfig):
            return replace(config, **self.head_settings)
        taps = tuple(self.taps.split(",")) if self.taps else config.taps
        return replace(config, head=self.head_before.with_values(self.head_settings), taps=taps)

    @property
    def height_width(self) -> tuple[int, int]:
        """Of the clips, pixels. Raises ValueError where `size` is not HxW."""
        if not self.size:
            return self.network.usual_size
        height, _, width = self.size.partition("x")
        return int(height), int(width)

    def to_dict(self) -> dict[str, Any]:
        """As `vmdepth-train` takes them: the settings of the head stand among the others."""
        values = asdict(self)
        return values | values.pop("head_settings")


def parse_settings(start: str, overrides: Sequence[str]) -> TrainSettings:
    """Settings from a preset's name or a file (neither: the default preset), then `key=value` overrides.

    start: may be the first override. Raises InputError for an unknown preset, file, key (with the nearest that exists)
    or value.
    """
    return settings_of(given_values(start, overrides))


def given_values(start: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What the command was told, by the names of settings, not yet looked at. Raises InputError where it is unclear."""
    values: dict[str, Any] = {}
    if "=" in start:
        start, overrides = "", [start, *overrides]
    if start in START_PRESETS:
        values |= START_PRESETS[start].values
    elif start.endswith((".yaml", ".yml", ".json")):
        values |= _read_file(Path(start))
    elif start:
        way_out = (
            "go on with it by --resume" if Path(start).is_dir() else "or name a .yaml file, or a run's settings.json"
        )
        raise InputError(f"preset '{start}': there are {', '.join(START_PRESETS)}; {way_out}")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"'{override}': settings are given as key=value")
        values[key] = text
    return values


def in_form(values: Mapping[str, Any], causal: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Such values with `temporal` as `--causal` or `--no-causal` has it.

    warn: gets a line where the network is causal anyway. Raises InputError where it has no other form.
    """
    preset, head = values.get("preset", TrainSettings.preset), values.get("head", "")
    if isinstance(STUDENTS.get(preset), CausalViewsConfig):
        if causal:
            return dict(values)
        raise InputError(f"preset '{preset}': is what learns the causal mask; leave --no-causal out")
    kind = head or (PRESETS[preset].head.kind if preset in PRESETS else "")
    if kind not in KINDS or "temporal" in (f.name for f in fields(KINDS[kind])):  # of none is told later
        return {**values, "temporal": form_of(causal)}
    network = causal_anyway(f"preset '{preset}' with head={kind}")
    if not causal:
        raise InputError(f"{network}; leave --no-causal out, or take head=attention")
    warn(network)
    return dict(values)


def settings_of(values: Mapping[str, Any]) -> TrainSettings:
    """The settings of such values, all others as they are by default. Raises InputError for what cannot be."""
    own = {f.name: type(f.default) for f in fields(TrainSettings) if f.name != "head_settings"}
    own["freeze_encoder"] = bool
    heads = setting_types()
    given = {key: value for key, value in values.items() if key not in heads or value != ""}  # empty: the preset's
    typed = {key: _typed(key, value, own | heads) for key, value in given.items()}
    head_settings = {key: typed.pop(key) for key in heads if key in typed}
    return _checked(TrainSettings(**typed, head_settings=head_settings))


def _read_file(path: Path) -> dict[str, Any]:
    import yaml  # which reads JSON, too

    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: should hold 'key: value' lines")
    return values


def _typed(key: str, value: Any, types: dict[str, type]) -> Any:
    if key not in types:
        near = difflib.get_close_matches(str(key), types, n=1, cutoff=0)
        raise InputError(f"unknown setting '{key}'; did you mean '{near[0]}'?")
    kind = types[key]
    if key == "freeze_encoder" and value in ("", None):
        return None
    if kind is tuple:
        return _numbers(key, value)
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and "://" in str(value):
        raise InputError(f"{key}={value}: is an address; download what is there, and name the file or folder")
    try:
        if kind is bool:
            raise ValueError
        return kind(float(value)) if kind is int and float(value).is_integer() else kind(value)
    except (TypeError, ValueError):
        raise InputError(f"{key}={value}: should be {'true or false' if kind is bool else kind.__name__}") from None


def _numbers(key: str, value: Any) -> tuple[int, ...]:
    """`2,1,1`, or a list of a YAML file."""
    parts = value if isinstance(value, list) else str(value).split(",")
    try:
        return tuple(int(str(part)) for part in parts)
    except ValueError:
        raise InputError(f"{key}={value}: should be whole numbers with commas between, for example 2,1,1") from None


def _network(settings: TrainSettings) -> StudentConfig:
    """The network that is asked for. Raises InputError for one that cannot be."""
    try:
        if isinstance(STUDENTS[settings.preset], CausalViewsConfig):
            given = {**settings.head_settings, "head": settings.head, "taps": settings.taps}
            for key in (key for key, value in given.items() if value and key != "window"):
                raise InputError(f"preset '{settings.preset}': has no temporal heads; leave {key} out")
            return settings.network
        kind = settings.head_before
        for key in settings.head_settings:
            if key not in (f.name for f in fields(kind)):
                raise InputError(
                    f"{heads_told(settings.preset, settings.head)} has no {owner(key).title}; leave {key} out"
                )
        return settings.network
    except ValueError as error:
        raise InputError(str(error)) from None


def _checked(settings: TrainSettings) -> TrainSettings:
    if settings.preset not in STUDENTS:
        raise InputError(f"preset '{settings.preset}': there are {', '.join(STUDENTS)}")
    network = _network(settings)
    _check_size(settings, network)
    if settings.textures:
        find_photographs(Path(settings.textures))
    _check_values(settings)
    longest = network.longest_clip
    if longest is not None and settings.clip_length > longest:
        raise InputError(f"clip_length={settings.clip_length}: the network sees {longest} frames at most")
    return settings


def _check_size(settings: TrainSettings, network: StudentConfig) -> None:
    try:
        height, width = settings.height_width
    except ValueError:
        usual = "x".join(map(str, network.usual_size))
        raise InputError(f"size={settings.size}: should be HxW, for example {usual}") from None
    try:
        check_size(height, width, network.stride)
    except ValueError as error:
        raise InputError(f"preset '{settings.preset}': {error}") from None


def _check_values(settings: TrainSettings) -> None:
    """Raise InputError for a setting that is out of its range, whatever the others are."""
    for key, choices in (("fit", get_args(Fit)), ("precision", ("fp32", "bf16")), ("scan", get_args(ScanForm))):
        if getattr(settings, key) not in choices:
            raise InputError(f"{key}={getattr(settings, key)}: there are {', '.join(choices)}")
    for key in _ABOVE_0:
        if not getattr(settings, key) > 0:
            raise InputError(f"{key}={getattr(settings, key)}: must be above 0")
    for key in _NOT_NEGATIVE:
        if not getattr(settings, key) >= 0:
            raise InputError(f"{key}={getattr(settings, key)}: must not be negative")
    for key, value in settings.to_dict().items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{key}={value}: must be finite")
    if settings.seed >= _SEEDS:
        raise InputError(f"seed={settings.seed}: must be below {_SEEDS}")
    for key in ("p_single_frame", "ema"):
        if getattr(settings, key) > 1:
            raise InputError(f"{key}={getattr(settings, key)}: must be from 0 to 1")


_SEEDS = 10**10  # each has 10^8 numbers for its clips, below 2^63
_ABOVE_0 = (
    "clip_length",
    "batch",
    "stride",
    "steps",
    *(f"{whose}_rate" for whose in ("learning", "encoder", "heads")),
    "gradient_clip",
    "save_every",
    "picture_every",
)
_NOT_NEGATIVE = (
    "seed",
    "frozen_blocks",
    "warmup",
    "weight_decay",
    "chunk",
    "p_single_frame",
    "ema",
    *(f"{term}_weight" for term in ("metric", "gradient", "temporal", "smoothness")),
    "validate_every",
)

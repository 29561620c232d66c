"""Every setting of `vmdepth-train`, its default in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vmdepth.losses.affine import Fit
from vmdepth.networks.heads.base import HeadSettings
from vmdepth.networks.heads.kinds import head_kind
from vmdepth.networks.heads.scan_forms import ScanForm
from vmdepth.networks.multiview.presets import CausalViewsConfig
from vmdepth.networks.presets import PRESETS
from vmdepth.training.students import STUDENTS, StudentConfig


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

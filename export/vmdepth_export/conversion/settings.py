"""What `vmdepth-export` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vmdepth.networks.attention import AttentionForm
    from vmdepth_export.precision import Precision
    from vmdepth_runtime.sessions.engine_sidecar import Target

# What a checkpoint becomes where nothing else is asked for.
STREAMS: int = 1
ATTENTION: AttentionForm = "explicit"
PRECISION: Precision = "fp32"
LONGEST_WINDOW = 32  # frames that a causal step sees: of the published position tables, and at most
VIEWS_WINDOW = 8  # of Depth Anything 3, which has no such table


@dataclass(frozen=True)
class ExportSettings:
    """Settings of one export. Its defaults are those of the command.

    `size`, `temporal`, `causal`, `window`, `attention`, `streams` and `dynamic_mask` say how a checkpoint becomes a
    step graph; of a source that is a step graph already they have to be as they are by themselves.

    Attributes:
        source: A checkpoint, or a step graph (.onnx); or the name of one on Hugging Face.
        output: The .onnx or .engine file; None where a Triton repository is all that is wanted.
        size: Height and width in pixels, multiples of the encoder's stride; None is the network's usual size.
        precision: What encoder, decoder and products of the heads compute in; None is `PRECISION`, or the graph's own.
        temporal: Form of attention over time; None is the checkpoint's own, of Depth Anything 3 none.
        causal: Plain name of two forms: True is "causal"; False, the whole clip, has no step.
        window: Frames a causal step sees, 2 to `LONGEST_WINDOW`, which None is; of Depth Anything 3 2 or more, where
            None is `VIEWS_WINDOW`, and the first frame besides.
        attention: As plain operations or as one operator; None is `ATTENTION`.
        streams: Videos in one batch; None is `STREAMS`.
        dynamic_mask: Whether the graph also gives `dynamic`, how much of every pixel moves by itself, told by the
            network's motion head, or without one by the attention of its encoder (see docs/moving.md).
        proof_frames: Frames that a step graph is compared over; None is `PARITY_FRAMES`, or as many as fit into the
            time that the export itself took (see docs/engines.md).
        target: What builds an .engine.
        capabilities: Compute capabilities that an engine is built for, "8.6"; see `BuildSettings`.
        workspace: MiB of GPU memory that an engine's kernels may use besides; None leaves it to the library.
        triton: Folder that a Triton Inference Server model repository is written to.
    """

    source: Path
    output: Path | None = None
    size: tuple[int, int] | None = None
    precision: Precision | None = None
    temporal: Literal["causal", "streaming"] | None = None
    causal: bool | None = None
    window: int | None = None
    attention: AttentionForm | None = None
    streams: int | None = None
    dynamic_mask: bool = False
    proof_frames: int | None = None
    target: Target = "tensorrt"
    capabilities: tuple[str, ...] = ()
    workspace: int | None = None
    triton: Path | None = None

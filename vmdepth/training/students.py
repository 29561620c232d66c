"""What `vmdepth-train` can train: networks of videos, and Depth Anything 3 made causal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from torch import Tensor, nn

from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.presets import CAUSAL_VIEW_PRESETS, CausalViewsConfig
from vmdepth.networks.multiview.views import Views
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth

Student: TypeAlias = VideoDepth | CausalViews
StudentConfig: TypeAlias = NetworkConfig | CausalViewsConfig

STUDENTS: dict[str, StudentConfig] = {**PRESETS, **CAUSAL_VIEW_PRESETS}


def heads_told(preset: str, head: str) -> str:
    """Whose heads they are, as they were asked for: "head=none", "preset 'tiny'"."""
    return f"head={head}" if head else f"preset '{preset}'"


def inverse_depth(said: Tensor | Views) -> Tensor:
    """What a student said of a clip as losses compare it: [B, N, 1, H, W], larger is nearer, up to scale."""
    return 1 / said.depth.float().unsqueeze(2) if isinstance(said, Views) else said.float()


def over_time(student: Student) -> Iterator[nn.Module]:
    """The parts in which frames see others."""
    if isinstance(student, VideoDepth):
        yield student.heads
    else:
        yield from (student.encoder.blocks[index] for index in student.encoder.global_blocks)


def unasked(student: Student) -> Iterator[nn.Module]:
    """The parts that say what no loss asks for: cameras, rays."""
    if isinstance(student, CausalViews):
        if student.camera_decoder is not None:
            yield student.camera_decoder
        yield from student.decoder.scratch.for_rays.values()

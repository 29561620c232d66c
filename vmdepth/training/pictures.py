"""A look at the student: its depth beside the truth."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from vmdepth.data.synthetic import RenderedClips
from vmdepth.losses.affine import affine_normalise
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.colour import colourise


@torch.no_grad()
def write_picture(model: VideoDepth, clips: RenderedClips, path: Path, most_clips: int = 4) -> None:
    """Write a PNG: a row for each clip; colour, true and learnt inverse depth of its first and last frame."""
    model.eval()
    depth, _ = model(clips.rgb[:most_clips])
    model.train()
    truth = 1.0 / clips.depth[:most_clips]
    mask = torch.ones_like(truth, dtype=torch.bool)
    rows = []
    for colour, true, learnt in zip(
        clips.rgb, affine_normalise(truth, mask), affine_normalise(depth, mask), strict=False
    ):
        low, high = np.percentile(true.cpu().numpy(), (1, 99))
        cells = []
        for frame in dict.fromkeys((0, len(colour) - 1)):
            cells.append((colour[frame].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8))
            cells += [colourise(maps[frame, 0].cpu().numpy(), low, high) for maps in (true, learnt)]
        rows.append(np.concatenate(cells, axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))

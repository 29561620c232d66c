"""A look at the student: its depth beside the truth, or the teacher's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vmdepth.data.clips import TrainingClips
from vmdepth.losses.affine import affine_normalise
from vmdepth.training.students import Student, inverse_depth
from vmdepth_runtime.depth.colour_map import colourise


@torch.no_grad()
def student_and_truth(model: Student, clips: TrainingClips, most_clips: int = 4) -> NDArray[np.uint8]:
    """uint8 [rows, columns, 3] RGB: a row for each clip; colour, true and learnt inverse depth of its first and last
    frame. What is not known is as far as anything in the truth."""
    model.eval()
    said, _ = model(clips.rgb[:most_clips])
    model.train()
    known = clips.known[:most_clips]
    truth = affine_normalise(clips.inverse_depth[:most_clips], known)
    guess = affine_normalise(inverse_depth(said), known)
    rows = []
    for colour, true, valid, learnt in zip(clips.rgb, truth, known, guess, strict=False):
        if not valid.any():
            continue
        low, high = np.percentile(true[valid].cpu().numpy(), (1, 99))
        cells = []
        for frame in dict.fromkeys((0, len(colour) - 1)):
            cells.append((colour[frame].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8))
            shown = torch.where(valid, true, float(low))
            cells += [colourise(maps[frame, 0].cpu().numpy(), low, high) for maps in (shown, learnt)]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows) if rows else np.zeros((*clips.rgb.shape[-2:], 3), np.uint8)


def write_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """A PNG of uint8 [rows, columns, 3] RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

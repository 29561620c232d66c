"""How well what moves can be told from flow, where depth and poses are the true ones: cut where it is best, and learnt.

Flow is that of the picture against an earlier one brought to where the camera stands now, so that what stands still has
none.
"""

import math
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vmdepth.data.flow import optical_flow
from vmdepth.data.rgbd import rendered_rgbd_frames, reproject
from vmdepth.dynamics.scoring import difference_after_camera, true_clip
from vmdepth.evaluation.masks import overlap, scored
from vmdepth.training.motion.fit import motion_loss
from vmdepth.training.motion.lessons import worlds

FRAMES, HEIGHT, WIDTH, COARSE = 16, 192, 272, 4
GAPS = 1, 2, 4, 8  # frames back
LEARNT, STEPS, BATCH = 52, 400, 24


def seen_of(seed):
    """A clip's true masks, bool [T, H, W]; the length of the flow that is left over each gap, [gaps, T, H, W]; what a
    head is given, [T, 5 · gaps, H / COARSE, W / COARSE]; and the difference of colours."""
    clip = true_clip(rendered_rgbd_frames(seed, FRAMES, HEIGHT, WIDTH))
    grids = [np.zeros((FRAMES, 5, HEIGHT, WIDTH), np.float32) for _ in GAPS]
    for grid, gap in zip(grids, GAPS, strict=True):
        for t in range(1, FRAMES):
            grid[t] = _left(clip, t, max(0, t - gap))
    coarse = F.avg_pool2d(torch.from_numpy(np.concatenate(grids, axis=1)), COARSE)
    return clip.moves, np.stack([grid[:, 2] for grid in grids]), coarse, difference_after_camera(clip)


def _left(clip, t, then):
    """Flow that is left, x and y, and its length; whether the place was out of sight or hidden; how far grey is off."""
    depth = np.minimum(clip.depth, 1e4)
    to_then = np.linalg.inv(clip.cam2world[then]) @ clip.cam2world[t]
    away, places = reproject(depth[t], clip.intrinsics[t], to_then, clip.intrinsics[then])
    x, y = places[..., 0], places[..., 1]
    inside = (x >= 0) & (x <= WIDTH - 1) & (y >= 0) & (y <= HEIGHT - 1)
    brought = cv2.remap(clip.images[then], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    flow = optical_flow(clip.images[t], brought).transpose(2, 0, 1) * inside
    hidden = ~inside | (cv2.remap(depth[then], x, y, cv2.INTER_NEAREST) < 0.95 * away)
    off = np.abs(clip.images[t].mean(-1) - brought.mean(-1)) / 64
    return np.stack([*flow, np.hypot(*flow), hidden, off])


def best(maps, truths, thresholds):
    tables = [
        scored([overlap(m >= cut, true) for m, true in zip(maps, truths, strict=True)], cut) for cut in thresholds
    ]
    return max(tables, key=lambda score: score.iou)


class TwoConvolutions(nn.Module):
    def __init__(self, channels, width=32):
        super().__init__()
        self.spread = nn.BatchNorm2d(channels, affine=False)
        self.conv1, self.scene = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(channels, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.constant_(self.conv2.bias, -2.0)

    def forward(self, seen):
        seen = self.spread(seen.sign() * torch.log1p(2 * seen.abs()))
        return self.conv2(F.relu(self.conv1(seen) + self.scene(seen.mean((2, 3), keepdim=True))))[:, 0]


def learnt(seen, moves):
    """seen: [n, C, h, w]. moves: [n, h, w], shares."""
    torch.manual_seed(0)
    net = TwoConvolutions(seen.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.03)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 + math.cos(math.pi * step / STEPS)) / 2
        chosen = torch.randint(len(seen), (BATCH,))
        loss = motion_loss(net(seen[chosen]), moves[chosen])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return net.eval()


@pytest.mark.slow
@torch.no_grad()
def test_what_true_depth_and_poses_give():
    moves, lengths, coarse, differences = zip(*(seen_of(seed) for seed in range(64)), strict=True)
    scores = {"difference of colours": best(differences, moves, np.geomspace(0.002, 0.5, 33))}
    for number, gap in enumerate(GAPS):
        scores[f"flow over {gap}"] = best([one[number] for one in lengths], moves, (0.5, 0.75, 1, 1.5, 2, 3, 4, 6))
    lessons = [seen_of(seed) for seed in islice(worlds(0, LEARNT), LEARNT)]
    seen = torch.cat([one[2][1:] for one in lessons])
    shares = torch.cat([F.avg_pool2d(torch.from_numpy(one[0][1:]).float()[:, None], COARSE)[:, 0] for one in lessons])
    with torch.enable_grad():
        net = learnt(seen, shares)
    grown = [F.interpolate(net(one)[:, None], (HEIGHT, WIDTH), mode="bilinear") for one in coarse]
    said = [one[:, 0].sigmoid().numpy() for one in grown]
    for one in said:
        one[0] = 0  # nothing came before it
    scores["learnt from these"] = best(said, moves, (0.5,))
    for name, score in scores.items():
        figures = f"IoU {score.iou:.3f}, {score.moving_iou:.3f} where something moves"
        print(f"\n{name}: {figures}, cut at {score.threshold:.3g}")
    assert scores["difference of colours"].iou < scores["flow over 1"].iou < scores["flow over 4"].iou
    assert scores["learnt from these"].iou > scores["flow over 4"].iou

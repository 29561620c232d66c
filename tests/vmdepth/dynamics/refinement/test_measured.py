"""Where nothing moves, measured depth and poses take most of a mask away, holes of the depth and all."""

import cv2
import numpy as np

from vmdepth.dynamics.refinement.options import RefineOptions
from vmdepth.dynamics.refinement.refine import refine

FRAMES = range(0, 120, 12)


def test_a_room_in_which_nothing_moves(shared_data):
    """The depth is not registered to the colours, which count for nothing here."""
    folder = shared_data / "rgbd_office_a"
    depth = np.stack([cv2.imread(str(folder / f"depth/{n:06d}.png"), cv2.IMREAD_UNCHANGED)[::3, ::3] for n in FRAMES])
    images = np.stack([cv2.imread(str(folder / f"rgb/{n:06d}.jpg"))[::3, ::3, ::-1] for n in FRAMES])
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 4, 4)[list(FRAMES)]
    intrinsics = np.tile(np.array([[97.5, 0, 53.83], [0, 97.5, 40.5], [0, 0, 1]]), (len(FRAMES), 1, 1))
    moves = np.zeros(depth.shape, bool)
    for mask, (top, left) in zip(moves, np.random.default_rng(0).integers(0, (55, 75), (len(FRAMES), 2)), strict=True):
        mask[top : top + 24, left : left + 30] = True
    refined = refine(images, depth / 1000, moves, poses, intrinsics, options=RefineOptions(colour_weight=0))
    assert not refined.kept[depth == 0].any()
    print(f"{refined.kept.sum() / moves.sum():.1%} of the mask stay")
    assert refined.kept.sum() < 0.1 * moves.sum()

"""What the guided filter brings on rendered clips: shares of patches that move, grown to pixels with it and without."""

import cv2
import numpy as np
import pytest

from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.dynamics.stages import guided


@pytest.mark.slow
def test_guides_bring_masks_nearer_to_the_truth():
    height, width = 168, 252
    clips = render_clips(range(100, 180), 1, height, width, first_frame=20)
    images = (clips.rgb[:, 0].permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    depths, truths = clips.depth[:, 0, 0].numpy(), clips.moving[:, 0, 0].numpy()
    rng = np.random.default_rng(0)
    scores = []
    for image, depth, truth in zip(images, depths, truths, strict=True):
        if truth.mean() < 0.01:
            continue
        share = truth.reshape(height // 14, 14, width // 14, 14).mean((1, 3), dtype=np.float32)
        noisy = (0.15 + 0.7 * share + rng.normal(0, 0.12, share.shape)).clip(0, 1).astype(np.float32)
        soft_depth = cv2.GaussianBlur(1 / depth, (0, 0), 2)  # edges as a network draws them
        for coarse in (share, noisy):
            grown = guided.upsampled(coarse[None], height, width)[0]
            by_truth = guided.guided_filter(grown, guided.rgbd_guides(image, depth, inverse=False))
            by_soft = guided.guided_filter(grown, guided.rgbd_guides(image, soft_depth, inverse=True))
            moves = [values > 0.5 for values in (grown, by_soft, by_truth)]
            scores.append([(m & truth).sum() / max(1, (m | truth).sum()) for m in moves])
    means = np.reshape(scores, (-1, 2, 3)).mean(0)
    print(f"\nIoU of {len(scores) // 2} frames: bilinear, guided by soft depth, guided by true depth")
    print(f"exact shares: {means[0].round(3)}, noisy ones: {means[1].round(3)}")
    assert (means[:, 0] < means[:, 1]).all()
    assert (means[:, 1] < means[:, 2]).all()

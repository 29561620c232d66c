"""Pictures varied as cameras vary: the same way through a clip, and never so that the depth would be another."""

import torch

from vmdepth.data.augment import augment
from vmdepth.data.rendering.synthetic import render_clips


def varied(rgb, seed):
    return augment(rgb, torch.Generator().manual_seed(seed))


def test_the_same_draws_give_the_same_clip_in_range():
    clip = render_clips([3], 4, 56, 70).rgb[0]
    for seed in range(20):
        once = varied(clip, seed)
        assert once.shape == clip.shape and once.dtype == torch.float32
        assert once.min() >= 0 and once.max() <= 1 and once.isfinite().all()
        assert torch.equal(once, varied(clip, seed))
        assert not torch.equal(once, varied(clip, seed + 1))


def test_a_still_picture_keeps_its_look_from_frame_to_frame_but_for_exposure_and_noise():
    picture = render_clips([4], 1, 56, 70).rgb[0]
    still = picture.expand(30, -1, -1, -1)
    swings = []
    for seed in range(30):
        clip = varied(still, seed)
        means = clip.mean(dim=(1, 2, 3))
        assert means.diff().abs().max() < 0.05  # no frame jumps
        swings.append(float(means.max() - means.min()))
        # What is left when brightness is taken out is noise: it does not grow with the distance in time.
        patterns = clip - clip.mean(dim=(2, 3), keepdim=True)
        near, far = (float((patterns[a] - patterns[b]).abs().mean()) for a, b in ((0, 1), (0, 29)))
        assert far < near + 0.08
    assert max(swings) > 0.05  # exposure does drift


def test_edges_stay_where_they_are():
    """Blur and noise must not move a line: the depth below would no longer fit."""
    clip = torch.zeros(1, 3, 40, 40)
    clip[..., 20:] = 0.8
    for seed in range(30):
        columns = varied(clip, seed).mean(dim=(0, 1, 2))
        crossing = int((columns > (columns[:10].mean() + columns[30:].mean()) / 2).float().argmax())
        assert abs(crossing - 20) <= 1, seed

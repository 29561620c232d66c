"""What moves, frame by frame: moments against whole matrices of scores, and the map against a planted object."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vmdepth.networks.heads.base import StateTensors, remember
from vmdepth.networks.moving.bands import Bands
from vmdepth.networks.moving.causal_masks import FIRST_FRAMES, CausalMasks
from vmdepth_runtime.contract import Ring

HEADS, PLACES, CHANNELS = 2, 30, 8
BANDS = Bands((0,), (1, 2), (2, 3), (3,))


def vectors(frames: int, blocks: int = 4, streams: int = 1) -> Tensor:
    """Queries and keys [2, frames, blocks, B, heads, places, d] with a large part in common that shows rounding."""
    torch.manual_seed(0)
    common = 10 * torch.randn(2, 1, blocks, 1, HEADS, 1, CHANNELS)
    return common + torch.randn(2, frames, blocks, streams, HEADS, PLACES, CHANNELS)


def scored(query: Tensor, keys: Sequence[Tensor], weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Mean and variance [places] of every score of queries with the keys of weighed frames, [heads, places, d] each, in
    float64, averaged over heads; the variance as of a sample."""
    scores = torch.cat([query.double() @ key.double().mT / CHANNELS**0.5 for key in keys], dim=-1)
    each = torch.tensor(weights, dtype=torch.float64).repeat_interleave(PLACES)
    mean = (scores * each).sum(-1, keepdim=True) / each.sum()
    variance = ((scores - mean).square() * each).sum(-1) / (each.sum() - 1)
    return mean.squeeze(-1).mean(0), variance.mean(0)


def expected(queries: Tensor, keys: Tensor, frame: int, met: Sequence[int], weights: Sequence[float]) -> Tensor:
    """The five maps [5, places] of a frame by whole matrices. queries, keys: [frames, blocks, heads, places, d]."""

    def over(band: tuple[int, ...], x: Tensor, y: Tensor, what: int) -> Tensor:
        of_blocks = [scored(x[frame, i], [y[other, i] for other in met], weights)[what] for i in band]
        return torch.stack(of_blocks).mean(0)

    return torch.stack([
        over(BANDS.shallow, keys, keys, 0),
        over(BANDS.shallow, queries, keys, 1),
        over(BANDS.middle, queries, queries, 0),
        over(BANDS.deep, queries, queries, 0),
        over(BANDS.deep_variance, queries, queries, 1),
    ])  # fmt: skip


class Recorder(CausalMasks):
    """Keeps the maps that are not normalised."""

    seen: Tensor

    def maps(self, *args: object) -> Tensor:
        self.seen = super().maps(*args)  # type: ignore[arg-type]
        return self.seen


def run(
    masks: CausalMasks, queries: Tensor, keys: Tensor, ring: Ring | None = None
) -> tuple[list[Tensor], StateTensors]:
    """Over frames, as a network does; queries, keys: [frames, blocks, B, heads, places, d]."""
    states = {name: torch.zeros(shape) for name, shape in masks.state_shapes(queries.shape[2]).items()}
    found = []
    for number, (query, key) in enumerate(zip(queries, keys, strict=True)):
        counter = torch.full((queries.shape[2],), float(number)) if ring else None
        moving, after = masks(dict(enumerate(query)), dict(enumerate(key)), states, counter)
        if ring and counter is not None:
            entries = {name: after[name] for name in masks.moments}
            after |= remember(states, entries, counter, ring)
        states = after
        found.append(moving)
    return found, states


@pytest.mark.parametrize("forgetting", [1.0, 0.8], ids=["all of the past", "the past fades"])
def test_statistics_are_those_of_all_scores_with_the_frames_so_far(forgetting):
    queries, keys = vectors(12)
    masks = Recorder(BANDS, HEADS, CHANNELS, forgetting=forgetting)
    for last in (0, 1, 5, 11):
        run(masks, queries[: last + 1], keys[: last + 1])
        weights = [forgetting ** (last - frame) for frame in range(last + 1)]
        truth = expected(queries[:, :, 0], keys[:, :, 0], last, range(last + 1), weights)
        torch.testing.assert_close(masks.seen[0].double(), truth, rtol=1e-4, atol=1e-4)


def test_with_rings_they_are_those_of_the_first_frame_and_of_the_last_ones():
    queries, keys = vectors(9)
    masks = Recorder(BANDS, HEADS, CHANNELS, slots=4)
    for last, met in ((0, [0]), (2, [0, 1, 2]), (8, [0, 5, 6, 7, 8])):
        run(masks, queries[: last + 1], keys[: last + 1], Ring(slots=4, anchors=1, axis=2))
        truth = expected(queries[:, :, 0], keys[:, :, 0], last, met, [1.0] * len(met))
        torch.testing.assert_close(masks.seen[0].double(), truth, rtol=1e-4, atol=1e-4)


def test_a_thousand_frames_lose_nothing():
    queries, keys = vectors(1)
    masks = Recorder(BANDS, HEADS, CHANNELS, forgetting=1.0)
    many = [0] * 1000
    _, states = run(masks, queries[many], keys[many])
    alone = expected(queries[:, :, 0], keys[:, :, 0], 0, [0], [1.0])
    alone[[1, 4]] *= (PLACES - 1) / PLACES  # so many frames make the sample the whole
    torch.testing.assert_close(masks.seen[0].double(), alone, rtol=1e-4, atol=1e-4)
    assert states["dynamic.weight"].item() == 1000


def test_streams_are_alone_and_the_first_frames_are_empty():
    queries, keys = vectors(8, streams=2)
    masks = CausalMasks(BANDS, HEADS, CHANNELS)
    both, _ = run(masks, queries, keys)
    for stream in (0, 1):
        one, _ = run(masks, queries[:, :, stream : stream + 1], keys[:, :, stream : stream + 1])
        torch.testing.assert_close(torch.cat(one), torch.stack(both)[:, stream], rtol=1e-4, atol=1e-6)
    assert not torch.stack(both[:FIRST_FRAMES]).any()
    assert all((frame > 0).all() and (frame <= 1).all() for frame in both[FIRST_FRAMES:])


def test_where_nothing_is_special_next_to_nothing_moves():
    queries, keys = vectors(60)
    found, _ = run(CausalMasks(BANDS, HEADS, CHANNELS), queries, keys)
    assert (torch.stack(found) >= 0.5).float().mean() < 0.02


def test_frames_without_any_contrast_are_still():
    queries, keys = vectors(1)
    flat = queries[..., :1, :].expand_as(queries), keys[..., :1, :].expand_as(keys)
    found, _ = run(CausalMasks(BANDS, HEADS, CHANNELS), *(x[[0] * 10] for x in flat))
    assert torch.stack(found).max() < 0.3


def test_the_threshold_learns_how_far_maps_contradict_each_other():
    """Where the length of deep queries makes mean and variance large together no product reaches 0.5, and the place
    that stands out is found all the same."""
    queries, keys = (x.clone() for x in vectors(12))
    place = PLACES // 2
    queries[:, 2] *= torch.linspace(0.5, 1.5, PLACES)[:, None]
    keys[..., 0, :, :, place, :] *= -1  # unlike all other keys
    queries[..., 0, :, :, place, :] *= 6  # what its query tells apart
    queries[..., 1, :, :, place, :] *= -1
    found, states = run(CausalMasks(Bands((0,), (1,), (2,), (2,)), HEADS, CHANNELS), queries, keys)
    moves = torch.cat(found)[FIRST_FRAMES:] >= 0.5
    assert moves[:, place].all()
    assert moves.float().mean() < 0.06
    mean, variance = states["dynamic.product"][0]
    assert 0.1 < mean + 4 * variance.sqrt() < 0.3


@pytest.mark.parametrize("ring", [None, Ring(slots=8, anchors=1, axis=2)], ids=["fading", "ring"])
def test_an_object_planted_among_distractors_is_found(shared_reference, ring):
    """Each distractor speaks for motion in four of the five maps; the object in all."""
    queries, keys, planted = _planted(shared_reference / "vggt4d" / "inputs_dyn.py")
    bands = Bands((0,), tuple(range(3, 8)), tuple(range(17, 22)), (18, 19))
    masks = CausalMasks(bands, queries.shape[3], queries.shape[5], slots=ring.slots if ring else None)
    found, _ = run(masks, queries, keys, ring)
    moves = torch.cat(found).numpy() >= 0.5
    late, truth = moves[FIRST_FRAMES:], planted[FIRST_FRAMES:]
    assert (late & truth).sum() / (late | truth).sum() > 0.9


def _planted(path: Path) -> tuple[Tensor, Tensor, np.ndarray]:
    """Queries, keys [frames, blocks, 1, heads, places, d] and the object [frames, places]."""
    spec = spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    queries, keys = (torch.from_numpy(x)[:, :, None] for x in module.make_qk())
    return queries, keys, module.OBJ.reshape(len(module.OBJ), -1)

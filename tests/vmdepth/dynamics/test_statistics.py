"""Closed forms against the released code's own maps, against full matrices, and over very many frames."""

import numpy as np
import pytest
import torch

from vmdepth.dynamics.accumulators import Collector, Totals, raw_maps
from vmdepth.dynamics.first_pass import Statistic
from vmdepth.dynamics.statistics import Moments, frames_met
from vmdepth_runtime.errors import InputError

BLOCKS = (0, 3, 4, 5, 6, 7, 17, 18, 19, 20, 21)  # whose queries are stored
RELEASED = {
    "mean3": Statistic("KK", "similarity", (0,), "window"),
    "var3": Statistic("QK", "variance", (0,), "window"),
    "mean1": Statistic("QQ", "similarity", (3, 4, 5, 6, 7), "window"),
    "mean2": Statistic("QQ", "similarity", (17, 18, 19, 20, 21), "window"),
    "var1": Statistic("QQ", "variance", (18, 19), "window"),
}


@pytest.fixture(scope="module")
def stored(shared_reference):
    return np.load(shared_reference / "vggt4d/io_vggt4d_dyn.npz")


def released_maps(stored, dtype, frames=None):
    """Raw maps [T, 10, 12] by the names they have in the file."""
    queries = torch.from_numpy(stored["q_i8_used"][:frames]).to(dtype) / 8
    keys = torch.from_numpy(stored["k_i8_layer0"][:frames]).to(dtype) / 8
    raw = raw_maps(RELEASED.values(), dict(zip(BLOCKS, queries.unbind(1), strict=True)), {0: keys})
    return {name: raw[one].numpy().reshape(-1, 10, 12) for name, one in RELEASED.items()}


def min_max(raw):
    low, high = raw.min(axis=(1, 2), keepdims=True), raw.max(axis=(1, 2), keepdims=True)
    return (raw - low) / (high - low + 1e-6)


def test_raw_maps_are_those_of_all_matrices_in_float64(stored):
    for name, raw in released_maps(stored, torch.float64).items():
        expected = stored[f"raw_{name}_direct64"]  # stored in float32
        assert np.abs(raw - expected).max() <= 1e-7 * np.abs(expected).max(), name


def test_float32_gives_the_released_code_s_maps(stored):
    for name, raw in released_maps(stored, torch.float32).items():
        ends = np.stack([raw.min(axis=(1, 2)), raw.max(axis=(1, 2))], axis=1)
        expected = stored[f"rawminmax_{name}"]
        assert np.abs(ends - expected).max() <= 3e-7 * np.abs(expected).max(), name
        assert np.abs(min_max(raw) - stored[f"map_{name}"]).max() <= 2e-6, name
    for name, raw in released_maps(stored, torch.float32, frames=4).items():
        assert np.abs(min_max(raw) - stored[f"t4_{name}"]).max() <= 2e-6, name


def test_whom_a_frame_meets():
    assert frames_met("window", 0, 13) == [2, 4, 6]
    assert frames_met("window", 6, 13) == [0, 2, 4, 8, 10, 12]
    assert frames_met("window", 1, 3) == []
    assert frames_met("near", 1, 13) == [0, 1, 2, 3]
    assert frames_met("past", 3, 13) == [0, 1, 2, 3]
    assert frames_met("all", 3, 5) == [0, 1, 2, 3, 4]


def vectors(frames, heads, places, channels, seed):
    """Queries and keys of one block [T, heads, places, d] with a strong common component, as networks have."""
    generator = torch.Generator().manual_seed(seed)
    common = 3 * torch.randn(2, 1, heads, 1, channels, generator=generator)
    both = torch.randn(2, frames, heads, places, channels, generator=generator) + common
    return both.unbind(0)


def by_all_matrices(one, queries, keys, frame):
    """A statistic of one frame [places], of every score there is, in float64."""
    by_letter = {"Q": queries, "K": keys}
    own = [by_letter[one.pair[0]][layer].double() for layer in one.layers]
    others = [by_letter[one.pair[1]][layer].double() for layer in one.layers]
    met = frames_met(one.reach, frame, len(own[0]))
    scores = torch.stack(
        [torch.einsum("hid,shjd->hsij", x[frame], y[met]) for x, y in zip(own, others, strict=True)]
    )  # [layers, heads, met, places, places]
    if one.reach == "window":
        averaged = scores.mean(dim=(0, 1, 2))
        return averaged.mean(dim=1) if one.kind == "similarity" else averaged.std(dim=1)
    scaled = (scores / own[0].shape[-1] ** 0.5).transpose(2, 3).flatten(3)  # [layers, heads, places, met · places]
    return (scaled.mean(dim=3) if one.kind == "similarity" else scaled.var(dim=3)).mean(dim=(0, 1))


ALL = [
    Statistic(pair, kind, layers, reach)
    for pair in ("QQ", "KK", "QK")
    for kind in ("similarity", "variance")
    for layers in ((2,), (0, 2))
    for reach in ("window", "near", "past", "all")
]


@pytest.fixture(scope="module")
def two_blocks():
    both = {layer: vectors(10, 3, 7, 8, seed=layer) for layer in (0, 2)}
    return {layer: x for layer, (x, _) in both.items()}, {layer: y for layer, (_, y) in both.items()}


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_statistic_is_that_of_all_matrices(one, two_blocks):
    raw = raw_maps([one], *two_blocks)[one]
    expected = torch.stack([by_all_matrices(one, *two_blocks, frame) for frame in range(10)])
    assert (raw - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_it_does_not_matter_whether_blocks_or_frames_come_first(two_blocks):
    collector = Collector(ALL, 10)
    for frame in range(10):
        for layer in (0, 2):
            for letter, all_of in zip("QK", two_blocks, strict=True):
                collector.add(layer, letter, frame, all_of[layer][frame])
    expected = raw_maps(ALL, *two_blocks)
    for one in ALL:
        torch.testing.assert_close(collector.raw[one], expected[one], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layers", [(9, 9), (9, 11, 9), ()])
def test_blocks_of_a_statistic_are_named_once(layers):
    with pytest.raises(InputError, match=r"statistic window/variance/QK/.*: names blocks, each of them once"):
        Statistic("QK", "variance", layers, "window")


def test_ten_thousand_frames_lose_nothing():
    """Means drift over the video, and are far from 0: as sums of squares most digits would be gone."""
    generator = torch.Generator().manual_seed(0)
    drift = torch.linspace(0, 5, 10_000, dtype=torch.float64)[:, None, None]
    frames = 30 + drift + torch.randn(10_000, 6, 4, generator=generator, dtype=torch.float64)
    moments = Moments.sum([Moments.of(frame) for frame in frames])
    together = frames.flatten(0, 1)
    centred = together - together.mean(dim=0)
    assert moments.count == 60_000
    torch.testing.assert_close(moments.mean, together.mean(dim=0), rtol=1e-13, atol=0)
    torch.testing.assert_close(moments.scatter, centred.T @ centred, rtol=1e-11, atol=1e-7)
    single = Moments.sum([Moments.of(frame) for frame in frames.float()])
    spread = lambda one: (one.scatter / one.count).diagonal()  # noqa: E731
    torch.testing.assert_close(spread(single), spread(moments), rtol=1e-6, atol=0)


def test_half_precision_is_summed_in_float32():
    generator = torch.Generator().manual_seed(0)
    half = (8 + torch.randn(3, 50, 16, generator=generator)).half()
    for moments in (Moments.of(half), Moments.of(half.float())):
        assert moments.scatter.dtype == torch.float64
        assert moments.scores("variance", half).dtype == torch.float32
    torch.testing.assert_close(Moments.of(half).scatter, Moments.of(half.float()).scatter, rtol=0, atol=0)


def test_what_is_no_longer_needed_is_let_go():
    """Held of a hundred frames are those of a window; of the past and, where they are known, of all frames, sums."""
    frames = [vectors(1, 3, 7, 8, seed=frame) for frame in range(100)]
    totals = Totals(ALL)
    for layer, letter in totals.moments:
        for own in frames:
            totals.add(layer, letter, own["QK".index(letter)][0])
    held = []
    collector = Collector(ALL, 100, totals)
    for frame, (x, y) in enumerate(frames):
        for layer in (0, 2):
            collector.add(layer, "Q", frame, x[0])
            collector.add(layer, "K", frame, y[0])
        held.append(collector.held)
    assert max(held) == max(held[:20])
    assert held[-1] == 0

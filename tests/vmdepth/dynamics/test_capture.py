"""The first pass: what is measured is what the blocks' full matrices say, over videos of any length, by any network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vmdepth.dynamics.accumulators import raw_maps
from vmdepth.dynamics.capture import look
from vmdepth.dynamics.first_pass import Statistic
from vmdepth.dynamics.passes import OVERLAP, with_own
from vmdepth.dynamics.second_pass import second_pass
from vmdepth.dynamics.statistics import Moments
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.causal_views import CausalViews
from vmdepth.networks.multiview.presets import AnyViewConfig
from vmdepth.networks.observer import Observer
from vmdepth.networks.presets import PRESETS, NetworkConfig
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.official.depth_anything_3 import DEPTH_ANYTHING_3
from vmdepth.official.family import CheckpointFile, LoadOptions
from vmdepth.views.windows import spans
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.progress import ProgressLine

PAIRS, KINDS, REACHES = ("QQ", "KK", "QK"), ("similarity", "variance"), ("window", "near", "past", "all")


def every(*layers, reaches=REACHES):
    return [Statistic(pair, kind, layers, reach) for pair in PAIRS for kind in KINDS for reach in reaches]


def pictures(count, height=28, width=42):
    """A texture that moves: every frame shows another part of it."""
    texture = np.random.default_rng(0).integers(0, 256, (height, width + 3 * count, 3), dtype=np.uint8)
    return np.stack([texture[:, 3 * frame : 3 * frame + width] for frame in range(count)])


def clip_of(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))


def attention_of(run, layers):
    """Queries and keys of patches as `run(observer)` shows them: {layer: [T, heads, places, d]}, twice."""
    shown = {"query": {layer: [] for layer in layers}, "key": {layer: [] for layer in layers}}
    with torch.inference_mode():
        run(
            Observer(
                lambda one: shown[one.part][one.layer].append(one.values[:, :, one.special :].clone()), layers=layers
            )
        )
    return tuple({layer: torch.cat(slices) for layer, slices in blocks.items()} for blocks in shown.values())


def assert_maps(first, expected, tolerance=2e-6):
    for one, raw in expected.items():
        assert first.raw[one].shape == first.features.shape[:3]
        own = raw.numpy().reshape(first.raw[one].shape)
        assert np.abs(first.raw[one] - own).max() <= tolerance * np.abs(own).max(), one.name


def assert_sums(first, vectors):
    """Sums are those of the patches of all frames, by letter and block {layer: [T, heads, places, d]}."""
    assert set(first.sums) == {(layer, letter) for letter, blocks in vectors.items() for layer in blocks}
    for (layer, letter), sums in first.sums.items():
        together = vectors[letter][layer].double().transpose(0, 1).flatten(1, 2)  # [heads, T · places, d]
        assert sums.count == together.shape[1]
        np.testing.assert_allclose(sums.mean, together.mean(1), rtol=1e-4, atol=1e-5)
        covariance = np.stack([np.cov(own.T) for own in together.numpy()])
        own = sums.scatter / (sums.count - 1)
        np.testing.assert_allclose(own, covariance, rtol=1e-3, atol=1e-5 * np.abs(covariance).max())


@pytest.fixture(scope="module")
def views(small_views):
    return small_views("any-view")


def test_what_a_network_of_views_says_and_what_its_attention_does(views):
    images, asked = pictures(9), [*every(5), *every(2, 11)]
    first = look(views, images, asked)
    queries, keys = attention_of(lambda observe: views(clip_of(images)[None], observe=observe), (2, 5, 11))
    assert_maps(first, raw_maps(asked, queries, keys))
    with torch.inference_mode():
        said = views(clip_of(images)[None])
        pinned = views(clip_of(images)[None], reference=first.reference)
    np.testing.assert_allclose(first.depth, said.depth[0], rtol=1e-4)
    torch.testing.assert_close(said.depth, pinned.depth, rtol=1e-6, atol=0)
    assert not first.inverse
    np.testing.assert_allclose(first.extrinsics[0], np.eye(4)[:3], atol=1e-6)  # the world is the first camera
    np.testing.assert_allclose(first.intrinsics, said.intrinsics[0], rtol=1e-5)
    assert first.grid == (2, 3)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_a_network_in_half_precision_is_looked_at_as_well(small_views, views, precision):
    images, asked = pictures(4), every(5, reaches=("window", "all"))
    half, whole = (look(network, images, asked) for network in (small_views("any-view").to(precision), views))
    assert (half.depth.dtype, half.extrinsics.dtype, half.intrinsics.dtype) == (np.float32, np.float64, np.float64)
    np.testing.assert_allclose(half.depth, whole.depth, rtol=0.1)
    for one in asked:
        assert np.abs(half.raw[one] - whole.raw[one]).max() <= 0.1 * np.abs(whole.raw[one]).max()


def test_a_network_that_sees_the_whole_clip_is_looked_at_in_half_precision():
    torch.manual_seed(0)
    network = VideoDepth(WHOLE_CLIP).eval()
    whole = look(network, pictures(6), every(1))
    half = look(network.to(torch.bfloat16), pictures(6), every(1))
    assert half.depth.dtype == np.float32
    np.testing.assert_allclose(half.depth, whole.depth, atol=0.1 * np.abs(whole.depth).max())


def test_features_are_what_a_block_gives_normalised(views):
    images = pictures(4)
    seen = []
    with torch.inference_mode():
        views(clip_of(images)[None], observe=Observer(lambda one: seen.append(one.values[:, 1:]), ("output",), (3,)))
        expected = views.encoder.norm(torch.cat(seen))
    for options in ({}, {"feature_layer": 3}):
        features = look(views, images, [], **options).features
        np.testing.assert_allclose(features.reshape(4, 6, -1), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(look(views, images, [], feature_layer=8).features - features).max() > 0.1


def test_sums_give_the_maps_of_what_met_them_and_add_up(views):
    images, one = pictures(8), Statistic("QK", "variance", (5,), "all")
    first = look(views, images, [one])
    queries, keys = attention_of(lambda observe: views(clip_of(images)[None], observe=observe), (5,))
    assert set(first.sums) == {(5, "K")}
    own = Moments.of_sums(first.sums[5, "K"])
    again = own.scores("variance", queries[5]).mean(1)
    np.testing.assert_allclose(first.raw[one].reshape(8, -1), again, rtol=1e-4)
    both = own + Moments.of(keys[5][0])
    assert both.arrays().count == 9 * 6
    assert look(views, images, every(5, reaches=("window", "near", "past"))).sums == {}


def test_a_budget_changes_nothing_but_is_kept(views):
    images, asked = pictures(9), every(5, 7)
    whole, small = (look(views, images, asked, memory_budget=budget) for budget in (None, "14MiB"))
    for one in asked:
        np.testing.assert_allclose(small.raw[one], whole.raw[one], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(small.depth, whole.depth, rtol=1e-4)
    with pytest.raises(InputError, match="memory budget 7MiB is too little for 1x9 views of 28x42"):
        look(views, images, asked, memory_budget="7MiB")


def test_frames_of_a_long_video_belong_to_the_window_in_whose_middle_they_are():
    owned = list(with_own(spans(50, 18, OVERLAP)))
    assert [frame for _, own in owned for frame in own] == list(range(50))
    for window, own in owned:
        assert own.start == 0 or own.start - window.start >= 6
        assert own.stop == 50 or window.stop - own.stop >= 6


@pytest.mark.parametrize(("reference", "budget"), [("first", None), ("saddle_balanced", "40MiB")])
def test_a_long_video_is_measured_in_windows(views, reference, budget):
    """Near ones as if there was but the window; past and all over every frame as its own window saw it.

    With a budget nothing waits for the last frame: the sums are made beforehand.
    """
    images, asked = pictures(28), [*every(5), *every(2, 11)]
    long = look(views, images, asked, window=20, reference=reference, memory_budget=budget)
    windows = list(with_own(spans(28, 20, OVERLAP)))
    assert [own for _, own in windows] == [range(14), range(14, 28)]
    owned = []
    for window, own in windows:
        part = images[window.start : window.stop]
        alone = look(views, part, asked, reference=reference)
        for one in asked:
            if one.reach in ("window", "near"):
                inside = slice(own.start - window.start, own.stop - window.start)
                np.testing.assert_allclose(
                    long.raw[one][own.start : own.stop], alone.raw[one][inside], rtol=1e-4, atol=1e-5
                )
        attention = attention_of(
            lambda observe, part=part: views(clip_of(part)[None], reference=reference, observe=observe), (2, 5, 11)
        )
        owned.append(
            [
                {layer: x[own.start - window.start : own.stop - window.start] for layer, x in blocks.items()}
                for blocks in attention
            ]
        )
    queries, keys = (
        {layer: torch.cat([parts[which][layer] for parts in owned]) for layer in (2, 5, 11)} for which in (0, 1)
    )
    whole = [one for one in asked if one.reach in ("past", "all")]
    assert_maps(long, raw_maps(whole, queries, keys), tolerance=1e-5)
    assert_sums(long, {"Q": queries, "K": keys})
    assert long.depth.shape == (28, 28, 42)
    assert long.extrinsics.shape == (28, 3, 4)


WHOLE_CLIP = replace(PRESETS["tiny"], features=64, head=AttentionSettings("bidirectional"), taps=("layer_3",))
OF_VIDEOS = {"never sees the future": PRESETS["tiny"], "sees the whole clip": WHOLE_CLIP}


@pytest.mark.parametrize("config", OF_VIDEOS.values(), ids=OF_VIDEOS)
def test_networks_of_videos_see_frames_in_pieces(config):
    torch.manual_seed(0)
    network = VideoDepth(config).eval()
    images, asked = pictures(11), every(1, 4)
    first = look(network, images, asked, window=0)
    queries, keys = attention_of(lambda observe: network.encode(clip_of(images), observe), (1, 4))
    assert_maps(first, raw_maps(asked, queries, keys), tolerance=1e-5)
    with torch.inference_mode():
        depth, _ = network(clip_of(images)[None])
    if network.can_step:
        np.testing.assert_allclose(first.depth, depth[0, :, 0], rtol=1e-4, atol=1e-5)
    assert first.inverse
    assert first.extrinsics is None
    assert first.reference is None
    twice = look(network, images, asked, window=10, memory_budget="1GiB")
    for one in asked:
        np.testing.assert_allclose(twice.raw[one], first.raw[one], rtol=1e-4, atol=1e-5)


def test_the_encoder_of_views_and_the_one_for_single_images_see_each_frame_alone(small_views):
    images, asked = pictures(5), every(1, 5)
    torch.manual_seed(0)
    network = VideoDepth(NetworkConfig("da3-small", 32, (24, 48, 96, 192))).eval()
    first = look(network, images, asked)
    queries, keys = attention_of(lambda observe: network.encode(clip_of(images), observe), (1, 5))
    assert_maps(first, raw_maps(asked, queries, keys), tolerance=1e-5)
    mono = small_views("mono")
    first = look(mono, images, asked, memory_budget="16MiB")
    queries, keys = attention_of(lambda observe: mono(clip_of(images)[:, None], observe=observe), (1, 5))
    assert_maps(first, raw_maps(asked, queries, keys), tolerance=1e-5)
    np.testing.assert_allclose(first.depth, mono(clip_of(images)[:, None]).depth[:, 0], rtol=1e-4)


def test_a_causal_network_is_looked_at_in_its_whole_form(views):
    images = pictures(5)
    first = look(CausalViews(views, 4), images, every(5))
    expected = look(views, images, every(5), reference="first")
    assert first.reference == 0
    np.testing.assert_array_equal(first.depth, expected.depth)


def test_what_cannot_be_looked_at_is_refused(views):
    images = pictures(20)
    window = [Statistic("QQ", "similarity", (5,), "window")]
    with pytest.raises(InputError, match="has no attention that could tell what moves; take a network with"):
        look(VideoDepth(PRESETS["edge"]), images, window)
    with pytest.raises(InputError, match="3 frames: statistics of a window take 4 or more"):
        look(views, images[:3], window)
    look(views, images[:3], [replace(window[0], reach="all")])
    for wrong in ({"statistics": [Statistic("QQ", "similarity", (5, 12), "all")]}, {"feature_layer": 12}):
        with pytest.raises(InputError, match="block 12: tiny has blocks 0 to 11"):
            look(views, images, **{"statistics": window, **wrong})
    with pytest.raises(InputError, match="window 12: takes more than the 12 frames that windows share, or 0 for all"):
        look(views, images, window, window=12)
    with pytest.raises(InputError, match="frames: size 28x40 is no multiple of 14; the nearest are 28x28 and 28x42"):
        look(views, images[:, :, :40], window)
    with pytest.raises(InputError, match=r"frames are uint8 \[T, H, W, 3\]; these are float32 \[20, 28, 42, 3\]"):
        look(views, images.astype(np.float32), window)
    with pytest.raises(InputError, match="reference 'last': there are saddle_balanced"):
        look(views, images, window, reference="last")
    blind = AnyViewDepth(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4, False, False)).eval()
    assert look(blind, images, window).extrinsics is None
    with pytest.raises(InputError, match="tells no cameras, by which windows are aligned; a window of 0 takes all 20"):
        look(blind, images, window, window=18)


def test_every_block_of_the_small_network_as_all_matrices_say(official_weights):
    """The global statistics of Depth Anything 3 small with recipe weights, 8 views, no score left out."""
    weights = {f"model.{key}": value for key, value in official_weights("da3_small").items()}
    network = DEPTH_ANYTHING_3.build(CheckpointFile(Path("da3-small"), weights), LoadOptions()).eval()
    images = pictures(8, 56, 84)
    asked = [one for layer in range(12) for one in every(layer, reaches=["all"])]
    first = look(network, images, asked)
    queries, keys = attention_of(lambda observe: network(clip_of(images)[None], observe=observe), tuple(range(12)))
    for one in asked:
        by_letter = {"Q": queries[one.layers[0]].double(), "K": keys[one.layers[0]].double()}
        own, met = (by_letter[letter].transpose(0, 1).flatten(1, 2) for letter in one.pair)  # [heads, T · places, d]
        scores = own @ met.transpose(1, 2) / own.shape[-1] ** 0.5
        expected = (scores.mean(2) if one.kind == "similarity" else scores.var(2)).mean(0).reshape(8, 4, 6).numpy()
        assert np.abs(first.raw[one] - expected).max() <= 1e-4 * np.abs(expected).max(), one.name


class Told(ProgressLine):
    """Keeps what it is told: of every stage its name, total, unit, and how much was done whenever that changed."""

    def stage(self, name, total=None, unit="", done=0):
        self.__dict__.setdefault("stages", []).append((name, total, unit, []))
        super().stage(name, total, unit, done)

    def update(self, done, figures=(), total=None):
        self.stages[-1][3].append(done)
        super().update(done, figures, total)


@pytest.mark.parametrize("budget", [None, "64MiB"])
def test_progress_grows_within_a_window(views, budget):
    told, images = Told("looking"), pictures(9)
    first = look(views, images, every(5, reaches=("near",)), progress=told, memory_budget=budget)
    second_pass(
        views,
        images,
        np.zeros(images.shape[:3], bool),
        depth=first.depth,
        reference=first.reference,
        memory_budget=budget,
        progress=told,
    )
    assert told.stages[-2:] == [
        ("looking", 12, "blocks", list(range(1, 13))),
        ("looking again, without what moves", 12, "blocks", list(range(1, 13))),
    ]


def test_progress_counts_blocks_of_all_windows(views):
    told = Told("looking")
    look(views, pictures(20), every(5, reaches=("near",)), progress=told, window=16)
    assert told.stages[-1] == ("looking", 24, "blocks", list(range(1, 25)))

"""Which blocks a name or a notation means, and of which network."""

import pytest

from vmdepth.dynamics.layers import TABLES, Blocks, blocks_of, choose_layers
from vmdepth.networks.moving.bands import Bands, relative_bands
from vmdepth.networks.multiview.presets import VIEW_PRESETS, AnyViewConfig
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_runtime.errors import InputError

DEPTHS = {"small": 12, "base": 12, "large": 24, "giant": 40}


def blocks_of_preset(name: str) -> Blocks:
    config: AnyViewConfig = VIEW_PRESETS[name]
    return Blocks(DEPTHS[name], tuple(i for i in range(config.start, DEPTHS[name]) if i % 2))


@pytest.mark.parametrize(
    ("name", "bands"),
    [
        ("small", "5/7/11"),
        ("base", "5/7/11"),
        ("large", "9/11+13/21+23/21"),
        ("giant", "13/17+19+21/33+35+37/35"),
    ],
)
def test_relative_depth_counts_among_the_blocks_that_see_all_views(name, bands):
    blocks = blocks_of_preset(name)
    choice = choose_layers("relative", blocks)
    assert str(choice) == bands
    assert choose_layers(str(choice), blocks) == choice
    assert set(choice.watched) <= set(blocks.over_views)


def test_where_views_never_meet_all_blocks_count_and_24_of_them_are_the_table_itself():
    assert relative_bands(range(24)) == TABLES["vggt"]
    assert str(relative_bands(range(12))) == "0/2+3+4/9+10+11/9+10"


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ("vggt", Bands((0,), (3, 4, 5, 6, 7), (17, 18, 19, 20, 21), (18, 19))),
        ("9", Bands((9,), (9,), (9,), (9,))),
        ("5/7-9/11+2", Bands((5,), (7, 8, 9), (2, 11), (2, 11))),
        ("9/9+9/9+8-10", Bands((9,), (9,), (8, 9, 10), (8, 9, 10))),
        ("0/1/2-4/3", Bands((0,), (1,), (2, 3, 4), (3,))),
    ],
)
def test_names_and_notation(given, choice):
    assert choose_layers(given, Blocks(24)) == choice


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("vggt", "there is no block 17, the network's are 0 to 11; 5, 7, 9, 11 see all views; 'relative' fits any"),
        ("12", "there is no block 12"),
        ("deep", r"'deep' is no band of blocks; give a name \(relative, vggt, bands, giant\)"),
        ("5/", "'' is no band"),
        ("5/7", "2 bands; give one, or shallow/middle/deep"),
        ("5/7/9/11/11", "5 bands"),
        ("9-5", "empty; write 5-9"),
    ],
)
def test_what_a_network_has_not_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        choose_layers(given, blocks_of_preset("small"))


def test_blocks_are_those_of_the_network(small_views):
    assert blocks_of(small_views("any-view")) == Blocks(12, (5, 7, 9, 11))
    assert blocks_of(small_views("mono")) == Blocks(12)


def test_a_network_without_attention_is_refused():
    with pytest.raises(InputError, match="'mobilenet' has no attention blocks"):
        blocks_of(VideoDepth(PRESETS["edge"]))

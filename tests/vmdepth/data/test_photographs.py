"""Photographs as textures: tiles without seams, another look of the same world, and what is no picture."""

import cv2
import numpy as np
import pytest
import torch

from vmdepth.data.rendering.photographs import photographs
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.data.rendering.textures import SIZE, TEXELS
from vmdepth_runtime.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bright red gradient, and below it a small blue picture of another size."""
    place = tmp_path_factory.mktemp("pictures")
    red = np.zeros((200, 300, 3), np.uint8)
    red[..., 2] = np.linspace(100, 255, 300)
    cv2.imwrite(str(place / "red.png"), red)
    (place / "more").mkdir()
    cv2.imwrite(str(place / "more" / "blue.jpg"), np.full((20, 16, 3), (250, 10, 10), np.uint8))
    (place / "notes.txt").write_text("no picture")
    return place


def test_tiles_are_the_pictures_in_linear_light_and_repeat_without_a_seam(folder):
    table = photographs(folder)
    tiles = table.view(-1, TEXELS, 3)[:, : SIZE * SIZE].unflatten(1, (SIZE, SIZE))
    red, blue = tiles[tiles[..., 0].mean(dim=(1, 2)) > 0.1], tiles[tiles[..., 2].mean(dim=(1, 2)) > 0.1]
    assert len(red) + len(blue) == len(tiles)
    assert abs(len(red) - len(blue)) <= 1  # every picture has its share, whatever its size
    torch.testing.assert_close(blue.mean(dim=(0, 1, 2))[2], torch.tensor((250 / 255) ** 2.2), atol=0.02, rtol=0)
    inner = red.diff(dim=2).abs().max()
    seam = (red[:, :, 0] - red[:, :, -1]).abs().max()
    assert seam <= inner + 1e-6
    assert torch.equal(photographs(folder), table)


def test_the_world_is_the_same_under_other_colours(folder):
    plain, papered = (render_clips(range(8), 1, 56, 70, photos=photos) for photos in (None, folder))
    assert torch.equal(plain.depth, papered.depth)
    assert torch.equal(plain.flow, papered.flow)
    differs = (plain.rgb - papered.rgb).abs().amax(dim=2).flatten(1) > 0.02
    shares = differs.float().mean(dim=1)
    assert 0.25 < shares.mean() < 0.75  # from none to all of a world, half on average
    assert shares.max() - shares.min() > 0.3
    assert torch.equal(papered.rgb, render_clips(range(8), 1, 56, 70, photos=folder).rgb)


def test_what_is_no_folder_of_pictures_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        photographs(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no picture in it"):
        photographs(tmp_path / "empty")
    (tmp_path / "empty" / "broken.jpg").write_text("no jpeg")
    with pytest.raises(InputError, match=r"broken\.jpg cannot be read as a picture"):
        photographs(tmp_path / "empty")

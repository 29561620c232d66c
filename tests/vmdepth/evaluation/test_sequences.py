"""What DATA may say."""

import numpy as np
import pytest

from vmdepth.data.batches import HELD_OUT_SEEDS
from vmdepth.data.rendering.synthetic import render_clips
from vmdepth.evaluation.sequences import HeldOut, RenderedClip, open_data
from vmdepth_runtime.errors import InputError


def test_clips_and_frames():
    assert open_data("rendered") == HeldOut(64, 16)
    assert open_data("rendered:8") == HeldOut(8, 16)
    assert open_data("rendered:2x1000") == HeldOut(2, 1000)
    assert HeldOut(2, 5).sequences(14, 28)[1] == RenderedClip(1, 5, 14, 28)


def test_more_clips_than_training_leaves_alone_are_refused():
    seeds = [clip.seed for clip in open_data(f"rendered:{HELD_OUT_SEEDS}").sequences(14, 14)]
    assert max(seeds) < HELD_OUT_SEEDS
    with pytest.raises(InputError, match=f"only {HELD_OUT_SEEDS} rendered worlds are held out"):
        open_data(f"rendered:{HELD_OUT_SEEDS + 1}")


@pytest.mark.parametrize(
    "data", ["rendered:", "rendered:0", "rendered:2x0", "rendered:-1", "rendered:2x", "rendered:x8"]
)
def test_what_makes_no_clip(data):
    with pytest.raises(InputError, match="should be 'rendered:CLIPSxFRAMES'"):
        open_data(data)


def test_what_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_data(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="no RGB-D folder there"):
        open_data(str(tmp_path))


def test_a_long_clip_rendered_in_pieces_is_one_stream():
    clip = RenderedClip(0, 22, 14, 14)
    frames = list(clip)
    assert len(frames) == len(clip) == 22
    late = render_clips([0], 2, 14, 14, first_frame=20)
    for index in range(2):
        np.testing.assert_array_equal(frames[20 + index].depth, late.depth[0, index, 0].numpy())
        np.testing.assert_allclose(frames[20 + index].pose, late.poses[0, index].numpy())
    np.testing.assert_array_equal(next(iter(clip)).image, frames[0].image)

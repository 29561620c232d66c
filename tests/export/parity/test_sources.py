"""Sources to compare and calibrate on: the frames of one video, where a model remembers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vmdepth_export.parity.frames import source_frames
from vmdepth_runtime import InputError


def test_pictures_of_different_sizes_are_no_stream_for_a_model_that_remembers(tmp_path):
    for k, width in enumerate((64, 64, 80)):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((48, width, 3), 40 * k, np.uint8))
    with pytest.raises(InputError, match="its images differ in size, so they are no video"):
        list(source_frames(str(tmp_path), 10, 28, 42, 2))
    frames = list(source_frames(str(tmp_path), 10, 28, 42, 2, remembers=False))
    assert [(frame.shape, frame[1, 0, 0, 0]) for frame in frames] == [((2, 28, 42, 3), 40 * k) for k in range(3)]
    assert len(list(source_frames(str(tmp_path / "2.png"), 10, 28, 42, 1))) == 1

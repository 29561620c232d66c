"""Footage that several tests of this room see."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def frames(tmp_path):
    """A folder of 12 pictures whose brightness is ten times their number."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(12):
        cv2.imwrite(str(folder / f"frame_{n}.png"), np.full((40, 60, 3), 10 * n, np.uint8))
    return folder

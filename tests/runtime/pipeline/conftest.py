"""What runs read."""

from __future__ import annotations

import pytest


@pytest.fixture
def videos(tmp_path, make):
    """Two videos in a folder, of different sizes and lengths."""
    folder = tmp_path / "videos"
    folder.mkdir()
    make.video(folder / "a.mp4", make.noise(12, seed=1))
    make.video(folder / "b.mp4", make.noise(8, 96, 128, seed=2))
    return folder

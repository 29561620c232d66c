"""What tests of training start from."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def da3(tmp_path_factory, official_weights):
    """The official file of Depth Anything 3 small."""
    path = tmp_path_factory.mktemp("da3-small") / "model.safetensors"
    save_file(official_weights("da3_small"), path)
    return path

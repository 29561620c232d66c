"""One small network and its step graph, exported once for the whole folder."""

from dataclasses import replace

import pytest
import torch

from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_export.conversion.proven_graph import export_step_graph

SIZE = (42, 56)


@pytest.fixture(scope="session")
def remembering():
    """A preset's network with heads that matter: fresh ones are the identity, and any graph would agree on states."""

    def build(preset):
        torch.manual_seed(0)
        model = VideoDepth(PRESETS[preset]).eval()
        with torch.no_grad():
            for head in model.heads.values():
                torch.nn.init.normal_(head.proj_out.weight, std=0.3)
        return model

    return build


@pytest.fixture(scope="session")
def network(remembering):
    return remembering("tiny")


@pytest.fixture(scope="session")
def step_graph(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "tiny.onnx"
    export_step_graph(network, path, *SIZE, frames=20)
    return path


@pytest.fixture(scope="session")
def per_frame_network():
    torch.manual_seed(0)
    return VideoDepth(replace(PRESETS["tiny"], head=NoHead())).eval()

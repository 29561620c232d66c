"""A network in PyTorch is a session like every other: all that a stream can ask of one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth.session import TorchSession

SIZE = (32, 48)


@pytest.fixture(scope="module", params=["edge", "attention"])
def network(request):
    """States of both kinds: replaced with every frame, and rings."""
    torch.manual_seed(0)
    config = PRESETS["edge"]
    if request.param == "attention":
        config = replace(config, head=AttentionSettings("causal", 4))
    model = VideoDepth(config).eval()
    for head in model.heads.values():
        torch.nn.init.normal_(head.proj_out.weight, std=0.3)
    return model


def frames(count):
    return np.random.default_rng(0).integers(0, 256, (count, 2, *SIZE, 3), dtype=np.uint8)


def alone(network, images):
    """What a session of one stream gives for it."""
    session = TorchSession(network, *SIZE)
    depths = []
    for image in images:
        session.frame[0] = image
        depths.append(session.step()["depth"][0].copy())
    return np.stack(depths)


def test_streams_are_reset_saved_restored_and_left_out_each_on_its_own(network):
    session, sequence = TorchSession(network, *SIZE, streams=2), frames(9)
    snapshot, depths = session.snapshot(), []
    for number, images in enumerate(sequence):
        if number == 2:
            session.save(1, snapshot)
        if number == 4:
            session.reset(0)
        if number == 6:
            session.restore(1, snapshot)
        session.frame[...] = images
        depths.append(session.step(idle=[0] if number == 5 else [])["depth"].copy())
    first, second = np.stack(depths).transpose(1, 0, 2, 3)
    exact = {"rtol": 0, "atol": 1e-5}
    np.testing.assert_allclose(first[:4], alone(network, sequence[:4, 0]), **exact)
    np.testing.assert_allclose(first[[4, 6, 7, 8]], alone(network, sequence[[4, 6, 7, 8], 0]), **exact)
    np.testing.assert_allclose(second[:6], alone(network, sequence[:6, 1]), **exact)
    np.testing.assert_allclose(second[6:], alone(network, sequence[[0, 1, 6, 7, 8], 1])[2:], **exact)


def test_states_that_are_handed_out_are_copies(network):
    session = TorchSession(network, *SIZE)
    session.frame[...] = frames(1)[0, :1]
    session.step()
    kept = {name: state.copy() for name, state in session.states().items()}
    for state in session.states().values():
        state[...] = 7
    for name, state in session.states().items():
        np.testing.assert_array_equal(state, kept[name])
    assert session.next_states().keys() == kept.keys()

"""One Mamba-2 mixer against arrays computed by an independent implementation, and against itself."""

import numpy as np
import pytest
import torch

from vmdepth.networks.heads.mamba2 import Mamba2


@pytest.fixture(scope="module")
def reference(shared_reference):
    return {k: torch.from_numpy(v) for k, v in np.load(shared_reference / "io_mamba2.npz").items()}


@pytest.fixture(scope="module")
def mixer(reference):
    block = Mamba2(width=64, head_dim=32, d_state=16, expand=2)
    block.load_state_dict({k.removeprefix("w."): v for k, v in reference.items() if k.startswith("w.")})
    return block


def zero_states(block, batch, tokens):
    return tuple(torch.zeros(shape) for shape in block.state_shapes(batch, tokens).values())


def official(ssm, conv):
    """One token's states in the layout of mamba_ssm; its convolution state also holds the input of the step before."""
    return ssm[..., 0], conv[..., 0].transpose(1, 2)


def error(a, b):
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def test_clip_form_gives_the_official_output_and_states(mixer, reference):
    y, ssm, conv = mixer(reference["x"], *zero_states(mixer, 3, 1))
    ssm, conv = official(ssm, conv)
    assert error(y, reference["y"]) <= 1e-5
    assert error(ssm, reference["ssm_state"]) <= 1e-5
    assert error(conv, reference["conv_state"][..., 1:]) <= 1e-5


@torch.no_grad()
def test_steps_give_the_official_outputs_and_states(mixer, reference):
    states = zero_states(mixer, 3, 1)
    outputs = []
    for t, x in enumerate(reference["x"].unbind(1)):
        y, *states = mixer.step(x[..., None], *states)
        outputs.append(y[..., 0])
        if t < 4:
            assert error(official(*states)[0], reference["ssm_states_first"][:, t]) <= 1e-5
        if t == 11:
            assert error(official(*states)[0], reference["ssm_state_12"]) <= 1e-5
            assert error(official(*states)[1], reference["conv_state_12"][..., 1:]) <= 1e-5
    assert error(torch.stack(outputs, 1), reference["y_steps"]) <= 1e-5
    assert error(official(*states)[0], reference["ssm_state"]) <= 1e-5


@torch.no_grad()
def test_prefix_as_clip_then_the_rest_as_clip(mixer, reference):
    x = reference["x"]
    first, *states = mixer(x[:, :12], *zero_states(mixer, 3, 1))
    assert error(official(*states)[0], reference["ssm_state_12"]) <= 1e-5
    second, *_ = mixer(x[:, 12:], *states)
    assert error(torch.cat([first, second], 1), reference["y"]) <= 1e-5


@torch.no_grad()
def test_tokens_are_independent_sequences():
    torch.manual_seed(0)
    block = Mamba2(width=32, head_dim=16, d_state=8, expand=1)
    x = torch.randn(2, 32, 5)  # [B, width, tokens]
    states = tuple(torch.randn(shape) for shape in block.state_shapes(2, 5).values())
    y, ssm, conv = block.step(x, *states)
    for token in range(5):
        one = slice(token, token + 1)
        y1, ssm1, conv1 = block.step(x[..., one], *(s[..., one] for s in states))
        torch.testing.assert_close(y[..., one], y1)
        torch.testing.assert_close(ssm[..., one], ssm1)
        torch.testing.assert_close(conv[..., one], conv1)


@torch.no_grad()
def test_decay_far_beyond_float_range_stays_finite():
    block = Mamba2(width=32, head_dim=16, d_state=8, expand=1)
    block.dt_bias.fill_(60.0)  # one step forgets by exp(-60·16): differences of the cumulated decay are ±10⁴
    y, ssm, _ = block(torch.randn(4, 12, 32), *zero_states(block, 1, 4))
    assert y.isfinite().all()
    assert ssm.isfinite().all()


def test_an_inner_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="no multiple of head_dim"):
        Mamba2(width=40, head_dim=16, d_state=8, expand=1)

"""Networks of views over videos of any length: all frames at once where they fit, else windows that agree."""

import numpy as np
import pytest
import torch

from vmdepth.networks.multiview.any_view import AnyViewDepth
from vmdepth.networks.multiview.mono_depth import MonoDepth
from vmdepth.networks.multiview.nested_depth import NestedDepth
from vmdepth.networks.multiview.presets import METRIC, AnyViewConfig, MonoConfig, NestedConfig
from vmdepth.networks.multiview.views import ViewNetwork, Views
from vmdepth.training.teachers import inverse_of_views
from vmdepth.whole_video.view_windows import view_depths
from vmdepth_runtime.errors import InputError

SIZE = (28, 42)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return AnyViewDepth(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (9, *SIZE, 3), np.uint8)


def prepare(frame):
    return frame.astype(np.float32) / np.float32(255)


def same(small):
    return small


def over(network, frames, **windows):
    said = list(view_depths(network, frames, prepare, same, **windows))
    return np.stack([one["depth"] for one in said]), said


@torch.no_grad()
def test_all_frames_see_each_other_as_views(network, frames):
    depth, said = over(network, frames)
    views = network(torch.from_numpy(prepare(frames)).permute(0, 3, 1, 2)[None])
    np.testing.assert_allclose(depth, views.depth[0].numpy(), rtol=1e-4)
    np.testing.assert_allclose(said[4]["confidence"], views.confidence[0, 4].numpy(), rtol=1e-4)
    assert len(over(network, frames[:3])[0]) == 3 and over(network, frames[:1])[1][0].keys() == {"depth", "confidence"}


class Counting(ViewNetwork):
    """Depth is what a picture shows, at a scale that every call chooses for itself."""

    extra_maps = ()

    def __init__(self, kind):
        super().__init__()
        self.depth_kind = kind
        self.none = torch.nn.Parameter(torch.zeros(1))
        self.calls = []

    def forward(self, clip, chunk):
        self.calls.append(clip.shape[1])
        return Views((clip[:, :, 0] + 1) * len(self.calls))


@pytest.mark.parametrize("count", range(1, 20))
def test_windows_are_whole_and_agree_on_the_scale(count):
    frames = np.random.default_rng(1).integers(0, 256, (count, *SIZE, 3), np.uint8)
    network = Counting("scaled")
    depth, _ = over(network, frames, window=6, overlap=2)
    np.testing.assert_allclose(depth, prepare(frames)[..., 0] + 1, rtol=1e-5)
    assert network.calls == [min(count, 6)] + [6] * -(-max(count - 6, 0) // 4)


def test_metres_keep_their_scale_and_go_over_where_windows_meet():
    frames = np.zeros((10, *SIZE, 3), np.uint8)
    depth, _ = over(Counting("metric"), frames, window=6, overlap=2)
    np.testing.assert_allclose(depth[:, 0, 0], [1, 1, 1, 1, 4 / 3, 5 / 3, 2, 2, 2, 2], rtol=1e-5)


@torch.no_grad()
def test_a_network_for_single_images_sees_every_frame_alone(frames):
    torch.manual_seed(0)
    network = MonoDepth(MonoConfig("tiny", 32, (24, 48, 96, 192), metric=True)).eval().requires_grad_(False)
    assert (network.depth_kind, network.metric_focal, METRIC.metric) == ("metric", 300.0, True)
    depth, said = over(network, frames[:3])
    alone = network(torch.from_numpy(prepare(frames[1])).permute(2, 0, 1)[None, None])
    np.testing.assert_allclose(depth[1], alone.depth[0, 0].numpy(), rtol=1e-4)
    assert said[0].keys() == {"depth", "sky"}


@torch.no_grad()
def test_nothing_but_sky_has_no_metres_and_is_said_with_its_frames(network, frames):
    mono = MonoConfig("tiny", 32, (24, 48, 96, 192), metric=True)
    nested = NestedDepth(NestedConfig(network.config, mono)).eval().requires_grad_(False)
    nested.metric.decoder.scratch.sky_output_conv2[2].bias.fill_(100)
    with pytest.raises(InputError, match=r"^frames 0 to 5: these views show nothing but sky.*DA3METRIC-LARGE$"):
        over(nested, frames, window=6, overlap=2)
    clip = torch.from_numpy(prepare(frames[:2])).permute(0, 3, 1, 2)
    assert torch.equal(inverse_of_views(nested, clip), torch.zeros(2, 1, *SIZE))  # as a teacher: infinitely far

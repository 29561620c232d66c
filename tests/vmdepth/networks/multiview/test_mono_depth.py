"""Sky, metres, and the scale that the metric network gives the any-view one."""

import pytest
import torch

from vmdepth.networks.multiview.mono_depth import MonoDepth, metres, quantile, with_far_sky
from vmdepth.networks.multiview.nested_depth import NestedDepth, in_metres
from vmdepth.networks.multiview.presets import AnyViewConfig, MonoConfig, NestedConfig
from vmdepth.networks.multiview.views import Views

TINY = MonoConfig("tiny", 32, (24, 48, 96, 192), metric=True)
TINY_VIEWS = AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4)


@pytest.mark.parametrize("count", [2, 11, 1000])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99, 1.0])
def test_quantile_is_that_of_torch(count, part):
    values = torch.randn(count)
    torch.testing.assert_close(quantile(values, part), values.quantile(part))


def test_sky_is_put_behind_everything_else():
    depth = torch.rand(1, 2, 10, 12) + 1
    sky = torch.zeros_like(depth)
    sky[0, 0, :3] = 0.3
    far = with_far_sky(depth, sky)
    clear = sky < 0.3
    assert torch.equal(far[clear], depth[clear])
    torch.testing.assert_close(far[~clear], depth[clear].quantile(0.99).expand(36))


@pytest.mark.parametrize("pixels", [0, 10, 110, 120])
def test_a_few_pixels_of_either_kind_change_nothing(pixels):
    depth = torch.rand(1, 1, 10, 12) + 1
    sky = torch.zeros(120)
    sky[:pixels] = 1
    assert torch.equal(with_far_sky(depth, sky.view(1, 1, 10, 12)), depth)


@torch.no_grad()
def test_scenes_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    nested = NestedDepth(NestedConfig(TINY_VIEWS, TINY)).eval()
    torch.nn.init.normal_(nested.metric.decoder.scratch.sky_output_conv2[2].weight, std=10)
    clip = torch.rand(2, 3, 3, 28, 42) * torch.tensor([1, 0.2]).view(2, 1, 1, 1, 1)
    for network in (nested, nested.metric):
        together, sky = network(clip).depth, network(clip).sky
        assert (sky[0] < 0.3).any()
        assert (sky[0] >= 0.3).any()
        for scene in range(2):
            torch.testing.assert_close(network(clip[scene : scene + 1]).depth[0], together[scene])


def test_metres_follow_the_focal_length():
    depth = torch.ones(1, 2, 4, 5)
    intrinsics = torch.zeros(1, 2, 3, 3)
    intrinsics[0, :, 0, 0] = torch.tensor([300.0, 700.0])
    intrinsics[0, :, 1, 1] = torch.tensor([300.0, 500.0])
    assert torch.equal(metres(depth, intrinsics)[0, :, 0, 0], torch.tensor([1.0, 2.0]))


@torch.no_grad()
def test_images_alone_or_together_and_in_metres():
    torch.manual_seed(0)
    network = MonoDepth(TINY).eval()
    torch.nn.init.constant_(network.decoder.scratch.sky_output_conv2[2].bias, -10)  # no sky, which is a matter of all
    clip = torch.rand(2, 3, 3, 28, 42)
    out = network(clip)
    assert out.depth.shape == out.sky.shape == (2, 3, 28, 42)
    torch.testing.assert_close(network(clip, chunk=1).depth, out.depth)
    torch.testing.assert_close(network(clip[:, 1:2]).depth, out.depth[:, 1:2])
    intrinsics = torch.eye(3).expand(2, 3, 3, 3) * 600
    torch.testing.assert_close(network(clip, intrinsics=intrinsics).depth, 2 * out.depth)
    with pytest.raises(ValueError, match="only the metric network"):
        MonoDepth(MonoConfig("tiny", 32, (24, 48, 96, 192)))(clip, intrinsics=intrinsics)
    with pytest.raises(ValueError, match="chunk 0"):
        network(clip, chunk=0)
    with pytest.raises(ValueError, match="intrinsics have shape"):
        network(clip, intrinsics=torch.eye(3))
    torch.testing.assert_close(network(clip, memory_budget="9MiB").depth, out.depth)
    with pytest.raises(ValueError, match="the smallest that works"):
        network(clip, memory_budget="1KiB")


def scene(scale):
    """What both networks say of one scene; the metric one is 1/scale of metres at focal length 300."""
    generator = torch.Generator().manual_seed(0)
    true = 1 + 5 * torch.rand(1, 2, 20, 30, generator=generator)
    sky = torch.zeros_like(true)
    sky[:, :, :4] = 1
    sure = torch.rand(true.shape, generator=generator) + 1
    intrinsics = torch.zeros(1, 2, 3, 3)
    intrinsics[..., 0, 0] = intrinsics[..., 1, 1] = 300
    extrinsics = torch.cat([torch.eye(3), torch.ones(3, 1)], dim=1).expand(1, 2, 3, 4)
    unsure = sure < sure[sky < 0.3].median()
    relative = torch.where(unsure | (sky > 0), 7.0, true / scale)  # wrong where it says so
    return true, unsure, Views(relative, sure, extrinsics, intrinsics), Views(true, sky=sky)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_the_scale_comes_from_sure_pixels_that_are_no_sky(scale):
    true, unsure, views, metric = scene(scale)
    out = in_metres(views, metric)
    clear = metric.sky < 0.3
    torch.testing.assert_close(out.depth[clear & ~unsure], true[clear & ~unsure])
    torch.testing.assert_close(out.depth[~clear], out.depth[clear].quantile(0.99).expand(int((~clear).sum())))
    torch.testing.assert_close(out.extrinsics[..., 3], torch.full((1, 2, 3), scale))
    assert torch.equal(out.extrinsics[..., :3], views.extrinsics[..., :3])
    assert torch.equal(views.extrinsics[..., 3], torch.ones(1, 2, 3)), "the input is left alone"


def test_sky_is_no_farther_than_200_metres():
    _, _, views, metric = scene(1.0)
    out = in_metres(views, Views(metric.depth * 1000, sky=metric.sky))
    assert (out.depth[metric.sky > 0] == 200).all()


def test_nothing_but_sky_has_no_scale():
    _, _, views, metric = scene(1.0)
    with pytest.raises(ValueError, match="nothing but sky"):
        in_metres(views, Views(metric.depth, sky=torch.ones_like(metric.depth)))


@torch.no_grad()
def test_the_nested_pair_runs():
    torch.manual_seed(0)
    network = NestedDepth(NestedConfig(TINY_VIEWS, TINY)).eval()
    torch.nn.init.constant_(network.metric.decoder.scratch.sky_output_conv2[2].bias, -10)
    clip = torch.rand(1, 3, 3, 28, 42)
    out = network(clip, rays=True)
    assert out.depth.shape == out.sky.shape == (1, 3, 28, 42)
    assert out.rays is not None
    for cut in ({"chunk": 1}, {"memory_budget": "24MiB"}):
        torch.testing.assert_close(network(clip, **cut).depth, out.depth)
    with pytest.raises(ValueError, match="camera decoder"):
        NestedDepth(NestedConfig(AnyViewConfig("tiny", 32, (24, 48, 96, 192), (5, 7, 9, 11), 4, False, False), TINY))

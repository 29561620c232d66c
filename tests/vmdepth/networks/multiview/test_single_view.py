"""One picture at a time: the steps of any-view and mono networks are those networks with one view."""

import pytest
import torch
import torch.nn.functional as F

from vmdepth.networks.multiview.cameras import to_cameras
from vmdepth.networks.multiview.mono_depth import METRIC_FOCAL, with_far_sky, with_far_sky_each
from vmdepth.networks.multiview.single_view import SingleView
from vmdepth.networks.step_graph import StepGraph
from vmdepth_runtime.contract import Ring

HEIGHT, WIDTH = 28, 42


@pytest.fixture(scope="module")
def frames():
    return torch.randint(256, (2, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def as_clip(frames):
    """Each frame as a scene of its own, as networks of views take them."""
    return frames.float().permute(0, 3, 1, 2)[:, None] / 255


def near(a, b, tolerance=2e-5):
    return (a - b).abs().max() <= tolerance * b.abs().max()


def test_a_step_of_an_any_view_network_is_that_network_with_one_view(frames, small_views):
    network = small_views("any-view")
    views = network(as_clip(frames))
    model = SingleView(network)
    assert (model.depth_kind, model.extra_outputs, model.metric_focal) == ("scaled", ("confidence", "pose"), None)
    outputs, after = StepGraph(model, HEIGHT, WIDTH)(frames, model.init_states(2, HEIGHT, WIDTH))
    assert after == {}
    assert near(outputs["depth"], views.depth[:, 0])
    assert near(outputs["confidence"], views.confidence[:, 0])
    extrinsics, intrinsics = to_cameras(outputs["pose"], HEIGHT, WIDTH)
    assert near(extrinsics, views.extrinsics[:, 0])
    assert near(intrinsics, views.intrinsics[:, 0])
    assert torch.allclose(outputs["descriptor"].norm(dim=-1), torch.ones(2))
    assert not outputs["state_change"].any()


def test_the_descriptor_is_the_mean_of_the_normalised_half_of_the_last_tap(frames, small_views):
    network, taps = small_views("any-view"), []
    network.decoder.norm.register_forward_pre_hook(lambda module, given: taps.append(given[0]))
    network(as_clip(frames))
    expected = F.normalize(torch.cat(taps[-2:])[..., network.encoder.size.width :].mean(1), dim=-1)
    outputs, _ = StepGraph(SingleView(network), HEIGHT, WIDTH)(frames, {})
    assert near(outputs["descriptor"], expected)


def test_without_a_camera_decoder_there_is_no_pose(frames, small_views):
    network = small_views("any-view")
    network.camera_decoder = None
    model = SingleView(network)
    assert model.extra_outputs == ("confidence",)
    assert "pose" not in StepGraph(model, HEIGHT, WIDTH)(frames, {})[0]


@pytest.mark.parametrize("metric", [False, True])
def test_a_step_of_a_mono_network_is_that_network_on_single_images(metric, frames, small_views):
    network = small_views("metric" if metric else "mono")
    views = network(as_clip(frames))
    is_sky = views.sky >= 0.3
    assert is_sky.any()
    assert not is_sky.all()
    model = SingleView(network)
    assert (model.depth_kind, model.metric_focal) == (("metric", METRIC_FOCAL) if metric else ("scaled", None))
    outputs, _ = StepGraph(model, HEIGHT, WIDTH)(frames, {})
    assert near(outputs["depth"], views.depth[:, 0])
    assert near(outputs["sky"], views.sky[:, 0])


@pytest.mark.parametrize("kind", ["any-view", "mono"])
def test_it_has_no_states_and_sizes_are_checked(kind, small_views):
    model = SingleView(small_views(kind))
    assert model.state_shapes(1, *model.usual_size) == {}
    assert model.remembering(None) is model
    with pytest.raises(ValueError, match=r"looks at every frame alone|rings with one anchor"):
        model.remembering(Ring(slots=9, anchors=0, axis=2))
    with pytest.raises(ValueError, match="the nearest are 252x336 and 266x336"):
        model.state_shapes(1, 256, 336)


SIZES = [(14, 14), (28, 42), (56, 84), (251, 337)]
SKIES = [0, 0.005, 0.3, 0.9, 0.995, 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [0.1, 1, 5])
def test_far_sky_in_fixed_shapes_is_the_rule(size, spread):
    generator = torch.Generator().manual_seed(int(spread * 10) + size[0])
    for part in SKIES:
        for many_are_alike in (False, True):
            depth = (torch.randn(2, *size, generator=generator) * spread).exp()
            if many_are_alike:
                depth = depth.mul(3).ceil() / 3
            sky = (torch.rand(2, *size, generator=generator) < part).float()
            expected = torch.stack([with_far_sky(*image) for image in zip(depth, sky, strict=True)])
            got = with_far_sky_each(depth, sky)
            assert ((got - expected).abs() <= 1e-6 * expected).all(), (part, many_are_alike)


@pytest.mark.parametrize(("few", "changes"), [(10, False), (11, True)])
@pytest.mark.parametrize("few_are_sky", [False, True])
def test_ten_pixels_of_sky_or_of_anything_else_change_nothing(few, changes, few_are_sky):
    depth = torch.rand(1, 28, 42, generator=torch.Generator().manual_seed(0)) + 1
    sky = torch.full_like(depth, 0.0 if few_are_sky else 0.3)
    sky.flatten()[:few] = 0.3 if few_are_sky else 0.29
    assert torch.equal(with_far_sky_each(depth, sky), depth) != changes
    assert torch.allclose(with_far_sky_each(depth, sky), with_far_sky(depth, sky))


def test_depth_that_is_all_alike_and_one_very_far_pixel():
    sky = torch.zeros(1, 28, 42)
    sky[:, :14] = 1
    alike = torch.full((1, 28, 42), 2.5)
    assert torch.equal(with_far_sky_each(alike, sky), alike)
    far = torch.rand(1, 28, 42, generator=torch.Generator().manual_seed(0)) + 1
    far[0, 20, 20] = 1e12
    assert torch.allclose(with_far_sky_each(far, sky), with_far_sky(far, sky), rtol=1e-6)

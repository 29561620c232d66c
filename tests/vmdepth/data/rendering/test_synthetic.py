"""Rendered clips: depth, flow, poses and colours must agree with each other, and a seed must always give one clip."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vmdepth.data.rendering.interior import interior
from vmdepth.data.rendering.layouts import draw_scene
from vmdepth.data.rendering.scenes import BOX, SceneBuilder
from vmdepth.data.rendering.synthetic import RenderedClips, render_clips

SEEDS = range(100, 132)
HEIGHT, WIDTH, FRAMES = 98, 126, 3


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clips() -> RenderedClips:
    return render_clips(SEEDS, FRAMES, HEIGHT, WIDTH, first_frame=40)


def pixel_centres() -> Tensor:
    """[2, H, W]: x and y."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return torch.stack([x, y])


def sample(maps: Tensor, places: Tensor) -> Tensor:
    """Bilinear samples of maps [F, C, H, W] at places [F, 2, H, W] in pixels."""
    size = torch.tensor([WIDTH, HEIGHT]).view(2, 1, 1)
    grid = (places / size * 2 - 1).permute(0, 2, 3, 1)
    return functional.grid_sample(maps, grid, align_corners=False, padding_mode="border")


def warp(clips: RenderedClips) -> tuple[Tensor, Tensor]:
    """By depth, intrinsics and poses alone: where the pixels of frames 0 .. N − 2 are in the next frame, [F, 2, H, W],
    and their depth there, [F, 1, H, W]."""
    ones = torch.ones(1, HEIGHT, WIDTH)
    pixels = torch.cat([pixel_centres(), ones]).flatten(1).double()
    intrinsics = clips.intrinsics[:, None].double()
    depth = clips.depth[:, :-1].flatten(-2).double()
    points = intrinsics.inverse() @ pixels * depth
    points = torch.cat([points, torch.ones_like(depth)], 2)
    poses = clips.poses.double()
    there = (poses[:, 1:].inverse() @ poses[:, :-1] @ points)[:, :, :3]
    projected = intrinsics @ there
    shape = (-1, HEIGHT, WIDTH)
    places = (projected[:, :, :2] / projected[:, :, 2:]).flatten(0, 1).unflatten(-1, shape[1:])
    return places.float(), there[:, :, 2:].flatten(0, 1).unflatten(-1, shape[1:]).float()


def inside(places: Tensor) -> Tensor:
    """Which places [F, 2, H, W] are in the picture: [F, 1, H, W]."""
    x, y = places[:, :1], places[:, 1:]
    return (x > 0.5) & (x < WIDTH - 0.5) & (y > 0.5) & (y < HEIGHT - 0.5)


@pytest.fixture(scope="module")
def stretched() -> RenderedClips:
    return render_clips(
        SEEDS, FRAMES, HEIGHT, WIDTH, first_frame=40, stretch=np.linspace(0.9, 1.35, len(SEEDS)).tolist()
    )


@pytest.mark.parametrize("which", ["clips", "stretched"])
def test_static_pixels_warp_onto_the_next_frame(which: str, request: pytest.FixtureRequest) -> None:
    clips = request.getfixturevalue(which)
    places, depth = warp(clips)
    static = ~clips.moving[:, :-1].flatten(0, 1) & clips.depth[:, :-1].flatten(0, 1).isfinite()
    flow = clips.flow[:, :-1].flatten(0, 1)
    ahead = static & (depth > 0.05)
    error = (places - pixel_centres() - flow).norm(dim=1, keepdim=True)
    assert error[ahead & inside(places)].max() <= 0.01

    visible = ahead & inside(places)
    assert visible.float().mean() > 0.5
    colour = (sample(clips.rgb[:, 1:].flatten(0, 1), places) - clips.rgb[:, :-1].flatten(0, 1)).abs() * 255
    assert colour[visible.expand_as(colour)].median() <= 2.0
    following = sample(clips.depth[:, 1:].flatten(0, 1), places)
    assert ((following - depth).abs() / depth)[visible].median() <= 0.005


def test_a_wrong_depth_does_not_warp(clips: RenderedClips) -> None:
    wrong = clips.depth.clone()
    wrong *= 1.1
    places, depth = warp(RenderedClips(clips.rgb, wrong, clips.flow, clips.moving, clips.intrinsics, clips.poses))
    following = sample(clips.depth[:, 1:].flatten(0, 1), places)
    visible = inside(places) & depth.isfinite()
    assert ((following - depth).abs() / depth)[visible].median() > 0.005


def test_flow_of_moving_pixels_leads_to_the_same_surface(clips: RenderedClips) -> None:
    flow = clips.flow[:, :-1].flatten(0, 1)
    places = pixel_centres() + flow
    # Away from silhouettes, so that a sample does not mix the object with what is behind it.
    moving = clips.moving.flatten(0, 1).float()
    core = -functional.max_pool2d(-moving, 5, 1, 2)
    core = core.view_as(clips.moving)[:, :-1].flatten(0, 1) > 0
    here = core & (sample(clips.moving[:, 1:].flatten(0, 1).float(), places) == 1) & inside(places)
    assert here.sum() > 1000
    colour = (sample(clips.rgb[:, 1:].flatten(0, 1), places) - clips.rgb[:, :-1].flatten(0, 1)).abs() * 255
    assert colour[here.expand_as(colour)].median() <= 2.0
    # The camera's motion alone does not explain where these pixels go.
    static, _ = warp(clips)
    assert (static - places).norm(dim=1, keepdim=True)[here].median() > 0.05


def test_sky_is_infinite_and_moves_with_rotation_only(clips: RenderedClips) -> None:
    sky = clips.depth.isinf()
    assert 0.02 < sky.float().mean() < 0.5
    assert not (sky & clips.moving).any()
    far = torch.where(sky, 1e7, clips.depth)
    places, _ = warp(RenderedClips(clips.rgb, far, clips.flow, clips.moving, clips.intrinsics, clips.poses))
    error = (places - pixel_centres() - clips.flow[:, :-1].flatten(0, 1)).norm(dim=1, keepdim=True)
    assert error[sky[:, :-1].flatten(0, 1)].max() <= 0.01


def test_values(clips: RenderedClips) -> None:
    count = len(SEEDS)
    assert clips.rgb.shape == (count, FRAMES, 3, HEIGHT, WIDTH)
    assert clips.depth.shape == clips.moving.shape == (count, FRAMES, 1, HEIGHT, WIDTH)
    assert clips.flow.shape == (count, FRAMES, 2, HEIGHT, WIDTH)
    assert clips.intrinsics.shape == (count, 3, 3)
    assert clips.poses.shape == (count, FRAMES, 4, 4)
    for values in (clips.rgb, clips.depth, clips.flow, clips.intrinsics, clips.poses):
        assert values.dtype == torch.float32
        assert not values.isnan().any()
    assert clips.moving.dtype == torch.bool
    assert clips.rgb.min() >= 0 and clips.rgb.max() <= 1
    assert clips.flow.isfinite().all() and clips.poses.isfinite().all()
    assert clips.depth.min() >= 0.2
    fields = 2 * torch.atan(WIDTH / 2 / clips.intrinsics[:, 0, 0]) * 180 / math.pi
    assert fields.min() >= 45 and fields.max() <= 85
    rotation = clips.poses[..., :3, :3]
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5, rtol=0)
    share = clips.moving.flatten(1).any(1).float().mean()
    assert 0.2 < share < 0.95


def test_pictures_are_exposed_textured_and_in_motion(clips: RenderedClips) -> None:
    grey = clips.rgb.mean(2)
    brightness = grey.flatten(1).mean(1)
    assert 0.25 < brightness.mean() < 0.65
    assert ((brightness > 0.1) & (brightness < 0.92)).float().mean() > 0.9
    step = torch.maximum(
        (grey[..., 1:, :-1] - grey[..., :-1, :-1]).abs(), (grey[..., :-1, 1:] - grey[..., :-1, :-1]).abs()
    )
    assert (step > 2 / 255).float().mean() > 0.4
    length = clips.flow.norm(dim=2).flatten(1).mean(1) * 320 / WIDTH
    assert 0.5 < length.median() < 8


def test_camera_stays_clear_of_everything_for_long() -> None:
    for start in range(0, 3000, 500):
        clips = render_clips(range(200 + start, 208 + start), 2, 56, 70, first_frame=start)
        assert clips.depth.min() >= 0.2


def test_every_kind_of_scene_is_drawn() -> None:
    scenes = [draw_scene(seed) for seed in range(64)]
    length = [float(scene.half[0].max()) for scene in scenes if not scene.open_air]
    assert sum(bool(scene.open_air) for scene in scenes) >= 12
    assert sum(size > 9 for size in length) >= 6  # corridors
    assert sum(size < 5 for size in length) >= 12  # rooms


def test_a_ray_exactly_along_a_face_has_a_depth() -> None:
    clip = render_clips([9_100_031_005], 1, 140, 182)  # pixel 497 looks along the side of a box, to the last bit
    assert torch.isfinite(clip.rgb).all()
    assert not clip.depth.isnan().any()


def test_furniture_is_added_whole_or_not_at_all() -> None:
    build = SceneBuilder(np.random.default_rng(0), (0.1, 0.1, 0.1), 1.5)
    material = build.material(1.0)
    leg = (BOX, (0.5, 0.35, 0.0), (0.02, 0.35, 0.02), (0.0, 0.0), material)
    top = (BOX, (0.0, 0.72, 0.0), (0.5, 0.02, 0.3), (0.0, 0.0), material)
    assert build.add_group(0.0, 2.0, np.pi / 2, [leg, top])
    assert build.used().sum() == 1 + 2  # the shell, too
    # A quarter turn brings what was to the right in front of the place it stands at, or behind it.
    placed = build.centre[1:3]
    np.testing.assert_allclose(placed[0, :3], [0.0, -0.35, 1.5], atol=1e-9)
    np.testing.assert_allclose(placed[1, :3], [0.0, -0.72, 2.0], atol=1e-9)
    at_the_camera = (BOX, (0.0, 1.5, 0.0), (0.1, 0.1, 0.1), (0.0, 0.0), material)
    assert not build.add_group(0.0, 0.3, 0.0, [leg, at_the_camera])
    assert not build.add_group(0.0, 3.0, 0.0, [leg] * 100)  # more than there are slots
    assert build.used().sum() == 1 + 2


def test_interiors_are_furnished_and_seen_from_near() -> None:
    scenes = [interior(np.random.default_rng(seed), "hand") for seed in range(40)]
    assert np.mean([scene.used.sum() for scene in scenes]) > 20
    pitch = [scene.camera.offset[4] for scene in scenes]
    assert np.mean(pitch) < -0.2  # mostly from above


def test_a_clip_depends_on_its_seed_alone(clips: RenderedClips) -> None:
    again = render_clips(SEEDS, 1, HEIGHT, WIDTH, first_frame=40)
    assert torch.equal(again.rgb[:, 0], clips.rgb[:, 0])
    assert torch.equal(again.depth[:, 0], clips.depth[:, 0])
    for index in (0, 13, 31):
        alone = render_clips([7, SEEDS[index]], 2, HEIGHT, WIDTH, first_frame=41)
        same(alone, 1, clips, index, 1)
    assert (clips.rgb[0] - clips.rgb[1]).abs().mean() > 0.02


def same(a: RenderedClips, clip: int, b: RenderedClips, other: int, start: int) -> None:
    """Rounding may move a pixel on an edge to the other side, but no more than that."""
    for name in ("rgb", "depth", "flow", "moving"):
        x, y = getattr(a, name)[clip].float(), getattr(b, name)[other, start:].float()
        assert torch.isclose(x, y, atol=2e-3, rtol=1e-4).float().mean() > 0.999
    torch.testing.assert_close(a.poses[clip], b.poses[other, start:], atol=1e-6, rtol=0)


def test_first_frame_enters_the_same_stream_later() -> None:
    whole = render_clips([3, 4], 6, 56, 70, first_frame=10**6)
    part = render_clips([4], 2, 56, 70, first_frame=10**6 + 4)
    same(part, 0, whole, 1, 4)


def test_another_size_shows_the_same_scene() -> None:
    small = render_clips(SEEDS[:8], 1, 70, 84)
    large = render_clips(SEEDS[:8], 1, 210, 252)
    # Pixel centres of the small picture are those of every third pixel of the large one.
    coarse = large.depth[..., 1::3, 1::3]
    agree = torch.isclose(1 / small.depth, 1 / coarse, rtol=1e-3, atol=1e-5)
    assert agree.float().mean() > 0.999
    torch.testing.assert_close(small.intrinsics[:, :2] * 3, large.intrinsics[:, :2])


def test_a_stretched_clip_shows_less_of_the_same(clips: RenderedClips) -> None:
    double = render_clips(SEEDS[:8], 1, HEIGHT, WIDTH, first_frame=40, stretch=[2.0] * 8)
    assert torch.equal(double.intrinsics[:, 1, 1], 2 * double.intrinsics[:, 0, 0])
    # Every second row is a row of the middle half of the picture, but for half a pixel.
    middle = clips.depth[:8, 0, :, HEIGHT // 4 + 1 : HEIGHT - HEIGHT // 4]
    rows = double.depth[:, 0, :, 1:-1]
    between = 0.5 * (1 / rows[:, :, 0::2] + 1 / rows[:, :, 1::2])[:, :, : middle.shape[2]]
    assert torch.isclose(between, 1 / middle[:, :, : between.shape[2]], rtol=0.02, atol=2e-3).float().mean() > 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_renders_what_the_cpu_does(clips: RenderedClips) -> None:
    there = render_clips(SEEDS[:4], FRAMES, HEIGHT, WIDTH, first_frame=40, device="cuda")
    there = RenderedClips(*(getattr(there, name).cpu() for name in RenderedClips.__dataclass_fields__))
    for index in range(4):
        same(there, index, clips, index, 0)

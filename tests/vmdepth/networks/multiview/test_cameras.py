"""Cameras pass through their nine numbers and back."""

import torch

from vmdepth.networks.multiview.cameras import (
    from_cameras,
    inverse,
    quaternion,
    relative_to_first,
    rotation_matrix,
    to_cameras,
)


def cameras(batch=2, views=5):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(batch, views, 9, generator=generator, dtype=torch.float64)
    numbers[..., 7:] = 0.3 + torch.rand(batch, views, 2, generator=generator, dtype=torch.float64)
    return numbers


def test_rotations_and_quaternions():
    q = torch.nn.functional.normalize(torch.randn(500, 4, dtype=torch.float64), dim=-1)
    q[:4] = torch.eye(4)  # turns by half, where w is 0, and none
    q = torch.where(q[:, 3:] < 0, -q, q)
    matrix = rotation_matrix(q)
    eye = torch.eye(3, dtype=torch.float64).expand(500, 3, 3)
    torch.testing.assert_close(matrix @ matrix.transpose(-1, -2), eye)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(500, dtype=torch.float64))
    torch.testing.assert_close(quaternion(matrix), q)
    torch.testing.assert_close(rotation_matrix(3 * q), matrix)
    about_z = rotation_matrix(torch.tensor([0.0, 0, 0.5**0.5, 0.5**0.5]))
    torch.testing.assert_close(about_z @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_numbers_to_cameras_and_back():
    numbers = cameras()
    extrinsics, intrinsics = to_cameras(numbers, 140, 196)
    assert extrinsics.shape == (2, 5, 3, 4)
    torch.testing.assert_close(intrinsics[..., :2, 2], torch.tensor([98.0, 70.0]).double().expand(2, 5, 2))
    back = from_cameras(extrinsics, intrinsics, 140, 196)
    torch.testing.assert_close(back[..., [0, 1, 2, 7, 8]], numbers[..., [0, 1, 2, 7, 8]])
    unit = torch.nn.functional.normalize(numbers[..., 3:7], dim=-1)
    torch.testing.assert_close((back[..., 3:7] * unit).sum(-1).abs(), torch.ones(2, 5, dtype=torch.float64))


def test_no_field_of_view_gives_a_long_lens_and_no_nan():
    numbers = cameras()
    numbers[..., 7:] = 0
    _, intrinsics = to_cameras(numbers, 140, 196)
    torch.testing.assert_close(intrinsics[..., 0, 0], torch.full((2, 5), 98e6, dtype=torch.float64))


def test_poses_relative_to_the_first_camera():
    extrinsics, _ = to_cameras(cameras(), 140, 196)
    relative = relative_to_first(extrinsics)
    eye = torch.eye(3, 4, dtype=torch.float64).expand(2, 3, 4)
    torch.testing.assert_close(relative[:, 0], eye)
    distance = inverse(relative)[..., 3].norm(dim=-1)
    torch.testing.assert_close(distance.median(dim=1).values, torch.ones(2, dtype=torch.float64))

    def between(poses):  # from the third camera to the fourth
        turn = poses[:, 3, :, :3] @ poses[:, 2, :, :3].transpose(-1, -2)
        return turn, poses[:, 3, :, 3] - (turn @ poses[:, 2, :, 3:])[..., 0]

    turn, shift = between(extrinsics)
    turn_relative, shift_relative = between(relative)
    torch.testing.assert_close(turn_relative, turn)
    scale = shift_relative.norm(dim=-1) / shift.norm(dim=-1)
    torch.testing.assert_close(shift_relative, shift * scale[:, None])


def test_cameras_in_one_place_are_not_blown_up():
    extrinsics, _ = to_cameras(cameras(), 140, 196)
    still = extrinsics[:, :1].expand(-1, 4, -1, -1).clone()
    still[:, 1:, :, 3] += 0.01
    assert inverse(relative_to_first(still))[..., 3].norm(dim=-1).max() < 0.2

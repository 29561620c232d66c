"""Cameras as nine numbers, and the two small networks that read them off a token and write them into one.

The nine numbers describe camera to world: translation (3), quaternion x y z w (4), field of view in radians (2, the
height's first). `extrinsics` are world to camera, [..., 3, 4] or [..., 4, 4]; `intrinsics` are [..., 3, 3] in pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmdepth.networks.encoder import Block, EncoderSize

_HEADS = 16  # of the camera encoder, whatever its width


class PoseMlp(nn.Module):
    """Nine numbers of a camera [..., 9] → [..., width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(9, width // 2)
        self.fc2 = nn.Linear(width // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class CameraEncoder(nn.Module):
    """Given cameras as nine numbers [B, N, 9] → the special tokens [B, N, width] of the views. Views see each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        size = EncoderSize(width, depth=4, heads=_HEADS, taps=(0, 1, 2, 3))
        self.pose_branch = PoseMlp(width)
        self.token_norm = nn.LayerNorm(width, eps=1e-5)
        self.trunk = nn.Sequential(*(Block(size, eps=1e-5) for _ in range(size.depth)))
        self.trunk_norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.trunk_norm(self.trunk(self.token_norm(self.pose_branch(numbers))))


class CameraDecoder(nn.Module):
    """A view's special token [..., width] → its camera as nine numbers [..., 9]; the fields of view are ≥ 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.fc_t = nn.Linear(width, 3)
        self.fc_qvec = nn.Linear(width, 4)
        self.fc_fov = nn.Sequential(nn.Linear(width, 2), nn.ReLU())

    def forward(self, token: Tensor) -> Tensor:
        x = self.backbone(token)
        return torch.cat([self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)], dim=-1)


def to_cameras(numbers: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Nine numbers [..., 9] → extrinsics [..., 3, 4] and intrinsics [..., 3, 3] of images of height × width pixels."""
    extrinsics = inverse(torch.cat([rotation_matrix(numbers[..., 3:7]), numbers[..., :3, None]], dim=-1))
    down, across = (numbers[..., 7:] / 2).tan().clamp(min=1e-6).unbind(-1)
    intrinsics = numbers.new_zeros((*numbers.shape[:-1], 3, 3))
    intrinsics[..., 0, 0] = width / 2 / across
    intrinsics[..., 1, 1] = height / 2 / down
    intrinsics[..., 0, 2] = width / 2
    intrinsics[..., 1, 2] = height / 2
    intrinsics[..., 2, 2] = 1
    return extrinsics, intrinsics


def from_cameras(extrinsics: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_cameras`, but that the principal point is not told. The quaternion has w ≥ 0."""
    to_world = inverse(extrinsics)
    down = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    across = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    turn = quaternion(to_world[..., :3])
    return torch.cat([to_world[..., 3], turn, torch.stack([down, across], dim=-1)], dim=-1)


def relative_to_first(extrinsics: Tensor) -> Tensor:
    """Extrinsics [B, N, 3 or 4, 4] → [B, N, 3, 4] seen from the first camera, at the scale the networks know.

    Translations are divided by the median distance (the lower of two) of a scene's cameras from its first, which
    counts with distance 0, or by 0.1 if that is more. The networks learnt given cameras in this form.
    """
    to_world = inverse(extrinsics)
    first = extrinsics[:, :1, :3]
    turn = first[..., :3] @ to_world[..., :3]
    shift = first[..., :3] @ to_world[..., 3:] + first[..., 3:]
    distance = shift.flatten(2).norm(dim=-1).median(dim=1).values.clamp(min=0.1)
    return inverse(torch.cat([turn, shift / distance[:, None, None, None]], dim=-1))


def inverse(pose: Tensor) -> Tensor:
    """The inverse of a rigid motion [..., 3 or 4, 4], as [..., 3, 4]."""
    back = pose[..., :3, :3].transpose(-2, -1)
    return torch.cat([back, -back @ pose[..., :3, 3:]], dim=-1)


def rotation_matrix(quaternion: Tensor) -> Tensor:
    """Quaternion x y z w [..., 4], of any length but 0 → rotation [..., 3, 3]."""
    x, y, z, w = (quaternion * (2 / quaternion.square().sum(-1, keepdim=True)).sqrt()).unbind(-1)
    rows = [
        [1 - y * y - z * z, x * y - z * w, x * z + y * w],
        [x * y + z * w, 1 - x * x - z * z, y * z - x * w],
        [x * z - y * w, y * z + x * w, 1 - x * x - y * y],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quaternion(matrix: Tensor) -> Tensor:
    """Rotation [..., 3, 3] → unit quaternion x y z w [..., 4] with w ≥ 0."""
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # 4 q qᵀ, of which every row is the quaternion times four times one of its numbers: the row of the largest number
    # loses least to rounding (Shepperd 1978).
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    xw, yw, zw = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    rows = [
        [1 + xx - yy - zz, xy, xz, xw],
        [xy, 1 - xx + yy - zz, yz, yw],
        [xz, yz, 1 - xx - yy + zz, zw],
        [xw, yw, zw, 1 + xx + yy + zz],
    ]
    products = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = products.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    unit = row / row.norm(dim=-1, keepdim=True)
    return torch.where(unit[..., 3:] < 0, -unit, unit)

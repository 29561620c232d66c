"""Smooth endless paths: sums of slow sinusoids of time, and the rotations that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

FRAME_RATE = 30.0
"""Nominal frames per second: speeds of cameras and objects are drawn in metres per second."""


@dataclass(frozen=True)
class Waves:
    """offset + Σ amplitude · sin(frequency · time + phase), for any number of coordinates at once.

    offset: [..., C]; amplitude, frequency (rad/s), phase (rad): [..., C, K].
    """

    offset: Array
    amplitude: Array
    frequency: Array
    phase: Array

    def at(self, time: Array) -> Array:
        """Values [..., T, C] at times [T] in seconds (float64, so that an hour's stream is as exact as its start)."""
        angle = self.frequency[..., None, :, :] * time[:, None, None] + self.phase[..., None, :, :]
        return self.offset[..., None, :] + (self.amplitude[..., None, :, :] * np.sin(angle)).sum(-1)


def about_y(angle: Array) -> Array:
    """Rotations [..., 3, 3] about the vertical axis (y, down); a positive angle turns z (forward) towards x (right)."""
    rotation = np.zeros((*angle.shape, 3, 3))
    rotation[..., 0, 0] = rotation[..., 2, 2] = np.cos(angle)
    rotation[..., 0, 2] = np.sin(angle)
    rotation[..., 2, 0] = -rotation[..., 0, 2]
    rotation[..., 1, 1] = 1.0
    return rotation


def euler(angles: Array) -> Array:
    """Rotations [..., 3, 3] from [..., 3] yaw, pitch and roll in radians, to be undone in the opposite order.

    A positive yaw turns forward (z) towards right (x), a positive pitch forward upwards (−y), and a positive roll right
    towards down (y).
    """
    sine, cosine = np.sin(angles), np.cos(angles)
    sy, sp, sr = sine[..., 0], sine[..., 1], sine[..., 2]
    cy, cp, cr = cosine[..., 0], cosine[..., 1], cosine[..., 2]
    rotation = np.empty((*sy.shape, 3, 3))
    rotation[..., 0, 0], rotation[..., 0, 1], rotation[..., 0, 2] = (
        cy * cr + sy * sp * sr,
        sy * sp * cr - cy * sr,
        sy * cp,
    )
    rotation[..., 1, 0], rotation[..., 1, 1], rotation[..., 1, 2] = cp * sr, cp * cr, -sp
    rotation[..., 2, 0], rotation[..., 2, 1], rotation[..., 2, 2] = (
        cy * sp * sr - sy * cr,
        sy * sr + cy * sp * cr,
        cy * cp,
    )
    return rotation

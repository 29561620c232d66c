"""What a high-dynamic-range signal is in an ordinary picture: a table over its red, green and blue.

Signals become light by ITU-R BT.2100 (PQ, HLG), light is brought to the primaries of BT.709 and compressed above the
white of ordinary pictures, and becomes a signal again by BT.1886, gamma 2.4. Up to 85 % of that white light stays as it
is, so that what would also fit an ordinary picture looks the same in both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18  # transfer characteristics as ITU-T H.273 numbers them
_WHITE = 203.0  # cd/m² of diffuse white, ITU-R BT.2408
_PEAKS = {PQ: 10_000.0, HLG: 1000.0}  # cd/m² of signal 1; of HLG on the display that BT.2100 takes for nominal
_BT709, _BT2020, _P3 = 1, 9, 12
_CHROMATICITIES = {  # x, y of red, green and blue; ITU-R BT.709 and BT.2020, SMPTE EG 432-1
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_KNEE = 0.85  # of white
_GAMMA = 2.4  # BT.1886
Array = NDArray[np.float64]


def sdr_table(transfer: int, primaries: int, points: int) -> Array:
    """The colours of ordinary pictures for an even grid of signals.

    Args:
        transfer: `PQ` or `HLG`.
        primaries: as ITU-T H.273 numbers them; unknown ones are those of BT.2020.
        points: of the grid along each of red, green and blue, from signal 0 to signal 1.

    Returns:
        float64 `[points, points, points, 3]`, red, green and blue from 0 to 1; the signal's red is the first axis. What
        BT.709 cannot show lies beyond, to be clipped after interpolation: before it, the colours beside would change.
    """
    to_xyz = _to_xyz(primaries if primaries in _CHROMATICITIES else _BT2020)
    steps = np.linspace(0, 1, points)
    signal = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    light = _pq_light(signal) if transfer == PQ else _hlg_light(signal, to_xyz[1])
    ordinary = _to_xyz(_BT709)
    light = light @ (np.linalg.inv(ordinary) @ to_xyz).T / _WHITE
    # By the largest of the three, so that hues stay.
    largest = light.max(axis=-1, keepdims=True)
    light *= _compressed(largest, _PEAKS[transfer] / _WHITE) / np.maximum(largest, 1e-12)
    return np.asarray(np.sign(light) * np.abs(light) ** (1 / _GAMMA))


def _pq_light(signal: Array) -> Array:
    """cd/m² of a PQ signal: the EOTF of SMPTE ST 2084."""
    root = signal ** (32 / 2523)
    ratio = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    return np.asarray(_PEAKS[PQ] * ratio ** (16_384 / 2610))


def _hlg_light(signal: Array, luminance: Array) -> Array:
    """cd/m² of an HLG signal on a display of the nominal peak: inverse OETF and OOTF of ITU-R BT.2100, gamma 1.2.

    luminance: weights of red, green and blue.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(_PEAKS[HLG] * (scene @ luminance)[..., None] ** 0.2 * scene)


def _compressed(light: Array, peak: float) -> Array:
    """Light as shares of white, `peak` brought to 1: as it is up to the knee, then a hyperbola that goes on with its
    slope (the curve that FFmpeg's `tonemap` calls mobius)."""
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    bent = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a) * (light + a) / np.maximum(light + b, 1e-12)
    return np.where(light <= _KNEE, light, bent)


def _to_xyz(primaries: int) -> Array:
    """The matrix `[3, 3]` from linear red, green and blue to CIE XYZ, white at luminance 1 (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    x, y = _D65
    return np.asarray(columns * np.linalg.solve(columns, (x / y, 1, (1 - x - y) / y)))

"""Key-frame anchoring: when a stream sees a place again, states and scale of the depth go back to what they were.

A bank keeps a few key frames: descriptor, states (where the session has them), a small depth. A frame whose descriptor
is like a key frame's, and which is no mere neighbour of it, is a *visit*, if the two depths show the same relief:
descriptors alone take one end of a room for the other. Where scale or shift of the depth are then off by more than they
are between any two looks, the states are set to the key frame's, and scale and shift follow what makes the depth that
of the key frame. Where they are not, nothing is touched: a network that does not drift is not to be disturbed.

Key frames are of a scene, which ends where the stream starts anew. One of an earlier scene is gone back to likewise,
as soon as it is seen again; nothing else of it counts in a later one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.depth.keyframe_settings import KeyframeSettings
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sessions.state_buffers import Snapshot

_SMALL = (32, 24)  # width and height of the depth that is kept
_SAME_VIEW = 0.98  # correlation of two small depths from which they are of one view
_STILL = 0.5  # share of a place of the small depth that has to stand still for it to be of any use
_TRUSTED = 80.0  # percent of the pixels that a fit is made from: what moved, or is hidden, is left out
_FINISHED = 0.05  # share of the drift that starts a correction, below which it is done
_PLAUSIBLE = 3.0  # factor that a scale may be off by: more is a depth map gone wrong
_REMEMBERED = 10_000  # visits the report keeps: a camera that runs for weeks must not fill the memory


@dataclass(eq=False)  # one of a kind: told apart by what it is, not by its arrays
class _Keyframe:
    number: int
    descriptor: NDArray[np.float32]
    depth: NDArray[np.float32]  # as it was given out, small; NaN where too much moved
    states: Snapshot
    scene: int  # its frames continue each other


@dataclass
class Visit:
    """Frames in a row that were like one key frame. similarity: the highest. scale, shift: as they were fitted last.
    kept: frames without drift. resets: how often the states were set back. skipped: frames that were another view after
    all, whose states moved too much for a fit, or whose fit was not plausible."""

    first: int
    last: int
    keyframe: int
    similarity: float
    scale: float | None = None
    shift: float | None = None
    kept: int = 0
    resets: int = 0
    skipped: int = 0


class KeyframeBank:
    """The key frames of one stream.

    Args:
        settings: how many key frames are kept, and when the stream goes back to one.
        session: whose states are kept and set back.
        stream: its number there.

    Attributes:
        settings: as given.
        capacity: how many key frames there can be.
        mib: MiB that their states take.
        visits: the latest ten thousand.
        added: how many frames became key frames.
        resets: how often the states were set back.
        scale: what the depth is multiplied with now.
        shift: what is added to it then, in its own unit; 0 where depth is not shifted by its kind.

    Raises:
        InputError: not one set of states fits into the memory that the settings allow.
    """

    def __init__(self, settings: KeyframeSettings, session: StepSession, stream: int = 0) -> None:
        self.settings = settings
        contract = session.contract
        state_mib = contract.state_bytes / contract.streams / 2**20
        self.capacity = min(settings.capacity, int(settings.memory / max(state_mib, 1e-9)))
        if self.capacity == 0:
            raise InputError(
                f"--keyframe-memory {settings.memory:g}: one key frame of this network takes {state_mib:.0f} MiB; "
                "allow as much, or take --no-keyframes"
            )
        self.mib = self.capacity * state_mib
        self.visits: deque[Visit] = deque(maxlen=_REMEMBERED)
        self.added = 0
        self.resets = 0
        self.scale, self.shift = 1.0, 0.0
        self._session = session
        self._stream = stream
        self._shifted = contract.depth_meaning.shifted
        moves = DYNAMIC in contract.extra_outputs
        self._still = np.empty((contract.height, contract.width), np.float32) if moves else None
        self._keyframes: list[_Keyframe] = []
        self._free = [session.snapshot() for _ in range(self.capacity)]
        self._frame = -1
        self._started_at = 0  # frame that the stream started, or restarted, with
        self._last_added = self._last_reset = 0
        self._scene = 0
        self._correcting = False
        self._recovered: tuple[int, _Keyframe] | None = None  # when, and from what

    @property
    def count(self) -> int:
        """How many key frames there are."""
        return len(self._keyframes)

    def update(
        self,
        depth: NDArray[np.float32],
        descriptor: NDArray[np.float32],
        state_change: float,
        moves: NDArray[np.bool_] | None = None,
    ) -> None:
        """After a step: note its frame, and correct its depth.

        Args:
            depth: float32 `[h, w]`, finite, changed in place.
            descriptor: float32 `[D]`, unit length.
            state_change: how far the frame moved the states, relative to their size, ≥ 0.
            moves: bool `[h, w]`, what moves by itself and is left out of fits; None of a network that does not say.
        """
        self._frame += 1
        settings = self.settings
        alike = [float(descriptor @ key.descriptor) for key in self._keyframes]
        match = max(
            (
                i
                for i, key in enumerate(self._keyframes)
                if key.scene != self._scene or self._frame - key.number >= settings.min_gap
            ),
            key=alike.__getitem__,
            default=None,
        )
        small = self._shrunk(depth, moves)
        if match is not None and alike[match] >= settings.similarity:
            self._visit(self._keyframes[match], alike[match], small, state_change)
        if self.scale != 1.0 or self.shift != 0.0:
            depth *= np.float32(self.scale)
            depth += np.float32(self.shift)
            np.maximum(depth, 0.0, out=depth)
        since = self._frame - self._last_added
        new = not any(
            value >= settings.similarity
            for value, key in zip(alike, self._keyframes, strict=True)
            if key.scene == self._scene
        )
        # Before the interval has passed once, the states have hardly seen anything.
        if self._frame - self._started_at >= settings.interval and (since >= settings.interval or (new and since > 1)):
            self._add(descriptor, np.float32(self.scale) * small + np.float32(self.shift))

    def recover(self) -> None:
        """The last step gave what is not finite: back to the scene's newest key frame, or to the initial states.

        A key frame after which that happens again at once is not to be trusted, and goes.
        """
        self._frame += 1
        if self._recovered is not None and self._frame - self._recovered[0] == 1:
            self._keyframes.remove(self._recovered[1])
            self._free.append(self._recovered[1].states)
        self._recovered = None
        newest = max(
            (key for key in self._keyframes if key.scene == self._scene), key=lambda key: key.number, default=None
        )
        if newest is not None:
            self._session.restore(self._stream, newest.states)
            self._recovered = (self._frame, newest)
        else:
            self._begin()

    def restart(self) -> None:
        """Another scene, or a gap: the states are initial again. The key frames stay, the stream may come back."""
        self._scene += 1
        self._correcting = False
        self._begin()

    def _begin(self) -> None:
        self._session.reset(self._stream)
        self._started_at = self._frame + 1
        self.scale, self.shift = 1.0, 0.0  # they corrected the states that are gone

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {
            "settings": asdict(self.settings),
            "capacity": self.capacity,
            "memory_mib": round(self.mib, 2),
            "kept": [key.number for key in self._keyframes],
            "scenes": [key.scene for key in self._keyframes],
            "added": self.added,
            "resets": self.resets,
            "scale": self.scale,
            "shift": self.shift,
            "visits": [asdict(visit) for visit in self.visits],
        }

    def _shrunk(self, depth: NDArray[np.float32], moves: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """The small depth: means over the pixels that stand still, NaN where too few do."""
        if self._still is None or moves is None or not moves.any():
            return _small(depth)
        still = np.logical_not(moves, out=self._still)
        share = _small(still)
        mean = _small(np.multiply(depth, still, out=still)) / np.maximum(share, np.float32(_STILL))
        mean[share < _STILL] = np.nan
        return mean

    def _visit(self, key: _Keyframe, similarity: float, small: NDArray[np.float32], state_change: float) -> None:
        settings = self.settings
        going_on = self.visits and self.visits[-1].last >= self._frame - 1 and self.visits[-1].keyframe == key.number
        if not going_on:
            self._correcting = False
            self.visits.append(Visit(self._frame, self._frame, key.number, similarity))
        visit = self.visits[-1]
        visit.last, visit.similarity = self._frame, max(visit.similarity, similarity)
        fit = _fit(small, key.depth) if self._shifted else _fit_factor(small, key.depth)
        if fit is None or not state_change <= settings.max_state_change:
            visit.skipped += 1
            return
        visit.scale, visit.shift = fit
        # Once begun, a correction is finished.
        limit = settings.drift * (_FINISHED if self._correcting else 1.0)
        self._correcting = _drift(small, (self.scale, self.shift), fit) >= limit
        if not self._correcting:
            visit.kept += 1
            return
        self.scale += settings.follow * (fit[0] - self.scale)
        self.shift += settings.follow * (fit[1] - self.shift)
        # Not with every frame: states that are always the same would be none at all.
        if self._frame - self._last_reset >= settings.min_gap:
            # What moves does so against the frame before this one, not against how the place looked then.
            self._session.restore(self._stream, key.states, of_the_scene=True)
            self._last_reset = self._frame
            visit.resets += 1
            self.resets += 1

    def _add(self, descriptor: NDArray[np.float32], small: NDArray[np.float32]) -> None:
        """Keep this frame. Where the bank is full, of the two that are most alike the newer one goes: old key frames
        have drifted least, and different ones cover most places."""
        self._last_added = self._frame
        if not self._free:
            everyone = np.stack([*(key.descriptor for key in self._keyframes), descriptor])
            alike = np.triu(everyone @ everyone.T, k=1) + np.tril(np.full((len(everyone),) * 2, -2.0))
            newer = int(np.unravel_index(int(alike.argmax()), alike.shape)[1])
            if newer == len(self._keyframes):
                return
            self._free.append(self._keyframes.pop(newer).states)
        snapshot = self._free.pop()
        self._session.save(self._stream, snapshot)
        self._keyframes.append(_Keyframe(self._frame, descriptor.copy(), small, snapshot, self._scene))
        self.added += 1


def _small(map_: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of a map `[h, w]` over the places of the small one, in a row."""
    return np.asarray(cv2.resize(map_, _SMALL, interpolation=cv2.INTER_AREA), np.float32).ravel()


def _fit(depth: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[float, float] | None:
    """Scale and shift that bring one small inverse depth to another. None where they are of different views, or the
    scale is not plausible, or more than half of their places moved in one of them (NaN).

    The scale is the ratio of spreads, not the slope of a regression, which noise in `depth` would make too small.
    """
    there = np.isfinite(depth) & np.isfinite(wanted)
    if 2 * np.count_nonzero(there) < there.size:
        return None
    depth, wanted = depth[there], wanted[there]
    if np.ptp(depth) == 0 or np.ptp(wanted) == 0 or np.corrcoef(depth, wanted)[0, 1] < _SAME_VIEW:
        return None
    scale, shift, trusted = 1.0, 0.0, np.ones(depth.shape, bool)
    for _ in range(2):
        x, y = depth[trusted], wanted[trusted]
        scale = float(y.std() / max(float(x.std()), 1e-9))
        shift = float(y.mean() - scale * x.mean())
        off = np.abs(scale * depth + shift - wanted)
        trusted = off <= np.percentile(off, _TRUSTED)
    return (scale, shift) if 1 / _PLAUSIBLE <= scale <= _PLAUSIBLE else None


def _fit_factor(depth: NDArray[np.float32], wanted: NDArray[np.float32]) -> tuple[float, float] | None:
    """The one factor that brings a small depth of a known zero to another, and no shift. None as of `_fit`.

    Compared are logarithms: of depth itself the farthest pixels would decide whether two views are one.
    """
    there = (depth > 0) & (wanted > 0)  # false for NaN
    if 2 * np.count_nonzero(there) < there.size:
        return None
    x, y = np.log(depth[there]), np.log(wanted[there])
    if np.ptp(x) == 0 or np.ptp(y) == 0 or np.corrcoef(x, y)[0, 1] < _SAME_VIEW:
        return None
    scale = float(np.exp(np.median(y - x)))
    return (scale, 0.0) if 1 / _PLAUSIBLE <= scale <= _PLAUSIBLE else None


def _drift(depth: NDArray[np.float32], one: tuple[float, float], other: tuple[float, float]) -> float:
    """How far two pairs of scale and shift take a depth apart: the mean, as a share of the depth. depth: NaN where it
    does not count."""
    scales, shifts = other[0] - one[0], other[1] - one[1]
    size = float(np.nanmean(np.abs(other[0] * depth + other[1])))
    return float(np.nanmean(np.abs(scales * depth + shifts)) / max(size, 1e-9))

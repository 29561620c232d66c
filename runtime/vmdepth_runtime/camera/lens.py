"""What is known of the camera that frames come from: a field of view or intrinsics, as they are given."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.errors import InputError

Intrinsics: TypeAlias = "Sequence[float] | str | Path | Lens"
"""fx, fy, cx, cy in pixels of the frames; the same as text, with commas; a file of a calibrated camera; or a `Lens`, as
sources say it of themselves and a `Rectifier` of what it gives."""

ASSUMED_FOV = 60.0
"""Degrees that the longer side of a frame is taken to span where nobody says."""

FORMS = "fx, fy, cx, cy in pixels, as in 525,525,320,240, or a calibration file (.yaml, .json)"
NARROWEST, WIDEST = 1, 179
"""Degrees that a frame of a pinhole camera can span."""
ASPECT_TOLERANCE = 0.01
"""Share by which the aspects of a calibration and of its frames may differ: sizes are whole pixels."""
_MARGIN = 0.25  # share of a side that numbers without a size have their principal point away from the edges


@dataclass(frozen=True)
class Lens:
    """What is known of a camera before its frames are.

    Attributes:
        given: how it was said, for people.
        fov: degrees that a frame is wide, or its longer side where that is `assumed`; None with a `pinhole`.
        pinhole: intrinsics; None with a `fov`.
        size: width and height of the frames that those are of; None: of whatever comes.
        assumed: whether nobody said it.
        distortion: how the camera bends straight lines; None where nobody says, or it does not.
    """

    given: str
    fov: float | None = None
    pinhole: PinholeCamera | None = None
    size: tuple[int, int] | None = None
    assumed: bool = False
    distortion: Distortion | None = None

    @classmethod
    def of(cls, fov: float | None = None, intrinsics: Intrinsics | None = None) -> Lens | None:
        """What one of the two says; None where neither is given.

        Args:
            fov: degrees that a frame is wide.
            intrinsics: fx, fy, cx, cy, or a file: camera_info of ROS, a calibration of OpenCV, Kalibr or ORB-SLAM, or
                plain keys fx, fy, cx, cy; with the size of the frames and the distortion, where it says those; or a
                lens, taken as it is.

        Raises:
            InputError: both are given, or one that cannot be meant; a file that cannot be read, has no intrinsics, or
                a distortion that is not known.
        """
        if fov is not None and intrinsics is not None:
            raise InputError(f"--fov {fov:g} and intrinsics both say what the camera sees; leave one out")
        if fov is not None:
            if not 0 < fov < 180:
                raise InputError(f"--fov: is in degrees, between 0 and 180, not {fov:g}")
            return cls(f"--fov {fov:g}", fov=float(fov))
        if intrinsics is None or isinstance(intrinsics, Lens):
            return intrinsics
        if isinstance(intrinsics, str) and not intrinsics:
            raise InputError(f"intrinsics: are empty; intrinsics are {FORMS}")
        if isinstance(intrinsics, Path) or (isinstance(intrinsics, str) and not _are_numbers(intrinsics)):
            # OpenCV, which arguments need not wait for.
            from vmdepth_runtime.camera.calibration_file import read_calibration

            numbers, size, distortion = read_calibration(Path(intrinsics))
            given = str(intrinsics)
        else:
            numbers = _floats(intrinsics.split(",") if isinstance(intrinsics, str) else intrinsics)
            size = distortion = None
            given = f"intrinsics {','.join(f'{number:g}' for number in numbers)}"
        if len(numbers) != 4:
            raise InputError(f"{given}: intrinsics are {FORMS}")
        if not (min(numbers[:2]) > 0 and all(map(math.isfinite, numbers))):
            raise InputError(f"{given}: intrinsics are fx, fy, cx, cy in pixels, fx and fy above 0")
        return cls(given, pinhole=PinholeCamera(*map(float, numbers)), size=size, distortion=distortion)

    @classmethod
    def assume(cls) -> Lens:
        """What most cameras see, more or less."""
        return cls(f"assumed: {ASSUMED_FOV:g} degrees along the longer side", fov=ASSUMED_FOV, assumed=True)

    def camera(self, width: int, height: int, name: str = "the picture") -> PinholeCamera:
        """The camera of frames of a size, in pixels of them.

        Args:
            width: of a frame, pixels.
            height: likewise.
            name: of what it belongs to, for errors.

        Raises:
            InputError: the intrinsics do not fit such frames.
        """
        if self.pinhole is None:
            assert self.fov is not None
            focal = PinholeCamera.of_fov(self.fov, max(width, height) if self.assumed else width, height).fx
            return PinholeCamera(focal, focal, (width - 1) / 2, (height - 1) / 2)
        own_width, own_height = self.size or (width, height)
        across, down = width / own_width, height / own_height
        if abs(across / down - 1) > ASPECT_TOLERANCE:
            raise InputError(
                f"{self.given}: is of {own_width}x{own_height} frames, and {name} is {width}x{height}, of another "
                "shape; calibrate the camera as it is used, or give FX,FY,CX,CY of these frames"
            )
        camera = self.pinhole.scaled(across, down)
        wide, high = (math.degrees(2 * math.atan(n / 2 / f)) for n, f in ((width, camera.fx), (height, camera.fy)))
        if not (NARROWEST <= wide <= WIDEST and NARROWEST <= high <= WIDEST):
            raise InputError(
                f"{self.given}: {name}, which is {width}x{height}, would be {wide:.3g} degrees wide and {high:.3g} "
                "high; focal lengths are in pixels"
            )
        # A calibration says its own frames' size; numbers alone may be of others, which their middle gives away.
        margin = 0.0 if self.size else _MARGIN
        at_x, at_y = (camera.cx + 0.5) / width, (camera.cy + 0.5) / height
        if not all(margin <= at <= 1 - margin for at in (at_x, at_y)):
            guess = f"are they of {2 * round(camera.cx)}x{2 * round(camera.cy)}? " if min(at_x, at_y) > 0 else ""
            raise InputError(
                f"{self.given}: its principal point {camera.cx:g},{camera.cy:g} is far from the middle of {name}, "
                f"which is {width}x{height}; {guess}give them for this size, or a file that says its image size"
            )
        return camera


def _are_numbers(text: str) -> bool:
    return "," in text and not os.path.exists(text)  # noqa: PTH110 (which never raises)


def _floats(given: Sequence[float] | Sequence[str]) -> list[float]:
    try:
        return [float(part) for part in given]
    except (TypeError, ValueError):  # a matrix's parts are rows
        told = ",".join(map(str, given)).replace("\n", " ")
        raise InputError(f"intrinsics {told}: intrinsics are {FORMS}") from None

"""Depth in a window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sinks.base import Sink
from vmdepth_runtime.sources.base import SourceFrame

_TITLE = "vmdepth"


class DisplaySink(Sink):
    """A window with source and depth side by side."""

    example = "'display'"
    needs_range = True
    wants_depth = False
    wants_colour = True
    for_eyes = True

    @classmethod
    def accepts(cls, target: str) -> bool:
        return target == "display"

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        toolkit = next((line for line in cv2.getBuildInformation().splitlines() if "GUI:" in line), "GUI: NONE")
        if toolkit.split()[-1] == "NONE":
            raise InputError(
                "display: this OpenCV has no windows; 'pip uninstall opencv-python-headless', then 'pip install "
                "opencv-python', or look at it with -o http://127.0.0.1:8080"
            )
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise InputError("display: there is no screen here (DISPLAY is not set); use -o http://127.0.0.1:8080")

    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None:
        cv2.imshow(_TITLE, self._beside_source(frame, colour)[..., ::-1])
        cv2.waitKey(1)

    def close(self) -> None:
        cv2.destroyAllWindows()

"""RGB-D folders in which the depth of a real step graph has a scale and a shift that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vmdepth_runtime import bundled
from vmdepth_runtime.depth.resize import DepthResizer, resize_frame
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sources.open import open_source

_PER_METRE = 10_000  # steps of the depth images: no rounding to speak of
_CAMERA = {"fx": 100.0, "fy": 100.0, "cx": 67.5, "cy": 47.5, "depth_scale_m": 1 / _PER_METRE, "registration_px": 0}


@pytest.fixture(scope="session")
def measure(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`measure(scale, shift, frames=5, wrong=0.05, points=None)`: frames of the bundled clip, and as their depth what
    that of the bundled model, streamed, is with scale and shift; a share of it wrong, all of it or so many points a
    frame."""

    def make(scale: float, shift: float, *, frames: int = 5, wrong: float = 0.05, points: int | None = None) -> Path:
        folder, random = tmp_path_factory.mktemp("rgbd"), np.random.default_rng(0)
        for name in ("rgb", "depth"):
            (folder / name).mkdir()
        (folder / "intrinsics.json").write_text(json.dumps(_CAMERA))
        with OnnxSession(bundled.MODEL) as session, open_source("demo") as source:
            for number, frame in zip(range(frames), source, strict=False):
                image = np.asarray(cv2.resize(frame.image, (136, 96), interpolation=cv2.INTER_AREA), np.uint8)
                cv2.imwrite(str(folder / "rgb" / f"{number:03}.png"), image[..., ::-1])
                true = 1 / (scale * _depth(session, image) + shift)
                bad = random.random(true.shape) < wrong
                true[bad] = random.uniform(0.2, 6, np.count_nonzero(bad))
                if points is not None:
                    left_out = random.permutation(true.size)[points:]
                    true.ravel()[left_out] = 0
                cv2.imwrite(str(folder / "depth" / f"{number:03}.png"), np.rint(true * _PER_METRE).astype(np.uint16))
        return folder

    return make


def _depth(session: OnnxSession, image: NDArray[np.uint8]) -> NDArray[Any]:
    resize_frame(image, session.frame[0], "area")
    depth = np.empty(image.shape[:2], np.float32)
    DepthResizer("area")(session.step()["depth"][0], depth)
    return depth.astype(np.float64)

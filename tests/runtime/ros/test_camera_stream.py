"""Points of a camera whose lens changes on its way, as one that focuses by itself does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.ros.camera_stream import CameraStream
from vmdepth_runtime.ros.settings import RosSettings
from vmdepth_runtime.sessions.onnx import OnnxSession

LENS = Lens.of(intrinsics="40,40,20.5,13.5")


def test_the_unit_of_relative_points_is_of_the_first_picture_whatever_the_lens(luma_model, make):
    """Until the stream starts anew: then it is that of the first picture from there on."""
    (image,) = make.noise(1, 28, 42)
    focused = replace(LENS, pinhole=replace(LENS.pinhole, fx=40.5))
    pictures = [(image, LENS, ""), (image, LENS, ""), (image, focused, ""), (image // 2, LENS, "time went back"),
                (image // 2, focused, "")]  # fmt: skip
    units = []
    with OnnxSession(luma_model) as session:
        stream = CameraStream(session, RosSettings(model=luma_model), "/image")
        for picture, lens, jump in pictures:
            stepped = stream.step(picture, lens, jump)
            nearest = stream.points(picture, stepped).points[:, 2].min()
            units.append(float(nearest * stepped.depth.max()))
    np.testing.assert_allclose(units[1:3], units[0], rtol=1e-4)
    np.testing.assert_allclose(units[3:], units[0] / 2, rtol=0.05)

"""Whether measured depth can show what a picture shows."""

from __future__ import annotations

from vmdepth_runtime.errors import InputError

_APART = 0.01  # share that aspects may differ by, and a pixel: sizes are whole ones


def check_shapes(shape: tuple[int, ...], image: tuple[int, ...], name: str) -> None:
    """Raise InputError where depth cannot show what a picture shows, from edge to edge.

    shape: height and width of the depth. image: likewise of the picture. name: of the depth.
    """
    (height, width), (image_height, image_width) = shape[:2], image[:2]
    if abs((image_width / width) / (image_height / height) - 1) > _APART + 1 / min(height, width):
        raise InputError(
            f"{name}: depth of {width}x{height} for a picture of {image_width}x{image_height}, of another shape; both "
            "have to show the same, from edge to edge"
        )

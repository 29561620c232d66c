"""Pixels that are not square."""

from __future__ import annotations

from fractions import Fraction

from av.video.stream import VideoStream

_MOST = 4  # times as wide as high, or as high as wide; beyond it the file is wrong about them


class PixelAspect:
    """How wide the pixels of a stream are for their height: broadcasts change it between two programmes.

    Args:
        stream: open; frames of it are decoded by itself.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context
        self._aspect = stream.sample_aspect_ratio  # the container's word goes before the coded one
        self._coded: Fraction | None = None

    def square(self, width: int, height: int) -> tuple[int, int]:
        """The size at which the pixels of the latest frame are square: no side gets shorter, one that grows is even.

        A decoder that holds frames back says a change of coded pixels that many frames early.

        Args:
            width: of that frame, in pixels.
            height: likewise.
        """
        coded = self._context.sample_aspect_ratio
        if coded:
            if self._coded and coded != self._coded:
                self._aspect = coded
            self._coded = coded
        aspect = self._aspect or Fraction(1)
        if not Fraction(1, _MOST) <= aspect <= _MOST:
            return width, height
        wider, higher = width * max(aspect, Fraction(1)), height / min(aspect, Fraction(1))
        return (
            width if wider - width < 1 else 2 * round(wider / 2),
            height if higher - height < 1 else 2 * round(higher / 2),
        )

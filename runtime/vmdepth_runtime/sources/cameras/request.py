"""What a camera of this machine is asked for by its address: size, rate and pixel format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from vmdepth_runtime.sources.cameras.v4l2 import Offer

# FFmpeg's names of the kernel's pixel formats, in the order in which one is chosen: as FFmpeg's, what is not compressed
# first, but colours before grey.
# fmt: off
_FORMATS = {
    "YU12": "yuv420p", "422P": "yuv422p", "YUYV": "yuyv422", "UYVY": "uyvy422", "RGBP": "rgb565le", "BGR3": "bgr24",
    "RGB3": "rgb24", "BGR4": "bgr0", "XR24": "bgr0", "RGB4": "0rgb", "NV12": "nv12", "MJPG": "mjpeg", "JPEG": "mjpeg",
    "H264": "h264", "BA81": "bayer_bggr8", "GBRG": "bayer_gbrg8", "GRBG": "bayer_grbg8", "RGGB": "bayer_rggb8",
    "GREY": "gray", "Y16": "gray16le",
}
# fmt: on
_NEAR = 0.01  # of a rate: 30 may be 30000/1001
_KEYS = ("size", "fps", "format")


@dataclass(frozen=True)
class Request:
    """What is asked for; None: whatever the camera is set to.

    Attributes:
        name: of the camera, as the user wrote it.
        size: width and height in pixels.
        fps: frames per second.
        format: of the pixels, by FFmpeg's name ("mjpeg", "yuyv422") or the kernel's ("MJPG", "YUYV").
    """

    name: str
    size: tuple[int, int] | None = None
    fps: Fraction | None = None
    format: str | None = None

    @classmethod
    def of(cls, uri: str) -> Request:
        """What an address such as "v4l2:///dev/video0?size=1280x720&fps=30&format=mjpeg" asks for.

        Raises:
            InputError: it asks for something else, or in another way.
        """
        name, _, query = uri.partition("?")
        values = parse_qsl(query, keep_blank_values=True)
        twice = len({key for key, _ in values}) < len(values)
        asked = dict(values)
        unknown = next((key for key in asked if key not in _KEYS), None)
        if unknown is not None or twice or not all(asked.values()) or not asked:
            what = f"knows no '{unknown}'" if unknown else "asks for one thing twice" if twice else "asks for nothing"
            raise InputError(f"{uri}: {what}; behind the ? of a camera there are size=1280x720, fps=30, format=mjpeg")
        size, fps = asked.get("size"), asked.get("fps")
        sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size or "1x1")
        if sides is None:
            raise InputError(f"{uri}: size is width and height in pixels, as in size=1280x720")
        if not re.fullmatch(r"\d{1,6}(\.\d{1,3}|/[1-9]\d{0,4})?", fps or "1") or (fps and not Fraction(fps)):
            raise InputError(f"{uri}: fps is frames per second, as in fps=30 or fps=30000/1001")
        return cls(
            name,
            (int(sides[1]), int(sides[2])) if size else None,
            Fraction(fps) if fps else None,
            asked.get("format"),
        )

    def options(self, offers: Sequence[Offer]) -> dict[str, str]:
        """FFmpeg's options that ask for it.

        Args:
            offers: of the camera.

        Raises:
            InputError: the camera does not offer it; names what it does.
        """
        offers = [offer for offer in offers if offer.fourcc in _FORMATS] or offers
        fitting = [offer for offer in offers if self._fits(offer)]
        if offers and not fitting:
            raise InputError(f"{self.name}: the camera does not offer {self}; it offers {listed(offers)}")
        options = {} if self.size is None else {"video_size": f"{self.size[0]}x{self.size[1]}"}
        if self.fps is not None:
            options["framerate"] = str(_nearest(self.fps, [rate for offer in fitting for rate in offer.rates]))
        if self.format is not None:
            options["input_format"] = _FORMATS.get(self.format.upper(), self.format.lower())
        elif self.size is not None and fitting:
            # FFmpeg would take the first pixel format, also where that has the size at a lower rate or not at all.
            order = [name for name in _FORMATS.values() if name in {_name(offer) for offer in fitting}]
            options |= {"input_format": order[0]} if order else {}
        return options

    def check(self, width: int, height: int, fps: Fraction | None) -> None:
        """Raise InputError where the camera, once open, gives something else; some take what is nearest, unasked.

        fps: as the camera says; None: it does not.
        """
        same_rate = self.fps is None or fps is None or _is_near(fps, self.fps)
        if self.size not in (None, (width, height)) or not same_rate:
            given = f"{width}x{height}" + ("" if fps is None else f" at {float(fps):.4g}")
            raise InputError(f"{self.name}: asked for {self}, the camera gives {given}; ask for that, or for nothing")

    def _fits(self, offer: Offer) -> bool:
        if self.format is not None and self.format.lower() not in (offer.fourcc.lower(), _name(offer)):
            return False
        if self.size is not None and offer.widths and not _holds(offer, *self.size):
            return False
        if self.fps is None or not offer.rates:
            return True
        within = offer.between and offer.rates[-1] <= self.fps <= offer.rates[0]
        return within or any(_is_near(rate, self.fps) for rate in offer.rates)

    def __str__(self) -> str:
        size = "" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return " ".join(filter(None, (self.format, size, "" if self.fps is None else f"at {float(self.fps):.5g}")))


def listed(offers: Sequence[Offer]) -> str:
    """What a camera offers, in words: "mjpeg 1920x1080 at 30, 1280x720 at 60/30; yuyv422 640x480 320x240 at 30"."""
    return "; ".join(f"{name} {', '.join(_sizes(ones))}" for name, ones in groupby(offers, key=_name))


def _sizes(offers: Iterable[Offer]) -> Iterator[str]:
    for rates, ones in groupby(offers, key=_rates):
        yield " ".join(filter(None, (*(_size(offer) for offer in ones), rates)))


def _size(offer: Offer) -> str:
    if not offer.widths:
        return "(no sizes listed)"
    least, most = (f"{offer.widths[place]}x{offer.heights[place]}" for place in (0, -1))
    return least if least == most else f"{least} to {most}"


def _rates(offer: Offer) -> str:
    rates = [f"{float(rate):.4g}" for rate in offer.rates]
    return "at " + (f"{rates[-1]} to {rates[0]}" if offer.between else "/".join(rates)) if rates else ""


def _name(offer: Offer) -> str:
    return _FORMATS.get(offer.fourcc, offer.fourcc)


def _holds(offer: Offer, width: int, height: int) -> bool:
    return width in offer.widths and height in offer.heights


def _nearest(fps: Fraction, rates: Sequence[Fraction]) -> Fraction:
    """A rate as the camera puts it, where it does."""
    return min((rate for rate in rates if _is_near(rate, fps)), key=lambda rate: abs(rate - fps), default=fps)


def _is_near(rate: Fraction, fps: Fraction) -> bool:
    return abs(rate - fps) <= _NEAR * fps

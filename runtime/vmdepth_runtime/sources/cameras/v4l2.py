"""What a Video4Linux camera offers: pixel formats, sizes and rates, as the kernel lists them.

Structures and numbers are those of <linux/videodev2.h>, as on x86 and ARM.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_CAPTURE = 1  # V4L2_BUF_TYPE_VIDEO_CAPTURE
_DISCRETE = 1  # of sizes, and of the time a frame lasts; else they lie between two
_PIXEL_FORMATS = struct.Struct("3I32sI16x")  # v4l2_fmtdesc: index, type, flags, description, pixelformat
_SIZES = struct.Struct("9I8x")  # v4l2_frmsizeenum: index, pixel_format, type; width and height, or six of a range
_TIMES = struct.Struct("11I8x")  # v4l2_frmivalenum: index, pixel_format, width, height, type; one, or three fractions


@dataclass(frozen=True)
class Offer:
    """One size, or range of sizes, in one pixel format.

    Attributes:
        fourcc: of the pixel format, such as "YUYV".
        widths: pixels of a frame; one, or those of a range; none where the camera does not say, as some drivers do not.
        heights: likewise.
        rates: frames per second, the highest first; none where the camera does not say.
        between: whether any rate between two of those is offered, too.
    """

    fourcc: str
    widths: range
    heights: range
    rates: tuple[Fraction, ...]
    between: bool = False


def offers_of(device: str) -> list[Offer]:
    """What a camera offers, in its own order.

    Args:
        device: its file.

    Raises:
        OSError: it does not open.
    """
    camera = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        return list(_offers(camera))
    finally:
        os.close(camera)


def _offers(camera: int) -> Iterator[Offer]:
    for *_, code in _listed(camera, 2, _PIXEL_FORMATS, _CAPTURE, 0, b"", 0):
        fourcc = int(code).to_bytes(4, "little").decode("ascii", "replace").strip()
        sizes = list(_sizes(camera, code)) or [(range(0), range(0))]
        for widths, heights in sizes:
            rates, between = _rates(camera, code, widths[-1], heights[-1]) if widths else ((), False)
            yield Offer(fourcc, widths, heights, rates, between)


def _sizes(camera: int, code: int) -> Iterator[tuple[range, range]]:
    for _, _, kind, *sides in _listed(camera, 74, _SIZES, code, *[0] * 7):
        if kind != _DISCRETE:  # least, most and step of the width, then of the height: that is all of them
            yield _steps(*sides[:3]), _steps(*sides[3:])
            return
        yield _steps(sides[0], sides[0], 1), _steps(sides[1], sides[1], 1)


def _steps(least: int, most: int, step: int) -> range:
    return range(least, most + 1, max(1, step))


def _rates(camera: int, code: int, width: int, height: int) -> tuple[tuple[Fraction, ...], bool]:
    rates: set[Fraction] = set()
    between = False
    for *_, kind, n0, d0, n1, d1, _, _ in _listed(camera, 75, _TIMES, code, width, height, *[0] * 7):
        between = kind != _DISCRETE
        rates |= {Fraction(d, n) for n, d in ([(n0, d0), (n1, d1)] if between else [(n0, d0)]) if n}
        if between:
            break
    return tuple(sorted(rates, reverse=True)), between


def _listed(camera: int, number: int, layout: struct.Struct, *asked: int | bytes) -> Iterator[tuple[int, ...]]:
    """Entries of one of the kernel's lists, until it says that there are no more, or knows no such list."""
    request = 3 << 30 | layout.size << 16 | ord("V") << 8 | number  # _IOWR('V', number, …)
    for index in itertools.count():
        entry = bytearray(layout.pack(index, *asked))
        try:
            fcntl.ioctl(camera, request, entry)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise
        yield layout.unpack(entry)

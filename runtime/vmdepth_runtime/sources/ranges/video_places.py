"""Places in a video file: where its frames are without decoding them, and a look at some spread over it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from vmdepth_runtime.sources.ranges.selection import TIME_SLACK, Selection
from vmdepth_runtime.sources.video_file import packets_of

# Each packet of these is one picture that is shown (unless interlaced), so that packets can be counted for frames.
_COUNTABLE = ("h264", "hevc", "vp9", "av1", "mjpeg", "prores", "ffv1")
_REORDERED = 64  # packets after which none comes that is shown earlier; decoders allow 16


class PacketTimes(NamedTuple):
    """When frames of a video are shown, from its start on, in time bases of the stream.

    Attributes:
        shown: their times in ascending order, as far as was asked for or as the file goes.
        keys: of each key frame its time, and how many packets come before it.
    """

    shown: list[int]
    keys: dict[int, int]


class Start(NamedTuple):
    """Where to read a video from: the first frame that is taken, and the key frame that it is decoded from.

    Attributes:
        first: its place.
        begin: its time, in time bases of the stream.
        origin: the time of the first frame of the file.
        key: that of the key frame.
        before: packets before it.
    """

    first: int
    begin: int
    origin: int
    key: int
    before: int


def find_start(container: InputContainer, stream: VideoStream, selection: Selection, name: str) -> Start | None:
    """Where to read from for the first frame of a selection, without decoding what comes before.

    Args:
        container: open, and not read from yet.
        stream: of that container.
        selection: what is taken.
        name: of the video, for people.

    Returns:
        None where only decoding from the first frame on tells which one it is.

    Raises:
        InputError: the video ends before it.
    """
    assert stream.time_base is not None
    span = None if selection.seconds is None else math.ceil((selection.seconds - TIME_SLACK) / stream.time_base)
    times = packet_times(container, stream, frames=(selection.first or 0) + 1, span=span)
    if times is None:
        return None
    origin, first = times.shown[0], selection.first
    if first is None:
        first = bisect_left(times.shown, origin + (span or 0))
    if first >= len(times.shown):
        raise selection.beyond(name, len(times.shown), float((times.shown[-1] - origin) * stream.time_base))
    begin = times.shown[first]
    key = lands_at(container, stream, max(key for key in times.keys if key <= begin))
    return Start(first, begin, origin, key, times.keys[key]) if key in times.keys and key <= begin else None


def packet_times(
    container: InputContainer, stream: VideoStream, *, frames: int, span: int | None = None
) -> PacketTimes | None:
    """Read packets from the start of a container, without decoding more than the first picture.

    Args:
        container: open, and not read from yet.
        stream: of that container.
        frames: how many from the first on are asked for.
        span: how far beyond the first one they have to reach, too, in time bases.

    Returns:
        The times; None where packets do not tell them: then only decoding does.
    """
    if stream.codec_context.codec.canonical_name not in _COUNTABLE:
        return None
    shown: list[int] = []
    keys: dict[int, int] = {}
    beyond, looked = 0, False
    for number, packet in enumerate(_packets(container, stream)):
        if packet.pts is None or not (keys or packet.is_keyframe):
            return None
        if packet.is_keyframe:
            keys[packet.pts] = number
        if not looked:
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                return None
            looked = bool(pictures)
            if any(picture.interlaced_frame for picture in pictures):
                return None  # its fields may be packets of their own
        if packet.is_discard:
            continue
        shown.append(packet.pts)
        beyond += span is None or packet.pts > shown[0] + span
        if len(shown) >= frames + _REORDERED and beyond >= _REORDERED:
            break
    shown.sort()
    # What is shown before the first key frame leans on pictures that are not there, and may not decode.
    if not shown or shown[0] < next(iter(keys)) or len(set(shown)) != len(shown):
        return None
    return PacketTimes(shown, keys)


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    packets = packets_of(container, stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None or (packet.size == 0 and packet.dts is None):
            return
        yield packet


def lands_at(container: InputContainer, stream: VideoStream, pts: int) -> int | None:
    """The time of the packet that a seek to `pts` leads to; None where seeking fails."""
    try:
        container.seek(pts, stream=stream)
        return next((p.pts for p in packets_of(container, stream) if p.pts is not None), None)
    except av.FFmpegError:
        return None


def spread_frames(
    walker: tuple[InputContainer, VideoStream],
    scout: tuple[InputContainer, VideoStream],
    begin: int,
    end: int,
    count: int,
) -> Iterator[av.VideoFrame]:
    """The first frame that a decoder reaches in each of `count` equal parts of a stretch of the video.

    A file with few key frames is decoded once at most, however many parts there are: a second container looks where a
    seek would land, and the first one jumps only when that is ahead of where it is.

    Args:
        walker: a container and its stream, to decode.
        scout: the same file, open a second time.
        begin: time of the first frame of the stretch, in time bases of the stream.
        end: the stretch ends before it.
        count: how many parts.
    """
    container, stream = walker
    frames = _readable(container, stream)
    position = None
    for part in range(count):
        first, middle = (begin + int((end - begin) * (part + share) / count) for share in (0, 0.5))
        key = lands_at(*scout, middle)
        if key is not None and (position is None or key > position):
            container.seek(middle, stream=stream)
            frames = _readable(container, stream)
        for position, frame in frames:
            if begin < position >= end:
                return
            if position >= first:
                yield frame
                break


def _readable(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames with their times, past all damage, from where the container stands."""
    packets = packets_of(container, stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.FFmpegError:
            continue  # a generator that raised is at its end, so this comes to an end as well
        yield from ((frame.pts, frame) for frame in frames if frame.pts is not None and not frame.is_corrupt)

"""What an AVI file does not say: how many pictures it holds, and when reordered ones are shown.

AVI knows one rate. A variable one is written as chunks without content wherever nothing new is to be shown, which its
header counts as frames and its index, at the end of the file, leaves out. Its chunks stand in the order in which they
are decoded, and have no times.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream


def pictures_of_avi(path: Path, container: InputContainer, stream: VideoStream) -> int | None:
    """How many pictures there are, by the index of the file.

    Args:
        path: of a file on this machine.
        container: it, open and not read from yet.
        stream: of that container.

    Returns:
        None where the file is no AVI, or broke off, so that the index is not there.
    """
    if container.format.name != "avi" or not _is_whole(path):
        return None
    return len(stream.index_entries) or None


def lacks_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether frames come out with times of other frames: of codecs that keep to no order which FFmpeg knows."""
    context = stream.codec_context
    return container.format.name == "avi" and context.name in ("h264", "hevc") and context.has_b_frames > 0


def take_time(frame: av.VideoFrame, pending: set[int]) -> int | None:
    """When such a frame is shown: frames come out in the order in which they are, at the times of the chunks in theirs.

    Args:
        frame: as decoded.
        pending: times of the chunks whose frames have not come out; this one's is taken from it. Where some are lost, a
            key frame tells: none of those before its own is to come.
    """
    least = frame.pts if frame.key_frame and frame.pts is not None else 0
    time = min((time for time in pending if time >= least), default=None)
    if time is None:
        return frame.pts
    pending.remove(time)
    return time


def _is_whole(path: Path) -> bool:
    """Whether all parts (RIFF chunks; large files have several) are as long as they say."""
    begin = 0
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        while begin + 8 <= length:
            file.seek(begin)
            mark, size = struct.unpack("<4sI", file.read(8))
            if mark != b"RIFF":
                break  # what some programs leave behind the end
            if size == 0 or begin + 8 + size > length:
                return False
            begin += 8 + size + size % 2
    return begin > 0

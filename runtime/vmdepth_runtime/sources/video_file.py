"""Opening a video file, or saying why it does not open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import av
from av.codec import CodecContext
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.pipe import Pipe

Opened = tuple[InputContainer, VideoStream]
TAGS = "replace"
"""For av.open, of signs in the tags of a file that are no UTF-8: a title in Latin-1 is no reason to fail."""


def open_file(path: Path, pipe: Pipe | None = None) -> Opened:
    """A video file, or a pipe, with its best video stream. Raises InputError where there is none."""
    try:
        # The prefix keeps a colon in the name from being read as a protocol.
        container = av.open(f"file:{path}" if pipe is None else pipe, mode="r", metadata_errors=TAGS)
    except av.FFmpegError as error:
        if pipe is not None:
            pipe.check()
        raise InputError(f"{path}: {_why_closed(path, error)}") from None
    stream = container.streams.best("video")
    # ffmpeg takes any .txt for terminal art and would play it.
    if not isinstance(stream, VideoStream) or container.format.name == "tty":
        container.close()
        raise InputError(f"{path}: there is no picture in it; give a video file or a folder of images")
    if not is_known(stream):
        container.close()
        raise InputError(f"{path}: is coded in a way that FFmpeg does not know; convert it with what made it")
    return container, stream


def is_known(stream: VideoStream) -> bool:
    """Whether there is a decoder for a stream: PyAV gives it no context where FFmpeg does not even know its kind."""
    context: CodecContext | None = stream.codec_context
    return context is not None


def packets_of(container: InputContainer, stream: Stream) -> Iterator[av.Packet]:
    """What `demux` gives: at the end PyAV flushes the streams that were there from the start, and then trips over those
    that began later, as they do in broadcasts."""
    with suppress(IndexError):
        yield from container.demux(stream)


def _why_closed(path: Path, error: av.FFmpegError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror}); check its permissions"
    if path.is_file():
        with path.open("rb") as file:
            if file.read(12)[4:8] == b"ftyp":
                return "broken off before its index (moov), nothing can be decoded; copy or record it again"
    return "not a video that can be read; give a video file or a folder of images"


def seconds_of(container: InputContainer) -> float | None:
    """How long the file says it is; None where it does not say."""
    return container.duration / av.time_base if container.duration else None

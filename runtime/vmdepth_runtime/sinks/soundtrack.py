"""The source's sound in an mp4, copied as it is encoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import av
from av.audio.stream import AudioStream
from av.codec import CodecContext
from av.container import InputContainer, OutputContainer
from av.stream import Discard

from vmdepth_runtime.sources.video_file import packets_of

KEPT = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # what an mp4 may hold, and players play
_NEAR = 1.0  # seconds that are read past rather than jumped over


def _why_lost(stream: AudioStream) -> str:
    """Why an mp4 cannot keep it; empty where it can."""
    context: CodecContext | None = stream.codec_context
    if context is None:
        return "FFmpeg does not know its codec"
    kind = context.codec.canonical_name
    if kind not in KEPT:
        return f"mp4 does not hold {kind}"
    # Without it no mp4 begins: of a stream that is announced, and not sent or late, nobody knows it.
    return "" if stream.codec_context.sample_rate else "none came where the source begins"


class Soundtrack:
    """Copies the first stream of sound of a source into an mp4, as far as its pictures have come.

    Args:
        source: the source, opened once more; closed by `close`.
        origin: what its clock shows at the frame whose time is 0, in seconds.
        target: gets a stream for the sound, and its packets.

    Raises:
        ValueError: an mp4 does not hold sound of that kind; says which.
    """

    def __init__(self, source: InputContainer, origin: float, target: OutputContainer) -> None:
        self._source, self._target, self._origin = source, target, origin
        self._stream = source.streams.audio[0]
        for other in source.streams:
            if other is not self._stream:
                other.discard = Discard.all
        if lost := _why_lost(self._stream):
            self.close()
            raise ValueError(lost)
        self._copy = target.add_stream_from_template(self._stream)
        self._tick = float(self._stream.time_base or 1)
        self._packets: Iterator[tuple[float, av.Packet]] | None = None
        self._ahead: tuple[float, av.Packet] | None = None

    def copy(self, until: float) -> None:
        """Copy what plays before that time, in seconds after the first frame. The first call says where it begins."""
        if self._packets is None:
            self._packets = self._read(until)
            self._ahead = next(self._packets, None)
        while self._ahead is not None and self._ahead[0] < until:
            self._target.mux(self._ahead[1])
            self._ahead = next(self._packets, None)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def _read(self, begin: float) -> Iterator[tuple[float, av.Packet]]:
        """Packets from then on, each with its time, as the frames' are, until the sound ends or cannot be read."""
        shift, last = round(self._origin / self._tick), -1
        with suppress(av.FFmpegError):
            if self._origin + begin > _NEAR:
                self._source.seek(round(begin / self._tick) + shift, stream=self._stream)
            for packet in packets_of(self._source, self._stream):
                if packet.pts is None or packet.dts is None:
                    continue
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                # What plays before the first frame would move all frames; times that do not rise no container takes.
                time = packet.pts * self._tick
                if time >= begin and packet.dts > last:
                    last, packet.stream = packet.dts, self._copy
                    yield time, packet

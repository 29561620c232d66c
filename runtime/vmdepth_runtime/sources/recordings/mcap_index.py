"""What an MCAP file holds, and where: from its summary, or where it was never finished, from its records.

The format: https://mcap.dev/spec
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

MAGIC = b"\x89MCAP0\r\n"
# What reading a damaged record may raise: of the two compressions, of sums that differ, of lengths that cannot be.
DAMAGE = (McapError, zstandard.ZstdError, RuntimeError, ValueError, struct.error, OverflowError, MemoryError)
_STRETCH = 1 << 20  # bytes of messages without a chunk that are held for one, as writers make chunks
_HEAD = struct.Struct("<BQ")  # opcode and length, before every record
_TIMES = struct.Struct("<QQ")
_MESSAGE = struct.Struct("<HIQ")
_CHANNEL = struct.Struct("<H")


@dataclass
class Span:
    """A chunk, or messages one after the other that are in none.

    Attributes:
        offset: of its first record in the file.
        begin: when its first message was recorded, nanoseconds since 1970.
        end: likewise, the last.
        counts: how many messages there are of each channel.
        length: bytes of messages that are in no chunk; 0 of a chunk.
    """

    offset: int
    begin: int
    end: int
    counts: dict[int, int] = field(default_factory=dict)
    length: int = 0

    def add(self, channel: int, time: int, length: int) -> None:
        """Take one message more, which is in no chunk, of that many bytes with its head."""
        self.counts[channel] = self.counts.get(channel, 0) + 1
        self.begin, self.end, self.length = min(self.begin, time), max(self.end, time), self.length + length


@dataclass
class McapIndex:
    """What a file holds.

    Attributes:
        schemas: by their ids.
        channels: likewise.
        spans: in the file's order.
        broken: why the file is not whole; empty where it is.
    """

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    broken: str = ""


def read_index(file: BinaryIO, size: int) -> McapIndex:
    """The index of a file that begins with `MAGIC`.

    file: open, of that many bytes. Its summary is read where it has one that tells all; else the heads of all records,
    and of chunks that say no more what is in them.
    """
    try:
        index = _from_summary(file, size)
    except (*DAMAGE, OSError):  # the end is not there
        index = None
    return index or _walk(file, size)


def records_of(file: BinaryIO, span: Span, *, check: bool = True) -> list[McapRecord]:
    """The records of a span. check: whether its sum is compared. Raises one of `DAMAGE`."""
    file.seek(span.offset)
    if span.length:  # as a chunk would hold them
        return breakup_chunk(Chunk("", file.read(span.length), span.end, span.begin, 0, span.length))
    record = next(StreamReader(file, skip_magic=True, emit_chunks=True).records)
    return breakup_chunk(record, validate_crc=check) if isinstance(record, Chunk) else [record]


def _from_summary(file: BinaryIO, size: int) -> McapIndex | None:
    file.seek(0)
    summary = make_reader(file).get_summary()
    if summary is None or not summary.chunk_indexes or not summary.channels:
        return None
    index = McapIndex(summary.schemas, summary.channels)
    for chunk in sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset):
        span = Span(chunk.chunk_start_offset, chunk.message_start_time, chunk.message_end_time)
        ends = chunk.chunk_start_offset + chunk.chunk_length + chunk.message_index_length
        offsets = sorted((offset, channel) for channel, offset in chunk.message_index_offsets.items())
        for (offset, channel), (after, _) in zip(offsets, [*offsets[1:], (ends, 0)], strict=True):
            span.counts[channel] = _listed(after - offset - _HEAD.size)
        if not offsets or not span.counts.keys() <= summary.channels.keys():
            return None
        if not span.offset <= offsets[0][0] <= offsets[-1][0] <= ends <= size:
            return None  # damaged; messages that are nowhere would be named one by one
        index.spans.append(span)
    return index


def _walk(file: BinaryIO, size: int) -> McapIndex:
    """From the heads of records, as far as they go."""
    index = McapIndex()
    place, last = len(MAGIC), None
    index.broken = "it was never finished"
    while place + _HEAD.size <= size:
        file.seek(place)
        opcode, length = _HEAD.unpack(file.read(_HEAD.size))
        if opcode in (Opcode.DATA_END, Opcode.FOOTER):
            index.broken = ""
            break
        if place + _HEAD.size + length > size or opcode == 0:
            break
        if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            _learn(index, [_record(opcode, file.read(length))])
        elif opcode == Opcode.CHUNK:
            last = Span(place, *_TIMES.unpack(file.read(_TIMES.size)))
            index.spans.append(last)
        elif opcode == Opcode.MESSAGE:
            channel, _, time = _MESSAGE.unpack(file.read(_MESSAGE.size))
            before = index.spans[-1] if index.spans else None
            if before is None or not 0 < before.length < _STRETCH or before.offset + before.length != place:
                before = Span(place, time, time)
                index.spans.append(before)
            before.add(channel, time, _HEAD.size + length)
        elif opcode == Opcode.MESSAGE_INDEX and last is not None:
            (channel,) = _CHANNEL.unpack(file.read(_CHANNEL.size))
            last.counts[channel] = _listed(length)
        place += _HEAD.size + length
    for span in index.spans:
        # Of the last chunk there may be less of an index than there should be.
        unsure = not span.counts or (span is last and index.broken)
        if unsure or not span.counts.keys() <= index.channels.keys():
            _look_into(file, index, span)
    return index


def _listed(length: int) -> int:
    """How many messages an index of messages lists: after a channel and a length, a time and a place of each. It is
    told by the bytes that there are, which damage cannot make many."""
    return max(0, length - 6) // 16


def _look_into(file: BinaryIO, index: McapIndex, span: Span) -> None:
    try:
        # Of a damaged one, too: what it says of topics later chunks do not say again.
        records = records_of(file, span, check=False)
    except DAMAGE:
        return  # whoever reads its messages will be told
    _learn(index, records)
    span.counts = {}
    for record in records:
        if isinstance(record, Message):
            span.counts[record.channel_id] = span.counts.get(record.channel_id, 0) + 1


def _learn(index: McapIndex, records: list[McapRecord]) -> None:
    for record in records:
        if isinstance(record, Schema):
            index.schemas[record.id] = record
        elif isinstance(record, Channel):
            index.channels[record.id] = record


def _record(opcode: int, data: bytes) -> McapRecord:
    kind = Schema if opcode == Opcode.SCHEMA else Channel
    return kind.read(ReadDataStream(BytesIO(data)))

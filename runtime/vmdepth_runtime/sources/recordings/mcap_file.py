"""An MCAP file as a recording."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

from mcap.records import Message

from vmdepth_runtime.errors import InputError, told_by
from vmdepth_runtime.sources.recordings.mcap_index import DAMAGE, MAGIC, McapIndex, read_index, records_of
from vmdepth_runtime.sources.recordings.recording import RawMessage, Recording, Topic, of_ros_1


class McapFile(Recording):
    """The topics of an MCAP file; of one that was never finished as far as it goes.

    A chunk whose bytes are not as they were written costs its own messages alone.

    Args:
        path: the file.

    Raises:
        InputError: it is none, or was recorded with ROS 1.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise InputError(f"{path}: is no MCAP file, whatever its name; copy or record it again")
            try:
                self._index = read_index(self._file, path.stat().st_size)
            except (*DAMAGE, OSError) as error:
                raise InputError(f"{path}: cannot be read as MCAP ({error}); copy or record it again") from None
            self.topics = _topics(self._index)
            if any(schema.encoding == "ros1msg" for schema in self._index.schemas.values()):
                raise of_ros_1(path)
        except InputError:
            self._file.close()
            raise
        self.broken = self._index.broken
        spans = [span for span in self._index.spans if span.counts]
        self.begin = min((span.begin for span in spans), default=0)
        self.end = max((span.end for span in spans), default=0)

    def _raw_messages(self, topic: str, start: int | None) -> Iterator[RawMessage]:
        channels = {number for number, channel in self._index.channels.items() if channel.topic == topic}
        for span in self._index.spans:
            count = sum(span.counts.get(channel, 0) for channel in channels)
            if count == 0 or (start is not None and span.end < start):
                continue
            try:
                records = records_of(self._file, span)
            except (*DAMAGE, OSError) as error:
                reason = f"in a damaged part of the file ({told_by(error, 100)})"
                yield from repeat(RawMessage(span.begin, None, reason), count)
                continue
            # In the file's order: the clock of whoever recorded may have been set back.
            for message in (record for record in records if isinstance(record, Message)):
                if message.channel_id in channels and (start is None or message.log_time >= start):
                    yield RawMessage(message.log_time, message.data)

    def close(self) -> None:
        self._file.close()


def _topics(index: McapIndex) -> dict[str, Topic]:
    topics: dict[str, Topic] = {}
    for number, channel in index.channels.items():
        schema = index.schemas.get(channel.schema_id)
        count = sum(span.counts.get(number, 0) for span in index.spans)
        if channel.topic in topics:  # several publishers of one topic
            count += topics[channel.topic].count
        definition = schema.data.decode(errors="replace") if schema and schema.encoding == "ros2msg" else ""
        kind = _full_name(schema.name) if schema else "of no type"
        if channel.message_encoding != "cdr":  # which ROS 2 writes; others are listed, and not read
            kind += f" in {channel.message_encoding or 'no encoding'}"
        topics[channel.topic] = Topic(channel.topic, kind, count, definition)
    return topics


def _full_name(name: str) -> str:
    """ "sensor_msgs/msg/Image", as some leave "msg" out."""
    return name.replace("/", "/msg/") if name.count("/") == 1 else name

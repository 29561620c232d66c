"""A recording: topics with messages, whatever file they are in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from vmdepth_runtime.encoding.ros_messages import stamp_of
from vmdepth_runtime.errors import InputError, told_by

_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # how what it compressed begins, and CDR never does


@dataclass(frozen=True)
class Topic:
    """A topic of a recording.

    Attributes:
        name: as in "/camera/image_raw".
        type: as in "sensor_msgs/msg/Image".
        count: how many messages there are.
        definition: of the type, as `.msg` text; empty where the recording has none.
    """

    name: str
    type: str
    count: int
    definition: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.type}, {self.count})"


def of_ros_1(path: Path) -> InputError:
    """What is said of a recording of ROS 1."""
    return InputError(
        f"{path}: was recorded with ROS 1; 'rosbags-convert --src {path.name} --dst BAG' makes a ROS 2 bag of it"
    )


class RawMessage(NamedTuple):
    """A message as it was recorded.

    Attributes:
        time: when it was recorded, nanoseconds since 1970.
        data: in CDR; None where it cannot be read.
        damage: why it cannot; else empty.
    """

    time: int
    data: bytes | None
    damage: str = ""


class RecordedMessage(NamedTuple):
    """A message of a topic.

    Attributes:
        stamp: its header's, or where that is not above 0 or there is none when it was recorded; nanoseconds since 1970.
        time: when it was recorded, likewise.
        message: with the fields of its type as attributes, arrays in NumPy; None where it cannot be read.
        damage: why it cannot; else empty.
    """

    stamp: int
    time: int
    message: Any
    damage: str = ""


class Recording(ABC):
    """An open recording.

    Args:
        name: safe to print.

    Attributes:
        name: likewise.
        topics: by their names.
        begin: when the first message was recorded, nanoseconds since 1970.
        end: likewise, the last.
        broken: why it is not whole, once that is known; empty where it is.
        notes: what else there is to say of its files, a line each.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.topics: dict[str, Topic] = {}
        self.begin, self.end = 0, 0
        self.broken = ""
        self.notes: list[str] = []
        self._stores: dict[str, Typestore] = {}

    def messages(self, topic: str, start: int | None = None) -> Iterator[RecordedMessage]:
        """The messages of a topic, in the order in which they were recorded.

        topic: one that there is. start: only those recorded from then on, nanoseconds since 1970.
        """
        kind = self.topics[topic].type
        store = self._store(self.topics[topic])
        for raw in self._raw_messages(topic, start):
            if raw.data is None:
                yield RecordedMessage(raw.time, raw.time, None, raw.damage)
                continue
            try:
                message: Any = store.deserialize_cdr(_unpacked(raw.data), kind)
            except (SerdeError, TypesysError, KeyError, zstandard.ZstdError) as error:
                yield RecordedMessage(raw.time, raw.time, None, f"damaged ({told_by(error)})")
                continue
            header = getattr(message, "header", None)
            stamp = stamp_of(header) if header is not None else 0
            yield RecordedMessage(stamp if stamp > 0 else raw.time, raw.time, message)

    @abstractmethod
    def _raw_messages(self, topic: str, start: int | None) -> Iterator[RawMessage]: ...

    @abstractmethod
    def close(self) -> None:
        """Let go of the file."""

    def _store(self, topic: Topic) -> Typestore:
        """What knows the topic's type: by the recording's own definition, else by that of the latest ROS 2. Pictures,
        cameras and points are the same in all distributions so far."""
        if topic.type not in self._stores:
            store = get_typestore(Stores.EMPTY)
            with suppress(TypesysError):
                store.register(get_types_from_msg(topic.definition, topic.type) if topic.definition else {})
            self._stores[topic.type] = store if topic.type in store.fielddefs else get_typestore(Stores.LATEST)
        return self._stores[topic.type]


def _unpacked(data: bytes) -> bytes:
    """A message in CDR, which a recorder may have compressed: the metadata that says so may be lost."""
    packed = bytes(data[:4]) == _ZSTANDARD
    return zstandard.ZstdDecompressor().decompressobj().decompress(data) if packed else data

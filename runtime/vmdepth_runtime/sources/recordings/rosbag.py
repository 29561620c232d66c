"""A rosbag2 folder, or a database of one, as a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader

from vmdepth_runtime.errors import InputError, told_by
from vmdepth_runtime.sources.listing import bag_files, bag_metadata, called, recorded_files
from vmdepth_runtime.sources.recordings.mcap_file import McapFile
from vmdepth_runtime.sources.recordings.recording import RawMessage, Recording, Topic, of_ros_1

_READ = (".mcap", ".db3")  # by themselves; compressed ones end in .zstd


def open_recording(path: Path) -> Recording:
    """Open what `listing.is_recording` says is one. Raises InputError."""
    if not path.is_dir():
        if path.suffix.lower() == ".bag":
            raise of_ros_1(path)
        if path.suffix.lower() == ".zstd":
            raise InputError(f"{path}: is compressed; its folder with its metadata.yaml is a source, {_unpack(path)}")
        return McapFile(path) if path.suffix.lower() == ".mcap" else Rosbag(path)
    told = bag_metadata(path)
    files, listed = bag_files(path, told)
    # MCAP files know all by themselves; databases do where the folder's metadata was not written to its end.
    whole = {"version", "duration", "starting_time", "topics_with_message_count", "relative_file_paths"} <= told.keys()
    alone = not whole or all(file.suffix.lower() == ".mcap" for file in files)
    joined = alone and any(file.suffix.lower() in _READ and file.exists() for file in files)
    packed = next(iter(sorted(path.glob("*.zstd"))), None)
    if not joined and not whole and packed is not None:
        raise InputError(f"{path}: its metadata.yaml is not whole, which its compressed files need; {_unpack(packed)}")
    return Joined(path, files, listed=listed) if joined else Rosbag(path)


class Rosbag(Recording):
    """A folder of databases (SQLite), of compressed files, or one database, as the library rosbags reads it.

    Args:
        path: the folder or the file.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.name)
        self.broken = _unread(path)
        try:
            self._reader = Reader(path)
            self._reader.open()
        except Exception as error:  # of rosbags, SQLite, Zstandard or YAML
            if "malformed" in str(error):  # as SQLite says
                raise InputError(
                    f"{path}: its database is damaged; 'sqlite3 {_database(path).name} .recover | sqlite3 saved.db3' "
                    "may save what is left, which is a source, too"
                ) from None
            raise InputError(
                f"{path}: cannot be read as a recording ({told_by(error)}); copy or record it again"
            ) from None
        for name, info in self._reader.topics.items():
            is_text = info.msgdef.format == MessageDefinitionFormat.MSG
            definition = info.msgdef.data if is_text else ""
            self.topics[name] = Topic(name, info.msgtype or "", info.msgcount, definition)
        if self._reader.message_count:
            self.begin, self.end = self._reader.start_time, self._reader.end_time - 1

    def _raw_messages(self, topic: str, start: int | None) -> Iterator[RawMessage]:
        connections = self._reader.topics[topic].connections
        try:
            for _, time, data in self._reader.messages(connections, start=start):
                yield RawMessage(time, data)
        except Exception as error:  # of rosbags, SQLite or Zstandard
            self.broken = "; ".join(filter(None, [self.broken, f"reading failed: {told_by(error)}"]))

    def close(self) -> None:
        if self._reader.is_open:
            self._reader.close()


class Joined(Recording):
    """Files of one recording, one after the other.

    Args:
        folder: that they are in.
        files: in order; some may be missing.
        listed: whether the folder's metadata says that they are all.

    Raises:
        InputError: none of them can be read.
    """

    def __init__(self, folder: Path, files: list[Path], *, listed: bool) -> None:
        super().__init__(called(folder))
        missing = [file.name for file in files if not file.exists()]
        opened = [_opened(file) for file in files if file.name not in missing]
        self._parts = [part for part in opened if isinstance(part, Recording)]
        unread = [part for part in opened if isinstance(part, InputError)]
        if not self._parts:
            raise unread[0]
        for topic in (topic for part in self._parts for topic in part.topics.values()):
            before = self.topics.get(topic.name)
            count = topic.count + (before.count if before else 0)
            self.topics[topic.name] = Topic(topic.name, topic.type, count, topic.definition)
        filled = [part for part in self._parts if any(topic.count for topic in part.topics.values())]
        self.begin = min((part.begin for part in filled), default=0)
        self.end = max((part.end for part in filled), default=0)
        broken = [f"{part.name}: {part.broken}" for part in self._parts if part.broken]
        self.broken = "; ".join([*broken, *map(str, unread), *(f"{name} is missing" for name in missing)])
        others = {file.name for file in folder.glob("*.mcap")} - {file.name for file in files} if listed else set()
        self.notes += [f"{self.name}: {name} lies there, and is not of it by its metadata" for name in sorted(others)]

    def _raw_messages(self, topic: str, start: int | None) -> Iterator[RawMessage]:
        for part in self._parts:
            if topic in part.topics:
                yield from part._raw_messages(topic, start)

    def close(self) -> None:
        for part in self._parts:
            part.close()


def _unpack(file: Path) -> str:
    return f"'zstd -d {file.name}' makes {file.stem} of it, which is one by itself"


def _unread(path: Path) -> str:
    """What a recorder that was killed left beside a database, of which the library takes no notice."""
    logs = [(file, file.with_name(f"{file.name}-wal")) for file in recorded_files(path)]
    left = [(file.name, log.name) for file, log in logs if log.exists() and log.stat().st_size]
    how = "is not read; in its folder 'sqlite3 {} \"PRAGMA wal_checkpoint(TRUNCATE)\"' brings in what it holds"
    return "; ".join(f"{log} {how.format(file)}" for file, log in left)


def _database(path: Path) -> Path:
    return next(iter(sorted(path.glob("*.db3"))), path)


def _opened(file: Path) -> Recording | InputError:
    try:
        return McapFile(file) if file.suffix.lower() == ".mcap" else Rosbag(file)
    except InputError as error:
        return error

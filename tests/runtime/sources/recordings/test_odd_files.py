"""Recordings as other programs leave them: without parts that the format lets one leave out, or with damage."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing

import numpy as np
import pytest
import zstandard

from vmdepth_runtime import InputError, open_source


def raw_mcap(path, entries, definition, **options):
    """As a writer does that knows nothing of ROS's own."""
    from mcap.writer import Writer
    from mcap_ros2._dynamic import serialize_dynamic

    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        channels = {}
        for topic, kind, time, message in entries:
            if topic not in channels:
                schema = writer.register_schema(kind.replace("/msg", ""), "ros2msg", definition(kind).encode())
                encode = serialize_dynamic(kind, definition(kind))[kind]
                channels[topic] = (writer.register_channel(topic, "cdr", schema), encode)
            number, encode = channels[topic]
            writer.add_message(number, time, encode(message), time)
        writer.finish()
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"use_chunking": False},
        {"index_types": 0, "chunk_size": 5000},
        {"repeat_channels": False, "repeat_schemas": False, "chunk_size": 5000},
        {"use_statistics": False, "use_summary_offsets": False, "chunk_size": 5000},
    ],
)
def test_parts_that_may_be_left_out(record, frames, tmp_path, options):
    from mcap.writer import IndexType

    if "index_types" in options:
        options = {**options, "index_types": IndexType.NONE}
    path = raw_mcap(tmp_path / "drive.mcap", record.camera(frames), record.definition, **options)
    with open_source(path) as source:
        read = list(source)
        assert len(source.sample(4)) == 4
    assert np.array_equal([frame.image for frame in read], frames)
    assert source.info.frames == len(frames) and source.lens.pinhole == record.pinhole
    assert source.warnings == []


def test_what_was_never_in_a_chunk_is_read_up_to_the_cut(record, frames, tmp_path):
    path = raw_mcap(tmp_path / "drive.mcap", record.camera(frames), record.definition, use_chunking=False)
    path.write_bytes(path.read_bytes()[:20_000])
    with open_source(path) as source:
        assert 2 <= len(list(source)) == source.info.frames < len(frames)


def test_a_damaged_chunk_still_says_which_topics_there_are(record, frames, tmp_path):
    """Of a file that was never finished, in which nothing else does."""
    path = record.mcap(tmp_path / "drive.mcap", [e for e in record.camera(frames) if "image" in e[0]], finish=False)
    content = bytearray(path.read_bytes())
    place = content.index(frames[0].tobytes()[:60])  # in the first chunk, which has the topic's definition
    content[place : place + 2] = bytes(2)
    path.write_bytes(content)
    with open_source(path) as source:
        assert [frame.index for frame in source] == list(range(1, source.info.frames))
    assert source.skipped[0].index == 0 and "in a damaged part of the file" in source.skipped[0].reason


@pytest.mark.parametrize("damage", ["places", "indexes", "definitions"])
def test_a_damaged_summary_costs_nothing(record, frames, tmp_path, damage):
    """All that it says stands in the records before it, and what ROS 2 knows by itself."""
    from mcap.reader import make_reader
    from mcap.writer import CompressionType

    path = record.mcap(tmp_path / "drive.mcap", record.camera(frames), compression=CompressionType.NONE)
    content = path.read_bytes()
    with path.open("rb") as file:
        chunk = make_reader(file).get_summary().chunk_indexes[2]
    if damage != "definitions":
        place = chunk.chunk_start_offset if damage == "places" else max(chunk.message_index_offsets.values())
        there = struct.pack("<Q", place)
        assert content.count(there) == 1
        content = content.replace(there, struct.pack("<Q", place | 1 << 62))
    else:
        summary = content.rindex(frames[-1].tobytes()) + frames[-1].nbytes
        assert b"uint32 height" in content[summary:]
        content = content[:summary] + content[summary:].replace(b"uint32 height", b"uint32 hdight")
    path.write_bytes(content)
    with open_source(path) as source:
        assert np.array_equal([frame.image for frame in source], frames)
    assert source.info.frames == len(frames) and source.lens.pinhole == record.pinhole
    assert source.warnings == []


def test_zeros_at_the_end_are_no_records(record, frames, tmp_path):
    """As a file system leaves them after a loss of power."""
    path = record.mcap(tmp_path / "drive.mcap", record.camera(frames), finish=False)
    path.write_bytes(path.read_bytes() + bytes(5000))
    with open_source(path) as source:
        assert len(list(source)) >= len(frames) - 1
    assert "ended early: it was never finished" in source.warnings[0]


def test_a_missing_file_of_several_is_told(record, frames, tmp_path):
    path = record.bag(tmp_path / "drive", record.camera(frames), plugin="MCAP")
    told = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(told.replace("- drive.mcap", "- drive.mcap\n  - drive_1.mcap"))
    with open_source(path) as source:
        assert len(list(source)) == len(frames)
    assert source.warnings == ["drive ended early: drive_1.mcap is missing; 8 frames read"]


@pytest.mark.parametrize("plugin", ["SQLITE3", "MCAP"])
def test_metadata_that_cannot_be_read_is_done_without(record, frames, tmp_path, plugin):
    path = record.bag(tmp_path / "drive", record.camera(frames), plugin=plugin)
    for content in ("[broken", "[" * 5000, "[]", "\0"):
        (path / "metadata.yaml").write_text(f"rosbag2_bagfile_information: {content}")
        with open_source(path) as source:
            assert len(list(source)) == len(frames)


@pytest.mark.parametrize("kind", ["MCAP NONE", "SQLITE3 NONE", "MCAP MESSAGE", "SQLITE3 MESSAGE"])
def test_files_know_all_by_themselves_whatever_is_left_of_their_metadata(record, frames, tmp_path, kind):
    plugin, compression = kind.split()
    path = record.bag(tmp_path / "drive", record.camera(frames), plugin=plugin, compression=compression)
    metadata = path / "metadata.yaml"
    told = metadata.read_text()
    (file,) = (file for file in path.iterdir() if file != metadata)
    for content in (told[: len(told) * 9 // 10], told[: len(told) // 2]):
        metadata.write_text(content)
        for source in (path, file):
            with open_source(source) as opened:
                assert np.array_equal([frame.image for frame in opened], frames)
                assert opened.warnings == []


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_a_line_says_how_to_unpack_files_that_are_compressed_as_a_whole(record, frames, tmp_path, plugin):
    path = record.bag(tmp_path / "drive", record.camera(frames), plugin=plugin, compression="FILE")
    (file,) = path.glob("*.zstd")
    metadata = path / "metadata.yaml"
    how = f"'zstd -d {file.name}' makes {file.stem} of it, which is one by itself"
    with pytest.raises(InputError, match=f"is compressed; its folder .* is a source, {how}"):
        open_source(file)
    metadata.write_text(metadata.read_text()[:-20].partition("  version")[0])
    with pytest.raises(InputError, match=f"drive: its metadata.yaml is not whole, .*; {how}"):
        open_source(path)
    metadata.unlink()
    with pytest.raises(InputError, match=how):
        open_source(path)
    (path / file.stem).write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes()))
    metadata.write_text("rosbag2_bagfile_information: [broken")
    for unpacked in (path, path / file.stem):
        with open_source(unpacked) as source:
            assert len(list(source)) == len(frames)


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
@pytest.mark.parametrize("compression", ["NONE", "FILE", "MESSAGE"])
def test_a_bag_without_messages_or_without_its_files_is_one_line(record, frames, tmp_path, plugin, compression):
    empty = record.bag(tmp_path / "empty", [], plugin=plugin, compression=compression)
    gone = record.bag(tmp_path / "gone", record.camera(frames), plugin=plugin, compression=compression)
    cut = record.bag(tmp_path / "cut", record.camera(frames), plugin=plugin, compression=compression)
    for file in gone.glob("gone*"):
        file.unlink()
    for file in cut.glob("cut*"):
        file.write_bytes(file.read_bytes()[:50])
    for path, line in [(empty, "it has no topic at all"), (gone, "are missing"), (cut, "cut")]:
        with pytest.raises(InputError, match=line) as error:
            open_source(path)
        assert "\n" not in str(error.value) and path.name in str(error.value)


def test_what_a_killed_recorder_left_beside_a_database_is_told(record, frames, tmp_path):
    path = record.bag(tmp_path / "drive", record.camera(frames))
    with closing(sqlite3.connect(path / "drive.db3", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "INSERT INTO messages(topic_id, timestamp, data) SELECT topic_id, timestamp, data FROM messages"
        )
        shutil.copytree(path, tmp_path / "killed")
    for told in (True, False):
        with open_source(tmp_path / "killed") as source:
            assert len(list(source)) == len(frames)
        (warning,) = source.warnings
        assert "drive.db3-wal is not read; in its folder 'sqlite3 drive.db3 \"PRAGMA wal_checkpoint" in warning
        if told:
            (tmp_path / "killed" / "metadata.yaml").unlink()
    with closing(sqlite3.connect(tmp_path / "killed" / "drive.db3")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open_source(tmp_path / "killed") as source:
        assert len(list(source)) == 2 * len(frames)


def test_a_damaged_database_is_one_line(record, frames, tmp_path):
    path = record.bag(tmp_path / "drive", record.camera(frames))
    database = path / "drive.db3"
    database.write_bytes(database.read_bytes()[:20_000])
    with pytest.raises(InputError, match=r"its database is damaged; 'sqlite3 drive.db3 .recover \| sqlite3 saved.db3'"):
        open_source(path)


def test_what_ros_2_did_not_write_is_named(tmp_path):
    from mcap.writer import Writer

    for name, kind, encoding, line in [
        ("a.mcap", "sensor_msgs/Image", "ros1", "was recorded with ROS 1; 'rosbags-convert --src a.mcap --dst BAG'"),
        (
            "b.mcap",
            "foxglove.CompressedImage",
            "protobuf",
            r"it has /image \(foxglove.CompressedImage in protobuf, 1\)",
        ),
    ]:
        with (tmp_path / name).open("wb") as file:
            writer = Writer(file)
            writer.start()
            schema = writer.register_schema(kind, encoding.replace("ros1", "ros1msg"), b"")
            writer.add_message(writer.register_channel("/image", encoding, schema), 1, b"123", 1)
            writer.finish()
        with pytest.raises(InputError, match=line):
            open_source(tmp_path / name)
    (tmp_path / "c.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(InputError, match=r"was recorded with ROS 1; .rosbags-convert --src c\.bag --dst BAG."):
        open_source(tmp_path / "c.bag")

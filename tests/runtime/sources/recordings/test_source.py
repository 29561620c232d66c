"""Recordings as sources: frames, stamps, cameras, and what of a damaged one can be read."""

from __future__ import annotations

import numpy as np
import pytest

from vmdepth_runtime import InputError, LiveSettings, ReadSettings, open_source

SECOND = 10**9


@pytest.fixture
def written(record, frames, tmp_path):
    return record.mcap(tmp_path / "drive.mcap", record.camera(frames))


def whole(record, frames, tmp_path, kind):
    entries = record.camera(frames)
    if kind in ("zstd", "lz4", "none"):
        from mcap.writer import CompressionType

        return record.mcap(tmp_path / "drive.mcap", entries, compression=CompressionType[kind.upper()])
    plugin, _, compression = kind.partition(" ")
    return record.bag(tmp_path / "drive", entries, plugin=plugin, compression=compression or "NONE")


@pytest.mark.parametrize(
    "kind", ["zstd", "lz4", "none", "SQLITE3", "MCAP", "SQLITE3 FILE", "SQLITE3 MESSAGE", "MCAP FILE"]
)
def test_frames_stamps_and_camera_are_those_recorded(record, frames, tmp_path, kind, assert_in_step):
    path = whole(record, frames, tmp_path, kind)
    with open_source(path) as source:
        looked_at = source.sample(4)
        read = list(source)
    assert np.array_equal([frame.image for frame in read], frames)
    assert [frame.stamp for frame in read] == [record.begin + k * record.interval for k in range(len(frames))]
    assert [frame.time for frame in read] == pytest.approx([k / 10 for k in range(len(frames))])
    assert not any(frame.discontinuity for frame in read)
    assert_in_step(source, read)
    assert source.info.frames == len(frames) and source.info.fps == pytest.approx(10)
    assert source.lens.pinhole == record.pinhole and source.lens.size == (42, 28) and source.lens.distortion is None
    assert source.frame_id == "left"
    assert source.skipped == [] and source.warnings == []
    assert len(looked_at) == 4 and all((frames == image).all(axis=(1, 2, 3)).any() for image in looked_at)


def test_a_range_is_that_of_a_file(written, frames):
    for settings, places in [
        (ReadSettings(start=2, frames=3), [2, 3, 4]),
        (ReadSettings(start="0.3s", every=2), [3, 5, 7]),
        (ReadSettings(frames=2, every=4), [0, 4]),
    ]:
        with open_source(written, read=settings) as source:
            read = list(source)
            assert source.info.frames == len(places)
            assert {image.tobytes() for image in source.sample(9)} <= {frame.tobytes() for frame in frames}
        assert [frame.index for frame in read] == places
        assert np.array_equal([frame.image for frame in read], frames[places])
        assert [frame.time for frame in read] == pytest.approx([place / 10 for place in places])
    with pytest.raises(InputError, match=r"has 8 frames, 0\.8 s; --start 9 is beyond its end"):
        open_source(written, read=ReadSettings(start=9))


@pytest.mark.parametrize("share", [0.99, 0.7, 0.4])
def test_one_that_was_cut_off_is_read_as_far_as_it_goes(record, frames, tmp_path, share):
    whole = record.mcap(tmp_path / "whole.mcap", record.camera(frames), finish=False).read_bytes()
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole[: int(len(whole) * share)])
    with open_source(path) as source:
        read = list(source)
    assert 2 <= len(read) < len(frames) and len(read) == source.info.frames
    assert np.array_equal([frame.image for frame in read], frames[: len(read)])
    assert source.warnings == [f"cut.mcap ended early: it was never finished; {len(read)} frames read"]
    assert source.lens.pinhole == record.pinhole


def test_a_folder_whose_recorder_was_killed_is_read_without_its_metadata(record, frames, tmp_path):
    path = record.bag(tmp_path / "drive", record.camera(frames), plugin="MCAP")
    (path / "metadata.yaml").unlink()
    with open_source(path) as source:
        assert len(list(source)) == len(frames)


def test_a_recording_in_several_files_is_one(record, frames, tmp_path):
    path = record.bag(tmp_path / "drive", record.camera(frames[:4]), plugin="MCAP")
    later = [record.begin + (4 + k) * record.interval for k in range(4)]
    for name, begin in (("drive_1", 4), ("drive_10", 6)):
        stamps = later[begin - 4 : begin - 2]
        record.mcap(path / f"{name}.mcap", record.camera(frames[begin : begin + 2], stamps))
    listed = "- drive.mcap\n  - drive/drive_1.mcap\n  - drive_10.mcap"  # with the folder, as older ones have it
    metadata = path / "metadata.yaml"
    for told in (metadata.read_text().replace("- drive.mcap", listed), "rosbag2_bagfile_information: [broken"):
        metadata.write_text(told)
        with open_source(path) as source:
            assert np.array_equal([frame.image for frame in source], frames)
            assert len(source.sample(4)) == 4
        assert source.notes == source.warnings == []


@pytest.mark.parametrize("plugin", ["MCAP", "SQLITE3"])
def test_a_recording_that_only_lies_in_the_folder_is_not_of_it(record, frames, tmp_path, plugin):
    path = record.bag(tmp_path / "drive", record.camera(frames[:5]), plugin=plugin)
    record.mcap(path / "depth.mcap", record.camera(frames[5:]))
    with open_source(path) as source:
        assert np.array_equal([frame.image for frame in source], frames[:5])
    if plugin == "MCAP":
        assert source.notes == ["drive: depth.mcap lies there, and is not of it by its metadata"]


def test_a_damaged_part_costs_its_own_frames(written, frames):
    content = bytearray(written.read_bytes())
    middle = len(content) * 2 // 5
    content[middle : middle + 8] = bytes(8)
    written.write_bytes(content)
    with open_source(written) as source:
        read = list(source)
    assert 0 < source.skipped_count < 3 and len(read) + source.skipped_count == len(frames)
    assert all(np.array_equal(frame.image, frames[frame.index]) for frame in read)
    assert "in a damaged part of the file" in source.skipped[0].reason
    assert source.skipped[0].name.startswith("drive.mcap at 0.")


def test_a_damaged_message_is_skipped_and_named(record, frames, tmp_path):
    entries = record.camera(frames)
    entries[5] = record.image(frames[2], entries[5][2], data=b"too little")
    with open_source(record.mcap(tmp_path / "drive.mcap", entries)) as source:
        read = list(source)
    assert [frame.index for frame in read] == [0, 1, 3, 4, 5, 6, 7]
    assert source.skipped[0].index == 2
    assert source.skipped[0].reason == "damaged (10 bytes for 42x28 rgb8)"


@pytest.mark.parametrize("step", [-5 * SECOND, 3 * SECOND, 300_000_000 * SECOND])
def test_a_jump_of_the_stamps_starts_the_stream_anew(record, frames, tmp_path, step):
    stamps = [record.begin + k * record.interval + step * (k >= 3) for k in range(len(frames))]
    path = record.mcap(tmp_path / "drive.mcap", sorted(record.camera(frames, stamps), key=lambda entry: entry[0]))
    with open_source(path) as source:
        read = list(source)
    assert [frame.discontinuity for frame in read] == [k == 3 for k in range(len(frames))]
    assert [frame.stamp for frame in read] == stamps
    assert (np.diff([frame.time for frame in read]) > 0).all()
    assert len(source.warnings) == 1 and "the stream starts anew" in source.warnings[0]
    assert read[-1].time == pytest.approx(3.7 if step == 3 * SECOND else 0.7)
    if step == 3 * SECOND:
        with open_source(path, LiveSettings(max_gap=4.0)) as source:
            assert not any(frame.discontinuity for frame in source)


def test_a_slow_camera_has_no_gaps(record, frames, tmp_path):
    stamps = [record.begin + k * 5 * SECOND for k in range(len(frames))]
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames, stamps))) as source:
        assert not any(frame.discontinuity for frame in source)
    assert source.info.fps == pytest.approx(0.2) and source.warnings == []


def test_a_camera_of_a_frame_in_two_hours_has_times_of_its_own(record, frames, tmp_path):
    stamps = [record.begin + k * 7200 * SECOND for k in range(len(frames))]
    with open_source(record.mcap(tmp_path / "drive.mcap", record.camera(frames, stamps))) as source:
        assert [frame.time for frame in source] == pytest.approx([7200 * k for k in range(len(frames))])
    assert source.warnings == []


@pytest.mark.parametrize("seconds", [0, -5])
def test_stamps_that_a_driver_leaves_empty_are_those_of_the_recorder(record, frames, tmp_path, seconds):
    """So are those before 1970, which no recording has room for."""
    entries = [
        (topic, kind, time, {**fields, "header": {"stamp": {"sec": seconds, "nanosec": 0}, "frame_id": ""}})
        for topic, kind, time, fields in record.camera(frames)
    ]
    with open_source(record.mcap(tmp_path / "drive.mcap", entries)) as source:
        assert [frame.stamp for frame in source] == [entry[2] for entry in entries[1::2]]
        assert source.frame_id == "camera"


def test_a_frame_rate_of_its_own_is_no_choice(written):
    with pytest.raises(InputError, match="has times of its own; --fps is for images"):
        open_source(written, read=ReadSettings(fps=3))


def test_folders_and_patterns_hold_recordings(record, frames, tmp_path):
    folder = tmp_path / "drives"
    folder.mkdir()
    record.mcap(folder / "one.mcap", record.camera(frames[:2]))
    for name in (folder, folder / "*.mcap"):
        with open_source(name) as source:
            assert len(list(source)) == 2
    record.bag(folder / "two", record.camera(frames[:3]))
    with pytest.raises(InputError, match="holds 2 videos, and one source is one of them"):
        open_source(folder)
